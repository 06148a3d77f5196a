"""The table of docs/compatibility.md out of what the Airflow tests wrote.

    compatibility.py begin    forgets what earlier runs wrote
    compatibility.py check    fails unless every row of this run stands on the page
    compatibility.py write    writes the page from the rows of this run, which must be all
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
ROWS = TOP / "target" / "airflow" / "compatibility"
PAGE = TOP / "docs" / "compatibility.md"
BEGIN, END = "<!-- rows of a run: make test-all -->", "<!-- end of the rows -->"
HEAD = """\
| Airflow | auth manager | hand-off | caller | reads | writes by role | too low: 403 of Airflow | no role: 403 of airside | audit log |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def main() -> None:
    {"begin": begin, "check": check, "write": write}[sys.argv[1]]()


def begin() -> None:
    shutil.rmtree(ROWS, ignore_errors=True)


def check() -> None:
    page = set(PAGE.read_text().splitlines())
    missing = [row for row in rows() if row not in page]
    if missing:
        sys.exit("docs/compatibility.md lacks (see `make test-all`):\n" + "\n".join(missing))
    print(f"docs/compatibility.md has the {len(rows())} rows of this run")


def write() -> None:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    table = HEAD + "".join(f"{row}\n" for row in rows())
    PAGE.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{after}")


def rows() -> list[str]:
    found = [row for file in sorted(ROWS.glob("*.md")) for row in file.read_text().splitlines()]
    if not found:
        sys.exit(f"no test wrote a row below {ROWS.relative_to(TOP)}")
    return found


if __name__ == "__main__":
    main()
