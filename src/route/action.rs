//! What a request that changes something does, and to what: for the audit.
//!
//! The words are those under which Airflow 3 itself logs the same (`action_logging` takes the name of
//! the endpoint), so that its event log and ours are searched for the same word. Read in
//! airflow-core 3.3.2 (`core_api/openapi`), the FAB provider 3.10.2 and Airflow 2.10.5
//! (`api_connexion/openapi/v1.yaml`).

use http::Method;
use percent_encoding::percent_decode_str;

/// An action and what its path names. Ids are as a stranger wrote them, decoded.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// What is done.
    pub name: &'static str,
    /// The DAG; `~` where Airflow takes it for all of them.
    pub dag: Option<String>,
    /// The run of the DAG; `~` likewise.
    pub run: Option<String>,
    /// The task of the run.
    pub task: Option<String>,
    /// The variable, connection, pool, asset, entry of `XCom` or whatever else it is done to.
    pub object: Option<String>,
}

/// What is done where no rule knows the path: the pages of Airflow 2, plugins, what came later.
const OTHER: &str = "other";

impl Action {
    /// The action at a path that is not below an API of Airflow.
    pub(super) fn other() -> Self {
        Self { name: OTHER, ..Self::default() }
    }

    /// The action at `path`, raw and below the root of an API of Airflow. It is decoded before it is
    /// split, as Airflow's router does.
    pub(super) fn of(method: &Method, path: &str) -> Self {
        let path = percent_decode_str(path).decode_utf8_lossy();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match segments.as_slice() {
            ["dags", dag, below @ ..] => {
                Self { dag: Some((*dag).to_owned()), ..of_dag(method, below) }
            }
            segments => of_object(method, segments),
        }
    }

    fn named(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    /// Done to this; a name may hold slashes, which are segments here.
    fn to(name: &'static str, object: &[&str]) -> Self {
        Self { object: Some(object.join("/")), ..Self::named(name) }
    }
}

/// Below `/dags/{dag_id}`.
fn of_dag(method: &Method, below: &[&str]) -> Action {
    match (method.as_str(), below) {
        (_, ["dagRuns", run, below @ ..]) if !is_batch(run, below) => {
            Action { run: Some((*run).to_owned()), ..of_run(method, below) }
        }
        ("DELETE", ["assets", "queuedEvents"] | ["datasets", "queuedEvent"]) => {
            Action::named("delete_dag_asset_queued_events")
        }
        ("DELETE", ["assets", asset, "queuedEvents"]) => {
            Action::to("delete_dag_asset_queued_event", &[asset])
        }
        ("DELETE", ["datasets", "queuedEvent", uri @ ..]) => {
            Action::to("delete_dag_asset_queued_event", uri)
        }
        (method, below) => Action::named(match (method, below) {
            ("PATCH", []) => "patch_dag",
            ("DELETE", []) => "delete_dag",
            ("POST", ["favorite"]) => "favorite_dag",
            ("POST", ["unfavorite"]) => "unfavorite_dag",
            ("POST", ["dagRuns"]) => "trigger_dag_run",
            ("PATCH", ["dagRuns"]) => "bulk_dag_runs",
            ("POST", ["dagRuns", "list"]) => "get_list_dag_runs_batch",
            ("POST", ["clearDagRuns"]) => "clear_dag_runs",
            ("POST", ["clearPartitions"]) => "clear_dag_run_partitions",
            ("POST", ["clearTaskInstances"]) => "post_clear_task_instances",
            ("POST", ["updateTaskInstancesState"]) => "post_set_task_instances_state",
            _ => OTHER,
        }),
    }
}

/// `dagRuns/list` names no run.
fn is_batch(run: &str, below: &[&str]) -> bool {
    run == "list" && below.is_empty()
}

/// Below `/dags/{dag_id}/dagRuns/{dag_run_id}`.
fn of_run(method: &Method, below: &[&str]) -> Action {
    match (method.as_str(), below) {
        (_, ["taskInstances", task, below @ ..]) if !is_batch(task, below) => {
            Action { task: Some((*task).to_owned()), ..of_task(method, below) }
        }
        ("PATCH", ["taskGroupInstances", group]) => {
            Action::to("patch_task_group_instances", &[group])
        }
        ("PATCH", ["taskGroupInstances", group, "dry_run"]) => {
            Action::to("patch_task_group_instances_dry_run", &[group])
        }
        (method, below) => Action::named(match (method, below) {
            ("PATCH", []) => "patch_dag_run",
            ("DELETE", []) => "delete_dag_run",
            ("PATCH", ["setNote"]) => "set_dag_run_note",
            ("POST", ["clear"]) => "clear_dag_run",
            ("PATCH", ["taskInstances"]) => "bulk_task_instances",
            ("POST", ["taskInstances", "list"]) => "get_task_instances_batch",
            _ => OTHER,
        }),
    }
}

/// Below `…/taskInstances/{task_id}`.
fn of_task(method: &Method, below: &[&str]) -> Action {
    match (method.as_str(), below) {
        ("POST", ["xcomEntries"]) => Action::named("create_xcom_entry"),
        ("PATCH", ["xcomEntries", key @ ..]) => Action::to("update_xcom_entry", key),
        ("DELETE", ["xcomEntries", key @ ..]) => Action::to("delete_xcom_entry", key),
        ("DELETE", ["state-store"]) => Action::named("clear_task_state_store"),
        ("PUT", ["state-store", key @ ..]) => Action::to("set_task_state_store", key),
        ("PATCH", ["state-store", key @ ..]) => Action::to("patch_task_state_store", key),
        ("DELETE", ["state-store", key @ ..]) => Action::to("delete_task_state_store", key),
        (method, below) => Action::named(match (method, below) {
            ("PATCH", ["dry_run"] | [_, "dry_run"]) => "patch_task_instance_dry_run",
            ("PATCH", ["setNote"] | [_, "setNote"]) => "set_task_instance_note",
            ("PATCH", [_, "hitlDetails"]) => "update_hitl_detail",
            ("PATCH", [] | [_]) => "patch_task_instance",
            ("DELETE", []) => "delete_task_instance",
            _ => OTHER,
        }),
    }
}

/// What belongs to no DAG.
fn of_object(method: &Method, segments: &[&str]) -> Action {
    match (method.as_str(), segments) {
        ("PATCH", ["variables", key @ ..]) if !key.is_empty() => Action::to("patch_variable", key),
        ("DELETE", ["variables", key @ ..]) if !key.is_empty() => {
            Action::to("delete_variable", key)
        }
        ("PATCH", ["connections", id]) => Action::to("patch_connection", &[id]),
        ("DELETE", ["connections", id]) => Action::to("delete_connection", &[id]),
        ("PATCH", ["pools", name @ ..]) if !name.is_empty() => Action::to("patch_pool", name),
        ("DELETE", ["pools", name @ ..]) if !name.is_empty() => Action::to("delete_pool", name),
        ("POST", ["assets", id, "materialize"]) => Action::to("materialize_asset", &[id]),
        ("DELETE", ["assets", id, "queuedEvents"]) => {
            Action::to("delete_asset_queued_events", &[id])
        }
        ("DELETE", ["datasets", "queuedEvent", uri @ ..]) => {
            Action::to("delete_asset_queued_events", uri)
        }
        ("DELETE", ["assets", id, "state-store"]) => Action::to("clear_asset_state_store", &[id]),
        ("PUT", ["assets", id, "state-store", ..]) => Action::to("set_asset_state_store", &[id]),
        ("DELETE", ["assets", id, "state-store", ..]) => {
            Action::to("delete_asset_state_store", &[id])
        }
        ("PUT", ["backfills", id, "pause"]) => Action::to("pause_backfill", &[id]),
        ("PUT", ["backfills", id, "unpause"]) => Action::to("unpause_backfill", &[id]),
        ("PUT", ["backfills", id, "cancel"]) => Action::to("cancel_backfill", &[id]),
        ("PATCH", ["users", name]) => Action::to("update_user", &[name]),
        ("DELETE", ["users", name]) => Action::to("delete_user", &[name]),
        ("PATCH", ["roles", name]) => Action::to("patch_role", &[name]),
        ("DELETE", ["roles", name]) => Action::to("delete_role", &[name]),
        // Its name is signed by Airflow, like a token, so not repeated.
        ("PUT", ["parseDagFile", _]) => Action::named("reparse_dag_file"),
        (method, segments) => Action::named(match (method, segments) {
            ("PATCH", ["dags"]) => "patch_dags",
            ("POST", ["variables"]) => "post_variable",
            ("PATCH", ["variables"]) => "bulk_variables",
            ("POST", ["connections"]) => "post_connection",
            ("PATCH", ["connections"]) => "bulk_connections",
            ("POST", ["connections", "test"]) => "test_connection",
            ("POST", ["connections", "enqueue-test"]) => "enqueue_connection_test",
            ("POST", ["connections", "defaults"]) => "create_default_connections",
            ("POST", ["pools"]) => "post_pool",
            ("PATCH", ["pools"]) => "bulk_pools",
            ("POST", ["assets" | "datasets", "events"]) => "create_asset_event",
            ("POST", ["backfills"]) => "create_backfill",
            ("POST", ["backfills", "dry_run"]) => "create_backfill_dry_run",
            ("POST", ["users"]) => "create_user",
            ("POST", ["roles"]) => "create_role",
            ("POST", ["auth", "token"]) => "generate_token",
            _ => OTHER,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// `action dag run task object`, absent ones as `-`.
    fn told(request: &str) -> String {
        let (method, path) = request.split_once(' ').unwrap();
        let action = Action::of(&method.parse().unwrap(), path);
        let absent = |name: Option<String>| name.unwrap_or_else(|| "-".into());
        let Action { name, dag, run, task, object } = action;
        [name.to_owned(), absent(dag), absent(run), absent(task), absent(object)].join(" ")
    }

    const DONE: &[(&str, &str)] = &[
        ("POST /dags/etl/dagRuns", "trigger_dag_run etl - - -"),
        ("PATCH /dags/etl/dagRuns", "bulk_dag_runs etl - - -"),
        ("POST /dags/~/dagRuns/list", "get_list_dag_runs_batch ~ - - -"),
        ("PATCH /dags/etl/dagRuns/r1", "patch_dag_run etl r1 - -"),
        ("DELETE /dags/etl/dagRuns/r1", "delete_dag_run etl r1 - -"),
        ("POST /dags/etl/dagRuns/r1/clear", "clear_dag_run etl r1 - -"),
        ("PATCH /dags/etl/dagRuns/r1/setNote", "set_dag_run_note etl r1 - -"),
        ("POST /dags/etl/dagRuns/a%2Fb/clear", "other etl a - -"),
        ("POST /dags/etl/clearDagRuns", "clear_dag_runs etl - - -"),
        ("POST /dags/etl/clearPartitions", "clear_dag_run_partitions etl - - -"),
        ("POST /dags/etl/clearTaskInstances", "post_clear_task_instances etl - - -"),
        ("POST /dags/etl/updateTaskInstancesState", "post_set_task_instances_state etl - - -"),
        ("PATCH /dags/etl", "patch_dag etl - - -"),
        ("DELETE /dags/%65tl", "delete_dag etl - - -"),
        ("PATCH /dags", "patch_dags - - - -"),
        ("POST /dags/etl/favorite", "favorite_dag etl - - -"),
        ("POST /dags/etl/unfavorite", "unfavorite_dag etl - - -"),
        ("POST /dags/etl/nonsense", "other etl - - -"),
        ("PATCH /dags/~/dagRuns/~/taskInstances", "bulk_task_instances ~ ~ - -"),
        ("POST /dags/~/dagRuns/~/taskInstances/list", "get_task_instances_batch ~ ~ - -"),
        ("PATCH /dags/etl/dagRuns/list/taskInstances/t", "patch_task_instance etl list t -"),
        ("PATCH /dags/etl/dagRuns/r1/taskInstances/t/3", "patch_task_instance etl r1 t -"),
        ("DELETE /dags/etl/dagRuns/r1/taskInstances/t", "delete_task_instance etl r1 t -"),
        (
            "PATCH /dags/etl/dagRuns/r1/taskInstances/t/dry_run",
            "patch_task_instance_dry_run etl r1 t -",
        ),
        (
            "PATCH /dags/etl/dagRuns/r1/taskInstances/t/3/dry_run",
            "patch_task_instance_dry_run etl r1 t -",
        ),
        ("PATCH /dags/etl/dagRuns/r1/taskInstances/t/setNote", "set_task_instance_note etl r1 t -"),
        (
            "PATCH /dags/etl/dagRuns/r1/taskInstances/t/-1/hitlDetails",
            "update_hitl_detail etl r1 t -",
        ),
        (
            "PATCH /dags/etl/dagRuns/r1/taskGroupInstances/g",
            "patch_task_group_instances etl r1 - g",
        ),
        (
            "PATCH /dags/etl/dagRuns/r1/taskGroupInstances/g/dry_run",
            "patch_task_group_instances_dry_run etl r1 - g",
        ),
        ("POST /dags/etl/dagRuns/r1/taskInstances/t/xcomEntries", "create_xcom_entry etl r1 t -"),
        (
            "PATCH /dags/etl/dagRuns/r1/taskInstances/t/xcomEntries/k",
            "update_xcom_entry etl r1 t k",
        ),
        (
            "DELETE /dags/etl/dagRuns/r1/taskInstances/t/xcomEntries/a%2Fb",
            "delete_xcom_entry etl r1 t a/b",
        ),
        (
            "PUT /dags/etl/dagRuns/r1/taskInstances/t/state-store/k",
            "set_task_state_store etl r1 t k",
        ),
        (
            "PATCH /dags/etl/dagRuns/r1/taskInstances/t/state-store/k",
            "patch_task_state_store etl r1 t k",
        ),
        (
            "DELETE /dags/etl/dagRuns/r1/taskInstances/t/state-store/k",
            "delete_task_state_store etl r1 t k",
        ),
        (
            "DELETE /dags/etl/dagRuns/r1/taskInstances/t/state-store",
            "clear_task_state_store etl r1 t -",
        ),
        ("DELETE /dags/etl/assets/queuedEvents", "delete_dag_asset_queued_events etl - - -"),
        ("DELETE /dags/etl/assets/7/queuedEvents", "delete_dag_asset_queued_event etl - - 7"),
        ("DELETE /dags/etl/datasets/queuedEvent", "delete_dag_asset_queued_events etl - - -"),
        (
            "DELETE /dags/etl/datasets/queuedEvent/s3%3A%2F%2Fb%2Fk",
            "delete_dag_asset_queued_event etl - - s3://b/k",
        ),
        ("POST /variables", "post_variable - - - -"),
        ("PATCH /variables", "bulk_variables - - - -"),
        ("PATCH /variables/a%2Fb", "patch_variable - - - a/b"),
        ("PATCH /variables/a//b", "patch_variable - - - a//b"),
        ("DELETE /variables/50%25", "delete_variable - - - 50%"),
        ("POST /connections", "post_connection - - - -"),
        ("PATCH /connections", "bulk_connections - - - -"),
        ("PATCH /connections/warehouse", "patch_connection - - - warehouse"),
        ("DELETE /connections/warehouse", "delete_connection - - - warehouse"),
        ("POST /connections/test", "test_connection - - - -"),
        ("POST /connections/enqueue-test", "enqueue_connection_test - - - -"),
        ("POST /connections/defaults", "create_default_connections - - - -"),
        ("POST /pools", "post_pool - - - -"),
        ("PATCH /pools", "bulk_pools - - - -"),
        ("PATCH /pools/etl", "patch_pool - - - etl"),
        ("DELETE /pools/etl/x", "delete_pool - - - etl/x"),
        ("POST /assets/events", "create_asset_event - - - -"),
        ("POST /datasets/events", "create_asset_event - - - -"),
        ("POST /assets/7/materialize", "materialize_asset - - - 7"),
        ("DELETE /assets/7/queuedEvents", "delete_asset_queued_events - - - 7"),
        ("DELETE /datasets/queuedEvent/u", "delete_asset_queued_events - - - u"),
        ("PUT /assets/7/state-store/k", "set_asset_state_store - - - 7"),
        ("DELETE /assets/7/state-store/k", "delete_asset_state_store - - - 7"),
        ("DELETE /assets/7/state-store", "clear_asset_state_store - - - 7"),
        ("POST /backfills", "create_backfill - - - -"),
        ("POST /backfills/dry_run", "create_backfill_dry_run - - - -"),
        ("PUT /backfills/7/pause", "pause_backfill - - - 7"),
        ("PUT /backfills/7/unpause", "unpause_backfill - - - 7"),
        ("PUT /backfills/7/cancel", "cancel_backfill - - - 7"),
        ("POST /users", "create_user - - - -"),
        ("PATCH /users/alice", "update_user - - - alice"),
        ("DELETE /users/alice", "delete_user - - - alice"),
        ("POST /roles", "create_role - - - -"),
        ("PATCH /roles/Ops", "patch_role - - - Ops"),
        ("DELETE /roles/Ops", "delete_role - - - Ops"),
        ("PUT /parseDagFile/x.y", "reparse_dag_file - - - -"),
        ("POST /auth/token", "generate_token - - - -"),
        ("POST /nonsense", "other - - - -"),
        ("DELETE /", "other - - - -"),
        ("POST ", "other - - - -"),
    ];

    #[test]
    fn an_auditor_reads_what_was_done_to_what() {
        for (request, expected) in DONE {
            assert_eq!(told(request), *expected, "{request}");
        }
    }

    #[test]
    fn the_documented_actions_are_those_that_there_are() {
        let there_are: BTreeSet<&str> =
            DONE.iter().filter_map(|(_, told)| told.split(' ').next()).collect();
        let text = include_str!("../../docs/reference/log.md");
        let table = text.split("| action | of |").nth(1).unwrap();
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        let firsts = rows.filter_map(|row| row.split('|').nth(1));
        let documented: BTreeSet<&str> =
            firsts.flat_map(|names| names.split('`').skip(1).step_by(2)).collect();
        assert_eq!(there_are, documented);
    }
}
