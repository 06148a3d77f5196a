//! A caller with a name and roles, every part of which came from a verified claim.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use moka::sync::Cache;

use super::roles::{AirflowRole, AirflowTeam, Held, RoleMap, TeamMap, is_visible};
use crate::clock::Timestamp;
use crate::rejection::{Reason, Rejection};
use crate::token::VerifiedClaims;
use crate::token::claims::{self, Claims};
use crate::token::entra::has_groups_overage;

/// How an issuer's claims become a principal.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// The name of the issuer's entry.
    pub issuer: Arc<str>,
    /// The claim that holds the user name.
    pub username_claim: String,
    /// Put in front of it, so that no two issuers can mean the same user.
    pub username_prefix: String,
    /// How roles are found.
    pub origin: Origin,
}

/// Whose roles these are.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Values at a JSON pointer, mapped to Airflow's roles.
    Mapped {
        /// Where in the claims the values are: a string or an array of strings.
        pointer: String,
        /// What they mean.
        roles: RoleMap,
    },
    /// Airflow issued the token and knows the rights itself.
    Airflow,
}

/// Who is calling.
#[derive(Debug)]
pub struct Principal {
    issuer: Arc<str>,
    username: HeaderValue,
    roles: Vec<AirflowRole>,
    role_list: Option<HeaderValue>,
    teams: Option<Vec<AirflowTeam>>,
    issued_by_airflow: bool,
    /// What is told to Airflow about this principal, ready to send.
    statement: ArcSwapOption<Statement>,
}

/// A signed statement about a principal, as a header value.
#[derive(Debug)]
pub struct Statement {
    /// The value of the Authorization header.
    pub header: HeaderValue,
    /// From when on a new one is made.
    pub renew_at: Timestamp,
    /// What it stands on.
    pub basis: Basis,
}

/// What statements stand on: it holds until somebody ends it, for all of them at once.
#[derive(Clone, Debug, Default)]
pub struct Basis(Arc<AtomicBool>);

impl Basis {
    /// Whether nobody has ended it.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.0.load(Ordering::Acquire)
    }

    /// Ends every statement that stands on it.
    pub fn end(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Principal {
    /// The name of the issuer's entry.
    #[must_use]
    pub const fn issuer(&self) -> &Arc<str> {
        &self.issuer
    }

    /// The user name.
    #[must_use]
    pub fn username(&self) -> &str {
        self.username.to_str().unwrap_or_default()
    }

    /// The user name as a header value.
    #[must_use]
    pub const fn username_header(&self) -> &HeaderValue {
        &self.username
    }

    /// The Airflow roles after mapping, as a header value joined by commas.
    #[must_use]
    pub const fn roles_header(&self) -> Option<&HeaderValue> {
        self.role_list.as_ref()
    }

    /// The Airflow roles after mapping, in the map's order; for `SimpleAuthManager` at most one.
    #[must_use]
    pub fn roles(&self) -> &[AirflowRole] {
        &self.roles
    }

    /// The Airflow teams after mapping, in the map's order; `None` where none are mapped at all.
    #[must_use]
    pub fn teams(&self) -> Option<&[AirflowTeam]> {
        self.teams.as_deref()
    }

    /// Whether Airflow issued the token, and so judges the rights itself.
    #[must_use]
    pub const fn issued_by_airflow(&self) -> bool {
        self.issued_by_airflow
    }

    /// The statement about this principal, while it is fresh and what it stands on holds.
    #[must_use]
    pub fn statement(&self, now: Timestamp) -> Option<HeaderValue> {
        let statement = self.statement.load();
        let fresh = |one: &&Arc<Statement>| now < one.renew_at && one.basis.holds();
        statement.as_ref().filter(fresh).map(|one| one.header.clone())
    }

    /// Keeps a statement for the requests to come.
    pub fn keep(&self, statement: Statement) {
        self.statement.store(Some(Arc::new(statement)));
    }

    /// Airflow did not take the statement, so nothing more is built on what it stands on.
    pub fn disown_statement(&self) {
        if let Some(statement) = self.statement.swap(None) {
            statement.basis.end();
        }
    }
}

/// Turns verified claims into principals; the same person is the same `Arc`, whatever the token.
#[derive(Debug)]
pub struct Directory {
    mappings: Vec<Mapping>,
    held: Held,
    teams: Option<TeamMap>,
    known: Cache<Key, Arc<Principal>, foldhash::fast::RandomState>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    issuer: usize,
    username: HeaderValue,
    roles: Option<HeaderValue>,
    teams: Option<Vec<AirflowTeam>>,
}

/// A principal, and where it has no role, why.
#[derive(Debug)]
pub struct Identified {
    /// Who is calling.
    pub principal: Arc<Principal>,
    /// Why there is no role, for the log.
    pub without_role: Option<String>,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.issuer.hash(state);
        self.username.as_bytes().hash(state);
        self.roles.as_ref().map(HeaderValue::as_bytes).hash(state);
        self.teams.hash(state);
    }
}

impl Directory {
    /// A directory with one mapping for each issuer, in the verifier's order, and what their role
    /// values say of teams.
    #[must_use]
    pub fn new(mappings: Vec<Mapping>, held: Held, teams: Option<TeamMap>) -> Self {
        let known = Cache::builder()
            .max_capacity(MOST_PRINCIPALS)
            .build_with_hasher(foldhash::fast::RandomState::default());
        Self { mappings, held, teams, known }
    }

    /// The principal of verified claims.
    pub fn identify(&self, token: &VerifiedClaims<'_>) -> Result<Identified, Rejection> {
        let mapping = self.mappings.get(token.issuer()).ok_or(Reason::IssuerUnknown)?;
        let claims = token.claims();
        let username = username(mapping, claims)?;
        let Rights { roles, teams, without_role } = self.rights(mapping, claims)?;
        let role_list = join(&roles)?;
        let key = Key { issuer: token.issuer(), username, roles: role_list, teams };
        let principal = self.known.get_with_by_ref(&key, || {
            Arc::new(Principal {
                issuer: Arc::clone(&mapping.issuer),
                username: key.username.clone(),
                roles,
                role_list: key.roles.clone(),
                teams: key.teams.clone(),
                issued_by_airflow: matches!(mapping.origin, Origin::Airflow),
                statement: ArcSwapOption::empty(),
            })
        });
        Ok(Identified { principal, without_role })
    }

    /// What these claims say of a caller, be they verified or not: a proof of nothing.
    #[must_use]
    pub fn sketch(&self, issuer: usize, claims: &Claims<'_>) -> Option<Sketch> {
        let mapping = self.mapping(issuer)?;
        let name = username(mapping, claims);
        let username = name.map(|name| name.to_str().unwrap_or_default().to_owned());
        let rights = self.rights(mapping, claims);
        let rights = rights.and_then(|rights| join(&rights.roles).map(|_| rights));
        Some(Sketch { username, rights })
    }

    /// How the claims of the issuer at this place become a principal.
    #[must_use]
    pub fn mapping(&self, issuer: usize) -> Option<&Mapping> {
        self.mappings.get(issuer)
    }

    fn rights(&self, mapping: &Mapping, claims: &Claims<'_>) -> Result<Rights, Rejection> {
        match &mapping.origin {
            Origin::Airflow => {
                let role = claims.text("role")?;
                let safe = |role| AirflowRole::new(role).ok_or_else(|| unsafe_value("role", role));
                let roles = role.map(safe).transpose()?.into_iter().collect();
                Ok(Rights { roles, teams: None, without_role: None })
            }
            Origin::Mapped { pointer, roles } => {
                let values = values(claims, pointer)?;
                let roles = roles.resolve_held(&values, self.held);
                let without_role = roles.is_empty().then(|| why_no_role(claims, pointer, &values));
                let teams = self.teams.as_ref().map(|teams| teams.resolve(&values));
                Ok(Rights { roles, teams, without_role })
            }
        }
    }
}

/// Bounds memory, not correctness: a principal that was dropped is made again.
const MOST_PRINCIPALS: u64 = 100_000;

/// What a caller holds, and where that is no role, why.
#[derive(Debug)]
pub struct Rights {
    /// The Airflow roles after mapping.
    pub roles: Vec<AirflowRole>,
    /// The Airflow teams after mapping.
    pub teams: Option<Vec<AirflowTeam>>,
    /// Why there is no role.
    pub without_role: Option<String>,
}

/// What claims say of a caller.
#[derive(Debug)]
pub struct Sketch {
    /// The user name.
    pub username: Result<String, Rejection>,
    /// What the caller would hold.
    pub rights: Result<Rights, Rejection>,
}

fn username(mapping: &Mapping, claims: &Claims<'_>) -> Result<HeaderValue, Rejection> {
    let username = claims.required_text(&mapping.username_claim)?;
    if username.is_empty() || mapping.username_prefix.is_empty() {
        safe(username, "user name")
    } else {
        safe(&format!("{}{username}", mapping.username_prefix), "user name")
    }
}

fn values<'c>(claims: &'c Claims<'_>, pointer: &str) -> Result<Vec<&'c str>, Rejection> {
    let Some(found) = claims.pointer(pointer) else { return Ok(Vec::new()) };
    claims::strings(found).ok_or_else(|| {
        let what = format!("{pointer} should be a string or an array of strings");
        Rejection::found_that(Reason::ClaimInvalid, what)
    })
}

fn why_no_role(claims: &Claims<'_>, pointer: &str, values: &[&str]) -> String {
    let shown: Vec<String> = values.iter().take(MOST_SHOWN).map(|value| cut(value)).collect();
    let mut why = format!("{} values at {pointer}, none of them mapped: {shown:?}", values.len());
    if has_groups_overage(claims) {
        why.push_str("; groups overage: Entra left the groups out because there are too many");
    }
    why
}

/// So many values, and so much of each, say what is wrong; the token may have thousands.
const MOST_SHOWN: usize = 10;
const MOST_OF_EACH: usize = 64;

fn cut(text: &str) -> String {
    text.chars().take(MOST_OF_EACH).collect()
}

fn join(roles: &[AirflowRole]) -> Result<Option<HeaderValue>, Rejection> {
    if roles.is_empty() {
        return Ok(None);
    }
    let names: Vec<&str> = roles.iter().map(AirflowRole::name).collect();
    safe(&names.join(","), "role").map(Some)
}

fn safe(text: &str, what: &'static str) -> Result<HeaderValue, Rejection> {
    let value = is_visible(text).then(|| HeaderValue::from_str(text).ok()).flatten();
    value.ok_or_else(|| unsafe_value(what, text))
}

fn unsafe_value(what: &str, text: &str) -> Rejection {
    let found = format!("{what} {:?} is not one or more visible ASCII characters", cut(text));
    Rejection::found_that(Reason::IdentityUnsafe, found)
}
