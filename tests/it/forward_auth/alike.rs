//! One request, one verdict: what is forwarded at `listen` is permitted at `forward_auth.listen`, with
//! the headers that Airflow would have seen, and what is refused there is refused here for the same
//! reason, whoever asks.

use super::{ALL, Asking, STATED};
use crate::support::airflow;
use crate::support::entra::{v2_app, v2_user};
use crate::support::envoy::Check;
use crate::support::expect::Verdicts;
use crate::support::http::Request;

/// Headers of a request.
type Headers = Vec<(&'static str, String)>;

fn cases() -> Vec<(&'static str, &'static str, Headers)> {
    let bearer = |token: String| vec![("authorization", format!("Bearer {token}"))];
    let session = || vec![("cookie", "a=b; _token=x".to_owned())];
    let of = |mut headers: Headers, name, value: &str| {
        headers.push((name, value.to_owned()));
        headers
    };
    let mut cases = Vec::new();
    for (method, target) in [
        ("GET", "/api/v2/dags"),
        ("HEAD", "/api/v2/dags"),
        ("OPTIONS", "/api/v2/dags"),
        ("DELETE", "/api/v2/dags/a"),
        ("GET", "/"),
        ("GET", "/?next=/api/v2/dags"),
        ("GET", "/static/app.js"),
        ("GET", "/docs"),
        ("GET", "/api/v2/version"),
        ("HEAD", "/api/v2/monitor/health"),
        ("POST", "/api/v2/version"),
        ("POST", "/auth/token"),
        ("GET", "/execution/health"),
        ("GET", "/airside/token"),
        ("GET", "/airside/auth"),
        ("TRACE", "/"),
        ("GET", "//api/v2/version"),
        ("GET", "/api//v2/version"),
        ("GET", "/api/v2/version/"),
        ("GET", "/api/v2/monitor/health/../../dags"),
        ("GET", "/api/v2/monitor/health/%2e%2e/dags"),
        ("GET", "/api/v2/monitor/health%2f..%2fdags"),
        ("GET", "/api/v2/monitor/health/..%5cdags"),
        ("GET", "/api/v2/monitor/health%00"),
        ("GET", "/api/v2/monitor/health%zz"),
        ("GET", "/api/v2/monitor/%68ealth"),
        ("GET", "/api/v2/variables/a%2Fb"),
        ("GET", "/api/v2/dags/~/dagRuns?order_by=-id"),
    ] {
        cases.push((method, target, vec![]));
        cases.push((method, target, bearer(v2_app().token())));
        cases.push((method, target, session()));
    }
    let dags = "/api/v2/dags";
    for headers in [
        bearer(v2_user().token()),
        bearer(v2_app().without("roles").token()),
        bearer(v2_app().with("aud", "other").token()),
        bearer(v2_app().with("iss", "https://other.example").token()),
        bearer(airflow::sign(&airflow::claims())),
        bearer("a.b.c".to_owned()),
        of(bearer(v2_app().token()), "cookie", "_token=x"),
        vec![("authorization", "Basic eDp5".to_owned())],
        vec![("authorization", "Bearer".to_owned())],
        of(session(), "origin", "https://evil.example"),
        of(session(), "origin", "https://airflow.example"),
        of(session(), "sec-fetch-site", "cross-site"),
        of(session(), "sec-fetch-site", "same-origin"),
        of(vec![], "x-http-method-override", "GET"),
    ] {
        for method in ["GET", "POST"] {
            cases.push((method, dags, headers.clone()));
        }
    }
    let login = of(session(), "sec-fetch-site", "cross-site");
    cases.push(("POST", "/auth/token", login));
    cases
}

#[test]
fn whoever_asks_is_told_what_would_have_been_done() {
    let asking = Asking::start();
    let mut verdicts = Verdicts::default();
    for (method, target, headers) in cases() {
        let with = |request: Request| {
            headers.iter().fold(request, |request, (name, value)| request.header(name, value))
        };
        asking.scene.upstream.take();
        let direct = asking.scene.ask(&with(Request::new(method, target).host("airflow.example")));
        let seen = asking.scene.upstream.take().pop();
        let reason = match &seen {
            Some(_) => String::new(),
            None if method == "HEAD" => direct.status.to_string(),
            None => direct.json()["reason"].as_str().unwrap().to_owned(),
        };
        // Tokens of ours differ in their ids.
        let ours = |value: &str| match value.strip_prefix("Bearer ") {
            Some(token) if headers.iter().all(|(_, sent)| !sent.contains(token)) => {
                super::claims(value)["sub"].to_string()
            }
            _ => value.to_owned(),
        };
        let expected = STATED.map(|name| {
            let seen = seen.as_ref().and_then(|seen| seen.header(name));
            seen.map(ours).unwrap_or_default()
        });
        for (proxy, ask) in ALL {
            let label = format!("{proxy}: {method} {target} {headers:?}");
            let answer = asking.ask(&with(ask(method, target)));
            let said = match (&seen, answer.status) {
                (Some(_), 200) => {
                    let stated = STATED.map(|name| ours(answer.header(name).expect(name)));
                    verdicts.check(&label, stated == expected, (&stated, &expected));
                    String::new()
                }
                _ if answer.body.is_empty() => answer.status.to_string(),
                _ if method == "HEAD" => answer.status.to_string(),
                _ => answer.json()["reason"].as_str().unwrap().to_owned(),
            };
            verdicts.check(&label, said == reason, (&said, &reason));
        }
        let check = Check::new(method, target);
        let check = headers.iter().fold(check, |check, (name, value)| check.header(name, value));
        let verdict = check.ask(asking.address);
        let label = format!("gRPC: {method} {target} {headers:?}");
        let said = match verdict.code {
            0 => String::new(),
            _ if method == "HEAD" => verdict.status.to_string(),
            _ => verdict.reason(),
        };
        verdicts.check(&label, said == reason, (&said, &reason));
        if seen.is_some() && verdict.code == 0 {
            for (name, expected) in STATED.iter().zip(&expected) {
                let stated = verdict.header(name).map(ours).unwrap_or_default();
                verdicts.check(&label, stated == *expected, (name, &stated, expected));
                let removes = verdict.removes(name);
                verdicts.check(&label, removes == expected.is_empty(), (name, "removed", removes));
            }
        }
    }
}
