"""Prints every route of this Airflow as JSON: a list of method and path, parameters filled in."""

import json
import logging
import re
from collections.abc import Iterator

from starlette.routing import BaseRoute, Mount

logging.disable(logging.CRITICAL)

from airflow.api_fastapi.main import app  # noqa: E402  (it logs while it is imported)


def main() -> None:
    routes = sorted(set(walk(app.routes, "")))
    print(json.dumps(routes))


def walk(routes: list[BaseRoute], prefix: str) -> Iterator[tuple[str, str]]:
    for route in routes:
        path = prefix + route.path
        if isinstance(route, Mount):
            yield from walk(route.routes, path)
        else:
            filled = re.sub(r"\{\w+(:\w+)?\}", "x", path)
            yield from ((method, filled) for method in route.methods)


if __name__ == "__main__":
    main()
