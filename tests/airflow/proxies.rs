//! Forward-auth: a real nginx and a real Envoy, with the files that ship in config/forward-auth, ask a
//! real airside and forward to a real Airflow. Of a file only the addresses are changed.

mod clients;
pub(crate) mod front;

use serde_json::json;

use crate::flight::{Flight, assert_airflow_says, is_airflows, post};
use crate::stock::password;
use crate::support::airflow;
use crate::support::config::SECRET;
use crate::support::entra::{APP, USER, v2_app, v2_user};
use crate::support::expect::Verdicts;
use crate::support::http::{Connection, Request};
use crate::support::keys::hs512;
use front::{ALL, Front, Kind, Proxy, free};

/// Whom Airflow takes the sender of this request for.
fn whoami(front: &Front, request: &Request) -> String {
    let answer = front.ask(request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().expect("an id").to_owned()
}

fn me() -> Request {
    Request::get("/ui/auth/me")
}

#[test]
fn a_caller_of_entra_reaches_airflow_as_the_right_user() {
    for kind in ALL {
        let front = Front::start(kind);
        assert_eq!(whoami(&front, &me().bearer(&v2_app().token())), APP, "{kind:?}");
        assert_eq!(whoami(&front, &me().bearer(&v2_user().token())), USER, "{kind:?}");
        let viewer = v2_app().roles(&["Airflow.Viewer"]).token();
        let dags = front.ask(&Request::get("/api/v2/dags?limit=1").bearer(&viewer));
        assert_eq!(dags.json()["dags"][0]["dag_id"], "demo", "{kind:?}");
        let variable = post("/api/v2/variables", &json!({"key": "of-a-viewer", "value": "x"}));
        assert_airflow_says(&front.ask(&variable.bearer(&viewer)), 403, &json!("Forbidden"));
        let key = format!("through-{}", kind.protocol());
        let variable =
            post("/api/v2/variables", &json!({"key": key, "value": "x".repeat(100_000)}));
        let written = front.ask(&variable.bearer(&v2_app().token()));
        assert_eq!(written.status, 201, "{kind:?}: {}", written.text());
    }
}

#[test]
fn a_refusal_reaches_the_client_and_nothing_reaches_airflow() {
    let mut verdicts = Verdicts::default();
    for kind in ALL {
        let front = Front::start(kind);
        let expired = v2_app().with("exp", 1_000_000_000).token();
        let nobody = v2_app().without("roles").token();
        for (label, request, status, challenge) in [
            ("nothing", me(), 401, "Bearer realm=\"airflow\""),
            ("expired", me().bearer(&expired), 401, "error=\"invalid_token\""),
            ("no role", me().bearer(&nobody), 403, "error=\"insufficient_scope\""),
            ("ours", Request::post("/airside/token"), 404, ""),
            ("dots", Request::get("/api/v2/monitor/health/../../dags"), 400, ""),
            ("a fragment", Request::get("/api/v2/dags#/../monitor/health"), 400, ""),
            ("the query", Request::get("/api/v2/dags?/api/v2/version"), 401, "Bearer"),
        ] {
            let label = format!("{kind:?}, {label}");
            let answer = front.ask(&request);
            // Its own paths nginx answers itself.
            let expected = if status == 404 { 404 } else { kind.status(status) };
            verdicts.check(&label, answer.status == expected, (answer.status, answer.text()));
            verdicts.check(&label, !is_airflows(&answer), answer.text());
            let told = answer.header("www-authenticate").unwrap_or_default();
            // nginx passes it on with 401 alone.
            if kind != Kind::Nginx || status == 401 {
                verdicts.check(&label, told.contains(challenge), told);
            }
            if kind != Kind::Nginx && !label.contains("fragment") {
                let body = answer.header("content-type");
                verdicts.check(&label, body == Some("application/problem+json"), answer.text());
            }
        }
    }
}

#[test]
fn the_interface_and_its_sessions_go_on_as_before() {
    for kind in ALL {
        let front = Front::start(kind);
        let page = front.ask(&Request::get("/"));
        assert_eq!(page.status, 200, "{kind:?}: {}", page.text());
        assert!(page.text().contains("<html"), "{kind:?}");
        for open in ["/api/v2/version", "/api/v2/monitor/health"] {
            assert_eq!(front.ask(&Request::get(open)).status, 200, "{kind:?} {open}");
        }
        let login = json!({"username": "admin", "password": password("admin")});
        let token = front.ask(&post("/auth/token", &login));
        assert_eq!(token.status, 201, "{kind:?}: {}", token.text());
        let token = token.json()["access_token"].as_str().unwrap().to_owned();
        let session = format!("_token={token}");
        assert_eq!(whoami(&front, &me().cookie(&session)), "admin", "{kind:?}");
        assert_eq!(whoami(&front, &me().bearer(&token)), "admin", "{kind:?}");
        // A bearer counts alone, whatever cookie stands beside it.
        let both = me().cookie(&session).bearer(&v2_app().token());
        assert_eq!(whoami(&front, &both), APP, "{kind:?}");
        let variable = post("/api/v2/variables", &json!({"key": "x", "value": "x"}));
        let elsewhere = variable.cookie(&session).header("Sec-Fetch-Site", "cross-site");
        let answer = front.ask(&elsewhere);
        assert_eq!(answer.status, 403, "{kind:?}: {}", answer.text());
        assert!(!is_airflows(&answer), "{kind:?}: {}", answer.text());
        let variable = post("/api/v2/variables", &json!({"key": "x", "value": "x"}));
        let elsewhere = variable.cookie(&session).header("Origin", "https://evil.example");
        assert_eq!(front.ask(&elsewhere).status, 403, "{kind:?}");
    }
}

/// What clients may write to say that another request is judged than the one that goes on.
#[test]
fn a_client_cannot_say_that_another_request_is_judged() {
    let mut verdicts = Verdicts::default();
    for kind in ALL {
        let front = Front::start(kind);
        let open = "/api/v2/version";
        let words = [
            ("X-Original-URL", "http://a.example/api/v2/version"),
            ("X-Original-URI", open),
            ("X-Original-Method", "GET"),
            ("X-Forwarded-Uri", open),
            ("X-Forwarded-Method", "GET"),
            ("X-Forwarded-Host", "a.example"),
            ("X-Rewrite-URL", open),
            ("X-Envoy-Original-Path", open),
            ("X_Original_URL", "http://a.example/api/v2/version"),
        ];
        let all = words.iter().fold(me(), |request, (name, value)| request.header(name, value));
        let each = words.iter().map(|(name, value)| (*name, me().header(name, value)));
        let nominated = me().header("Connection", "X-Original-URL, X-Original-Method, close");
        let hosts = ["a?x=", "a#", "a@b", "a\\", "a/api/v2/version?x="]
            .map(|host| ("Host", me().host(host)));
        for (label, request) in each.chain([("all", all), ("Connection", nominated)]).chain(hosts) {
            let mut connection = Connection::open(front.address);
            connection.send(&request.bytes(front.address)).unwrap();
            let answer = connection.response_to("GET").unwrap();
            let label = format!("{kind:?}, {label}");
            let refused = matches!(answer.status, 400 | 401 | 500);
            verdicts.check(
                &label,
                refused && !is_airflows(&answer),
                (answer.status, answer.text()),
            );
        }
    }
}

#[test]
fn bytes_that_are_no_text_are_not_skipped() {
    let forged = |header: &[u8], authorization: &str| {
        let head = format!("GET /ui/auth/me HTTP/1.1\r\nHost: a.example\r\n{authorization}");
        [head.as_bytes(), header, b"\r\nConnection: close\r\n\r\n"].concat()
    };
    let good = format!("Authorization: Bearer {}\r\n", v2_app().token());
    for kind in ALL {
        let front = Front::start(kind);
        let ask = |bytes: &[u8]| {
            let mut connection = Connection::open(front.address);
            connection.send(bytes).unwrap();
            connection.response_to("GET").unwrap()
        };
        let answer = ask(&forged(b"Authorization: Bearer a.b.c\xff", ""));
        // Over gRPC airside is told of bytes, and does not guess what Airflow makes of them.
        let as_they_are = kind == Kind::EnvoyGrpc;
        let expected = if as_they_are { 400 } else { 401 };
        assert_eq!(answer.status, expected, "{kind:?}: {}", answer.text());
        let answer = ask(&forged(b"X-Note: \xff\xfe", &good));
        let expected = if as_they_are { 400 } else { 200 };
        assert_eq!(answer.status, expected, "{kind:?}: {}", answer.text());
    }
}

#[test]
fn without_airside_nobody_gets_through() {
    for kind in ALL {
        let front = Front::start(kind);
        let proxy = Proxy::start(kind, free(), front.flight.airflow.address);
        for request in [me().bearer(&v2_app().token()), Request::get("/api/v2/version")] {
            let answer = request.send(proxy.address);
            let expected = if kind == Kind::Nginx { 500 } else { 503 };
            assert_eq!(answer.status, expected, "{kind:?}: {}", answer.text());
        }
        // Nor where another proxy is meant, or nobody.
        front.flight.airside.changes(|config| config.set("/forward_auth/trusted", json!([])));
        assert_eq!(front.ask(&me().bearer(&v2_app().token())).status, 403, "{kind:?}");
    }
}

#[test]
fn a_token_as_large_as_entra_makes_them_gets_through() {
    let groups: Vec<String> = (0..600).map(|number| format!("group-{number:030}")).collect();
    let token = v2_app().with("groups", json!(groups)).token();
    assert!(token.len() > 30_000 && token.len() < 32_768, "{}", token.len());
    let claims = airflow::claims().with("padding", "x".repeat(5000));
    let large = hs512(SECRET.as_bytes(), &airflow::header(), claims.value());
    for kind in ALL {
        let front = Front::start(kind);
        assert_eq!(whoami(&front, &me().bearer(&token)), APP, "{kind:?}");
        // One that goes on as it came stands in the answer's head, too.
        let answer = front.ask(&me().bearer(&large));
        assert_eq!(answer.status, 200, "{kind:?}: {}", answer.text());
        let answer = front.ask(&me().cookie(&format!("_token={large}")));
        assert_eq!(answer.status, 200, "{kind:?}: {}", answer.text());
    }
}

/// Traefik sends what is stated empty as an empty header, which stands for none to Airflow.
#[test]
fn to_airflow_an_empty_header_is_none() {
    let flight = Flight::start();
    let empty = |request: Request| {
        ["X-Airside-User", "X-Airside-Roles", "X-Airside-Assertion", "X-Remote-User"]
            .iter()
            .fold(request, |request, name| request.header(name, ""))
    };
    let token = json!({"username": "admin", "password": password("admin")});
    let token = flight.ask(&post("/auth/token", &token)).json()["access_token"].clone();
    let token = token.as_str().unwrap();
    let session = empty(me()).header("Authorization", "").cookie(&format!("_token={token}"));
    assert_eq!(flight.ask_airflow(&session).json()["id"], "admin");
    let bearer = empty(me()).cookie("").bearer(token);
    assert_eq!(flight.ask_airflow(&bearer).json()["id"], "admin");
    assert_eq!(flight.ask_airflow(&empty(me()).header("Authorization", "").cookie("")).status, 401);
}
