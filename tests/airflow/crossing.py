"""A DAG whose tasks ask their API server for all that it gives: a variable, a connection, an XCom."""

from airflow.sdk import DAG, Connection, Variable, task

with DAG(dag_id="crossing", schedule=None):

    @task
    def ask():
        return f"{Variable.get('greeting')}, {Connection.get('somewhere').host}"

    @task
    def tell(heard):
        Variable.set("told", heard)
        return heard.upper()

    tell(ask())
