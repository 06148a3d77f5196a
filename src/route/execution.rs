//! Which tokens of workers a path is for.
//!
//! Of the task API: read in airflow-core, `api_fastapi/execution_api/routes`, of 3.0.6, 3.1.8, 3.2.2 and 3.3.2, and
//! true of each of them: what one of these lets a task do is not refused here. So
//! `/task-reschedules/{id}`, where 3.3 alone compares the id, is left to Airflow.

use http::Method;

/// A path of the task API, and which tokens it is for.
#[derive(Debug, PartialEq, Eq)]
pub struct TaskRoute {
    workloads: bool,
    own: Option<String>,
}

impl TaskRoute {
    /// The rule of a path, by its segments below `/execution`.
    pub(super) fn of(method: &Method, segments: &[&[u8]]) -> Self {
        let own = match segments {
            [b"task-instances", id, _]
            | [b"hitlDetails", id]
            | [b"store", b"ti", id, ..]
            | [b"connection-tests", id, ..] => Some(String::from_utf8_lossy(id).into_owned()),
            _ => None,
        };
        let workloads = match segments {
            [b"task-instances", _, b"run"] | [b"connection-tests", _] => *method == Method::PATCH,
            [b"connection-tests", _, b"connection"] => *method == Method::GET,
            _ => false,
        };
        Self { workloads, own }
    }

    /// Whether it is also for the token that an executor gives a worker to begin with, and which
    /// Airflow exchanges for one of the task (3.2 and later).
    #[must_use]
    pub const fn takes_workloads(&self) -> bool {
        self.workloads
    }

    /// The id in the path that must be the token's own.
    #[must_use]
    pub fn own(&self) -> Option<&str> {
        self.own.as_deref()
    }
}

/// A path of Edge workers.
#[derive(Debug)]
pub struct EdgeRoute(String);

impl EdgeRoute {
    pub(super) fn of(segments: &[&[u8]]) -> Self {
        Self(String::from_utf8_lossy(&segments.join(&b'/')).into_owned())
    }

    /// The path below their API's, which a token must be for (Edge provider,
    /// `worker_api/auth.py`).
    #[must_use]
    pub fn called(&self) -> &str {
        &self.0
    }
}

/// The API of Edge workers.
pub(super) const EDGE: &str = "/edge_worker/v1";
/// What Airflow answers without a token.
pub(super) const OPEN: [&str; 3] =
    ["/execution/health", "/execution/health/ping", "/edge_worker/v1/health"];

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(request: &str) -> (bool, Option<String>) {
        let (method, path) = request.split_once(' ').unwrap();
        let segments: Vec<&[u8]> = path.split('/').skip(1).map(str::as_bytes).collect();
        let route = TaskRoute::of(&method.parse().unwrap(), &segments);
        (route.takes_workloads(), route.own().map(str::to_owned))
    }

    #[test]
    fn a_task_may_speak_for_itself_alone_where_every_airflow_says_so() {
        for request in [
            "PATCH /task-instances/ID/run",
            "PATCH /task-instances/ID/state",
            "PUT /task-instances/ID/heartbeat",
            "GET /task-instances/ID/previous-successful-dagrun",
            "POST /hitlDetails/ID",
            "GET /hitlDetails/ID",
            "DELETE /store/ti/ID",
            "PUT /store/ti/ID/a/key",
            "PATCH /connection-tests/ID",
            "GET /connection-tests/ID/connection",
        ] {
            assert_eq!(rule(request).1.as_deref(), Some("ID"), "{request}");
        }
        for request in [
            "GET /task-instances/count",
            "GET /task-instances/states",
            "GET /task-instances/previous/dag/task",
            "GET /task-reschedules/ID/start_date",
            "GET /variables/task-instances/ID/run",
            "GET /connections/ID",
            "POST /xcoms/dag/run/task/key",
            "PUT /store/asset/by-name/value",
            "GET /dag-runs/dag/run",
            "GET /",
        ] {
            assert_eq!(rule(request).1, None, "{request}");
        }
    }

    #[test]
    fn a_workload_token_only_begins_what_it_was_made_for() {
        for (request, expected) in [
            ("PATCH /task-instances/ID/run", true),
            ("PATCH /connection-tests/ID", true),
            ("GET /connection-tests/ID/connection", true),
            ("GET /task-instances/ID/run", false),
            ("PATCH /task-instances/ID/state", false),
            ("GET /connection-tests/ID", false),
            ("GET /variables/x", false),
        ] {
            assert_eq!(rule(request).0, expected, "{request}");
        }
    }
}
