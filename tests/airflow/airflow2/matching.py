"""Which rule of this Airflow 2 takes a request: reads methods and raw paths as JSON (a list of pairs)
from standard input; prints as JSON for each pair the rule's path, or null where none takes it or it
only says where to ask."""

import json
import logging
import sys
from urllib.parse import unquote_to_bytes

from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

logging.disable(logging.CRITICAL)

from airflow.www.app import create_app  # noqa: E402  (it logs while it is imported)


def main() -> None:
    rules = create_app().url_map.bind("airflow.example")
    asked = json.load(sys.stdin)
    print(json.dumps([taken_by(rules, method, path) for method, path in asked]))


def taken_by(rules, method: str, raw: str) -> dict | None:
    # As gunicorn and werkzeug make it of the request line.
    path = unquote_to_bytes(raw.partition("?")[0]).decode(errors="replace")
    try:
        rule, _ = rules.match(path, method=method, return_rule=True)
    except (HTTPException, RequestRedirect):
        return None
    return {"path": str(rule), "asks": False}


if __name__ == "__main__":
    main()
