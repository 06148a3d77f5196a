//! FAB's API as airside uses it: under `/auth/fab/v1/users` with a token of the managing user, and
//! the login page, which alone says what id a user has
//! (apache-airflow-providers-fab, `auth_manager/api_fastapi`).

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, SET_COOKIE, USER_AGENT};
use http::request::Builder;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::airflow_token::{Minter, Subject};
use super::super::answers::{cut, detail, numbers, told};
use super::super::{Airflow, UpstreamRequest, random_id};
use super::Settings;
use super::note::{self, Note};
use super::roles::Roles;
use super::trouble::Trouble;
use crate::clock::{self, Timestamp};
use crate::token::jws::Parts;

/// A conversation with FAB under the rights of the managing user.
pub(super) struct Admin<'a, A> {
    settings: &'a Settings,
    authorization: HeaderValue,
    airflow: &'a A,
}

/// A user as FAB describes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) username: String,
    pub(super) roles: Roles,
    pub(super) created_on: Option<String>,
    /// What an airside left there for all.
    pub(super) note: Note,
    pub(super) created_by_us: bool,
    pub(super) active: bool,
}

/// What became of a user that was to be created.
pub(super) enum Created {
    /// There it is.
    Here(Found),
    /// Another has the name or the e-mail address, or came first.
    NotNow(String),
}

/// What runs there.
#[derive(Debug)]
pub(super) struct Release {
    leaks: bool,
    learned_at: Timestamp,
}

impl Release {
    /// Whether it is unlikely that there is another by now.
    pub(super) fn is_current(&self, now: Timestamp) -> bool {
        now < self.learned_at.after(RELEASE_FOR)
    }

    /// Whether each call about a user takes memory of Airflow for good: until 3.10 FAB builds an
    /// application for it and never lets go of it (`cli_commands/utils.py`, `_return_appbuilder`).
    pub(super) const fn leaks(&self) -> bool {
        self.leaks
    }
}

#[derive(Deserialize)]
struct UserAnswer {
    username: String,
    email: String,
    last_name: String,
    roles: Option<Vec<RoleAnswer>>,
    active: Option<bool>,
    created_on: Option<String>,
}

#[derive(Deserialize)]
struct RoleAnswer {
    name: String,
}

#[derive(Deserialize)]
struct VersionAnswer {
    version: String,
}

#[derive(Deserialize)]
struct ProvidersAnswer {
    providers: Vec<Provider>,
}

#[derive(Deserialize)]
struct Provider {
    package_name: String,
    version: String,
}

impl Found {
    /// Whether airside may act as this user and set its roles.
    pub(super) fn may_be_changed(
        &self,
        username: &str,
        adopted: &HashSet<String>,
    ) -> Result<(), Trouble> {
        let username = username.to_owned();
        if self.username != username {
            return Err(Trouble::OtherCase { username, theirs: self.username.clone() });
        }
        if !self.created_by_us && !adopted.contains(&username) && !adopted.contains(EVERYBODY) {
            return Err(Trouble::NotOurs { username });
        }
        if self.active { Ok(()) } else { Err(Trouble::Inactive { username }) }
    }
}

impl From<UserAnswer> for Found {
    fn from(user: UserAnswer) -> Self {
        let created_by_us = user.email == mark(&user.username);
        Self {
            note: if created_by_us { Note::read(&user.last_name) } else { Note::default() },
            created_by_us,
            roles: user.roles.into_iter().flatten().map(|role| role.name).collect(),
            active: user.active == Some(true),
            username: user.username,
            created_on: user.created_on,
        }
    }
}

impl<'a, A: Airflow> Admin<'a, A> {
    pub(super) fn new(
        settings: &'a Settings,
        minter: &Minter,
        airflow: &'a A,
    ) -> Result<Self, Trouble> {
        let signed = minter.header(&Subject::user(&settings.admin_user_id), clock::now());
        let (authorization, _) = signed.map_err(Trouble::Airflow)?;
        Ok(Self { settings, authorization, airflow })
    }

    /// What runs there; an error where it is too old.
    pub(super) async fn release(&self, now: Timestamp) -> Result<Release, Trouble> {
        let answer = self.get("/api/v2/version").await?;
        let version: VersionAnswer =
            read(&answer).ok_or_else(|| Trouble::NoVersion { answer: told(&answer) })?;
        if numbers(&version.version).is_none_or(|numbers| numbers < (3, 2)) {
            return Err(Trouble::TooOld { version: cut(&version.version) });
        }
        let answer = self.get("/api/v2/providers?limit=100").await?;
        let listed: ProvidersAnswer = self.expect("GET /api/v2/providers", &answer)?;
        let fab = listed.providers.iter().find(|provider| provider.package_name == PACKAGE);
        let leaks = fab.and_then(|fab| numbers(&fab.version)).is_none_or(|fab| fab < (3, 10));
        Ok(Release { leaks, learned_at: now })
    }

    /// The user of this name, however it is written.
    pub(super) async fn find(&self, username: &str) -> Result<Option<Found>, Trouble> {
        let answer = self.get(&user_path(username)?).await?;
        if answer.status() == StatusCode::NOT_FOUND && detail(&answer).is_some() {
            return Ok(None);
        }
        let user: UserAnswer = self.expect("GET /auth/fab/v1/users/…", &answer)?;
        Ok(Some(user.into()))
    }

    /// Creates the user with these roles, which a token says that was issued then; marked as ours,
    /// with a password that nobody knows.
    pub(super) async fn create(
        &self,
        username: &str,
        (roles, said_at): (&Roles, Timestamp),
    ) -> Result<Created, Trouble> {
        let password = random_id().zip(random_id());
        let password = password.map(|(one, two)| one + &two).ok_or_else(|| Trouble::Odd {
            asked: "for a password".into(),
            answer: "no random bytes".into(),
        })?;
        let note = note::written(said_at, self.settings.edition, None);
        let body = json!({
            "username": username, "email": mark(username), "first_name": username,
            "last_name": note, "roles": listed(roles), "password": password,
        });
        let answer = self.send(Method::POST, USERS, Some(&body)).await?;
        // FAB answers 500 to the second of two at once, which its table refuses.
        if matches!(answer.status(), StatusCode::CONFLICT | StatusCode::INTERNAL_SERVER_ERROR) {
            return Ok(Created::NotNow(told(&answer)));
        }
        let user: UserAnswer = self.expect("POST /auth/fab/v1/users", &answer)?;
        Ok(Created::Here(user.into()))
    }

    /// Gives the user these roles and no others, which a token says that was issued then. That is
    /// noted beside the roles of a user that airside created, for those who were not here; and so
    /// is when something was taken away.
    pub(super) async fn assign(
        &self,
        user: &Found,
        (roles, said_at): (&Roles, Timestamp),
        now: Timestamp,
    ) -> Result<(), Trouble> {
        let (mask, body) = if user.created_by_us {
            let lowers = !roles.cover(&user.roles);
            let lowered_at = if lowers { Some(now) } else { user.note.lowered_at };
            let note = note::written(said_at, self.settings.edition, lowered_at);
            let body = json!({ "roles": listed(roles), "last_name": note });
            ("roles,last_name", body)
        } else {
            ("roles", json!({ "roles": listed(roles) }))
        };
        let path = format!("{}?update_mask={mask}", user_path(&user.username)?);
        let answer = self.send(Method::PATCH, &path, Some(&body)).await?;
        let _user: UserAnswer = self.expect("PATCH /auth/fab/v1/users/…", &answer)?;
        Ok(())
    }

    /// Logs the user in by the header, as FAB's login page does for whoever sends it, and gives the
    /// id that stands in the token. The session is thrown away.
    pub(super) async fn log_in(&self, username: &str) -> Result<String, Trouble> {
        let value = HeaderValue::from_str(username);
        let header = &self.settings.remote_user_header;
        let request = self.request(Method::GET, "/auth/login/");
        let request = match value {
            Ok(value) => request.header(header, value),
            Err(_) => return Err(Trouble::NotAPath { username: username.to_owned() }),
        };
        let answer = self.ask(request, Bytes::new()).await?;
        let id = token_cookie(answer.headers()).and_then(|token| user_id(&token));
        id.ok_or_else(|| Trouble::NotLoggedIn {
            username: username.to_owned(),
            header: header.to_string(),
            answer: told(&answer),
        })
    }

    async fn get(&self, path: &str) -> Result<Response<Bytes>, Trouble> {
        self.send(Method::GET, path, None).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response<Bytes>, Trouble> {
        let mut request = self.request(method, path);
        request = request.header(AUTHORIZATION, &self.authorization);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(|body| Bytes::from(body.to_string()));
        self.ask(request, body.unwrap_or_default()).await
    }

    fn request(&self, method: Method, path: &str) -> Builder {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.settings.base_path))
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("airside/", env!("CARGO_PKG_VERSION")))
    }

    async fn ask(&self, request: Builder, body: Bytes) -> Result<Response<Bytes>, Trouble> {
        let request = request.body(()).map_err(|error| Trouble::Odd {
            asked: "our request".into(),
            answer: error.to_string(),
        })?;
        let (parts, ()) = request.into_parts();
        self.airflow.ask(UpstreamRequest::own(parts, body)).await.map_err(Trouble::Airflow)
    }

    /// What a good answer says; otherwise what is wrong, as far as the answer tells.
    fn expect<T: DeserializeOwned>(
        &self,
        asked: &str,
        answer: &Response<Bytes>,
    ) -> Result<T, Trouble> {
        let id = || self.settings.admin_user_id.clone();
        match (answer.status(), detail(answer)) {
            (StatusCode::OK, _) => {
                read(answer).ok_or_else(|| Trouble::NotFab { answer: told(answer) })
            }
            (StatusCode::FORBIDDEN, Some(detail)) if detail == "Forbidden" => {
                Err(Trouble::AdminForbidden { id: id() })
            }
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                Err(Trouble::AdminUnknown { id: id(), answer: told(answer) })
            }
            (StatusCode::BAD_REQUEST, Some(detail)) if detail.starts_with("Unknown roles") => {
                Err(Trouble::UnknownRoles { answer: cut(&detail) })
            }
            (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED, None) => {
                Err(Trouble::NotFab { answer: told(answer) })
            }
            _ => Err(Trouble::Odd { asked: asked.to_owned(), answer: told(answer) }),
        }
    }
}

/// Among the adopted: whoever has a name that a token says.
const EVERYBODY: &str = "*";
const USERS: &str = "/auth/fab/v1/users";
const PACKAGE: &str = "apache-airflow-providers-fab";
/// As long as an upgrade may go unnoticed.
const RELEASE_FOR: Duration = Duration::from_secs(600);
/// Of `ab_user.first_name` (`auth_manager/models`), which holds the name as well.
const MOST_OF_A_NAME: usize = 256;
/// What a path segment holds as it is (RFC 3986, section 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The e-mail address of users that airside creates, which is how they are known: it is unique,
/// nobody can change their own, and nothing is ever delivered there (RFC 2606, section 2).
fn mark(username: &str) -> String {
    format!("{username}@airside.invalid")
}

fn user_path(username: &str) -> Result<String, Trouble> {
    if username.len() > MOST_OF_A_NAME {
        return Err(Trouble::TooLong { most: MOST_OF_A_NAME });
    }
    // Airflow decodes the path before it looks for segments. A dot segment may be resolved on the
    // way there.
    if username.contains('/') || matches!(username, "." | "..") {
        return Err(Trouble::NotAPath { username: username.to_owned() });
    }
    Ok(format!("{USERS}/{}", utf8_percent_encode(username, ENCODED)))
}

fn listed(roles: &Roles) -> Vec<Value> {
    roles.names().map(|name| json!({ "name": name })).collect()
}

fn read<T: DeserializeOwned>(answer: &Response<Bytes>) -> Option<T> {
    let good = answer.status() == StatusCode::OK;
    good.then(|| serde_json::from_slice(answer.body()).ok()).flatten()
}

fn token_cookie(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(SET_COOKIE).iter().filter_map(|cookie| cookie.to_str().ok());
    let mut tokens = cookies.filter_map(|cookie| cookie.strip_prefix("_token="));
    let token = tokens.next()?.split(';').next()?.trim_matches('"');
    (!token.is_empty()).then(|| token.to_owned())
}

/// The `sub` of a token that Airflow itself has just handed us: an id of its user table.
fn user_id(token: &str) -> Option<String> {
    let parts = Parts::split(token).ok()?;
    let claims = parts.claims().ok()?;
    let id = claims.member("sub")?.text()?;
    let plain = !id.is_empty() && id.len() <= 19 && id.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_in_the_path_whole_or_not_at_all() {
        for (name, expected) in [
            ("alice", Some("/auth/fab/v1/users/alice")),
            ("github:a@b%?", Some("/auth/fab/v1/users/github%3Aa%40b%25%3F")),
            ("a-b.c_d~e", Some("/auth/fab/v1/users/a-b.c_d~e")),
            ("repo:contoso/dags", None),
            ("..", None),
        ] {
            assert_eq!(user_path(name).ok().as_deref(), expected, "{name}");
        }
        assert!(user_path(&"a".repeat(256)).is_ok());
        assert!(user_path(&"a".repeat(257)).is_err());
    }

    #[test]
    fn a_user_is_ours_by_its_whole_address_and_no_other_mark() {
        let user = |username: &str, email: &str| {
            Found::from(UserAnswer {
                username: username.into(),
                email: email.into(),
                last_name: "-".into(),
                roles: None,
                active: Some(true),
                created_on: None,
            })
        };
        let ours = |email: &str| user("alice", email).may_be_changed("alice", &HashSet::new());
        assert!(ours("alice@airside.invalid").is_ok());
        for email in ["alice@contoso.example", "bob@airside.invalid", "x.alice@airside.invalid"] {
            assert!(matches!(ours(email), Err(Trouble::NotOurs { .. })), "{email}");
        }
        let adopted = HashSet::from(["bob".to_owned()]);
        let bob = user("bob", "bob@contoso.example");
        assert!(bob.may_be_changed("bob", &adopted).is_ok());
        let everybody = HashSet::from(["*".to_owned()]);
        assert!(user("eve", "eve@contoso.example").may_be_changed("eve", &everybody).is_ok());
        let other = user("Alice", "Alice@airside.invalid").may_be_changed("alice", &adopted);
        assert!(matches!(other, Err(Trouble::OtherCase { .. })));
    }

    #[test]
    fn the_id_is_the_plain_number_in_the_token() {
        for (claims, expected) in [
            (r#"{"sub":"7"}"#, Some("7")),
            (r#"{"sub":7}"#, None),
            (r#"{"sub":""}"#, None),
            (r#"{"sub":"7a"}"#, None),
            (r#"{"sub":" 7"}"#, None),
            (r#"{"sub":"12345678901234567890"}"#, None),
            ("{}", None),
        ] {
            use base64::Engine as _;
            use base64::engine::general_purpose::URL_SAFE_NO_PAD;
            let token = format!("e30.{}.e30", URL_SAFE_NO_PAD.encode(claims));
            assert_eq!(user_id(&token).as_deref(), expected, "{claims}");
        }
    }

    #[test]
    fn the_token_is_found_among_the_cookies() {
        for (cookies, expected) in [
            (&["_token=a.b.c; HttpOnly; Path=/", "session=x"][..], Some("a.b.c")),
            (&["session=x", "_token=\"a.b.c\"; Path=/"], Some("a.b.c")),
            (&["_token=\"\"; Max-Age=0"], None),
            (&["session=x", "a_token=a.b.c"], None),
        ] {
            let mut headers = HeaderMap::new();
            for cookie in cookies {
                headers.append(SET_COOKIE, HeaderValue::from_static(cookie));
            }
            assert_eq!(token_cookie(&headers).as_deref(), expected, "{cookies:?}");
        }
    }
}
