//! Which path is open, which is Airflow's to judge, and which is closed without a token.

use serde_json::json;

use crate::support::airflow;
use crate::support::config::Config;
use crate::support::entra::{now, v2_app};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::{Connection, Request, Response};
use crate::support::http2::Http2;
use crate::support::scene::Scene;
use crate::support::upstream::Received;

/// What becomes of a request without a credential.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// Forwarded, byte for byte the same target, with no identity.
    Passed,
    /// 401 `credential_missing`.
    Protected,
    /// 403 `access_closed`.
    Closed,
    /// 404 `not_found`.
    NotFound,
    /// 405 `method_refused`.
    MethodRefused,
    /// 400 `path_ambiguous`.
    Ambiguous,
}

use Outcome::{Ambiguous, Closed, MethodRefused, NotFound, Passed, Protected};

#[test]
fn the_open_entries_are_exact() {
    judge(
        |config| config,
        &[
            ("GET", "/api/v2/monitor/health", Passed),
            ("GET", "/api/v2/version", Passed),
            ("HEAD", "/api/v2/monitor/health", Passed),
            ("HEAD", "/api/v2/version", Passed),
            ("GET", "/api/v2/version?verbose=1", Passed),
            ("POST", "/api/v2/version", Protected),
            ("PUT", "/api/v2/monitor/health", Protected),
            ("DELETE", "/api/v2/version", Protected),
            ("OPTIONS", "/api/v2/version", Protected),
            ("get", "/api/v2/version", Protected),
            ("GET", "/api/v2/version/", Protected),
            ("GET", "/api/v2/versions", Protected),
            ("GET", "/api/v2/version/x", Protected),
            ("GET", "/api/v2/version.json", Protected),
            ("GET", "/api/v2/version;x=y", Protected),
            ("GET", "/api/v2;x=y/version", Protected),
            ("GET", "/api/v2/monitor/health;/dags", Protected),
            ("GET", "/api/v2/monitor/health/dags", Protected),
            ("GET", "/api/v2/monitor//health", Protected),
            ("GET", "/api/v2/monitor/health//", Protected),
            ("GET", "/api/v2/monitor/health.json", Protected),
            ("GET", "/api/v2/MONITOR/health", Protected),
            ("GET", "/api/V2/version", Protected),
            ("PATCH", "/api/v2/monitor/health", Protected),
            ("HEADX", "/api/v2/version", Protected),
            ("GET", "/api/v2/Version", Protected),
            ("GET", "/api/v2/monitor/healthX", Protected),
            ("GET", "/api/v2/monitor/health/", Protected),
            ("GET", "/api/v2/monitor", Protected),
            ("GET", "/api/v2//version", Protected),
            ("GET", "/api/v2/dags?x=/api/v2/version", Protected),
            ("GET", "/api/v2/dags?/api/v2/monitor/health", Protected),
        ],
    );
}

#[test]
fn an_encoded_path_is_never_open() {
    judge(
        |config| config,
        &[
            ("GET", "/api/v2/%76ersion", Protected),
            ("GET", "/%61pi/v2/version", Protected),
            ("GET", "/api%2Fv2%2Fversion", Protected),
            ("GET", "/api/v2%2fversion", Protected),
            ("GET", "/api/v2/version%20", Protected),
            ("GET", "/api/v2/version%23", Protected),
            ("GET", "/api/v2/version%3Fx", Protected),
            ("GET", "/api/v2/dags%23/api/v2/version", Protected),
            ("GET", "/api/v2/version%252F..", Protected),
            ("GET", "/api/v2/version%2F", Protected),
            ("GET", "/api/v2/monitor%2Fhealth", Protected),
            ("GET", "/api/v2/monitor%252fhealth", Protected),
            ("GET", "/api/v2/monitor/health%2f%252e%252e%2fdags", Protected),
            ("GET", "/api/v2/monitor/health%3b/dags", Protected),
            ("GET", "/api/v2/monitor/health%2ejson", Protected),
            ("GET", "/%2Fapi/v2/version", Protected),
            // Letters that only some take for the same: wide, long, without a dot, overlong.
            ("GET", "/api/v2/%EF%BD%96ersion", Protected),
            ("GET", "/api/v2/ver%C5%BFion", Protected),
            ("GET", "/api/v2/vers%C4%B1on", Protected),
            ("GET", "/api/v2%C0%AFversion", Protected),
            ("GET", "/api/v2%E2%81%84version", Protected),
            ("GET", "/api/v2/x/%C0%AE%C0%AE/version", Protected),
            ("GET", "/api/v2/x/%E2%80%A5/version", Protected),
            ("GET", "/api/v2/version%E2%80%8B", Protected),
            ("POST", "/auth%2Ftoken", Protected),
            ("POST", "/auth/toke%6e", Protected),
        ],
    );
}

#[test]
fn an_encoded_path_is_closed_like_the_plain_one() {
    judge(
        |config| config.set("/access/execution_api", "closed"),
        &[
            ("GET", "/%61pi/v2/dags", Protected),
            ("GET", "/ap%69/v2/dags", Protected),
            ("GET", "/api%2Fv2%2Fdags", Protected),
            ("GET", "/%75i/config", Protected),
            ("GET", "/ui%2fconfig", Protected),
            ("GET", "/%64ocs", Protected),
            ("GET", "/openapi%2Ejson", Protected),
            ("GET", "/auth/%66ab/v1/users", Protected),
            ("GET", "/auth%2ffab%2fv1%2fusers", Protected),
            ("GET", "/auth/%74oken", Protected),
            ("GET", "/execution/x", Closed),
            ("POST", "/%65xecution/task-instances/x/run", Closed),
            ("GET", "/execution%2Fvariables%2Fx", Closed),
            ("GET", "/edge%5Fworker/v1/jobs", Closed),
            ("GET", "/%61irside/token", NotFound),
        ],
    );
}

#[test]
fn ambiguous_paths_are_refused_before_anything_else() {
    judge(
        |config| config,
        &[
            ("GET", "/api/v2/monitor/health/../../dags", Ambiguous),
            ("GET", "/api/v2/version/..", Ambiguous),
            ("GET", "/api/v2/monitor/health%2f..%2f..%2fdags", Ambiguous),
            ("GET", "/api/v2/monitor/health%2F..%2F..%2Fdags", Ambiguous),
            ("GET", "/api/v2/monitor/health/..;/..;/dags", Ambiguous),
            ("GET", "/api/v2/monitor/health/..;a=b/dags", Ambiguous),
            ("GET", "/api/v2/monitor/health/%2e%2e;/dags", Ambiguous),
            ("GET", "/api/v2/monitor/health/.;/dags", Ambiguous),
            ("GET", "/api/v2/version%00", Ambiguous),
            ("GET", "/api/v2/version%0d%0aX:y", Ambiguous),
            ("GET", "/api/v2/./version", Ambiguous),
            ("GET", "/api/v2/version/.", Ambiguous),
            ("GET", "/..", Ambiguous),
            ("GET", "/./", Ambiguous),
            ("GET", "/static/%2e%2e/api/v2/dags", Ambiguous),
            ("GET", "/static/%2E%2E/api/v2/dags", Ambiguous),
            ("GET", "/static/.%2e/api/v2/dags", Ambiguous),
            ("GET", "/static/..%2Fapi/v2/dags", Ambiguous),
            ("GET", "/static%2F..%2fapi/v2/dags", Ambiguous),
            ("GET", "/static/..%5Capi", Ambiguous),
            ("GET", "/static%5c..%5capi", Ambiguous),
            ("GET", "/static/%2e/x", Ambiguous),
            ("GET", "/execution/../api/v2/dags", Ambiguous),
            ("GET", "/execution/%2e%2e/api/v2/dags", Ambiguous),
            ("GET", "/airside/../api/v2/dags", Ambiguous),
            ("GET", "//api/v2/version", Ambiguous),
            ("GET", "//evil.example/api/v2/version", Ambiguous),
            ("GET", "///", Ambiguous),
            ("GET", "/dags/%", Ambiguous),
            ("GET", "/dags/%4", Ambiguous),
            ("GET", "/dags/%zz", Ambiguous),
            ("GET", "/dags/%u002f", Ambiguous),
            ("POST", "/auth/token/../token", Ambiguous),
        ],
    );
}

#[test]
fn a_token_does_not_make_an_ambiguous_path_good() {
    let scene = Scene::start();
    for target in ["/api/v2/x/../dags", "//api/v2/dags", "/api/v2/%2e%2e/dags", "/api/v2/%zz"] {
        let answer = scene.ask(&Request::get(target).bearer(&v2_app().token()));
        assert_refused(&answer, 400, "path_ambiguous");
    }
    assert!(scene.upstream.requests().is_empty());
}

#[test]
fn bytes_that_no_path_has_are_never_forwarded() {
    let scene = Scene::start();
    for target in [
        &b"/api/v2/version\\..\\dags"[..],
        b"/dags\\x",
        b"/dags/\x01",
        b"/dags/\x7f",
        b"/dags/\0",
        b"/dags/a\tb",
    ] {
        let mut connection = Connection::open(scene.airside.proxy);
        let head = [b"GET ", target, b" HTTP/1.1\r\nHost: airflow\r\n\r\n"].concat();
        connection.send(&head).unwrap();
        let answer = connection.response_to("GET").unwrap();
        assert_eq!(answer.status, 400, "{:?}", String::from_utf8_lossy(target));
    }
    assert!(scene.upstream.requests().is_empty());
}

#[test]
fn encoded_control_bytes_open_nothing() {
    let scene = Scene::start();
    for target in ["/api/v2/version%00", "/api/v2/version%0a", "/api/v2/monitor/health%0d%0a"] {
        let answer = scene.ask(&Request::get(target));
        assert!(matches!(answer.status, 400 | 401), "{target}: {}", answer.text());
    }
    assert!(scene.upstream.requests().is_empty());
}

#[test]
fn what_is_encoded_for_a_reason_is_forwarded_as_it_came() {
    let scene = Scene::start();
    let token = v2_app().token();
    let mut verdicts = Verdicts::default();
    for target in [
        "/api/v2/variables/a%2Fb",
        "/api/v2/variables/100%25",
        "/api/v2/variables/%252e%252e",
        "/api/v2/dags/d/dagRuns/manual__2026-01-01T00%3A00%3A00%2B00%3A00/taskInstances",
        "/api/v2/dags/d/dagRuns/manual__2026-01-01T00:00:00+00:00",
        "/api/v2/xcomEntries/a//b",
        "/api/v2/%64ags",
        "/api/v2/dags/~/dagRuns",
        "/api/v2/dags/name.with.dots..and...more",
        "/api/v2/dags?dag_id_pattern=%25a%2e%2e/../b&x=//&y=\\",
        "/api/v2/dags?",
        "/api/v2/dags/caf%C3%A9",
    ] {
        let received = scene.forwarded(&Request::get(target).bearer(&token));
        verdicts.check(target, received.target() == target, received.target());
    }
}

#[test]
fn the_shell_of_the_ui_loads_without_a_token() {
    judge(
        |config| config,
        &[
            ("GET", "/", Passed),
            ("HEAD", "/", Passed),
            ("GET", "/dags", Passed),
            ("GET", "/dags/example/runs/manual__2026-01-01T00%3A00%3A00/tasks/t?tab=logs", Passed),
            ("GET", "/static/assets/index-abc.js", Passed),
            ("GET", "/favicon.ico", Passed),
            ("GET", "/login", Passed),
            ("GET", "/auth/login", Passed),
            ("GET", "/auth/login/?next=/", Passed),
            ("GET", "/auth/logout", Passed),
            ("GET", "/auth/oauth-authorized/azure?code=c&state=s", Passed),
            ("GET", "/api/v2/auth/login?next=%2F", Passed),
            ("GET", "/api/v2/auth/logout", Passed),
            ("GET", "/pluginsv2/x", Passed),
            ("GET", "/apix", Passed),
            ("GET", "/API/v2/dags", Passed),
            ("GET", "/uikit/config", Passed),
            ("GET", "/executions", Passed),
            ("GET", "/a//b", Passed),
            ("GET", "/a%2Fb", Passed),
            ("POST", "/", Protected),
            ("PUT", "/dags", Protected),
            ("DELETE", "/static/x", Protected),
            ("OPTIONS", "/", Protected),
            ("POST", "/static/x", Protected),
            ("GET", "/api", Protected),
            ("GET", "/api/", Protected),
            ("GET", "/api/v2/dags", Protected),
            ("GET", "/api/v2/auth/loginx", Protected),
            ("GET", "/api/v2/auth/menus", Protected),
            ("GET", "/api/v1/dags", Protected),
            ("GET", "/ui", Protected),
            ("GET", "/ui/config", Protected),
            ("GET", "/ui/auth/me", Protected),
            ("GET", "/auth/fab", Protected),
            ("GET", "/auth/fab/v1/users", Protected),
            ("GET", "/auth/token", Protected),
            ("GET", "/auth/token/login", Protected),
            ("OPTIONS", "/api/v2/dags", Protected),
            ("POST", "/api/v2/dags/x/dagRuns", Protected),
            ("PATCH", "/ui/backfills", Protected),
        ],
    );
}

#[test]
fn a_closed_ui_needs_a_token_everywhere() {
    judge(
        |config| config.set("/access/ui", "closed"),
        &[
            ("GET", "/", Protected),
            ("GET", "/dags", Protected),
            ("GET", "/static/assets/index-abc.js", Protected),
            ("GET", "/auth/login", Protected),
            ("GET", "/api/v2/auth/login", Protected),
            ("GET", "/auth/oauth-authorized/azure", Protected),
            ("GET", "/api/v2/version", Passed),
            ("HEAD", "/api/v2/monitor/health", Passed),
            // With the interface closed, so are the password doors unless they are opened by name.
            ("POST", "/auth/token", Closed),
            ("POST", "/auth/login/", Closed),
        ],
    );
    let scene = Scene::with(|config| config.set("/access/ui", "closed"));
    let received = scene.forwarded(&Request::get("/dags").bearer(&v2_app().token()));
    assert!(received.header("x-airside-user").is_some());
    let open = Request::get("/api/v2/version").cookie("_token=x; session=y");
    assert!(scene.forwarded(&open).header("cookie").is_none());
    let answer = scene.ask(&Request::get("/api/v2/dags").cookie("_token=x"));
    assert_refused(&answer, 401, "credential_missing");
}

#[test]
fn with_the_interface_closed_no_cookie_passes_anywhere() {
    let scene = Scene::with(|config| {
        config
            .set("/access/ui", "closed")
            .set("/access/password_login", "open")
            .set("/access/docs", "open")
            .set("/access/preflight", "airflow")
            .set("/access/public", json!(["POST /api/v2/hook"]))
    });
    let cookie = "_token=of-somebody; session=of-somebody; theme=dark";
    let preflight = Request::new("OPTIONS", "/api/v2/dags")
        .header("Origin", "https://dashboard.example")
        .header("Access-Control-Request-Method", "POST");
    for request in [
        Request::get("/api/v2/version"),
        Request::post("/api/v2/hook"),
        Request::post("/auth/token"),
        Request::post("/auth/login/"),
        Request::get("/docs"),
        preflight,
        Request::get("/execution/variables/x").bearer("a-task"),
        Request::get("/edge_worker/v1/x"),
        Request::get("/api/v2/dags").bearer(&v2_app().token()),
        Request::get("/api/v2/dags").bearer(&airflow::token()),
    ] {
        let received = scene.forwarded(&request.cookie(cookie).cookie("_token=another"));
        assert!(received.header("cookie").is_none(), "{}", received.text());
        assert!(!received.text().contains("somebody"), "{}", received.text());
    }
}

#[test]
fn password_doors_are_open_or_closed() {
    judge(
        |config| config,
        &[
            ("POST", "/auth/token", Passed),
            ("POST", "/auth/token/cli", Passed),
            ("POST", "/auth/login/", Passed),
            ("PUT", "/auth/token", Protected),
            ("POST", "/auth/token/other", Protected),
        ],
    );
    judge(
        |config| config.set("/access/password_login", "closed"),
        &[
            ("POST", "/auth/token", Closed),
            ("POST", "/auth/token/cli", Closed),
            ("POST", "/auth/login/", Closed),
            ("POST", "/auth/tok%65n", Closed),
            ("POST", "/auth%2Ftoken%2Fcli", Closed),
            ("GET", "/auth/login/", Passed),
        ],
    );
    judge(
        |config| config.set("/access/ui", "closed").set("/access/password_login", "open"),
        &[("POST", "/auth/token", Passed), ("GET", "/auth/login/", Protected)],
    );
    let scene = Scene::with(|config| config.set("/access/password_login", "closed"));
    for token in [v2_app().token(), airflow::token()] {
        let answer = scene.ask(&Request::post("/auth/token").bearer(&token));
        assert_refused(&answer, 403, "access_closed");
    }
}

#[test]
fn a_password_passes_untouched_through_its_door() {
    let scene = Scene::start();
    let body = r#"{"username":"admin","password":"p"}"#;
    let received = scene.forwarded(&Request::new("POST", "/auth/token").body(body));
    assert_eq!(received.body, body.as_bytes());
    assert!(received.header("authorization").is_none());
}

#[test]
fn documents_need_a_token_unless_they_are_opened() {
    const DOCUMENTS: [&str; 10] = [
        "/docs",
        "/redoc",
        "/openapi.json",
        "/auth/docs",
        "/auth/redoc",
        "/auth/openapi.json",
        "/execution/docs",
        "/execution/redoc",
        "/execution/openapi.json",
        "/execution/changelog",
    ];
    let closed: Vec<_> = DOCUMENTS.map(|path| ("GET", path, Protected)).into();
    judge(|config| config, &closed);
    let open: Vec<_> = DOCUMENTS.map(|path| ("GET", path, Passed)).into();
    judge(|config| config.set("/access/docs", "open"), &open);
    let scene = Scene::start();
    for path in DOCUMENTS {
        scene.forwarded(&Request::get(path).bearer(&v2_app().token()));
        let by_session = scene.forwarded(&Request::get(path).cookie("_token=x"));
        assert_eq!(by_session.header("cookie"), Some("_token=x"), "{path}");
    }
}

#[test]
fn workers_pass_untouched() {
    let scene = Scene::start();
    let mut verdicts = Verdicts::default();
    for (method, target) in [
        ("PATCH", "/execution/task-instances/0190f7a6-0000-7000-8000-000000000000/run"),
        ("GET", "/execution/variables/a%2Fb"),
        ("GET", "/execution/health"),
        ("POST", "/execution/xcoms/d/r/t/k?map_index=-1"),
        ("PUT", "/edge_worker/v1/jobs/x"),
        ("OPTIONS", "/execution/x"),
    ] {
        let request = Request::new(method, target)
            .header("Authorization", "Bearer any-credential-at-all")
            .header("Airflow-API-Version", "2026-06-30")
            .cookie("_token=x")
            .body("payload");
        let received = scene.forwarded(&request);
        let untouched = received.target() == target
            && received.method() == method
            && received.body == b"payload"
            && received.header("authorization") == Some("Bearer any-credential-at-all")
            && received.header("airflow-api-version") == Some("2026-06-30")
            && received.header("cookie") == Some("_token=x");
        verdicts.check(target, untouched, received.text());
        let ours = received.text().to_lowercase().contains("x-airside-");
        verdicts.check(target, !ours, received.text());
    }
    let entra = v2_app().token();
    let received = scene.forwarded(&Request::get("/execution/variables/x").bearer(&entra));
    verdicts.check("an Entra token stays itself", received.bearer() == entra, received.text());
    judge(
        |config| config,
        &[("GET", "/execution/health", Passed), ("GET", "/edge_worker/x", Passed)],
    );
}

#[test]
fn a_renewed_task_token_reaches_the_worker() {
    use crate::support::upstream::Answer;
    let scene = Scene::answering(|_| Answer::ok(&["Refreshed-API-Token: fresh"]));
    let answer = scene.ask(&Request::get("/execution/variables/x").bearer("task"));
    assert_eq!(answer.header("refreshed-api-token"), Some("fresh"));
}

#[test]
fn a_closed_execution_api_is_closed_for_everyone() {
    let closed = |config: Config| config.set("/access/execution_api", "closed");
    judge(
        closed,
        &[("GET", "/execution/health", Closed), ("POST", "/edge_worker/v1/jobs", Closed)],
    );
    let scene = Scene::with(closed);
    let answer = scene.ask(&Request::get("/execution/variables/x").bearer(&v2_app().token()));
    assert_refused(&answer, 403, "access_closed");
    let answer = scene.ask(&Request::get("/execution/variables/x").bearer(&airflow::token()));
    assert_refused(&answer, 403, "access_closed");
    assert!(scene.upstream.requests().is_empty());
}

#[test]
fn our_own_paths_are_never_forwarded() {
    judge(
        |config| config,
        &[
            ("GET", "/airside/", NotFound),
            ("GET", "/airside/token", NotFound),
            ("POST", "/airside/token", NotFound),
            ("GET", "/airside/anything/below", NotFound),
            ("OPTIONS", "/airside/x", NotFound),
        ],
    );
    let scene = Scene::start();
    let answer = scene.ask(&Request::get("/airside/x").bearer(&v2_app().token()));
    assert_refused(&answer, 404, "not_found");
    let answer = scene.ask(&Request::get("/airside/x").cookie("_token=x"));
    assert_refused(&answer, 404, "not_found");
    assert!(scene.upstream.requests().is_empty());
}

#[test]
fn connect_and_trace_are_refused() {
    judge(
        |config| config,
        &[
            ("TRACE", "/api/v2/version", MethodRefused),
            ("TRACE", "/", MethodRefused),
            ("TRACE", "/execution/x", MethodRefused),
        ],
    );
    let scene = Scene::start();
    let connect = Request::new("CONNECT", "airflow.example:443").host("airflow.example:443");
    assert_refused(&scene.ask(&connect), 405, "method_refused");
    let answer = scene.ask(&Request::new("TRACE", "/api/v2/dags").bearer(&v2_app().token()));
    assert_refused(&answer, 405, "method_refused");
}

#[test]
fn every_table_is_applied_below_the_base_path_too() {
    let below = |config: Config| {
        config
            .set("/upstream/base_path", "/airflow")
            .set("/access/password_login", "closed")
            .set("/access/execution_api", "closed")
    };
    judge(
        below,
        &[
            ("GET", "/airflow/api/v2/version", Passed),
            ("HEAD", "/airflow/api/v2/monitor/health", Passed),
            ("GET", "/api/v2/version", Passed),
            ("GET", "/airflow/", Passed),
            ("GET", "/airflow/dags", Passed),
            ("GET", "/airflow/static/x.js", Passed),
            ("GET", "/airflow/api/v2/auth/login", Passed),
            ("GET", "/airflow/api/v2/dags", Protected),
            ("GET", "/api/v2/dags", Protected),
            ("GET", "/airflow/ui/config", Protected),
            ("GET", "/airflow/docs", Protected),
            ("GET", "/airflow/auth/fab/v1/users", Protected),
            ("GET", "/air%66low/api/v2/dags", Protected),
            ("GET", "/airflow/%61pi/v2/dags", Protected),
            ("GET", "/airflow%2Fapi%2Fv2%2Fdags", Protected),
            ("POST", "/airflow/auth/token", Closed),
            ("POST", "/auth/token", Closed),
            ("GET", "/airflow/execution/x", Closed),
            ("GET", "/execution/x", Closed),
            ("GET", "/airflow/airside/x", NotFound),
            ("GET", "/airflow/../api/v2/dags", Ambiguous),
            ("GET", "/airflow/..%2fapi/v2/dags", Ambiguous),
            ("GET", "/airflow/..;/api/v2/dags", Ambiguous),
            ("GET", "/airflow%2f%2e%2e/api/v2/dags", Ambiguous),
            ("GET", "//airflow/api/v2/version", Ambiguous),
            ("GET", "/airflow//api/v2/dags", Protected),
            ("GET", "/airflow//api/v2/version", Protected),
            ("GET", "/airflow/airflow/api/v2/dags", Passed),
            ("GET", "/airflow/airflow/api/v2/version", Passed),
            ("GET", "/airflowx/api/v2/version", Passed),
            ("GET", "/AIRFLOW/api/v2/dags", Passed),
            ("GET", "/airflow;x/api/v2/dags", Passed),
            ("GET", "/airflow/api/v2/version/", Protected),
            ("POST", "/airflow/dags", Protected),
        ],
    );
    let scene = Scene::with(below);
    let request = Request::get("/airflow/api/v2/dags").bearer(&v2_app().token());
    assert_eq!(scene.forwarded(&request).target(), "/airflow/api/v2/dags");
}

#[test]
fn further_entries_can_be_opened_by_name() {
    judge(
        |config| config.set("/access/public", json!(["GET /api/v2/plugins", "POST /api/v2/hook"])),
        &[
            ("GET", "/api/v2/plugins", Passed),
            ("HEAD", "/api/v2/plugins", Passed),
            ("POST", "/api/v2/hook", Passed),
            ("POST", "/api/v2/plugins", Protected),
            ("GET", "/api/v2/hook", Protected),
            ("GET", "/api/v2/plugins/x", Protected),
            ("GET", "/api/v2/plugin%73", Protected),
        ],
    );
}

#[test]
fn a_preflight_is_airflows_when_configured() {
    let preflight = |target: &str| {
        Request::new("OPTIONS", target)
            .header("Origin", "https://dashboard.example")
            .header("Access-Control-Request-Method", "POST")
            .header("X-Airside-User", "forged")
    };
    let scene = Scene::start();
    assert_refused(&scene.ask(&preflight("/api/v2/dags")), 401, "credential_missing");
    let scene = Scene::with(|config| config.set("/access/preflight", "airflow"));
    let received = scene.forwarded(&preflight("/api/v2/dags"));
    assert_eq!(received.header("origin"), Some("https://dashboard.example"));
    assert!(!received.text().to_lowercase().contains("x-airside-"), "{}", received.text());
    let plain = Request::new("OPTIONS", "/api/v2/dags");
    assert_refused(&scene.ask(&plain), 401, "credential_missing");
}

#[test]
fn nothing_but_the_path_opens_a_door() {
    let scene = Scene::start();
    for (name, value) in [
        ("User-Agent", "kube-probe/1.31"),
        ("User-Agent", "GoogleHC/1.0"),
        ("X-Original-URL", "/api/v2/version"),
        ("X-Rewrite-URL", "/api/v2/version"),
        ("X-Forwarded-Uri", "/api/v2/version"),
        ("X-Forwarded-Prefix", "/api/v2/version"),
        ("X-HTTP-Method-Override", "OPTIONS"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Envoy-Original-Path", "/api/v2/version"),
        ("Upgrade", "websocket"),
        ("Host", "localhost"),
    ] {
        let answer = if name == "Host" {
            scene.ask(&Request::get("/api/v2/dags").host(value))
        } else {
            scene.ask(&Request::get("/api/v2/dags").header(name, value))
        };
        assert_refused(&answer, 401, "credential_missing");
    }
}

#[test]
fn what_was_judged_is_what_is_forwarded() {
    let scene = Scene::start();
    for target in [
        "/api/v2/dags#/api/v2/version",
        "/api/v2/dags#/../../api/v2/version",
        "http://airflow.example/api/v2/dags",
        "http://airflow.example//api/v2/version",
        "http://user:password@airflow.example/api/v2/dags",
        "*",
    ] {
        let method = if target == "*" { "OPTIONS" } else { "GET" };
        let answer = scene.ask(&Request::new(method, target));
        assert!(matches!(answer.status, 400 | 401), "{target}: {}", answer.text());
    }
    assert!(scene.upstream.requests().is_empty());
    let answer = scene.ask(&Request::get("/api/v2/version#/../dags"));
    for received in scene.upstream.take() {
        assert_eq!((answer.status, received.target()), (200, "/api/v2/version"));
    }
}

#[test]
fn a_bearer_goes_no_further_than_it_must() {
    let scene = Scene::start();
    for target in ["/api/v2/version", "/", "/static/x.js", "/api/v2/auth/login"] {
        for token in [v2_app().token(), "not-a-token".to_owned()] {
            let received = scene.forwarded(&Request::get(target).bearer(&token));
            assert!(received.header("authorization").is_none(), "{target}: {}", received.text());
        }
        let own = airflow::token();
        let received = scene.forwarded(&Request::get(target).bearer(&own).cookie("_token=other"));
        assert_eq!(received.bearer(), own, "{target}");
        assert!(received.header("cookie").is_none(), "{target}: one identity, not two");
    }
}

#[test]
fn a_session_cookie_is_airflows_to_judge() {
    let scene = Scene::start();
    let mut verdicts = Verdicts::default();
    for cookie in ["_token=any", "session=any", "theme=dark; _token=a; session=b"] {
        for target in ["/api/v2/dags", "/ui/config", "/", "/docs"] {
            let received = scene.forwarded(&Request::get(target).cookie(cookie));
            let ours = received.text().to_lowercase().contains("x-airside-");
            let label = format!("{cookie} on {target}");
            verdicts.check(&label, received.header("cookie") == Some(cookie), received.text());
            verdicts.check(&label, !ours, received.text());
            verdicts.check(&label, received.header("authorization").is_none(), received.text());
        }
    }
    let several = Request::get("/ui/config").cookie("theme=dark").cookie("_token=a");
    let received = scene.forwarded(&several);
    verdicts.check("joined", received.header("cookie") == Some("theme=dark; _token=a"), ());
    let other = scene.ask(&Request::get("/api/v2/dags").cookie("theme=dark; my_session=x"));
    verdicts.refused("no session in it", &other, 401, &["credential_missing"]);
}

#[test]
fn a_denied_credential_is_not_replaced_by_a_cookie() {
    let scene = Scene::start();
    let with_cookie = |request: Request| scene.ask(&request.cookie("_token=good; session=good"));
    let dags = || Request::get("/api/v2/dags");
    let expired = v2_app().with("exp", now() - 3600).token();
    assert_refused(&with_cookie(dags().bearer(&expired)), 401, "token_expired");
    let basic = dags().header("Authorization", "Basic eDp5");
    assert_refused(&with_cookie(basic), 401, "scheme_unsupported");
    let empty = dags().header("Authorization", "");
    assert_refused(&with_cookie(empty), 401, "credential_malformed");
    let roleless = v2_app().roles(&[]).token();
    assert_refused(&with_cookie(dags().bearer(&roleless)), 403, "role_missing");
    assert!(scene.upstream.requests().is_empty());
}

#[test]
fn what_a_browser_adds_by_itself_changes_nothing_across_sites() {
    let delegates = json!({"basic": true, "negotiate": true});
    let scene = Scene::with(|config| config.set("/access/delegate", delegates));
    let carriers = [
        ("Cookie", "_token=x"),
        ("Authorization", "Basic eDp5"),
        ("Authorization", "Negotiate YIIC"),
    ];
    let mut verdicts = Verdicts::default();
    for (label, headers, refused) in [
        ("no hint", &[][..], false),
        ("same-origin", &[("Sec-Fetch-Site", "same-origin")], false),
        ("none", &[("Sec-Fetch-Site", "none")], false),
        ("cross-site", &[("Sec-Fetch-Site", "cross-site")], true),
        ("same-site", &[("Sec-Fetch-Site", "same-site")], true),
        ("odd", &[("Sec-Fetch-Site", "")], true),
        ("own origin", &[("Origin", "https://airflow.example")], false),
        ("own origin, other case", &[("Origin", "https://Airflow.Example")], false),
        ("foreign origin", &[("Origin", "https://evil.example")], true),
        ("prefix", &[("Origin", "https://airflow.example.evil.example")], true),
        ("suffix", &[("Origin", "https://evil-airflow.example")], true),
        ("opaque origin", &[("Origin", "null")], true),
        (
            "site before origin",
            &[("Sec-Fetch-Site", "cross-site"), ("Origin", "https://airflow.example")],
            true,
        ),
        (
            "forged forwarded host",
            &[("Origin", "https://evil.example"), ("X-Forwarded-Host", "evil.example")],
            true,
        ),
    ] {
        let methods =
            [("POST", true), ("DELETE", true), ("PATCH", true), ("PUT", true), ("GET", false)];
        for (carrier, (method, unsafe_method)) in
            carriers.iter().flat_map(|carrier| methods.map(|method| (carrier, method)))
        {
            let mut request = Request::new(method, "/api/v2/variables")
                .host("airflow.example")
                .header(carrier.0, carrier.1);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let label = format!("{method}, {carrier:?}, {label}");
            let answer = scene.ask(&request);
            if refused && unsafe_method {
                verdicts.refused(&label, &answer, 403, &["cross_site"]);
            } else {
                verdicts.check(&label, answer.status == 200, answer.text());
            }
        }
    }
    let bearer = Request::post("/api/v2/variables")
        .bearer(&v2_app().token())
        .header("Sec-Fetch-Site", "cross-site")
        .header("Origin", "https://evil.example");
    verdicts.check("a bearer may", scene.ask(&bearer).status == 200, ());
}

#[test]
fn another_site_cannot_log_a_browser_in_that_has_a_session() {
    let scene = Scene::start();
    let login = |site: &str| {
        let request = Request::post("/auth/login/").cookie("session=abc");
        scene.ask(&request.header("Sec-Fetch-Site", site).body("username=mallory"))
    };
    assert_refused(&login("cross-site"), 403, "cross_site");
    assert_eq!(login("same-origin").status, 200);
}

#[test]
fn the_host_that_a_trusted_proxy_names_counts_across_sites() {
    let scene = Scene::with(|config| config.set("/forwarded/trusted", json!(["127.0.0.0/8"])));
    let request = |origin: &str| {
        Request::post("/api/v2/variables")
            .host("airflow.internal")
            .header("X-Forwarded-Host", "airflow.example")
            .header("Origin", origin)
            .cookie("_token=x")
    };
    assert_eq!(scene.ask(&request("https://airflow.example")).status, 200);
    assert_refused(&scene.ask(&request("https://evil.example")), 403, "cross_site");
}

/// Sends each request without a credential, with forged headers on it and by both protocols, and
/// checks what became of it; what passes must arrive with the same target and without the forgery.
fn judge(hook: impl FnOnce(Config) -> Config, cases: &[(&str, &str, Outcome)]) {
    let scene = Scene::with(hook);
    let mut http2 = Http2::open(scene.airside.proxy);
    let mut verdicts = Verdicts::default();
    for &(method, target, expected) in cases {
        let request = Request::new(method, target)
            .header("X-Airside-User", "forged")
            .header("X_Airside_Roles", "forged")
            .header("X.Airside.Issuer", "forged");
        let label = format!("{method} {target}");
        let answer = scene.ask(&request);
        became(&mut verdicts, &label, target, expected, &answer, &scene.upstream.take());
        let answer = http2.ask(&request);
        let label = format!("{label} by HTTP/2");
        became(&mut verdicts, &label, target, expected, &answer, &scene.upstream.take());
    }
}

fn became(
    verdicts: &mut Verdicts,
    label: &str,
    target: &str,
    expected: Outcome,
    answer: &Response,
    received: &[Received],
) {
    let refused: (u16, &[&str]) = match expected {
        Passed => {
            let same = received.len() == 1 && received[0].target() == target;
            let clean = received.iter().all(|request| {
                let text = request.text();
                !text.contains("forged") && !text.to_lowercase().contains("x-airside-")
            });
            verdicts.check(label, answer.status == 200 && same && clean, (answer, received));
            return;
        }
        Protected => (401, &["credential_missing"]),
        Closed => (403, &["access_closed"]),
        NotFound => (404, &["not_found"]),
        MethodRefused => (405, &["method_refused"]),
        Ambiguous => (400, &["path_ambiguous"]),
    };
    verdicts.refused(label, answer, refused.0, refused.1);
    verdicts.check(label, received.is_empty(), "a request upstream");
}
