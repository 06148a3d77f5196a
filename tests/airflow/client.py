"""Drives the official Python client: client.py URL TOKEN. Prints what it saw, as JSON."""

import json
import sys

import airflow_client.client as airflow
from airflow_client.client.api import dag_api, dag_run_api, variable_api


def main() -> None:
    url, token = sys.argv[1:]
    configuration = airflow.Configuration(host=url)
    configuration.access_token = token
    with airflow.ApiClient(configuration) as api:
        try:
            print(json.dumps(seen(api)))
        except airflow.ApiException as refused:
            print(json.dumps({"refused": [refused.status, json.loads(refused.body)]}))


def seen(api: airflow.ApiClient) -> dict:
    dags = dag_api.DAGApi(api).get_dags().dags
    body = airflow.TriggerDAGRunPostBody(logical_date=None)
    run = dag_run_api.DagRunApi(api).trigger_dag_run("demo", body)
    return {
        "dags": [dag.dag_id for dag in dags],
        "triggering_user_name": run.triggering_user_name,
        "writing": writing(api),
    }


def writing(api: airflow.ApiClient) -> list:
    """How an attempt to write a variable ends: the status, and the detail of a refusal."""
    variable = airflow.VariableBody(key="by the Python client", value="some value")
    try:
        variable_api.VariableApi(api).post_variable(variable)
    except airflow.ApiException as refused:
        return [refused.status, json.loads(refused.body)["detail"]]
    return [201, None]


if __name__ == "__main__":
    main()
