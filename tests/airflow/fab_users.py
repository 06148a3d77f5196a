"""Gives FAB its own users, each with the role of its name: fab_users.py DATABASE USER=PASSWORD...

What `airflow users create` does, in a tenth of the time. Whoever is there already stays as it is.
"""

import sqlite3
import sys
from contextlib import closing

from werkzeug.security import generate_password_hash


def main() -> None:
    database, *users = sys.argv[1:]
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        for user in users:
            create(connection, *user.split("=", 1))


def create(connection: sqlite3.Connection, name: str, password: str) -> None:
    made = connection.execute(
        "INSERT OR IGNORE INTO ab_user (username, first_name, last_name, email, active, password)"
        " VALUES (?, ?, 'Local', ?, 1, ?)",
        (name, name, f"{name}@contoso.example", generate_password_hash(password)),
    )
    if made.rowcount:
        given = connection.execute(
            "INSERT INTO ab_user_role (user_id, role_id) SELECT ?, id FROM ab_role WHERE name = ?",
            (made.lastrowid, name.capitalize()),
        )
        if given.rowcount != 1:
            sys.exit(f"FAB has no role {name.capitalize()}")


if __name__ == "__main__":
    main()
