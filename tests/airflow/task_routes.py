"""Prints every route of this Airflow's task API as JSON: a list of method and path template."""

import json
import logging

logging.disable(logging.CRITICAL)

from airflow.api_fastapi.execution_api.routes import execution_api_router  # noqa: E402  (it logs)


def main() -> None:
    routes = execution_api_router.routes
    print(json.dumps(sorted({(method, it.path) for it in routes for method in it.methods})))


if __name__ == "__main__":
    main()
