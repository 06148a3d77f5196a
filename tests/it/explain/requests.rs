//! Whether a given request would pass.

use serde_json::json;

use super::Bench;
use crate::support::airflow;
use crate::support::claims::Claims;
use crate::support::entra::{now, v2_app};
use crate::support::http::Request;
use crate::support::keys::SigningKey;

const TASK: &str = "0198c2d4-0000-7000-8000-000000000000";

#[test]
fn a_request_is_judged_as_serve_judges_it() {
    let token = v2_app().token();
    let mut bench = Bench::with(|config| {
        config.set("/access/execution_api", "verify").set("/access/password_login", "closed")
    });
    for (request, pasted, reason, cause, fix) in [
        ("POST /auth/token", &token, "access_closed", "path_closed", "password_login"),
        ("GET /api/../etc", &token, "path_ambiguous", "path_ambiguous", "dot segments"),
        ("GET /airside/token", &token, "not_found", "path_of_airside", "exchange.enabled"),
        ("GET /execution/variables/x", &token, "token_kind", "only_for_workers", "scheduler"),
        ("TRACE /api/v2/dags", &token, "method_refused", "method_refused", "Allow header"),
    ] {
        bench.refused_at(pasted, &["--request", request], reason, cause, fix);
    }
    let task = airflow::sign(&airflow::task_claims(TASK));
    let other = "PATCH /execution/task-instances/0198c2d4-0000-7000-8000-000000000001/run";
    bench.refused_at(
        &task,
        &["--request", other],
        "claim_invalid",
        "task_of_another",
        "the path names",
    );
    let workload = airflow::sign(&airflow::task_claims(TASK).with("scope", "workload"));
    let variables = ["--request", "GET /execution/variables/x"];
    bench.refused_at(&workload, &variables, "token_kind", "workload_only", "Refreshed-API-Token");
    let own = airflow::sign(&airflow::task_claims(TASK));
    let path = format!("PATCH /execution/task-instances/{TASK}/run");
    for (request, pasted) in [
        ("GET /api/v2/dags", &token),
        ("DELETE /api/v2/dags/x", &token),
        ("GET /api/v2/version", &token),
        (path.as_str(), &own),
    ] {
        let (said, ended) = bench.json(pasted, &["--request", request]);
        assert_eq!(ended.code, Some(0), "{request}: {said:#}");
        assert_eq!(bench.serve(pasted, request), json!(null), "{request}");
        let last = said["steps"].as_array().unwrap().last().unwrap();
        assert_eq!((&last["name"], &last["verdict"]), (&json!("request"), &json!("ok")));
    }
}

#[test]
fn an_open_path_needs_no_token_and_an_untouched_one_is_airflows() {
    let bench = Bench::start();
    let task = airflow::sign(&airflow::task_claims(TASK));
    for (request, pasted, words) in [
        ("GET /api/v2/version", "a.b.c", "without an identity"),
        ("GET /execution/variables/x", task.as_str(), "untouched"),
    ] {
        let (said, ended) = bench.json(pasted, &["--request", request]);
        assert_eq!(ended.code, Some(0), "{said:#}");
        assert!(said["verdict"]["detail"].as_str().unwrap().contains(words), "{said:#}");
    }
}

#[test]
fn what_airflow_decides_by_the_role_is_said() {
    let bench = Bench::start();
    for (role, request, words) in [
        ("Airflow.Viewer", "DELETE /api/v2/dags/x", "expect Airflow's own 403"),
        ("Airflow.Viewer", "GET /api/v2/dags", "what Viewer may do"),
        ("Airflow.Op", "DELETE /api/v2/dags/x", "what Op may do"),
    ] {
        let (said, ended) = bench.json(&v2_app().roles(&[role]).token(), &["--request", request]);
        assert_eq!(ended.code, Some(0), "airside lets it pass");
        assert!(said["remarks"].to_string().contains(words), "{said:#}");
    }
}

#[test]
fn a_token_is_exchanged_or_not() {
    let mut bench = Bench::with(|config| config.set("/exchange/enabled", true));
    let exchange = ["--request", "POST /airside/token"];
    let (said, ended) = bench.json(&v2_app().token(), &exchange);
    assert_eq!(ended.code, Some(0), "{said:#}");
    let (said, ended) = bench.json(&airflow::token(), &exchange);
    assert_eq!(ended.code, Some(3));
    assert_eq!(said["causes"][0]["name"], "exchanged_already");
    for (subject, reason) in [
        (airflow::token(), "token_kind"),
        (v2_app().with("exp", 1000).token(), "token_expired"),
        (v2_app().roles(&[]).token(), "role_missing"),
        (format!("'{}'", v2_app().token()), "credential_malformed"),
    ] {
        let served = bench.scene.ask(&form(&subject));
        assert_eq!((served.status, &served.json()["reason"]), (400, &json!(reason)));
        let (said, _) = bench.json(&subject, &exchange);
        let verdict = &said["verdict"];
        assert_eq!((&verdict["status"], &verdict["reason"]), (&json!(400), &json!(reason)));
        assert_eq!(verdict["detail"], served.json()["error_description"]);
    }
    bench.let_in("as it is", &airflow::token());
}

/// A request to exchange this token (RFC 8693, section 2.1).
fn form(subject: &str) -> Request {
    let kind = "urn:ietf:params:oauth:token-type:jwt";
    let grant = "urn:ietf:params:oauth:grant-type:token-exchange";
    Request::new("POST", "/airside/token")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(format!("grant_type={grant}&subject_token_type={kind}&subject_token={subject}"))
}

#[test]
fn a_key_of_airsides_own_speaks_for_no_worker() {
    let ours = SigningKey::shared();
    let mut bench = Bench::with(|config| {
        let set = json!({"keys": [SigningKey::next().jwk(), ours.jwk()]}).to_string();
        let keys = config.file("keys.json", &set).display().to_string();
        let pem = config.file("ours.pem", &ours.private_pem()).display().to_string();
        config
            .set("/access/execution_api", "verify")
            .without("/handoff/secret_file")
            .set("/handoff/private_key_file", pem)
            .without("/issuers/1/secret_file")
            .set("/issuers/1/keys_file", keys)
    });
    let token = ours.token(airflow::task_claims(TASK).value());
    let variables = ["--request", "GET /execution/variables/x"];
    bench.refused_at(&token, &variables, "key_unknown", "key_of_airside", "gave the worker");
}

#[test]
fn a_head_that_is_too_large_is_told_from_a_token_that_is() {
    let mut bench = Bench::with(|config| config.set("/limits/header_bytes", 4096));
    let groups: Vec<String> = (0..100).map(|n| format!("11112222-bbbb-3333-{n:04}-x")).collect();
    let token = v2_app().with("groups", json!(groups)).token();
    bench.refused(&token, "headers_too_large", "head_too_large", "limits.header_bytes");
}

#[test]
fn an_edge_worker_brings_its_token_without_a_scheme() {
    let mut bench = Bench::with(|config| config.set("/access/execution_api", "verify"));
    let claims = Claims::new(json!({
        "method": "jobs/fetch/worker-1", "aud": "api",
        "iat": now(), "nbf": now(), "exp": now() + 600,
    }));
    let token = airflow::sign(&claims);
    let own = ["--request", "POST /edge_worker/v1/jobs/fetch/worker-1"];
    for pasted in [token.clone(), format!("Authorization: {token}")] {
        let (said, ended) = bench.json(&pasted, &own);
        assert_eq!(ended.code, Some(0), "{said:#}");
    }
    let other = ["--request", "POST /edge_worker/v1/jobs/fetch/worker-2"];
    let header = format!("Authorization: {token}");
    bench.refused_at(&header, &other, "claim_invalid", "task_of_another", "the path names");
}

#[test]
fn workers_at_their_own_port_are_judged_there() {
    let bench = Bench::with(|config| {
        config.set("/access/execution_api", "verify").set("/execution_listen", "127.0.0.1:0")
    });
    let task = airflow::sign(&airflow::task_claims(TASK));
    let request = format!("PATCH /execution/task-instances/{TASK}/run");
    let (said, ended) = bench.json(&task, &["--request", &request]);
    assert_eq!(ended.code, Some(0), "{said:#}");
}
