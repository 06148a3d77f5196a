//! Airflow with FAB as it answers airside, without the rest of Airflow.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::config::{Config, SECRET};
use super::issuer::Issuer;
use super::keys::{encode, open_hs512};
use super::scene::Scene;
use super::upstream::{Answer, Received, Upstream};

/// Everything is there below this path as well.
pub(crate) const BELOW: &str = "/below/af";

/// The header by which it logs somebody in.
pub(crate) const HEADER: &str = "x-remote-user";

/// A user in its table; the id is the place there, and 1 is the managing user.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) username: String,
    pub(crate) email: String,
    pub(crate) last_name: String,
    pub(crate) roles: Vec<String>,
    pub(crate) active: bool,
    /// Rows that were deleted leave their place empty.
    pub(crate) gone: bool,
}

impl User {
    /// One that airside did not create.
    pub(crate) fn local(username: &str, role: &str) -> Self {
        Self {
            username: username.to_owned(),
            email: format!("{username}@contoso.example"),
            last_name: "Local".to_owned(),
            roles: vec![role.to_owned()],
            active: true,
            gone: false,
        }
    }

    /// One that airside created.
    pub(crate) fn ours(username: &str, role: &str) -> Self {
        let (email, last_name) = (format!("{username}@airside.invalid"), "(airside)".to_owned());
        Self { email, last_name, ..Self::local(username, role) }
    }

    fn answer(&self, id: usize) -> Answer {
        let roles: Vec<_> = self.roles.iter().map(|name| json!({"name": name})).collect();
        let user = json!({
            "username": self.username, "email": self.email, "first_name": self.username,
            "last_name": self.last_name, "roles": roles, "active": self.active,
            "created_on": format!("2026-11-25T22:07:{id:02}.903672"), "login_count": null,
        });
        Answer::json(200, &[], &user.to_string())
    }
}

/// The table, which a test may look at and change.
#[derive(Clone, Debug)]
pub(crate) struct Table(Arc<Mutex<Vec<User>>>);

impl Table {
    pub(crate) fn of(others: &[User]) -> Self {
        let admin = User::local("admin", "Admin");
        Self(Arc::new(Mutex::new([&[admin], others].concat())))
    }

    /// Everybody there, whatever became of them.
    pub(crate) fn users(&self) -> Vec<User> {
        self.0.lock().unwrap().clone()
    }

    /// The user with this id.
    pub(crate) fn user(&self, id: usize) -> User {
        self.users()[id - 1].clone()
    }

    pub(crate) fn add(&self, user: User) {
        self.0.lock().unwrap().push(user);
    }

    pub(crate) fn change(&self, id: usize, change: impl FnOnce(&mut User)) {
        change(&mut self.0.lock().unwrap()[id - 1]);
    }

    /// What Airflow answers; whoever it forwards for gets 200.
    fn answer(&self, request: &Received) -> Answer {
        let target = request.target();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.strip_prefix(BELOW).unwrap_or(path);
        match (request.method(), path) {
            ("GET", "/api/v2/version") => Answer::json(200, &[], r#"{"version":"3.3.2"}"#),
            ("GET", "/api/v2/providers") => providers("3.10.2"),
            ("GET", "/auth/login/") => self.log_in(request),
            (method, path) if path.starts_with("/auth/fab/v1/users") => {
                let named = path.strip_prefix("/auth/fab/v1/users/").unwrap_or_default();
                if is_admin(request) {
                    self.manage(method, &decoded(named), query, &request.body)
                } else {
                    Answer::json(403, &[], r#"{"detail":"Forbidden"}"#)
                }
            }
            _ => Answer::ok(&[]),
        }
    }

    fn manage(&self, method: &str, name: &str, query: &str, body: &[u8]) -> Answer {
        let mut users = self.0.lock().unwrap();
        let same = |user: &User| !user.gone && user.username.eq_ignore_ascii_case(name);
        let place = users.iter().position(same);
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let roles = roles(&body);
        if roles.iter().any(|role| role == "Unheard.Of") {
            return Answer::json(400, &[], r#"{"detail":"Unknown roles: 'Unheard.Of'"}"#);
        }
        match (method, place) {
            ("GET", Some(place)) => users[place].answer(place + 1),
            ("PATCH", Some(place)) => {
                if query.contains("roles") {
                    users[place].roles = roles;
                }
                if query.contains("last_name") {
                    body["last_name"].as_str().unwrap().clone_into(&mut users[place].last_name);
                }
                users[place].answer(place + 1)
            }
            ("POST", _) => {
                let text = |name: &str| body[name].as_str().unwrap().to_owned();
                let (username, email) = (text("username"), text("email"));
                let (last_name, active, gone) = (text("last_name"), true, false);
                users.push(User { username, email, last_name, roles, active, gone });
                users[users.len() - 1].answer(users.len())
            }
            _ => Answer::json(404, &[], r#"{"detail":"The User was not found"}"#),
        }
    }

    fn log_in(&self, request: &Received) -> Answer {
        let name = request.header(HEADER).unwrap_or_default();
        let known = |user: &User| !user.gone && user.active && user.username == name;
        let Some(place) = self.users().iter().position(known) else {
            return Answer::json(302, &["Location: /", "Set-Cookie: session=anonymous"], "");
        };
        let claims = json!({"sub": (place + 1).to_string(), "aud": "apache-airflow"});
        let (header, claims) =
            (encode(br#"{"alg":"HS512"}"#), encode(claims.to_string().as_bytes()));
        let token = format!("Set-Cookie: _token={header}.{claims}.c2ln; HttpOnly; Path=/");
        Answer::json(302, &["Location: /auth/", &token, "Set-Cookie: session=x; Path=/"], "")
    }
}

/// airside before this table, its configuration and Airflow's answers bent: where `bend` has an
/// answer, that is it.
pub(crate) fn scene(
    table: &Table,
    config: impl FnOnce(Config) -> Config,
    bend: impl Fn(&Received) -> Option<Answer> + Send + Sync + 'static,
) -> Scene {
    let answering = table.clone();
    let upstream = Upstream::answering(move |request| {
        bend(request).unwrap_or_else(|| answering.answer(request))
    });
    Scene::of(Issuer::start(), upstream, |usual| config(for_fab(usual)))
}

/// The hand-off to FAB; what Airflow remembers for a while, it remembers for a second.
pub(crate) fn for_fab(config: Config) -> Config {
    config
        .set("/handoff/auth_manager", "fab")
        .set("/handoff/fab", json!({"cache_ttl": "1s"}))
        .set("/roles/map/Data", json!(["DataEngineer"]))
        .set("/roles/map/Odd", json!(["Unheard.Of"]))
}

/// Airflow's list of packages, with this version of FAB.
pub(crate) fn providers(fab: &str) -> Answer {
    let providers = json!([
        {"package_name": "apache-airflow-providers-common-io", "version": "1.11.0"},
        {"package_name": "apache-airflow-providers-fab", "version": fab},
    ]);
    Answer::json(200, &[], &json!({"providers": providers, "total_entries": 2}).to_string())
}

/// After this, what Airflow remembered is over; see [`for_fab`].
pub(crate) const FORGOTTEN: Duration = Duration::from_secs(4);

fn is_admin(request: &Received) -> bool {
    open_hs512(request.bearer(), SECRET.as_bytes()).1["sub"] == "1"
}

fn roles(body: &Value) -> Vec<String> {
    let roles = body["roles"].as_array().into_iter().flatten();
    roles.map(|role| role["name"].as_str().unwrap().to_owned()).collect()
}

fn decoded(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment).decode_utf8().unwrap().into_owned()
}
