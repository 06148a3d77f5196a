//! What issuers and Airflow say, against a stand-in for Airflow that answers as it does; the real one
//! is asked in tests/airflow.

use serde_json::json;

use super::clean;
use crate::support::airside::{Airside, Ended};
use crate::support::config::{Config, SECRET};
use crate::support::entra::{TENANT, now, v2_issuer};
use crate::support::expect::Verdicts;
use crate::support::issuer::Issuer;
use crate::support::keys::{CurveKey, SigningKey, open_hs512};
use crate::support::upstream::{Answer, Received, Upstream};

/// What is special about an Airflow.
#[derive(Clone, Copy, PartialEq)]
enum Special {
    Nothing,
    /// It verifies by another secret.
    Secret,
    /// It expects another audience.
    Audience,
    /// It lets in whoever comes without a credential.
    AllAdmins,
    /// Its major version is 2.
    Second,
    /// It is 3.1.8.
    Early,
    /// Its clock is ahead by so many seconds.
    Ahead(i64),
    /// It is behind something that answers in its place.
    Hidden,
}

impl Special {
    fn answer(self, request: &Received) -> Answer {
        let date = format!("Date: {}", http_date(self.now()));
        let json = |status: u16, body: &str| Answer::json(status, &[&date], body);
        match (self, request.target()) {
            (Self::Hidden, _) => Answer::json(502, &[], "{}"),
            (Self::Second, "/api/v1/version") => json(200, r#"{"version": "2.10.5"}"#),
            (Self::Second, _) => json(404, r#"{"detail": "Not Found"}"#),
            (Self::Early, "/api/v2/version") => json(200, r#"{"version": "3.1.8"}"#),
            (_, "/api/v2/version") => json(200, r#"{"version": "3.3.2"}"#),
            (_, "/api/v2/monitor/health") => {
                json(200, r#"{"metadatabase": {"status": "healthy"}}"#)
            }
            (_, "/api/v2/dags?limit=1") => match request.header("authorization") {
                None if self == Self::AllAdmins => json(200, r#"{"dags": []}"#),
                None => json(401, r#"{"detail": "Not authenticated"}"#),
                Some(_) if self == Self::Early => json(200, r#"{"dags": []}"#),
                Some(_) => self.judge(request.bearer(), &json),
            },
            _ => json(404, r#"{"detail": "Not Found"}"#),
        }
    }

    fn now(self) -> i64 {
        let ahead = if let Self::Ahead(seconds) = self { seconds } else { 0 };
        now() + ahead
    }

    /// In the order of `PyJWT`: signature, times, the rest.
    fn judge(self, token: &str, json: &impl Fn(u16, &str) -> Answer) -> Answer {
        if !token.starts_with(HS512) {
            return json(403, r#"{"detail": "Invalid JWT token"}"#);
        }
        let (_, claims) = open_hs512(token, SECRET.as_bytes());
        assert_eq!((&claims["role"], &claims["sub"]), (&json!("viewer"), &json!("airside-check")));
        let invalid = || json(403, r#"{"detail": "Invalid JWT token"}"#);
        if self == Self::Secret {
            return invalid();
        }
        if claims["exp"].as_i64().unwrap() < self.now() {
            return json(401, r#"{"detail": "Token Expired"}"#);
        }
        if self == Self::Audience {
            invalid()
        } else {
            json(200, r#"{"dags": [], "total_entries": 0}"#)
        }
    }
}

/// How the header of such a token begins: `{"typ":"JWT","alg":"HS512"`.
const HS512: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzUxMi";

fn http_date(unix: i64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(unix.try_into().unwrap());
    let text = humantime::format_rfc3339_seconds(time).to_string();
    let (date, time) = text.trim_end_matches('Z').split_once('T').unwrap();
    let parts: Vec<&str> = date.split('-').collect();
    let (year, month, day) = (parts[0], parts[1], parts[2]);
    let months =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months[month.parse::<usize>().unwrap() - 1];
    format!("Thu, {day} {month} {year} {time} GMT")
}

fn online(special: Special, hook: impl FnOnce(Config) -> Config) -> (Ended, Upstream, Issuer) {
    let issuer = Issuer::start();
    let upstream = Upstream::answering(move |request| special.answer(request));
    let config =
        Config::new(&issuer.url(), &upstream.url()).set("/access/password_login", "closed");
    let ended = Airside::checks(&hook(config), &["--online"]);
    (ended, upstream, issuer)
}

#[test]
fn what_is_as_it_should_be_is_told_line_by_line() {
    let (ended, upstream, issuer) = online(Special::Nothing, |config| config);
    assert_eq!(ended.code, Some(0), "{}", ended.log());
    for (what, found) in [
        ("keys of entra", "1 key to use"),
        ("tenant of entra", &*v2_issuer(TENANT)),
        ("keys of airflow", "given"),
        ("version of ", "Airflow 3.3.2"),
        ("health of ", "healthy"),
        ("without a credential of ", "401, \"Not authenticated\""),
        ("hand-off to ", "Airflow takes what airside signs"),
    ] {
        let line = ended.about(what);
        assert!(line.starts_with("ok ") && line.contains(found), "{found} in {line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
    assert_eq!(ended.stdout.matches("\nok ").count(), 7, "{}", ended.stdout);
    assert!(issuer.fetches() >= 2);
    // Nothing was changed.
    assert!(upstream.requests().iter().all(|request| request.method() == "GET"));
    assert!(!ended.stdout.contains("eyJ"), "no token is shown: {}", ended.stdout);
}

#[test]
fn what_airflow_refuses_is_explained() {
    let mut verdicts = Verdicts::default();
    for (label, special, what, code, words) in [
        (
            "another secret",
            Special::Secret,
            "hand-off to ",
            78,
            &["problem ", "403, \"Invalid JWT token\"", "[api_auth] jwt_secret", "airflow.secret"]
                [..],
        ),
        (
            "another audience",
            Special::Audience,
            "hand-off to ",
            78,
            &["problem ", "the key is right", "jwt_audience", "\"apache-airflow\"", "jwt_issuer"],
        ),
        (
            "everybody is an admin",
            Special::AllAdmins,
            "without a credential of ",
            0,
            &["warning ", "simple_auth_manager_all_admins", "expected: 401"],
        ),
        (
            "another Airflow",
            Special::Second,
            "version of ",
            78,
            &["problem ", "Airflow 2.10.5", "an Airflow 3", "upstream.airflow: 2"],
        ),
        ("nobody behind a proxy", Special::Hidden, "version of ", 3, &["no answer ", "502"]),
        (
            "another time",
            Special::Ahead(60),
            "clock of ",
            0,
            &["warning ", "60 s ahead", "jwt_leeway"],
        ),
    ] {
        let (ended, ..) = online(special, |config| config);
        verdicts.check(label, ended.code == Some(code), (ended.code, ended.log()));
        let line = ended.about(what);
        for word in words {
            // A second may pass on the way.
            let said = line.contains(word) || line.contains(&word.replace("60 s", "59 s"));
            verdicts.check(label, said, (word, &line));
        }
        verdicts.check(label, !ended.stdout.contains(&SECRET[..16]), &ended.stdout);
    }
}

#[test]
fn what_only_the_version_shows_not_to_work_is_told() {
    let private = |config: &Config| {
        config.file("private.pem", &CurveKey::ed25519().private_pem()).display().to_string()
    };
    let own_key = |config: Config| {
        let file = private(&config);
        config.without("/handoff/secret_file").set("/handoff/private_key_file", file)
    };
    let fab =
        |config: Config| config.set("/handoff/auth_manager", "fab").set("/handoff/fab", json!({}));
    let asserting = |config: Config| {
        let assertion = json!({"private_key_file": private(&config)});
        config.set("/handoff", json!({"type": "headers", "assertion": assertion}))
    };
    let (ended, ..) = online(Special::Early, own_key);
    let line = ended.about("hand-off of ");
    assert!(line.starts_with("warning ") && line.contains("jwt_algorithm"), "{line}");
    assert_eq!(ended.code, Some(0), "{}", ended.log());
    let (ended, ..) = online(Special::Early, fab);
    let line = ended.about("hand-off of ");
    assert!(line.starts_with("problem ") && line.contains("3.2 or later"), "{line}");
    assert_eq!(ended.code, Some(78), "{}", ended.log());
    let (ended, upstream, _issuer) = online(Special::Early, asserting);
    let line = ended.about("hand-off of ");
    assert!(line.starts_with("warning ") && line.contains("config/airflow3"), "{line}");
    // Stock Airflow does not look at assertions, and says that nobody came.
    let line = ended.about("hand-off to ");
    assert!(line.starts_with("problem ") && line.contains("[core] auth_manager"), "{line}");
    assert!(upstream.requests().iter().any(|it| it.header("x-airside-assertion").is_some()));
    let (ended, ..) = online(Special::Nothing, own_key);
    assert!(!ended.stdout.contains("hand-off of "), "{}", ended.stdout);
}

#[test]
fn who_does_not_answer_is_told_from_what_is_wrong() {
    let (issuer, mut upstream) = (Issuer::down(), Upstream::start());
    upstream.stop();
    let config =
        Config::new(&issuer.url(), &upstream.url()).set("/access/password_login", "closed");
    let ended = Airside::checks(&config, &["--online"]);
    assert_eq!(ended.code, Some(3), "{}", ended.log());
    assert!(ended.about("keys of entra").starts_with("no answer "), "{}", ended.stdout);
    assert!(ended.about("version of ").contains("upstream.url"), "{}", ended.stdout);
    // Wrong counts more: it will not be over soon.
    let issuer = Issuer::start();
    issuer.document("<html>");
    let config = config.set("/issuers/0/authority", issuer.url());
    let ended = Airside::checks(&config, &["--online"]);
    assert_eq!(ended.code, Some(78), "{}", ended.log());
    assert!(ended.about("keys of entra").contains("not JSON"), "{}", ended.stdout);
}

#[test]
fn keys_that_are_left_out_are_told_with_the_reason() {
    let issuer = Issuer::start();
    issuer.publish(&[SigningKey::shared().jwk(), json!({"kty": "RSA", "use": "enc"})]);
    let config = clean().set("/issuers/0/authority", issuer.url());
    let ended = Airside::checks(&config, &["--online"]);
    let line = ended.about("keys of entra");
    assert!(line.contains("1 key to use, left out: entry 1: `use` is not sig"), "{line}");
}

#[test]
fn an_issuer_that_calls_itself_otherwise_is_a_problem() {
    let issuer = Issuer::start();
    let oidc = |issuer: &str| {
        json!({"name": "sso", "type": "oidc", "issuer": issuer, "audiences": ["a"],
            "username_prefix": "s:", "roles": {"a": ["Op"]}})
    };
    let config = clean().set("/issuers/0", oidc(&issuer.url()));
    let line = Airside::checks(&config, &["--online"]);
    assert!(line.about("keys of sso").starts_with("ok "), "{}", line.stdout);
    issuer.misname("https://another.example");
    let ended = Airside::checks(&config, &["--online"]);
    assert_eq!(ended.code, Some(78), "{}", ended.log());
    let line = ended.about("keys of sso");
    assert!(line.contains("https://another.example") && line.contains("slash"), "{line}");
    // Of Entra it is the tenant's own description that is compared.
    let config = clean().set("/issuers/0/authority", issuer.url());
    let ended = Airside::checks(&config, &["--online"]);
    let line = ended.about("tenant of entra");
    assert!(line.starts_with("problem ") && line.contains(&v2_issuer(TENANT)), "{line}");
}

#[test]
fn every_address_of_airflow_is_asked() {
    let first = Upstream::answering(|request| Special::Nothing.answer(request));
    let (ended, second, _issuer) = online(Special::Secret, |config| {
        let second = config.get("/upstream/url");
        config.without("/upstream/url").set("/upstream/urls", json!([first.url(), second]))
    });
    assert_eq!(ended.code, Some(78), "{}", ended.log());
    let line = |address| ended.about(&format!("hand-off to {address}"));
    assert!(line(first.address()).starts_with("ok "), "{}", ended.stdout);
    assert!(line(second.address()).starts_with("problem "), "{}", ended.stdout);
}

#[test]
fn what_cannot_be_shown_without_a_change_is_said() {
    let (ended, upstream, _issuer) = online(Special::Nothing, |config| {
        config.without("/handoff/secret_file").set("/handoff/type", "headers")
    });
    let line = ended.about("hand-off to ");
    assert!(line.starts_with("not shown "), "{line}");
    assert_eq!(ended.code, Some(0), "{}", ended.log());
    assert!(upstream.requests().iter().all(|request| request.header("x-airside-user").is_none()));
}
