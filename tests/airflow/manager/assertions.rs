//! Which assertions are believed: asked of Airflow itself, past airside, with assertions made here.

use serde_json::{Value, json};

use super::{each, flight, key};
use crate::flight::Flight;
use crate::support::config::SECRET;
use crate::support::entra::now;
use crate::support::expect::Verdicts;
use crate::support::http::{Request, Response};
use crate::support::keys::{CurveKey, SigningKey, encode, hs256, hs512, parts, unsigned};

const PATH: &str = "/ui/auth/me";

fn header() -> Value {
    json!({"typ": "airside-assertion+jwt", "alg": "EdDSA", "kid": "assertion-1"})
}

/// What airside says of somebody who may do everything.
fn claims() -> Value {
    json!({
        "iss": "airside", "sub": "somebody", "roles": ["Admin"], "aud": "airflow",
        "iat": now(), "exp": now() + 30, "jti": "0123456789abcdef0123456789abcdef",
        "htm": "GET", "htu": PATH,
    })
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn signed(claims: &Value) -> String {
    key().sign(&header(), claims)
}

fn headed(name: &str, value: impl Into<Value>) -> String {
    let mut header = header();
    header[name] = value.into();
    key().sign(&header, &claims())
}

/// The two ways to present an assertion.
fn ways(assertion: &str) -> [(&'static str, Request); 2] {
    let request = Request::get(PATH);
    let header = request.clone().header("X-Airside-Assertion", assertion);
    [("header", header), ("bearer", request.bearer(assertion))]
}

fn is_somebody(answer: &Response) -> bool {
    answer.status == 200 && answer.json()["username"] == "somebody"
}

#[test]
fn a_good_assertion_is_believed() {
    for recipe in each() {
        let flight = flight(&recipe);
        let mut verdicts = Verdicts::default();
        for (what, assertion) in [
            ("as airside makes it", signed(&claims())),
            ("with teams", signed(&with("teams", json!(["team_a"])))),
            ("of the longest life", signed(&with("exp", now() + 300))),
            ("for any request", signed(&without("htm"))),
            ("of a key with another name", headed("kid", "renamed")),
        ] {
            for (way, request) in ways(&assertion) {
                let answer = flight.ask_airflow(&request);
                let label = format!("{}: {what}, {way}", recipe.name());
                verdicts.check(&label, is_somebody(&answer), answer.text());
            }
        }
    }
}

#[test]
fn nothing_less_than_a_good_assertion_is_believed() {
    let stranger = CurveKey::ed25519().sign(&header(), &claims());
    let p256 = CurveKey::p256();
    let other_type = p256.sign(&json!({"typ": header()["typ"], "alg": "ES256"}), &claims());
    let by = |alg: &str| json!({"typ": header()["typ"], "alg": alg});
    let pem = key().public_pem();
    let half: Value = serde_json::from_str(&format!("{}.5", now() + 30)).unwrap();
    let cases: Vec<(&str, String, u16)> = vec![
        ("another key", stranger, 403),
        ("a key of another type", other_type, 403),
        ("a changed claim", changed(), 403),
        ("no algorithm", unsigned(&by("none"), &claims()), 403),
        ("an HMAC of the public key", hs256(pem.as_bytes(), &by("HS256"), &claims()), 403),
        ("an HMAC of Airflow's secret", hs512(SECRET.as_bytes(), &by("HS512"), &claims()), 403),
        ("another algorithm", headed("alg", "ES256"), 403),
        ("a critical extension", headed("crit", json!(["x"])), 403),
        ("another issuer", signed(&with("iss", "airflow")), 403),
        ("another audience", signed(&with("aud", "apache-airflow")), 403),
        ("a list of audiences", signed(&with("aud", json!(["airflow"]))), 403),
        ("no audience", signed(&without("aud")), 403),
        ("no issuer", signed(&without("iss")), 403),
        ("no subject", signed(&without("sub")), 403),
        ("an empty subject", signed(&with("sub", "")), 403),
        ("a subject with a space", signed(&with("sub", "some body")), 403),
        ("no roles", signed(&without("roles")), 403),
        ("an empty list of roles", signed(&with("roles", json!([]))), 403),
        ("a role that is no list", signed(&with("roles", "Admin")), 403),
        ("teams that are no list", signed(&with("teams", "team_a")), 403),
        ("no id", signed(&without("jti")), 403),
        ("no time", signed(&without("iat")), 403),
        ("no end", signed(&without("exp")), 403),
        ("an end in text", signed(&with("exp", (now() + 30).to_string())), 403),
        ("an end in parts of a second", signed(&with("exp", half)), 403),
        ("an end before its time", signed(&between(now() + 2, now() + 1)), 403),
        ("too long a life", signed(&with("exp", now() + 301)), 403),
        ("a time to come", signed(&between(now() + 60, now() + 90)), 403),
        ("an end that has been", signed(&between(now() - 90, now() - 60)), 401),
        ("another method", signed(&with("htm", "POST")), 403),
        ("another path", signed(&with("htu", "/api/v2/dags")), 403),
        ("the path with a query", signed(&with("htu", format!("{PATH}?x=1"))), 403),
    ];
    for recipe in each() {
        let flight = flight(&recipe);
        let mut verdicts = Verdicts::default();
        for (what, assertion, status) in &cases {
            for (way, request) in ways(assertion) {
                let answer = flight.ask_airflow(&request);
                let label = format!("{}: {what}, {way}", recipe.name());
                verdicts.check(&label, answer.status == *status, answer.text());
            }
        }
    }
}

#[test]
fn the_header_takes_an_assertion_and_nothing_else() {
    for recipe in each() {
        let flight = flight(&recipe);
        let mut verdicts = Verdicts::default();
        let admin = hs512(
            SECRET.as_bytes(),
            &json!({"alg": "HS512", "kid": "not-used", "typ": "JWT"}),
            &json!({"sub": "1", "role": "admin", "aud": "apache-airflow", "iat": now(),
                    "nbf": now(), "exp": now() + 60}),
        );
        let good = signed(&claims());
        let deep = format!("{}.e30.AA", encode("[".repeat(9000).as_bytes()));
        for (what, value) in [
            ("a token of Airflow's", admin.as_str()),
            ("another type", &headed("typ", "JWT")),
            ("no type", &headed("typ", Value::Null)),
            ("a word", "somebody"),
            ("a deep header", &deep),
        ] {
            let answer =
                flight.ask_airflow(&Request::get(PATH).header("X-Airside-Assertion", value));
            let label = format!("{}: {what}", recipe.name());
            verdicts.check(&label, answer.status == 403, answer.text());
        }
        let empty = flight.ask_airflow(&Request::get(PATH).header("X-Airside-Assertion", ""));
        verdicts.check("empty", empty.status == 401, empty.text());
        let twice = Request::get(PATH)
            .header("X-Airside-Assertion", &good)
            .header("X-Airside-Assertion", &good);
        let answer = flight.ask_airflow(&twice);
        verdicts.check("two", answer.status == 403, answer.text());
        for (name, value) in [("X-Airside-User", "somebody"), ("X-Airside-Roles", "Admin")] {
            let answer = flight.ask_airflow(&Request::get(PATH).header(name, value));
            verdicts.check(name, answer.status == 401, answer.text());
        }
    }
}

#[test]
fn an_assertion_counts_and_no_other_credential_beside_it() {
    for recipe in each() {
        let flight = flight(&recipe);
        super::local_users(&flight);
        let admin = flight.airflow.login("admin");
        let mut verdicts = Verdicts::default();
        for (way, request) in ways(&signed(&with("roles", json!(["Viewer"])))) {
            for name in ["_token", "session"] {
                let answer =
                    flight.ask_airflow(&request.clone().cookie(&format!("{name}={admin}")));
                let label = format!("{}: {way}, {name}", recipe.name());
                verdicts.check(&label, is_somebody(&answer), answer.text());
                verdicts.check(&label, answer.all("set-cookie").is_empty(), &answer.head);
            }
        }
        let [(_, stated), _] = ways(&signed(&claims()));
        let answer = flight.ask_airflow(&stated.bearer(&admin));
        verdicts.check("a bearer beside it", is_somebody(&answer), answer.text());
        // A bad assertion is not made up for by a good credential.
        let [(_, stated), _] = ways(&signed(&with("aud", "another")));
        let answer = flight.ask_airflow(&stated.bearer(&admin).cookie(&format!("_token={admin}")));
        verdicts.check("a bad one", answer.status == 403, answer.text());
    }
}

#[test]
fn logging_out_with_an_assertion_revokes_nothing_and_harms_nothing() {
    for recipe in each() {
        let flight = flight(&recipe);
        let before = revoked(&flight);
        let out = with("htu", "/api/v2/auth/logout");
        let request = Request::get("/api/v2/auth/logout").bearer(&signed(&out));
        assert_eq!(flight.ask_airflow(&request).status, 307);
        assert_eq!(revoked(&flight), before);
    }
}

#[test]
fn other_keys_in_the_file_count_at_once_and_a_broken_file_changes_nothing() {
    let (ed25519, p256, rsa) = (key(), CurveKey::p256(), SigningKey::shared());
    let header = |algorithm: &str| json!({"typ": header()["typ"], "alg": algorithm});
    let of_curve = |key: &CurveKey| key.sign(&header(key.algorithm()), &claims());
    for recipe in each() {
        let flight = flight(&recipe);
        let file = flight.airflow.file("airside.pem");
        // With the key that the others use from the beginning, the second and the third.
        let believed = || {
            let by_rsa = rsa.sign(&header("RS256"), &claims());
            [of_curve(ed25519), of_curve(&p256), by_rsa].map(|assertion| {
                let [(_, request), _] = ways(&assertion);
                flight.ask_airflow(&request).status == 200
            })
        };
        assert_eq!(believed(), [true, false, false], "{}", recipe.name());
        let nonsense = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
        for (text, expected) in [
            (ed25519.public_pem() + &p256.public_pem() + &rsa.public_pem(), [true; 3]),
            (p256.public_pem() + &rsa.public_pem(), [false, true, true]),
            (nonsense.to_owned(), [false, true, true]),
            (String::new(), [false, true, true]),
            (ed25519.private_pem(), [false, true, true]),
            (ed25519.public_pem(), [true, false, false]),
        ] {
            std::fs::write(&file, &text).unwrap();
            assert_eq!(believed(), expected, "{}: {text}", recipe.name());
        }
        std::fs::remove_file(&file).unwrap();
        assert_eq!(believed(), [true, false, false], "{}", recipe.name());
        std::fs::write(&file, p256.public_pem()).unwrap();
        assert_eq!(believed(), [false, true, false], "{}", recipe.name());
        std::fs::write(&file, ed25519.public_pem()).unwrap();
        assert_eq!(believed(), [true, false, false], "{}", recipe.name());
    }
}

fn between(iat: i64, exp: i64) -> Value {
    let mut claims = with("iat", iat);
    claims["exp"] = exp.into();
    claims
}

/// A good signature over other claims.
fn changed() -> String {
    let good = signed(&with("roles", json!(["Viewer"])));
    let bent = signed(&claims());
    let [header, claims, _] = parts(&bent);
    let [.., signature] = parts(&good);
    format!("{header}.{claims}.{signature}")
}

/// How many tokens Airflow has on its list.
fn revoked(flight: &Flight) -> Value {
    flight.airflow.query("SELECT count(*) FROM revoked_token")
}
