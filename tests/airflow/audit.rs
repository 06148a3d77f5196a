//! The audit in access lines and Airflow's own event log tell the same of the same request.

use serde_json::{Value, json};

use crate::flight::{Flight, post, with_json};
use crate::stock::Recipe;
use crate::support::entra::{USER, v2_user};
use crate::support::expect::Verdicts;
use crate::support::http::Request;

#[test]
fn airflows_event_log_has_the_same_word_and_the_same_name() {
    let flight = Flight::with(&Recipe::usual(), |config| config.set("/log/format", "json"));
    let token = v2_user().token();
    let variable = |value: &str| json!({"key": "audited", "value": value});
    let mut verdicts = Verdicts::default();
    for (request, dag, object) in [
        (post("/api/v2/dags/demo/dagRuns", &json!({"logical_date": null})), Some("demo"), None),
        (with_json("PATCH", "/api/v2/dags/demo", &json!({"is_paused": false})), Some("demo"), None),
        (
            post("/api/v2/dags/demo/clearTaskInstances", &json!({"dry_run": false})),
            Some("demo"),
            None,
        ),
        (post("/api/v2/variables", &variable("1")), None, None),
        (with_json("PATCH", "/api/v2/variables/audited", &variable("2")), None, Some("audited")),
        (Request::new("DELETE", "/api/v2/variables/audited"), None, Some("audited")),
        (
            post("/api/v2/connections", &json!({"connection_id": "audited", "conn_type": "http"})),
            None,
            None,
        ),
        (Request::new("DELETE", "/api/v2/connections/audited"), None, Some("audited")),
        (post("/api/v2/pools", &json!({"name": "audited", "slots": 1})), None, None),
        (Request::new("DELETE", "/api/v2/pools/audited"), None, Some("audited")),
    ] {
        let answer = flight.ask(&request.bearer(&token));
        assert!(answer.status < 300, "{} {}", answer.head.first, answer.text());
        let id = answer.header("x-request-id").unwrap();
        let line: Value = serde_json::from_str(&flight.airside.line_with(&[id])).unwrap();
        let ours = (&line["action"], &line["principal"], &line["dag_id"], &line["object"]);
        let newest = "select event, owner, dag_id from log order by id desc limit 1";
        let told = flight.airflow.query(newest)[0].clone();
        let airflows = (&told[0], &told[1], &told[2], &json!(object));
        verdicts.check("the same", ours == airflows, (&line, &told));
        verdicts.check("the caller", line["principal"] == USER, &line);
        verdicts.check("the DAG", line["dag_id"] == json!(dag), &line);
    }
}
