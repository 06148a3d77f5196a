//! Answers over HTTP, to nginx, Traefik and Envoy.

use serde_json::json;

use super::{ALL, Asking, FORWARDING, STATED, claims, envoy, nginx, traefik};
use crate::support::airflow;
use crate::support::entra::{APP, USER, v2_app, v2_user};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::{Connection, Request, Response};

/// Whether a permission states this value; the empty one where it is none.
fn states(answer: &Response, name: &str, value: &str) -> bool {
    answer.status == 200 && answer.header(name) == Some(value)
}

#[test]
fn a_permission_states_who_is_calling_in_headers_for_airflow() {
    let asking = Asking::start();
    let token = v2_app().token();
    for (proxy, ask) in ALL {
        let answer = asking.ask(&ask("GET", "/api/v2/dags").bearer(&token));
        assert_eq!(answer.status, 200, "{proxy}: {}", answer.text());
        let authorization = answer.header("authorization").unwrap();
        assert_eq!(claims(authorization)["sub"], APP, "{proxy}");
        assert!(!authorization.contains(&token), "{proxy}: the caller's token goes nowhere");
        assert_eq!(answer.header("x-airside-user"), Some(APP));
        assert_eq!(answer.header("x-airside-roles"), Some("Op"));
        assert_eq!(answer.header("x-airside-issuer"), Some("entra"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.header("x-request-id").is_some() && answer.body.is_empty());
    }
    assert!(asking.scene.upstream.requests().is_empty(), "whoever asks forwards it, not airside");
}

#[test]
fn a_permission_states_every_header_also_those_that_must_not_be() {
    let asking = Asking::start();
    let cookie = |request: Request| request.cookie("_token=x; other=1");
    let mut verdicts = Verdicts::default();
    for (proxy, ask) in ALL {
        let open = asking.ask(&cookie(ask("GET", "/api/v2/version")).bearer("not.of.airflow"));
        for name in STATED {
            let expected = if name == "cookie" { "_token=x; other=1" } else { "" };
            verdicts.check(&format!("{proxy}, open: {name}"), states(&open, name, expected), &open);
        }
        let granted = cookie(ask("GET", "/api/v2/dags")).bearer(&v2_user().token());
        let granted = asking.ask(&granted);
        for (name, expected) in [
            ("cookie", ""),
            ("x-airside-user", USER),
            ("x-airside-roles", "Admin"),
            ("x-airside-issuer", "entra"),
            ("x-airside-assertion", ""),
        ] {
            verdicts.check(&format!("{proxy}: {name}"), states(&granted, name, expected), &granted);
        }
        let session = asking.ask(&cookie(ask("GET", "/api/v2/dags")));
        for (name, expected) in
            [("authorization", ""), ("cookie", "_token=x; other=1"), ("x-airside-user", "")]
        {
            let label = format!("{proxy}, session: {name}");
            verdicts.check(&label, states(&session, name, expected), &session);
        }
    }
}

#[test]
fn envoy_is_told_which_headers_to_remove() {
    let asking = Asking::start();
    let removed = |request: &Request| {
        let answer = asking.ask(request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.header("x-envoy-auth-headers-to-remove").map(str::to_owned)
    };
    let open = envoy("GET", "/api/v2/version").header("X_Airside_User", "mallory");
    let expected = "authorization,cookie,x-airside-user,x-airside-roles,x-airside-issuer,\
                    x-airside-assertion,x_airside_user";
    assert_eq!(removed(&open).as_deref(), Some(expected));
    assert_eq!(removed(&nginx("GET", "/api/v2/version")), None, "nobody else knows that header");
}

#[test]
fn envoy_is_told_to_remove_what_speaks_for_a_proxy() {
    let asking = Asking::start();
    let forging = FORWARDING
        .iter()
        .fold(envoy("GET", "/api/v2/version"), |request, name| request.header(name, "mallory"));
    // These three are Envoy's own.
    let forging = forging.header("X-Forwarded-For", "192.0.2.1").header("X-Request-Id", "x");
    let forging = forging.header("X-Forwarded-Proto", "https");
    // A client's words for other proxies are no question where Envoy is named.
    asking.scene.airside.changes(|config| config.set("/forward_auth/protocol", "envoy"));
    let answer = asking.ask(&forging);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let removed = answer.header("x-envoy-auth-headers-to-remove").unwrap();
    let removed: Vec<&str> = removed.split(',').collect();
    for name in FORWARDING {
        assert!(removed.contains(&name), "{name}: {removed:?}");
    }
    for name in ["x-forwarded-for", "x-forwarded-proto", "x-request-id", "host"] {
        assert!(!removed.contains(&name), "{name}: {removed:?}");
    }
}

/// Whether the proxy's file puts airside's in its place nobody knows here; and honest clients send none.
#[test]
fn a_client_that_writes_a_header_of_ours_is_refused_unless_it_is_certainly_removed() {
    let asking = Asking::with(|config| {
        config
            .set("/handoff/headers", json!({"user": "X-Auth-User"}))
            .set("/handoff/fab", json!({"remote_user_header": "X-Remote-User"}))
    });
    let mut verdicts = Verdicts::default();
    let token = v2_app().token();
    for name in [
        "X-Auth-User",
        "x_auth_user",
        "X-Airside-User",
        "X-Airside-Roles",
        "X-Remote-User",
        "X_Remote_User",
        "X_Airside_User",
        "x-airside_roles",
        "X.Airside.User",
        "X-Airside-Other",
    ] {
        for (proxy, ask) in ALL {
            for (label, request) in [
                ("open", ask("GET", "/api/v2/version")),
                ("session", ask("GET", "/api/v2/dags").cookie("_token=x")),
                ("granted", ask("GET", "/api/v2/dags").bearer(&token)),
            ] {
                let answer = asking.ask(&request.header(name, "mallory"));
                let label = format!("{proxy}, {label}: {name}");
                // Envoy removes what it is told to, but sets only what its file has.
                let is_set =
                    label.contains("granted") && ["X-Auth-User", "X-Airside-Roles"].contains(&name);
                if proxy == "envoy" && !is_set {
                    let removed = answer.header("x-envoy-auth-headers-to-remove");
                    let mut removed = removed.unwrap_or_default().split(',');
                    let is_removed = removed.any(|removed| removed.eq_ignore_ascii_case(name));
                    verdicts.check(&label, answer.status == 200 && is_removed, &answer);
                } else {
                    verdicts.refused(&label, &answer, 400, &["request_malformed"]);
                }
            }
        }
    }
    // One that airside lets nobody through for is refused for that.
    let nobody = nginx("GET", "/api/v2/dags").header("X-Auth-User", "mallory");
    assert_refused(&asking.ask(&nobody), 401, "credential_missing");
}

#[test]
fn the_header_that_logs_in_at_fab_is_stated_empty() {
    let asking = Asking::with(|config| {
        config.set("/handoff/fab", json!({"remote_user_header": "X-Remote-User"}))
    });
    for (proxy, ask) in ALL {
        let answer = asking.ask(&ask("GET", "/api/v2/version"));
        assert!(states(&answer, "x-remote-user", ""), "{proxy}: {answer:?}");
    }
}

#[test]
fn a_refusal_is_the_answer_that_its_caller_gets() {
    let asking = Asking::start();
    let mut verdicts = Verdicts::default();
    let expired = v2_app().with("exp", 1_000_000_000).token();
    let nobody = v2_app().without("roles").token();
    for (proxy, ask) in ALL {
        for (label, request, status, reason) in [
            ("nothing", ask("GET", "/api/v2/dags"), 401, "credential_missing"),
            ("expired", ask("GET", "/api/v2/dags").bearer(&expired), 401, "token_expired"),
            ("no role", ask("GET", "/api/v2/dags").bearer(&nobody), 403, "role_missing"),
            ("two", ask("GET", "/x").bearer("a").bearer("b"), 400, "credential_ambiguous"),
            ("trace", ask("TRACE", "/api/v2/dags"), 405, "method_refused"),
            ("ours", ask("POST", "/airside/token"), 404, "not_found"),
        ] {
            let label = format!("{proxy}, {label}");
            verdicts.refused(&label, &asking.ask(&request), status, &[reason]);
        }
    }
}

/// nginx takes everything but 2xx, 401 and 403 for a failure, and Envoy everything but 200 for a no.
#[test]
fn an_outage_of_keys_is_no_permission() {
    let asking = Asking::with(|config| config.set("/issuers/0/authority", "http://127.0.0.1:1"));
    for (proxy, ask) in ALL {
        let answer = asking.ask(&ask("GET", "/api/v2/dags").bearer(&v2_app().token()));
        assert_eq!(answer.status, 503, "{proxy}: {}", answer.text());
        assert!(answer.header("retry-after").is_some());
    }
}

#[test]
fn the_query_is_no_part_of_the_path_and_opens_nothing() {
    let asking = Asking::start();
    let mut verdicts = Verdicts::default();
    for (proxy, ask) in ALL {
        let hidden = ask("GET", "/api/v2/dags?x=/api/v2/monitor/health&/../version");
        verdicts.refused(proxy, &asking.ask(&hidden), 401, &["credential_missing"]);
        let open = asking.ask(&ask("GET", "/api/v2/version?x=/api/v2/dags"));
        verdicts.check(proxy, open.status == 200, open);
    }
    // That of the question itself is nobody's word.
    for query in ["allowed_groups=x", "x-original-url=/api/v2/version", "/api/v2/version"] {
        let request = Request::get(&format!("/airside/auth?{query}"))
            .header("X-Original-URL", "http://a.example/api/v2/dags")
            .header("X-Original-Method", "GET");
        verdicts.refused(query, &asking.ask(&request), 401, &["credential_missing"]);
    }
}

/// A client writes the host and the target of `X-Original-URL`.
#[test]
fn a_host_makes_no_other_path_of_the_one_that_is_asked_for() {
    let asking = Asking::start();
    let mut verdicts = Verdicts::default();
    for host in ["a?x=", "a#", "a\\", "a@b", "", "a b", "a,b"] {
        let url = format!("https://{host}/api/v2/dags");
        let request = Request::get("/airside/auth")
            .header("X-Original-URL", &url)
            .header("X-Original-Method", "GET");
        verdicts.refused(&url, &asking.ask(&request), 400, &["request_malformed"]);
    }
    // A slash in a host makes the target another, too; nginx refuses one, and says the target twice.
    let slash = Request::get("/airside/auth")
        .header("X-Original-URL", "https://a/api/v2/version?x=/api/v2/dags")
        .header("X-Original-URI", "/api/v2/dags")
        .header("X-Original-Method", "GET");
    verdicts.refused("a slash", &asking.ask(&slash), 400, &["request_malformed"]);
    let request = traefik("GET", "/api/v2/dags");
    let other = request.clone().header("X-Forwarded-Uri", "/api/v2/version");
    verdicts.refused("two targets", &asking.ask(&other), 400, &["request_malformed"]);
    let other = request.header("X-Original-URL", "http://a.example/api/v2/version");
    verdicts.refused("two proxies", &asking.ask(&other), 400, &["request_malformed"]);
    for target in ["/api/v2/dags#/api/v2/version", "http://a/api/v2/version", "api/v2/version"] {
        let answer = asking.ask(&traefik("GET", target));
        verdicts.refused(target, &answer, 400, &["request_malformed"]);
    }
}

#[test]
fn a_client_cannot_take_the_words_of_its_proxy_away() {
    let asking = Asking::start();
    let request = traefik("GET", "/api/v2/dags")
        .header("Connection", "X-Forwarded-Uri, X-Forwarded-Method, X-Forwarded-Host");
    assert_refused(&asking.ask(&request), 401, "credential_missing");
    let instead = request
        .header("X-Original-URL", "http://a.example/api/v2/version")
        .header("X-Original-Method", "GET");
    assert_refused(&asking.ask(&instead), 400, "request_malformed");
}

/// Of nginx, with HEAD as the request's method: its own question is GET, and wants the body.
#[test]
fn the_answer_is_one_to_the_question_and_not_to_the_request_it_is_about() {
    let asking = Asking::start();
    let mut connection = Connection::open(asking.address);
    for _ in 0..2 {
        let answer = connection.ask(&nginx("HEAD", "/api/v2/dags"));
        assert_refused(&answer, 401, "credential_missing");
        let answer = connection.ask(&envoy("HEAD", "/api/v2/dags"));
        assert_eq!((answer.status, answer.body.len()), (401, 0));
    }
}

#[test]
fn only_a_verified_caller_may_leave_http_and_only_for_a_websocket() {
    let asking = Asking::start();
    let token = v2_app().token();
    let upgrade =
        |request: Request, to: &str| request.header("Connection", "Upgrade").header("Upgrade", to);
    let socket = |path| upgrade(envoy("GET", path), "websocket");
    assert_eq!(asking.ask(&socket("/api/v2/ws").bearer(&token)).status, 200);
    let mut verdicts = Verdicts::default();
    for (label, request) in [
        ("open", socket("/api/v2/version")),
        ("session", socket("/api/v2/dags").cookie("_token=x")),
        ("worker", socket("/execution/x").bearer(&token)),
        ("h2c", upgrade(envoy("GET", "/api/v2/ws"), "h2c").bearer(&token)),
        ("both", upgrade(envoy("GET", "/api/v2/ws"), "websocket, h2c").bearer(&token)),
        ("two", socket("/api/v2/ws").header("Upgrade", "h2c").bearer(&token)),
    ] {
        verdicts.refused(label, &asking.ask(&request), 403, &["access_closed"]);
    }
}

#[test]
fn workers_pass_untouched_where_they_do_so_by_themselves() {
    let asking = Asking::start();
    let task = airflow::sign(&airflow::task_claims("01a200a6-add8-7fb6-b02e-123f4a563095"));
    for (proxy, ask) in ALL {
        let request = ask("GET", "/execution/variables/x").bearer(&task);
        let answer = asking.ask(&request);
        let bearer = format!("Bearer {task}");
        assert!(states(&answer, "authorization", &bearer), "{proxy}: {answer:?}");
        assert!(states(&answer, "x-airside-user", ""), "{proxy}: {answer:?}");
    }
    let apart = Asking::with(|config| config.set("/execution_listen", "127.0.0.1:0"));
    for (_, ask) in ALL {
        let request = ask("GET", "/execution/variables/x").bearer(&task);
        assert_refused(&apart.ask(&request), 403, "access_closed");
    }
}

#[test]
fn a_token_is_given_for_a_token_at_listen_alone() {
    let asking = Asking::with(|config| config.set("/exchange/enabled", true));
    for (_, ask) in ALL {
        let request = ask("POST", "/airside/token").bearer(&v2_app().token());
        assert_refused(&asking.ask(&request), 404, "not_found");
    }
}
