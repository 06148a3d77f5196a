"""Which route of this Airflow takes a request: reads methods and raw paths as JSON (a list of pairs)
from standard input; prints as JSON for each pair the route's path and whether it asks who is calling,
or null where no route takes it."""

import json
import logging
import sys
from urllib.parse import unquote

from starlette.routing import BaseRoute, Match

logging.disable(logging.CRITICAL)

from airflow.api_fastapi.main import app  # noqa: E402  (it logs while it is imported)


def main() -> None:
    asked = json.load(sys.stdin)
    print(json.dumps([taken_by(method, path) for method, path in asked]))


def taken_by(method: str, raw: str) -> dict | None:
    # As uvicorn makes it of the request line.
    path = raw.partition("?")[0]
    scope = {
        "type": "http", "method": method, "path": unquote(path), "raw_path": path.encode(),
        "root_path": app.root_path, "headers": [], "query_string": b"",
    }
    return walk(app, scope, "")


def walk(parent: object, scope: dict, prefix: str) -> dict | None:
    """The way that Starlette's router goes (`Router.app`): the first whole match counts."""
    for route in parent.routes:
        match, child = route.matches(scope)
        if match != Match.FULL:
            continue
        template = prefix + getattr(route, "path", "")
        mounted = getattr(route, "app", None)
        if hasattr(mounted, "routes"):
            return walk(mounted, scope | child, template)
        return {"path": template, "asks": asks(route)}
    return None


def asks(route: BaseRoute) -> bool:
    """Whether a dependency of the route, or one of its own, gets the user."""
    left = [route.dependant] if hasattr(route, "dependant") else []
    while left:
        dependant = left.pop()
        if getattr(dependant.call, "__name__", "") == "get_user":
            return True
        left += dependant.dependencies
    return False


if __name__ == "__main__":
    main()
