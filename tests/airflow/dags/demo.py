"""The one DAG that the tests list, open and trigger; nothing ever runs its task."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG(dag_id="demo", schedule=None, description="one task that does nothing"):
    EmptyOperator(task_id="x")
