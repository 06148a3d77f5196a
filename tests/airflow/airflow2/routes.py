"""Prints every route of this Airflow 2 as JSON: a list of method and path, parameters filled in."""

import json
import logging
import re

logging.disable(logging.CRITICAL)

from airflow.www.app import create_app  # noqa: E402  (it logs while it is imported)


def main() -> None:
    rules = create_app().url_map.iter_rules()
    filled = [(rule.methods, re.sub(r"<int:\w+>", "1", str(rule))) for rule in rules]
    routes = {
        (method, re.sub(r"<[^>]+>", "x", path)) for methods, path in filled for method in methods
    }
    print(json.dumps(sorted(routes)))


if __name__ == "__main__":
    main()
