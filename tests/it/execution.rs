//! Workers under /execution/ where their tokens are verified first, and where they have an address
//! of their own. What is forwarded untouched is in `routes`.

use serde_json::json;

use crate::support::airflow::{self, task_claims};
use crate::support::claims::Claims;
use crate::support::config::{Config, SECRET};
use crate::support::entra::{now, v2_app, v2_user};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::{Connection, Request, Response};
use crate::support::issuer::Issuer;
use crate::support::keys::{CurveKey, SigningKey, hs256, hs512, unsigned};
use crate::support::scene::Scene;
use crate::support::upstream::{Answer, Upstream};

const TASK: &str = "01a200a6-add8-7fb6-b02e-123f4a563095";
const OTHER: &str = "01a200a6-add8-7fb6-b02e-000000000000";

fn verifying(config: Config) -> Config {
    config.set("/access/execution_api", "verify")
}

fn variable() -> Request {
    Request::get("/execution/variables/a%2Fb")
}

fn task() -> Claims {
    task_claims(TASK)
}

fn beat(task: &str) -> String {
    format!("PUT /execution/task-instances/{task}/heartbeat")
}

/// A request by its method and path.
fn request(line: &str) -> Request {
    let (method, path) = line.split_once(' ').unwrap();
    Request::new(method, path)
}

#[test]
fn a_verified_task_passes_as_it_came() {
    let scene = Scene::with(verifying);
    let token = airflow::sign(&task());
    let request = Request::new("PUT", &format!("/execution/task-instances/{TASK}/heartbeat?x=1"))
        .bearer(&token)
        .header("Airflow-API-Version", "2026-06-30")
        .header("X-Airside-User", "forged")
        .cookie("_token=of-somebody; session=x")
        .body("payload");
    let received = scene.forwarded(&request);
    assert_eq!(received.target(), format!("/execution/task-instances/{TASK}/heartbeat?x=1"));
    assert_eq!((received.method(), received.bearer()), ("PUT", token.as_str()));
    assert_eq!(received.body, b"payload");
    assert_eq!(received.header("airflow-api-version"), Some("2026-06-30"));
    assert!(received.header("cookie").is_none(), "one identity, not two");
    assert!(!received.text().to_lowercase().contains("x-airside-"), "{}", received.text());
}

#[test]
fn what_airflow_answers_a_verified_task_comes_back() {
    let headers = &["Airflow-API-Version: 2025-04-11", "Refreshed-API-Token: fresh"];
    let upstream = Upstream::answering(|_| Answer::ok(headers));
    let scene = Scene::of(Issuer::start(), upstream, verifying);
    let answer = scene.ask(&variable().bearer(&airflow::sign(&task())));
    assert_eq!(answer.header("refreshed-api-token"), Some("fresh"));
    assert_eq!(answer.header("airflow-api-version"), Some("2025-04-11"));
}

#[test]
fn a_task_is_taken_for_what_any_airflow_takes_it_for() {
    let scene = Scene::with(|config| verifying(config).set("/leeway", "0s"));
    let mut verdicts = Verdicts::default();
    for (label, claims) in [
        ("3.3", task()),
        ("3.0 and 3.1: no scope", task().without("scope")),
        ("no nbf", task().without("nbf")),
        ("no jti", task().without("jti")),
        ("iss []", task().with("iss", json!([]))),
        ("aud list", task().with("aud", json!(["other", "urn:airflow.apache.org:task"]))),
        ("further claims", task().with("otel", json!({"traceparent": "00-0-0-00"}))),
        ("sub in upper case", task().with("sub", TASK.to_uppercase())),
        ("sub without hyphens", task().with("sub", TASK.replace('-', ""))),
        // Airflow's own leeway is 10 s, whatever ours is.
        ("expired within Airflow's leeway", task().with("exp", now() - 5)),
        ("not yet valid within it", task().with("nbf", now() + 5)),
        ("issued in the future within it", task().with("iat", now() + 5)),
    ] {
        let token = airflow::sign(&claims);
        let answer = scene.ask(&request(&beat(TASK)).bearer(&token));
        verdicts.check(label, answer.status == 200, answer.text());
    }
}

#[test]
fn what_no_task_is_is_refused_before_airflow() {
    let scene = Scene::with(verifying);
    let mut verdicts = Verdicts::default();
    let ask = |token: &str| scene.ask(&variable().bearer(token));
    for (label, claims, reason) in [
        ("expired", task().with("exp", now() - 3600), "token_expired"),
        ("future", task().with("nbf", now() + 3600), "token_not_yet_valid"),
        ("issued in the future", task().with("iat", now() + 3600), "token_not_yet_valid"),
        ("no exp", task().without("exp"), "claim_missing"),
        ("no iat", task().without("iat"), "claim_missing"),
        ("no aud", task().without("aud"), "claim_missing"),
        ("no sub", task().without("sub"), "claim_missing"),
        ("exp as text", task().with("exp", "9999999999"), "claim_invalid"),
        ("sub is no UUID", task().with("sub", "admin"), "claim_invalid"),
        ("sub is a number", task().with("sub", 1), "claim_invalid"),
        ("jti is a number", task().with("jti", 1), "claim_invalid"),
        ("scope of nobody", task().with("scope", "admin"), "claim_invalid"),
        ("scope null", task().with("scope", json!(null)), "claim_invalid"),
        ("scope list", task().with("scope", json!(["execution"])), "claim_invalid"),
        ("a workload", task().with("scope", "workload"), "token_kind"),
        ("audience of the API", task().with("aud", "apache-airflow"), "audience_mismatch"),
        ("foreign iss", task().with("iss", "https://other.example"), "issuer_unknown"),
        ("Airflow's login", airflow::claims(), "audience_mismatch"),
    ] {
        verdicts.refused(label, &ask(&airflow::sign(&claims)), 401, &[reason]);
    }
    let claims = task();
    let by = |secret: &str| hs512(secret.as_bytes(), &airflow::header(), claims.value());
    for (label, token, reason) in [
        ("another secret", by("another secret"), "signature_invalid"),
        ("Entra", v2_app().token(), "token_kind"),
        (
            "Entra for tasks",
            v2_app().with("aud", "urn:airflow.apache.org:task").token(),
            "token_kind",
        ),
        ("an expired user of Entra", v2_user().with("exp", now() - 3600).token(), "token_kind"),
        (
            "HS256",
            hs256(SECRET.as_bytes(), &json!({"alg": "HS256"}), claims.value()),
            "algorithm_not_allowed",
        ),
        ("none", unsigned(&json!({"alg": "none"}), claims.value()), "algorithm_not_allowed"),
        ("nonsense", "worthless".to_owned(), "token_malformed"),
    ] {
        verdicts.refused(label, &ask(&token), 401, &[reason]);
    }
    let good = airflow::sign(&task());
    for (label, request, status, reason) in [
        ("nothing", variable(), 401, "credential_missing"),
        ("a cookie", variable().cookie(&format!("_token={good}")), 401, "credential_missing"),
        ("Basic", variable().header("Authorization", "Basic eDp5"), 401, "scheme_unsupported"),
        ("two", variable().bearer(&good).bearer(&good), 400, "credential_ambiguous"),
        (
            "in the query",
            Request::get(&format!("/execution/variables/x?token={good}")),
            401,
            "credential_missing",
        ),
    ] {
        verdicts.refused(label, &scene.ask(&request), status, &[reason]);
    }
    verdicts.check("nothing forwarded", scene.upstream.requests().is_empty(), ());
}

#[test]
fn a_task_speaks_for_itself_alone_and_a_workload_only_begins() {
    let scene = Scene::with(verifying);
    let mut verdicts = Verdicts::default();
    let execution = airflow::sign(&task());
    let workload = airflow::sign(&task().with("scope", "workload"));
    let run = |task: &str| format!("PATCH /execution/task-instances/{task}/run");
    let passed = (200, "");
    let (other, kind) = ((401, "claim_invalid"), (401, "token_kind"));
    for (line, execution_is, workload_is) in [
        (run(TASK), passed, passed),
        (run(OTHER), other, other),
        (run(&TASK.to_uppercase()), passed, passed),
        (run("count"), other, other),
        (format!("PATCH /execution/task-instances/{OTHER}%2Frun"), other, other),
        (format!("PATCH /execution/task%2Dinstances/{OTHER}/run"), other, other),
        (format!("PATCH /execution//task-instances/{OTHER}/run/"), other, other),
        (
            format!("PATCH /execution/task-instances/{}/run", OTHER.replacen('0', "%30", 1)),
            other,
            other,
        ),
        (format!("GET /execution/task-instances/{TASK}/run"), passed, kind),
        (beat(TASK), passed, kind),
        (beat(OTHER), other, kind),
        (format!("PATCH /execution/task-instances/{OTHER}/state"), other, kind),
        (format!("POST /execution/hitlDetails/{OTHER}"), other, kind),
        (format!("GET /execution/hitlDetails/{TASK}"), passed, kind),
        (format!("PUT /execution/store/ti/{OTHER}/a/key"), other, kind),
        (format!("DELETE /execution/store/ti/{TASK}"), passed, kind),
        (format!("PATCH /execution/connection-tests/{TASK}"), passed, passed),
        (format!("GET /execution/connection-tests/{OTHER}/connection"), other, other),
        // What a task asks about others.
        ("GET /execution/task-instances/count".into(), passed, kind),
        ("GET /execution/task-instances/states?dag_id=d".into(), passed, kind),
        ("GET /execution/task-instances/previous/dag/task".into(), passed, kind),
        ("GET /execution/task-instances/breadcrumbs".into(), passed, kind),
        // Only 3.3 compares the id here, so it is left to Airflow.
        (format!("GET /execution/task-reschedules/{OTHER}/start_date"), passed, kind),
        ("GET /execution/connections/c".into(), passed, kind),
        ("GET /execution/xcoms/d/r/t/k".into(), passed, kind),
        ("POST /execution/dag-runs/d/r".into(), passed, kind),
        ("PUT /execution/store/asset/by-name/value".into(), passed, kind),
        ("GET /execution/of-a-later-airflow/x".into(), passed, kind),
    ] {
        for (who, token, expected) in
            [("execution", &execution, execution_is), ("workload", &workload, workload_is)]
        {
            let label = format!("{who}: {line}");
            let answer = scene.ask(&request(&line).bearer(token));
            let received = scene.upstream.take();
            if expected == passed {
                let arrived = received.len() == 1 && received[0].bearer() == token;
                verdicts.check(&label, answer.status == 200 && arrived, answer.text());
            } else {
                verdicts.refused(&label, &answer, expected.0, &[expected.1]);
                verdicts.check(&label, received.is_empty(), "a request upstream");
            }
        }
    }
}

/// The claims with which an Edge worker calls this path of its API.
fn edge(path: &str) -> Claims {
    airflow::claims().without("sub").without("role").with("aud", "api").with("method", path)
}

#[test]
fn an_edge_worker_is_verified_by_its_own_kind_of_token() {
    let scene = Scene::with(verifying);
    let mut verdicts = Verdicts::default();
    let path = "jobs/fetch/worker-1";
    let bare = |claims: &Claims, line: &str| {
        scene.ask(&request(line).header("Authorization", &airflow::sign(claims)).body("{}"))
    };
    let fetch = format!("POST /edge_worker/v1/{path}");
    for (label, claims, line) in [
        ("as the provider makes it", edge(path), fetch.clone()),
        ("encoded on the way", edge(path), "POST /edge_worker/v1/jobs/fetch/worker%2D1".into()),
        ("encoded in the token", edge("worker/a%20b"), "PATCH /edge_worker/v1/worker/a%20b".into()),
        ("within Airflow's leeway", edge(path).with("exp", now() - 5), fetch.clone()),
    ] {
        let answer = bare(&claims, &line);
        let received = scene.upstream.take();
        let intact = received.len() == 1
            && received[0].header("authorization") == Some(&airflow::sign(&claims))
            && received[0].body == b"{}";
        verdicts.check(label, answer.status == 200 && intact, answer.text());
    }
    for (label, claims, reason) in [
        ("for another path", edge("jobs/fetch/worker-2"), "claim_invalid"),
        ("for no path", edge(path).without("method"), "claim_missing"),
        ("for the API", airflow::claims().with("method", path), "audience_mismatch"),
        ("of a task", task().with("method", path), "token_kind"),
        ("without nbf", edge(path).without("nbf"), "claim_missing"),
        ("expired", edge(path).with("exp", now() - 3600), "token_expired"),
    ] {
        verdicts.refused(label, &bare(&claims, &fetch), 401, &[reason]);
    }
    let schemed = request(&fetch).bearer(&airflow::sign(&edge(path)));
    verdicts.refused("after a scheme", &scene.ask(&schemed), 401, &["credential_malformed"]);
    verdicts.refused("nothing", &scene.ask(&request(&fetch)), 401, &["credential_missing"]);
    verdicts.check("nothing forwarded", scene.upstream.requests().is_empty(), ());
    let health = scene.ask(&Request::get("/edge_worker/v1/health"));
    verdicts.check("its health needs none", health.status == 200, health.text());
    // The rest is a part of the interface: for people, by their sessions and tokens.
    let page = Request::get("/edge_worker/ui/worker");
    verdicts.refused("a page", &scene.ask(&page), 401, &["credential_missing"]);
    for request in [page.clone().cookie("_token=x"), page.bearer(&v2_app().token())] {
        verdicts.check("a person", scene.ask(&request).status == 200, request);
    }
}

#[test]
fn airflows_health_needs_no_token_where_tokens_are_verified() {
    let scene = Scene::with(verifying);
    for path in ["/execution/health", "/execution/health/ping"] {
        let received = scene.forwarded(&Request::get(path));
        assert!(received.header("authorization").is_none());
    }
    for request in [
        Request::post("/execution/health"),
        Request::get("/execution/health/"),
        Request::get("/execution/healt%68"),
        Request::get("/execution/healthy"),
    ] {
        assert_refused(&scene.ask(&request), 401, "credential_missing");
    }
}

#[test]
fn a_key_of_ours_signs_no_task_even_where_airflow_trusts_it() {
    let (airflow, ours) = (SigningKey::next(), SigningKey::shared());
    let curve = CurveKey::ed25519();
    let scene = Scene::with(|config| {
        // One set for both, as `trusted_jwks_url` has it.
        let set = json!({"keys": [airflow.jwk(), ours.jwk_with("kid", "renamed"), curve.jwk()]});
        let keys = config.file("keys.json", &set.to_string());
        let ours = config.file("ours.pem", &ours.private_pem());
        let asserting = config.file("asserting.pem", &curve.private_pem());
        verifying(config)
            .without("/handoff/secret_file")
            .set("/handoff/private_key_file", ours.to_str())
            .set("/handoff/assertion", json!({"private_key_file": asserting}))
            .without("/issuers/1/secret_file")
            .set("/issuers/1/keys_file", keys.to_str())
    });
    let claims = task();
    let passed = scene.ask(&variable().bearer(&airflow.token(claims.value())));
    assert_eq!(passed.status, 200, "{}", passed.text());
    let header = json!({"alg": "RS256", "kid": "renamed"});
    for token in [ours.sign(&header, claims.value()), curve.token(claims.value())] {
        assert_refused(&scene.ask(&variable().bearer(&token)), 401, "key_unknown");
    }
    // On the API it is one of Airflow's like any other: what is exchanged comes back.
    let exchanged = ours.sign(&header, airflow::claims().value());
    assert_eq!(scene.present(&exchanged).status, 200);
}

#[test]
fn the_audience_of_tasks_is_airflows_to_choose() {
    let audiences = json!(["tasks-of-contoso", "urn:airflow.apache.org:task"]);
    let scene = Scene::with(|config| verifying(config).set("/issuers/1/task_audiences", audiences));
    for (audience, status) in
        [("tasks-of-contoso", 200), ("urn:airflow.apache.org:task", 200), ("api", 401)]
    {
        let token = airflow::sign(&task().with("aud", audience));
        assert_eq!(scene.ask(&variable().bearer(&token)).status, status, "{audience}");
    }
}

#[test]
fn a_task_can_be_revoked_where_it_is_verified() {
    let jti = "0123456789abcdef0123456789abcdef";
    let scene = Scene::with(|config| {
        let list = config.file("revoked.yaml", &json!([{"jti": jti}]).to_string());
        verifying(config).set("/revocation/file", list.to_str())
    });
    let answer = scene.ask(&variable().bearer(&airflow::sign(&task())));
    assert_refused(&answer, 401, "token_revoked");
    let other = airflow::sign(&task().with("jti", "another"));
    assert_eq!(scene.ask(&variable().bearer(&other)).status, 200);
}

#[test]
fn the_log_names_the_task() {
    let scene = Scene::with(verifying);
    let token = airflow::sign(&task());
    let id = |answer: &Response| answer.header("x-request-id").unwrap().to_owned();
    let passed = id(&scene.ask(&variable().bearer(&token)));
    let refused = id(&scene.ask(&request(&beat(OTHER)).bearer(&token)));
    let log = scene.finish().log();
    let line = |id: &str| log.lines().find(|line| line.contains(id)).unwrap().to_owned();
    for word in ["class=execution", "issuer=\"airflow\"", TASK, "status=200"] {
        assert!(line(&passed).contains(word), "{word}: {}", line(&passed));
    }
    for word in ["reason=claim_invalid", TASK, OTHER, "status=401"] {
        assert!(line(&refused).contains(word), "{word}: {}", line(&refused));
    }
    assert!(!log.contains(token.rsplit('.').next().unwrap()), "a signature in the log");
}

/// A scene whose workers have an address of their own, and that address.
fn apart(hook: impl FnOnce(Config) -> Config) -> (Scene, std::net::SocketAddr) {
    let mut scene = Scene::with(|config| hook(config.set("/execution_listen", "127.0.0.1:0")));
    let workers = scene.airside.listener("execution");
    (scene, workers)
}

#[test]
fn workers_with_an_address_of_their_own_are_served_there_alone() {
    let (scene, workers) = apart(|config| config.set("/access/docs", "open"));
    assert_ne!(workers, scene.airside.proxy);
    let mut verdicts = Verdicts::default();
    for line in [
        "PATCH /execution/task-instances/x/run",
        "GET /execution/health",
        "GET /execution/docs",
        "PUT /edge_worker/v1/jobs/x",
    ] {
        let request = request(line).bearer("any-credential-at-all");
        verdicts.refused(line, &scene.ask(&request), 403, &["access_closed"]);
        verdicts.check(line, scene.upstream.take().is_empty(), "a request upstream");
        let answer = request.send(workers);
        let arrived = scene.upstream.take().len() == 1;
        verdicts.check(line, answer.status == 200 && arrived, answer.text());
    }
    for line in ["GET /api/v2/version", "GET /", "POST /auth/token", "GET /docs"] {
        verdicts.check(line, scene.ask(&request(line)).status == 200, ());
        verdicts.check(line, scene.upstream.take().len() == 1, ());
        verdicts.refused(line, &request(line).send(workers), 403, &["access_closed"]);
    }
    let entra = Request::get("/api/v2/dags").bearer(&v2_app().token());
    verdicts.check("the API here", scene.ask(&entra).status == 200, ());
    scene.upstream.take();
    verdicts.refused("the API there", &entra.send(workers), 403, &["access_closed"]);
    for (line, status, reason) in [
        ("POST /airside/token", 404, "not_found"),
        ("GET /execution/../api/v2/dags", 400, "path_ambiguous"),
        ("TRACE /execution/x", 405, "method_refused"),
        ("GET /%65xecution/x", 401, "credential_missing"),
    ] {
        verdicts.refused(line, &request(line).send(workers), status, &[reason]);
    }
    verdicts.check("nothing forwarded", scene.upstream.requests().is_empty(), ());
}

#[test]
fn the_address_of_workers_has_the_rules_of_the_other() {
    let (_running, workers) = apart(|config| {
        verifying(config).set("/limits/header_bytes", 4096).set("/limits/body_bytes", 10)
    });
    let good = variable().bearer(&airflow::sign(&task()));
    assert_eq!(good.send(workers).status, 200);
    assert_refused(&variable().send(workers), 401, "credential_missing");
    let large = good.clone().header("X-Filler", &"x".repeat(5000));
    assert_refused(&large.send(workers), 431, "headers_too_large");
    let body = Request::new("PUT", "/execution/variables/x").bearer(&airflow::sign(&task()));
    assert_refused(&body.body("more than ten bytes").send(workers), 413, "body_too_large");
    let (_running, closed) = apart(|config| config.set("/access/execution_api", "closed"));
    assert_refused(&good.send(closed), 403, "access_closed");
}

#[test]
fn the_limit_on_connections_is_one_for_both_addresses() {
    let (scene, workers) = apart(|config| config.set("/limits/connections", 1));
    let mut held = Connection::open(scene.airside.proxy);
    held.send(&Request::get("/api/v2/version").bytes(scene.airside.proxy)).unwrap();
    assert_eq!(held.response_to("GET").unwrap().status, 200);
    assert_refused(&Request::get("/execution/health").send(workers), 503, "overloaded");
    drop(held);
    crate::support::wait::eventually("there is room again", || {
        Request::get("/execution/health").try_send(workers).ok().filter(|it| it.status == 200)
    });
}

#[test]
fn workers_are_drained_like_callers() {
    let mut scene = Scene::of(Issuer::start(), Upstream::start(), |config| {
        config.set("/execution_listen", "127.0.0.1:0").set("/drain/delay", "1s")
    });
    let workers = scene.airside.listener("execution");
    let health = Request::get("/execution/health");
    scene.airside.terminate();
    assert_eq!(health.send(workers).status, 200, "until the load balancers have noticed");
    crate::support::wait::eventually("closed", || health.try_send(workers).is_err().then_some(()));
    let ended = scene.airside.ended_within(crate::support::wait::DEADLINE);
    assert_eq!(ended.code, Some(0), "{}", ended.log());
}
