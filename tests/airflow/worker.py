"""Runs one task by way of Airflow's own worker client: worker.py URL TOKEN DATABASE TASK_INSTANCE.

URL is where workers are told that the API server is; TOKEN is the workload token of the task.
First plays the scheduler, which no test runs: it marks the task as queued in DATABASE.
Prints what the client got on the way, as JSON.
"""

import json
import os
import sqlite3
import sys
from contextlib import closing
from datetime import datetime, timezone
from uuid import UUID

from airflow.sdk.api.client import Client


def main() -> None:
    url, token, database, task = sys.argv[1:]
    queue(database, UUID(task))
    client = Client(base_url=f"{url}/execution/", token=token)
    run = client.task_instances.start(UUID(task), os.getpid(), datetime.now(timezone.utc)).dag_run
    # Airflow answers the workload token with an execution token; the client goes on with that.
    renewed = client.auth.token != token
    client.task_instances.heartbeat(UUID(task), os.getpid())
    variable = client.variables.get("for the worker")
    client.xcoms.set(run.dag_id, run.run_id, "x", "a key/with a slash", "42")
    pushed = client.xcoms.get(run.dag_id, run.run_id, "x", "a key/with a slash")
    client.task_instances.succeed(UUID(task), datetime.now(timezone.utc), [], [], None)
    print(json.dumps({"renewed": renewed, "variable": variable.value, "pushed": pushed.value}))


def queue(database: str, task: UUID) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        done = connection.execute(
            "UPDATE task_instance SET state = 'queued', try_number = 1 WHERE id IN (?, ?)",
            (str(task), task.hex),
        )
        if done.rowcount != 1:
            sys.exit(f"{done.rowcount} task instances have the id {task}")


if __name__ == "__main__":
    main()
