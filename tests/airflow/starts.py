"""How AirsideAuthManager starts in each of several environments: starts.py ENVIRONMENTS.

ENVIRONMENTS is a JSON list of mappings. Prints a list: null where it starts, otherwise why not.
"""

import json
import os
import sys

from airflow.exceptions import AirflowConfigException
from airside_auth_manager import AirsideAuthManager


def main() -> None:
    print(json.dumps([started(variables) for variables in json.loads(sys.argv[1])]))


def started(variables: dict) -> str | None:
    os.environ.update(variables)
    try:
        manager = AirsideAuthManager()
        # The two calls that Airflow's `init_auth_manager` makes.
        manager.init()
        manager.get_fastapi_app()
    except AirflowConfigException as why:
        return str(why)
    finally:
        for name in variables:
            del os.environ[name]
    return None


if __name__ == "__main__":
    main()
