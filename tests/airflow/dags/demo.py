"""The one DAG that the tests list, open, trigger and, where a scheduler runs, see succeed."""

from airflow.sdk import DAG, Variable, task

with DAG(dag_id="demo", schedule=None, description="reads a variable"):

    @task
    def x():
        print("this is the log of the demo")
        return Variable.get("greeting", default="nobody said anything")

    x()
