"""Asks an SQLite database one thing: sql.py DATABASE STATEMENT. Prints the rows as JSON."""

import json
import sqlite3
import sys
from contextlib import closing


def main() -> None:
    database, statement = sys.argv[1:]
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        print(json.dumps(connection.execute(statement).fetchall()))


if __name__ == "__main__":
    main()
