//! The listener: who may ask there, what is recorded, what changes while it runs.

use rustls::version::TLS13;
use serde_json::json;

use super::{ALL, Asking, envoy, listening, nginx, traefik};
use crate::support::airside::Airside;
use crate::support::entra::{APP, v2_app};
use crate::support::envoy::{Check, Verdict, call, framed};
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::{Connection, Request};
use crate::support::http2::Http2;
use crate::support::scene::Scene;
use crate::support::tls::Authority;

#[test]
fn others_than_the_trusted_are_refused_whatever_they_say() {
    for trusted in [json!([]), json!(["192.0.2.0/24", "::1"])] {
        let asking = Asking::with(|config| {
            config
                .set("/forward_auth/trusted", trusted)
                // Who may name its clients may not ask for that reason.
                .set("/forwarded/trusted", ["127.0.0.1"].as_slice())
        });
        let token = v2_app().token();
        for (_, ask) in ALL {
            let request = ask("GET", "/api/v2/version").bearer(&token);
            let request = request.header("X-Forwarded-For", "192.0.2.1");
            assert_refused(&asking.ask(&request), 403, "caller_untrusted");
        }
        assert_refused(&asking.ask(&Request::get("/elsewhere")), 403, "caller_untrusted");
        let verdict = Check::get("/api/v2/version").bearer(&token).ask(asking.address);
        assert_eq!((verdict.code, verdict.status), (7, 403));
        assert_eq!(verdict.reason(), "caller_untrusted");
    }
}

#[test]
fn nobody_asks_at_the_other_listeners_and_nothing_else_is_served_here() {
    let asking = Asking::start();
    let token = v2_app().token();
    for (proxy, ask) in ALL {
        let answer = asking.scene.ask(&ask("GET", "/api/v2/version"));
        assert_eq!(answer.json()["reason"], "not_found", "{proxy}");
    }
    for path in ["/", "/api/v2/dags", "/airside/authx", "/airside/token", "/livez", "/airside"] {
        let answer = asking.ask(&Request::get(path).bearer(&token));
        assert_refused(&answer, 404, "not_found");
    }
    assert!(asking.scene.upstream.requests().is_empty());
}

#[test]
fn the_words_of_one_proxy_count_where_it_is_named() {
    let only =
        |protocol: &str| Asking::with(|config| config.set("/forward_auth/protocol", protocol));
    let mut verdicts = Verdicts::default();
    let open = "/api/v2/version";
    let foreign = |request: Request, other: &Request| {
        // The other's words, beside its own.
        let bytes = other.bytes("127.0.0.1:1".parse().unwrap());
        let head = String::from_utf8(bytes).unwrap();
        let fields = head.lines().skip(2).filter_map(|line| line.split_once(": "));
        fields.fold(request, |request, (name, value)| request.header(name, value))
    };
    let of_nginx = only("nginx");
    let forged = foreign(nginx("GET", "/api/v2/dags"), &traefik("GET", open));
    verdicts.refused("nginx", &of_nginx.ask(&forged), 401, &["credential_missing"]);
    let forged = foreign(nginx("GET", open), &traefik("GET", "/api/v2/dags"));
    verdicts.check("nginx", of_nginx.ask(&forged).status == 200, "its own word");
    verdicts.refused(
        "nginx is not asked by Traefik",
        &of_nginx.ask(&traefik("GET", open)),
        400,
        &["request_malformed"],
    );
    let of_traefik = only("traefik");
    let forged = foreign(traefik("GET", "/api/v2/dags"), &nginx("GET", open));
    verdicts.refused("Traefik", &of_traefik.ask(&forged), 401, &["credential_missing"]);
    // A client that had its proxy drop its words (CVE-2024-45410) has none that count.
    verdicts.refused(
        "Traefik without its words",
        &of_traefik.ask(&nginx("GET", open)),
        400,
        &["request_malformed"],
    );
    let of_envoy = only("envoy");
    let forged = foreign(envoy("GET", "/api/v2/dags"), &nginx("GET", open));
    verdicts.refused("Envoy", &of_envoy.ask(&forged), 401, &["credential_missing"]);
    verdicts.refused("path", &of_envoy.ask(&nginx("GET", open)), 400, &["request_malformed"]);
    let over_grpc = only("envoy_grpc");
    verdicts.check("gRPC", Check::get(open).ask(over_grpc.address).code == 0, "its own");
    for (proxy, ask) in ALL {
        let answer = over_grpc.ask(&ask("GET", open));
        verdicts.refused(proxy, &answer, 400, &["request_malformed"]);
    }
    // A denial of a call is a 200, which none of the others may ever see.
    let message = call(framed(&Check::get(open).message().0));
    for (asking, proxy) in [(of_nginx, "nginx"), (of_traefik, "traefik"), (of_envoy, "envoy")] {
        let answer = Http2::open(asking.address).ask(&message);
        verdicts.refused(&format!("gRPC to {proxy}"), &answer, 400, &["request_malformed"]);
    }
}

#[test]
fn the_record_is_of_the_request_that_was_asked_about() {
    let asking = Asking::with(|config| config.set("/forwarded/trusted", ["10.0.0.0/8"].as_slice()));
    let request = nginx("DELETE", "/api/v2/dags/etl?force=true")
        .bearer(&v2_app().token())
        .header("X-Forwarded-For", "198.51.100.1, 203.0.113.9, 10.1.1.1")
        .header("X-Request-Id", "of-nginx");
    assert_eq!(asking.ask(&request).header("x-request-id"), Some("of-nginx"));
    let line = asking.scene.airside.line_with(&["access", "listener=forward_auth"]);
    for part in [
        "request_id=of-nginx method=DELETE path=\"/api/v2/dags/etl\" status=200 reason=- ",
        "class=protected issuer=\"entra\"",
        &format!("principal=\"{APP}\" roles=\"Op\" client=203.0.113.9"),
        "upstream_ms=- ",
        "action=delete_dag dag_id=\"etl\"",
    ] {
        assert!(line.contains(part), "no {part} in {line}");
    }
    Check::get("/api/v2/dags/denied").ask(asking.address);
    let line = asking.scene.airside.line_with(&["/api/v2/dags/denied"]);
    assert!(line.contains("status=401 reason=credential_missing"), "{line}");
    let answered =
        "airside_requests_total{class=\"protected\",outcome=\"answered\",code=\"2xx\",reason=\"\"}";
    assert_eq!(asking.scene.airside.count(answered), 1);
    // What cannot be read is recorded as what it is.
    asking.ask(&Request::get("/airside/auth?secret=x"));
    asking.scene.airside.line_with(&["path=\"/airside/auth\" status=400 reason=request_malformed"]);
    let log = asking.scene.finish().log();
    assert!(!log.contains("secret") && !log.contains("force"), "{log}");
}

/// Traefik passes on what its client calls the request; nginx and Envoy call it something themselves.
#[test]
fn behind_traefik_no_client_names_its_request() {
    let unnamed = Asking::start();
    let named = Asking::with(|config| config.set("/forward_auth/protocol", "traefik"));
    let of_client = |request: Request| request.header("X-Request-Id", "of-a-client");
    let mut verdicts = Verdicts::default();
    for asking in [&unnamed, &named] {
        for (label, request) in [
            ("yes", traefik("GET", "/api/v2/version")),
            ("no", traefik("GET", "/api/v2/dags")),
            ("malformed", traefik("GET", "*")),
            ("half", Request::get("/airside/auth").header("X-Forwarded-Uri", "/")),
        ] {
            let answer = asking.ask(&of_client(request));
            let id = answer.header("x-request-id");
            verdicts.check(label, id.is_some() && id != Some("of-a-client"), &answer);
        }
    }
    for ask in [nginx, envoy] {
        let answer = unnamed.ask(&of_client(ask("GET", "/api/v2/version")));
        assert_eq!(answer.header("x-request-id"), Some("of-a-client"));
    }
}

#[test]
fn failures_count_by_the_client_and_not_by_its_proxy() {
    let asking = Asking::with(|config| config.set("/limits/failing_per_client", 2));
    let bad = |client: &str| {
        nginx("GET", "/api/v2/dags").bearer("a.b.c").header("X-Forwarded-For", client)
    };
    for status in [401, 401, 429] {
        assert_eq!(asking.ask(&bad("203.0.113.9")).status, status);
    }
    assert_eq!(asking.ask(&bad("203.0.113.10")).status, 401);
    let good = Request::get("/airside/auth")
        .header("X-Original-URL", "http://a.example/api/v2/dags")
        .header("X-Original-Method", "GET")
        .header("X-Forwarded-For", "203.0.113.9")
        .bearer(&v2_app().token());
    assert_eq!(asking.ask(&good).status, 200, "one that verifies always passes");
}

#[test]
fn who_may_ask_changes_while_it_runs_and_where_does_not() {
    let asking = Asking::start();
    let mut kept = Connection::open(asking.address);
    let request = nginx("GET", "/api/v2/version");
    assert_eq!(kept.ask(&request).status, 200);
    let airside = &asking.scene.airside;
    airside.changes(|config| config.set("/forward_auth/trusted", ["192.0.2.1"].as_slice()));
    assert_refused(&kept.ask(&request), 403, "caller_untrusted");
    airside.refuses(|config| config.set("/forward_auth/listen", "127.0.0.1:1"));
    airside.line_with(&["forward_auth.listen", "restart airside"]);
    airside.refuses(|config| config.without("/forward_auth/listen"));
}

#[test]
fn tls_holds_for_proxies_too() {
    let authority = Authority::new();
    let shown = authority.issue(&["localhost"], |_| {});
    let mut scene = Scene::with(|config| {
        let certificate = config.file("tls.crt", &shown.chain_pem());
        let key = config.file("tls.key", &shown.key_pem());
        listening(config).set("/tls", json!({"cert_file": certificate, "key_file": key}))
    });
    let address = scene.airside.listener("forward_auth");
    let mut connection = Http2::secure(address, authority.client(None, &["h2"], &[&TLS13]));
    let good = Check::get("/api/v2/dags").bearer(&v2_app().token());
    assert_eq!(Verdict::of(&mut connection, &call(framed(&good.message().0))).code, 0);
    let plain = nginx("GET", "/api/v2/version").try_send(address);
    assert!(plain.is_err() || plain.unwrap().status == 400);
}

/// A header of the PROXY protocol would say who asks.
#[test]
fn nobody_comes_for_another_to_ask() {
    let asking = Asking::with(|config| {
        config
            .set("/proxy_protocol", true)
            .set("/forwarded/trusted", ["127.0.0.1"].as_slice())
            .set("/forward_auth/trusted", ["192.0.2.1"].as_slice())
    });
    let mut connection = Connection::open(asking.address);
    connection.send(b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n").unwrap();
    let request = nginx("GET", "/api/v2/version");
    // Refused as what it is, or closed; never believed.
    let answered = connection.send(&request.bytes(asking.address));
    let answer = answered.and_then(|()| connection.response_to("GET"));
    assert!(answer.is_err() || answer.unwrap().status == 400);
    assert_refused(&asking.ask(&request), 403, "caller_untrusted");
}

#[test]
fn what_is_risky_of_it_is_warned_of() {
    let checked = |section: serde_json::Value| {
        let config =
            crate::support::config::Config::new("http://127.0.0.1:1", "http://127.0.0.1:2");
        let ended = Airside::checks(&config.set("/forward_auth", section), &[]);
        assert_eq!(ended.code, Some(0), "{}", ended.log());
        ended.log()
    };
    let listen = "127.0.0.1:0";
    let nobody = checked(json!({"listen": listen}));
    assert!(nobody.contains("forward_auth.trusted") && nobody.contains("forward_auth.protocol"));
    let everybody = checked(json!({"listen": listen, "trusted": ["0.0.0.0/0"]}));
    assert!(everybody.contains("forward_auth.trusted[0]"), "{everybody}");
    let good = checked(json!({"listen": listen, "trusted": ["10.0.0.1"], "protocol": "nginx"}));
    assert!(!good.contains("forward_auth"), "{good}");
}

#[test]
fn names_that_the_shipped_files_do_not_copy_are_warned_of() {
    let checked = |listen: bool, user: &str, remote: &str| {
        let config =
            crate::support::config::Config::new("http://127.0.0.1:1", "http://127.0.0.1:2")
                .set("/handoff/headers", json!({"user": user}))
                .set("/handoff/fab", json!({"remote_user_header": remote}));
        let section =
            json!({"listen": "127.0.0.1:0", "trusted": ["10.0.0.1"], "protocol": "nginx"});
        let config = if listen { config.set("/forward_auth", section) } else { config };
        let ended = Airside::checks(&config, &[]);
        assert_eq!(ended.code, Some(0), "{}", ended.log());
        ended.log()
    };
    let both = checked(true, "X-Auth-User", "X-Fab-User");
    assert!(both.contains("handoff.headers.user") && both.contains("X-Auth-User"), "{both}");
    assert!(both.contains("handoff.fab.remote_user_header") && both.contains("X-Fab-User"));
    assert!(!both.contains("handoff.headers.roles"), "{both}");
    for harmless in [
        checked(true, "x-airside-user", "X-REMOTE-USER"),
        checked(false, "X-Auth-User", "X-Fab-User"),
    ] {
        assert!(!harmless.contains("config/forward-auth"), "{harmless}");
    }
}

#[test]
fn what_it_cannot_be_is_refused_at_load() {
    let mut verdicts = Verdicts::default();
    for (section, words) in [
        (json!({"listen": "here"}), ["forward_auth.listen", "an address and port"]),
        (json!({"trusted": ["x"]}), ["forward_auth.trusted[0]", "x"]),
        (json!({"protocol": "haproxy"}), ["forward_auth.protocol", "envoy_grpc"]),
        (json!({"path": "/x"}), ["forward_auth", "path"]),
    ] {
        let config =
            crate::support::config::Config::new("http://127.0.0.1:1", "http://127.0.0.1:2");
        let ended = Airside::fails(&config.set("/forward_auth", section.clone()));
        verdicts.check(&section.to_string(), ended.code == Some(78), ended.log());
        for word in words {
            verdicts.check(word, ended.stderr.contains(word), &ended.stderr);
        }
    }
}
