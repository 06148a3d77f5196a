//! The sample upstream: stands in for Airflow 3 when `dev` is given nothing to proxy to.
//!
//! It judges the token that airside hands over as Airflow's `SimpleAuthManager` does and answers
//! a handful of routes with Airflow's statuses and bodies.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Request, StatusCode};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::serve::{Answer, bearer, json, text};

/// Airflow's `[api_auth] jwt_leeway`, in seconds.
const LEEWAY: u64 = 10;

/// The sample, which knows the secret that airside signs with.
pub struct Sample {
    key: DecodingKey,
    rules: Validation,
}

impl Sample {
    /// `secret` is what Airflow would have as `[api_auth] jwt_secret`.
    pub fn new(secret: &[u8]) -> Self {
        let mut rules = Validation::new(Algorithm::HS512);
        rules.set_audience(&["apache-airflow"]);
        rules.set_required_spec_claims(&["exp", "nbf", "aud"]);
        // Times are judged below, against the clock that the caller gives.
        rules.validate_exp = false;
        Self { key: DecodingKey::from_secret(secret), rules }
    }

    /// The answer to one request at `now` (Unix seconds).
    pub fn answer(&self, request: &Request<Bytes>, now: u64) -> Answer {
        if let Some(open) = open_answer(request) {
            return open;
        }
        match self.caller(request.headers(), now) {
            Ok(caller) => protected_answer(request, &caller),
            Err(refusal) => refusal.answer(),
        }
    }

    fn caller(&self, headers: &HeaderMap, now: u64) -> Result<Caller, Refusal> {
        let token = bearer(headers).ok_or(Refusal::NotAuthenticated)?;
        let claims = decode::<Claims>(token, &self.key, &self.rules)
            .map_err(|_| Refusal::InvalidToken)?
            .claims;
        if claims.exp.saturating_add(LEEWAY) <= now {
            return Err(Refusal::Expired);
        }
        if claims.nbf.max(claims.iat) > now.saturating_add(LEEWAY) {
            return Err(Refusal::InvalidToken);
        }
        Ok(Caller { name: claims.sub, role: Role::parse(&claims.role)? })
    }
}

struct Caller {
    name: String,
    role: Role,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    role: String,
    exp: u64,
    iat: u64,
    nbf: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Viewer,
    User,
    Op,
    Admin,
}

impl Role {
    fn parse(name: &str) -> Result<Self, Refusal> {
        match name.to_ascii_lowercase().as_str() {
            "viewer" => Ok(Self::Viewer),
            "user" => Ok(Self::User),
            "op" => Ok(Self::Op),
            "admin" => Ok(Self::Admin),
            "" => Err(Refusal::Forbidden),
            _ => Err(Refusal::UnknownRole),
        }
    }
}

enum Refusal {
    NotAuthenticated,
    Expired,
    InvalidToken,
    Forbidden,
    /// Airflow itself fails on a role it does not know.
    UnknownRole,
    NotFound,
    Unprocessable,
}

impl Refusal {
    fn answer(&self) -> Answer {
        let (status, detail) = match self {
            Self::NotAuthenticated => (StatusCode::UNAUTHORIZED, "Not authenticated"),
            Self::Expired => (StatusCode::UNAUTHORIZED, "Token Expired"),
            Self::InvalidToken => (StatusCode::FORBIDDEN, "Invalid JWT token"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "Forbidden"),
            Self::UnknownRole => (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
            Self::NotFound => (StatusCode::NOT_FOUND, "Not Found"),
            Self::Unprocessable => (StatusCode::UNPROCESSABLE_ENTITY, "key and value are needed"),
        };
        json(status, &json!({"detail": detail}))
    }
}

const PAGE: &str = "<!doctype html><title>airside sample upstream</title>\
    <h1>airside sample upstream</h1><p>This stands in for Apache Airflow. Start \
    <code>airside dev -- airflow standalone</code> to have the real one here.";

/// What Airflow tells anyone.
fn open_answer(request: &Request<Bytes>) -> Option<Answer> {
    let healthy = json!({"status": "healthy"});
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => Some(text(StatusCode::OK, "text/html", PAGE.to_owned())),
        (&Method::GET, "/api/v2/version") => {
            Some(ok(&json!({"version": "3.3.2", "git_version": "airside sample upstream"})))
        }
        (&Method::GET, "/api/v2/monitor/health") => {
            Some(ok(&json!({"metadatabase": healthy, "scheduler": healthy})))
        }
        (&Method::GET, "/execution/health") => Some(ok(&healthy)),
        _ => None,
    }
}

fn protected_answer(request: &Request<Bytes>, caller: &Caller) -> Answer {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/api/v2/dags") => ok(&dags()),
        (&Method::GET, "/ui/auth/me") => ok(&json!({"id": caller.name, "username": caller.name})),
        (&Method::GET, "/api/v2/airside-sample/echo") => ok(&echo(request.headers())),
        (_, "/api/v2/variables") if caller.role < Role::Op => Refusal::Forbidden.answer(),
        (&Method::GET, "/api/v2/variables") => {
            ok(&json!({"variables": [variable("greeting", "hello")], "total_entries": 1}))
        }
        (&Method::POST, "/api/v2/variables") => created(request.body()),
        _ => Refusal::NotFound.answer(),
    }
}

fn ok(body: &Value) -> Answer {
    json(StatusCode::OK, body)
}

fn dags() -> Value {
    let dags = ["nightly_report", "warehouse_load"].map(|id| {
        json!({"dag_id": id, "dag_display_name": id, "is_paused": false, "is_stale": false,
            "tags": [], "owners": ["airside"]})
    });
    json!({"dags": dags, "total_entries": dags.len()})
}

/// Answers as if the variable had been stored; the sample keeps nothing.
fn created(body: &[u8]) -> Answer {
    #[derive(Deserialize)]
    struct Wanted {
        key: String,
        value: String,
    }
    match serde_json::from_slice::<Wanted>(body) {
        Ok(wanted) => json(StatusCode::CREATED, &variable(&wanted.key, &wanted.value)),
        Err(_) => Refusal::Unprocessable.answer(),
    }
}

fn variable(key: &str, value: &str) -> Value {
    json!({"key": key, "value": value, "description": null, "is_encrypted": false,
        "team_name": null})
}

/// The request's headers as they arrived, each name with all its values; of Authorization only
/// the scheme.
fn echo(headers: &HeaderMap) -> Value {
    let mut echoed = Map::new();
    for name in headers.keys() {
        let values = headers.get_all(name).iter().map(|value| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            if name != AUTHORIZATION {
                return value;
            }
            value.split(' ').next().unwrap_or_default().to_owned()
        });
        echoed.insert(name.to_string(), values.collect());
    }
    json!({"headers": echoed})
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};

    use super::super::serve::opened;
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn token(change: &Value) -> String {
        let mut claims = json!({"sub": "alice", "role": "viewer", "aud": "apache-airflow",
            "iat": NOW, "nbf": NOW, "exp": NOW + 300});
        for (claim, value) in change.as_object().unwrap() {
            match value {
                Value::Null => claims.as_object_mut().unwrap().remove(claim),
                _ => claims.as_object_mut().unwrap().insert(claim.clone(), value.clone()),
            };
        }
        encode(&Header::new(Algorithm::HS512), &claims, &EncodingKey::from_secret(SECRET)).unwrap()
    }

    fn ask(method: Method, path: &str, token: Option<&str>, body: &'static str) -> (u16, Value) {
        let mut builder = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            builder = builder.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = builder.body(Bytes::from(body)).unwrap();
        opened(Sample::new(SECRET).answer(&request, NOW))
    }

    #[test]
    fn tokens_are_judged_as_airflow_judges_them() {
        let dags = |change| ask(Method::GET, "/api/v2/dags", Some(&token(&change)), "");
        assert_eq!(dags(json!({})).1["total_entries"], 2);
        for (change, status, detail) in [
            (json!({"exp": NOW - 11}), 401, "Token Expired"),
            (json!({"exp": null}), 403, "Invalid JWT token"),
            (json!({"nbf": NOW + 11}), 403, "Invalid JWT token"),
            (json!({"iat": NOW + 11}), 403, "Invalid JWT token"),
            (json!({"iat": null}), 403, "Invalid JWT token"),
            (json!({"aud": "urn:airflow.apache.org:task"}), 403, "Invalid JWT token"),
            (json!({"aud": null}), 403, "Invalid JWT token"),
            (json!({"role": null}), 403, "Invalid JWT token"),
            (json!({"role": ""}), 403, "Forbidden"),
            (json!({"role": "Superuser"}), 500, "Internal Server Error"),
        ] {
            assert_eq!(dags(change.clone()), (status, json!({"detail": detail})), "{change}");
        }
        let none = ask(Method::GET, "/api/v2/dags", None, "");
        assert_eq!(none, (401, json!({"detail": "Not authenticated"})));
        let foreign = ask(Method::GET, "/api/v2/dags", Some("e30.e30.e30"), "");
        assert_eq!(foreign, (403, json!({"detail": "Invalid JWT token"})));
    }

    #[test]
    fn variables_need_op() {
        let body = r#"{"key": "k", "value": "v"}"#;
        let variables = |method, role: &str, body| {
            let token = token(&json!({"role": role}));
            ask(method, "/api/v2/variables", Some(&token), body).0
        };
        for (role, read, written) in
            [("viewer", 403, 403), ("user", 403, 403), ("Op", 200, 201), ("admin", 200, 201)]
        {
            assert_eq!(variables(Method::GET, role, ""), read, "{role}");
            assert_eq!(variables(Method::POST, role, body), written, "{role}");
        }
        assert_eq!(variables(Method::POST, "admin", "{}"), 422);
    }

    #[test]
    fn the_open_routes_need_no_token_and_the_echo_hides_it() {
        for path in ["/", "/api/v2/version", "/api/v2/monitor/health", "/execution/health"] {
            assert_eq!(ask(Method::GET, path, None, "").0, 200, "{path}");
        }
        let token = token(&json!({}));
        let (_, echo) = ask(Method::GET, "/api/v2/airside-sample/echo", Some(&token), "");
        assert_eq!(echo, json!({"headers": {"authorization": ["Bearer"]}}));
        let (_, me) = ask(Method::GET, "/ui/auth/me", Some(&token), "");
        assert_eq!(me, json!({"id": "alice", "username": "alice"}));
        assert_eq!(ask(Method::GET, "/api/v2/else", Some(&token), "").0, 404);
    }
}
