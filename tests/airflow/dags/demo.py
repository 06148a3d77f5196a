"""The one DAG that the tests list, open, trigger and, where a scheduler runs, see succeed."""

from datetime import datetime, timezone

try:
    from airflow.sdk import DAG, Variable, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task
    from airflow.models import Variable

# Airflow 2 takes no DAG without a date to start from.
START = datetime(2020, 1, 1, tzinfo=timezone.utc)

with DAG(dag_id="demo", schedule=None, start_date=START, description="reads a variable"):

    @task
    def x():
        print("this is the log of the demo")
        return Variable.get("greeting", "nobody said anything")

    x()
