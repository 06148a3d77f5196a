//! What the client writes into its head, and what of it Airflow gets to see.

use serde_json::json;

use crate::support::airflow;
use crate::support::config::SECRET;
use crate::support::entra::{APP, v2_app};
use crate::support::expect::{Verdicts, assert_refused, is_request_id};
use crate::support::http::{Connection, Request};
use crate::support::http2::Http2;
use crate::support::keys::open_hs512;
use crate::support::scene::Scene;
use crate::support::upstream::{Answer, Received};

#[test]
fn forged_identity_headers_are_removed_on_every_path() {
    const FORGED: [&str; 16] = [
        "X-Airside-User",
        "x-airside-user",
        "X_Airside_User",
        "X.Airside.User",
        "x-airside_user",
        "X_AIRSIDE-ROLES",
        "X-AIRSIDE-ROLES",
        "X.Airside-Issuer",
        "X-Airside-Assertion",
        "X_Airside_Assertion",
        "X-Airside-Anything",
        "x.airside_",
        "x_AIRSIDE_user",
        "X.AIRSIDE.ROLES",
        "X-Airside_Issuer",
        "X-Airside.Assertion",
    ];
    let scene = Scene::with(|config| config.set("/access/preflight", "airflow"));
    let mut http2 = Http2::open(scene.airside.proxy);
    let token = v2_app().token();
    let mut verdicts = Verdicts::default();
    for (label, request) in [
        ("open", Request::get("/api/v2/version")),
        ("open, HEAD", Request::new("HEAD", "/api/v2/monitor/health")),
        ("shell", Request::get("/dags")),
        ("login", Request::get("/api/v2/auth/login")),
        ("password door", Request::post("/auth/token")),
        ("execution", Request::post("/execution/task-instances/x/run").bearer("task")),
        ("edge worker", Request::post("/edge_worker/v1/jobs")),
        ("session cookie", Request::get("/api/v2/dags").cookie("_token=x")),
        ("bearer", Request::get("/api/v2/dags").bearer(&token)),
        ("bearer, unsafe", Request::post("/api/v2/variables").bearer(&token)),
        ("a token of Airflow's", Request::get("/api/v2/dags").bearer(&airflow::token())),
        (
            "preflight",
            Request::new("OPTIONS", "/api/v2/dags")
                .header("Origin", "https://dashboard.example")
                .header("Access-Control-Request-Method", "POST"),
        ),
        ("OPTIONS", Request::new("OPTIONS", "/api/v2/dags").bearer(&token)),
    ] {
        for name in FORGED {
            let request = request.clone().header(name, "forged").header(name, "forged, forged");
            let received = scene.forwarded(&request);
            let label = format!("{name} on {label}");
            verdicts.check(&label, !received.text().contains("forged"), received.text());
        }
        let all = FORGED.iter().fold(request, |request, name| request.header(name, "forged"));
        let received = scene.forwarded(&all);
        verdicts.check(label, !received.text().contains("forged"), received.text());
        let answer = http2.ask(&all);
        verdicts.check(&format!("{label} by HTTP/2"), answer.status == 200, answer.text());
        for received in scene.upstream.take() {
            verdicts.check(label, !received.text().contains("forged"), received.text());
        }
    }
    let websocket = Request::get("/api/v2/live")
        .bearer(&token)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket");
    let all = FORGED.iter().fold(websocket, |request, name| request.header(name, "forged"));
    let received = scene.forwarded(&all);
    verdicts.check("WebSocket", received.header("upgrade") == Some("websocket"), received.text());
    verdicts.check("WebSocket", !received.text().contains("forged"), received.text());
    // What merely looks alike is none of ours.
    let request = Request::get("/api/v2/dags").bearer(&token).header("X-Airsid-User", "kept");
    verdicts.check("X-Airsid-User", scene.forwarded(&request).text().contains("kept"), ());
}

#[test]
fn our_headers_cannot_be_nominated_away() {
    let scene = Scene::start();
    let mut verdicts = Verdicts::default();
    for connections in [
        &["X-Airside-User, X-Airside-Roles, X-Airside-Issuer"][..],
        &["close, x-airside-user"],
        &["x-airside-user", "X-AIRSIDE-ROLES", "keep-alive, X-Airside-Issuer"],
        &["X-Request-Id, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, Host"],
    ] {
        let mut request = Request::get("/api/v2/dags").bearer(&v2_app().token());
        for value in connections {
            request = request.header("Connection", value);
        }
        let received = scene.forwarded(&request);
        let label = connections.join(" | ");
        verdicts.check(&label, has_identity(&received), received.text());
        let ours = ["x-request-id", "x-forwarded-for", "host"];
        let complete = ours.iter().all(|name| received.header(name).is_some());
        verdicts.check(&label, complete, received.text());
    }
    let request = Request::get("/api/v2/dags")
        .bearer(&v2_app().token())
        .header("Connection", "Authorization, Cookie");
    scene.upstream.take();
    let answer = scene.ask(&request);
    for received in scene.upstream.take() {
        verdicts.check("nominated authorization", has_identity(&received), received.text());
    }
    verdicts.check("nominated authorization", [200, 400, 401].contains(&answer.status), answer);
}

#[test]
fn hop_by_hop_headers_end_here() {
    let scene = Scene::start();
    let request = Request::get("/api/v2/dags")
        .bearer(&v2_app().token())
        .header("Connection", "keep-alive, X-Hop, x-other-hop")
        .header("Connection", "X-Third-Hop")
        .header("X-Hop", "hop-value")
        .header("X-Other-Hop", "hop-value")
        .header("X-Third-Hop", "hop-value")
        .header("Keep-Alive", "timeout=hop-value")
        .header("Proxy-Connection", "hop-value")
        .header("Proxy-Authorization", "Basic hop-value")
        .header("TE", "trailers, hop-value")
        .header("Trailer", "hop-value")
        .header("X-Kept", "end-to-end");
    let received = scene.forwarded(&request);
    assert!(!received.text().contains("hop-value"), "{}", received.text());
    assert_eq!(received.header("x-kept"), Some("end-to-end"));
    assert!(has_identity(&received));
}

#[test]
fn an_upgrade_without_identity_is_not_passed_on() {
    let scene = Scene::start();
    for target in ["/api/v2/version", "/", "/execution/health"] {
        let request = Request::get(target)
            .header("Connection", "Upgrade, HTTP2-Settings")
            .header("Upgrade", "h2c")
            .header("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA");
        let answer = scene.ask(&request);
        assert!(answer.status == 200 || answer.status == 400, "{}", answer.text());
        for received in scene.upstream.take() {
            assert!(!received.text().to_lowercase().contains("h2c"), "{}", received.text());
        }
    }
}

#[test]
fn a_token_anywhere_but_in_authorization_is_none() {
    let scene = Scene::start();
    let token = v2_app().token();
    let dags = || Request::get("/api/v2/dags");
    for request in [
        Request::get(&format!("/api/v2/dags?token={token}")),
        Request::get(&format!("/api/v2/dags?access_token={token}")),
        Request::get(&format!("/api/v2/dags?_token={token}")),
        dags().header("Sec-WebSocket-Protocol", &format!("bearer.{token}, bearer, {token}")),
        dags().header("Proxy-Authorization", &format!("Bearer {token}")),
        dags().header("X-Authorization", &format!("Bearer {token}")),
        dags().header("X-Forwarded-Access-Token", &token),
        dags().header("X-Auth-Request-Access-Token", &token),
        dags().header("X-Airside-Assertion", &token),
        dags().header("Authorization_", &format!("Bearer {token}")),
        dags().cookie(&format!("access_token={token}; Authorization=Bearer {token}")),
        Request::new("POST", "/api/v2/dags")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(format!("access_token={token}")),
    ] {
        assert_refused(&scene.ask(&request), 401, "credential_missing");
        let by_http2 = Http2::open(scene.airside.proxy).ask(&request);
        assert_refused(&by_http2, 401, "credential_missing");
    }
    assert!(scene.upstream.requests().is_empty());
}

#[test]
fn trailers_are_dropped() {
    let scene = Scene::start();
    let token = v2_app().token();
    let mut connection = Connection::open(scene.airside.proxy);
    let request = format!(
        "POST /api/v2/variables HTTP/1.1\r\nHost: airflow\r\nAuthorization: Bearer {token}\r\n\
         Transfer-Encoding: chunked\r\nTrailer: X-Airside-User\r\n\r\n\
         4\r\nbody\r\n0\r\nX-Airside-User: forged\r\nAuthorization: Bearer forged\r\n\
         Content-Length: 7\r\nHost: forged\r\nTransfer-Encoding: forged\r\n\r\n"
    );
    connection.send(request.as_bytes()).unwrap();
    let answer = connection.response_to("POST").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let received = scene.upstream.last();
    assert_eq!(received.body, b"body");
    assert!(!received.text().contains("forged"), "{}", received.text());
}

#[test]
fn ordinary_headers_pass_in_both_directions() {
    let scene = Scene::answering(|_| {
        Answer::ok(&[
            "Airflow-Continuation-Token: next",
            "Vary: Accept",
            "Vary: Origin",
            "Cache-Control: private, max-age=3",
            "ETag: \"abc\"",
        ])
    });
    let request = Request::get("/api/v2/dags?limit=1")
        .bearer(&v2_app().token())
        .host("airflow.contoso.example:8443")
        .header("Accept", "application/x-ndjson")
        .header("Accept-Encoding", "gzip, br")
        .header("User-Agent", "tests/1.0")
        .header("If-None-Match", "\"abc\"")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    scene.upstream.take();
    let answer = scene.ask(&request);
    let received = scene.upstream.last();
    assert_eq!(received.target(), "/api/v2/dags?limit=1");
    assert_eq!(received.header("host"), Some("airflow.contoso.example:8443"));
    assert_eq!(received.header("accept"), Some("application/x-ndjson"));
    assert_eq!(received.header("accept-encoding"), Some("gzip, br"));
    assert_eq!(received.header("user-agent"), Some("tests/1.0"));
    assert_eq!(received.header("if-none-match"), Some("\"abc\""));
    let trace = received.header("traceparent").unwrap();
    assert!(trace.contains("0af7651916cd43dd8448eb211c80319c"), "{trace}");
    assert_eq!(answer.header("airflow-continuation-token"), Some("next"));
    assert_eq!(answer.all("vary").join(", "), "Accept, Origin");
    assert_eq!(answer.header("cache-control"), Some("private, max-age=3"));
    assert_eq!(answer.header("etag"), Some("\"abc\""));
}

#[test]
fn forwarded_headers_of_a_stranger_are_dropped_and_written_anew() {
    let scene = Scene::start();
    for (label, request) in [
        ("open", Request::get("/api/v2/version")),
        ("shell", Request::get("/dags")),
        ("protected", Request::get("/api/v2/dags").bearer(&v2_app().token())),
        ("cookie", Request::get("/api/v2/dags").cookie("_token=x")),
    ] {
        let received = scene.forwarded(&with_forwarding(request).host("airflow.example"));
        assert!(!received.text().contains("forged"), "{label}: {}", received.text());
        assert_eq!(received.header("x-forwarded-for"), Some("127.0.0.1"), "{label}");
        assert_eq!(received.header("x-forwarded-proto"), Some("http"), "{label}");
        assert_eq!(received.header("x-forwarded-host"), Some("airflow.example"), "{label}");
        assert!(received.header("x-http-method-override").is_none(), "{label}");
    }
}

#[test]
fn forwarded_headers_of_a_trusted_peer_are_believed() {
    let scene = Scene::with(|config| config.set("/forwarded/trusted", json!(["127.0.0.0/8"])));
    let request = Request::get("/api/v2/dags")
        .bearer(&v2_app().token())
        .host("airflow.internal")
        .header("X-Forwarded-For", "203.0.113.9")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "airflow.contoso.example")
        .header("X-Forwarded-Prefix", "/airflow");
    let received = scene.forwarded(&request);
    let from = received.all("x-forwarded-for").join(", ");
    assert!(from.starts_with("203.0.113.9"), "{from}");
    assert_eq!(received.header("x-forwarded-proto"), Some("https"));
    assert_eq!(received.header("x-forwarded-host"), Some("airflow.contoso.example"));
    assert_eq!(received.header("x-forwarded-prefix"), Some("/airflow"));
    assert_eq!(received.header("host"), Some("airflow.internal"));
}

#[test]
fn trust_in_one_network_is_no_trust_in_another() {
    let scene = Scene::with(|config| config.set("/forwarded/trusted", json!(["10.0.0.0/8"])));
    let received = scene.forwarded(&with_forwarding(Request::get("/dags")));
    assert!(!received.text().contains("forged"), "{}", received.text());
}

#[test]
fn a_strangers_request_id_is_replaced() {
    let scene = Scene::start();
    let mut seen = Vec::new();
    for sent in [None, Some("chosen-by-client"), Some("chosen-by-client"), Some("\"bad\"")] {
        let mut request = Request::get("/api/v2/dags").bearer(&v2_app().token());
        if let Some(id) = sent {
            request = request.header("X-Request-Id", id);
        }
        let answer = scene.ask(&request);
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert!(is_request_id(&id), "{id}");
        assert_ne!(Some(id.as_str()), sent);
        assert_eq!(scene.upstream.last().header("x-request-id"), Some(id.as_str()));
        assert!(!seen.contains(&id), "{id} came twice");
        seen.push(id);
    }
}

#[test]
fn a_trusted_peers_request_id_is_kept_when_it_is_one() {
    let scene = Scene::with(|config| config.set("/forwarded/trusted", json!(["127.0.0.1/32"])));
    let longest = "a".repeat(128);
    let too_long = "a".repeat(129);
    for (sent, kept) in [
        ("0190f7a6-0000-7000-8000-000000000000", true),
        ("A.b_c-9", true),
        (longest.as_str(), true),
        (too_long.as_str(), false),
        ("two words", false),
        ("semi;colon", false),
        ("z\u{fc}rich", false),
        ("", false),
    ] {
        for target in ["/api/v2/dags", "/api/v2/version"] {
            let request = Request::get(target).bearer(&v2_app().token());
            let answer = scene.ask(&request.header("X-Request-Id", sent));
            let id = answer.header("x-request-id").unwrap();
            assert_eq!(id == sent, kept, "{sent:?} became {id:?}");
            assert!(is_request_id(id), "{id}");
            assert_eq!(scene.upstream.last().header("x-request-id"), Some(id));
        }
        let refused = scene.ask(&Request::get("/api/v2/dags").header("X-Request-Id", sent));
        assert_eq!(refused.header("x-request-id") == Some(sent), kept);
    }
}

#[test]
fn the_request_id_of_an_answer_is_the_one_that_was_sent_upstream() {
    let scene = Scene::answering(|_| Answer::ok(&["X-Request-Id: of-airflow"]));
    for target in ["/api/v2/version", "/api/v2/dags", "/"] {
        let answer = scene.ask(&Request::get(target).bearer(&v2_app().token()));
        assert_eq!(answer.header("x-request-id"), scene.upstream.last().header("x-request-id"));
    }
}

#[test]
fn every_response_carries_a_request_id() {
    let scene = Scene::start();
    for request in [
        Request::get("/api/v2/version"),
        Request::get("/"),
        Request::get("/execution/health"),
        Request::post("/auth/token"),
        Request::get("/api/v2/dags").bearer(&v2_app().token()),
        Request::get("/api/v2/dags").cookie("_token=x"),
        Request::get("/api/v2/dags"),
        Request::get("/airside/x"),
        Request::get("/../x"),
        Request::new("TRACE", "/"),
    ] {
        let answer = scene.ask(&request);
        assert!(is_request_id(answer.header("x-request-id").unwrap_or_default()), "{request:?}");
    }
}

/// A request with every header by which a client might claim another address or target.
fn with_forwarding(request: Request) -> Request {
    [
        ("X-Forwarded-For", "forged, 9.9.9.9"),
        ("X-Forwarded-Proto", "forged"),
        ("X-Forwarded-Host", "forged.example"),
        ("X-Forwarded-Prefix", "/forged"),
        ("X-Forwarded-Port", "forged"),
        ("X-Forwarded-Uri", "/forged"),
        ("X-Forwarded-Method", "forged"),
        ("X-Forwarded-User", "forged"),
        ("Forwarded", "for=forged;host=forged"),
        ("X-Real-IP", "forged"),
        ("X-Original-URL", "/forged"),
        ("X-Original-Method", "forged"),
        ("X-Rewrite-URL", "/forged"),
        ("X-HTTP-Method-Override", "DELETE"),
    ]
    .into_iter()
    .fold(request, |request, (name, value)| request.header(name, value))
}

/// Whether the request says, in headers and token, that the app is calling.
fn has_identity(received: &Received) -> bool {
    let (_, claims) = open_hs512(received.bearer(), SECRET.as_bytes());
    received.header("x-airside-user") == Some(APP)
        && received.header("x-airside-roles") == Some("Op")
        && received.header("x-airside-issuer") == Some("entra")
        && claims["sub"] == APP
}
