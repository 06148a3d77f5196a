//! What the tokens of workers must be: that of a task to be used on Airflow's task API
//! (airflow-core, `api_fastapi/execution_api`), that of an Edge worker on its own (Edge provider,
//! `worker_api/auth.py`). As Airflow has it, and never stricter than Airflow on their times.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;

use super::claims::{Claims, Needed};
use super::jws::Parts;
use super::{Issuer, Rules, Signed, Verifier, airflow};
use crate::clock::Timestamp;
use crate::credential::BearerToken;
use crate::jwks::{Algorithm, Key};
use crate::rejection::{Reason, Rejection};

impl Verifier {
    /// Verifies the token of a task; waits as [`Self::verify`] does.
    pub async fn verify_task(
        &self,
        token: &BearerToken,
        now: Timestamp,
    ) -> Result<VerifiedTask, Rejection> {
        let parts = Parts::split(token.expose())?;
        let signed = self.signed_by_airflow(token, &parts).await?;
        let scope = Scope::of(&signed.claims)?;
        signed.claims.check_audience(signed.issuer.task_audiences())?;
        self.check_worker(&signed, Needed::ExpiryAndIssue, now)?;
        let id = TaskId::of(&signed.claims)?;
        Ok(VerifiedTask { issuer: Arc::clone(&signed.issuer.name), id, scope })
    }

    /// Verifies the token of an Edge worker; waits as [`Self::verify`] does.
    pub async fn verify_edge(
        &self,
        token: &BearerToken,
        now: Timestamp,
    ) -> Result<VerifiedEdgeWorker, Rejection> {
        let parts = Parts::split(token.expose())?;
        let signed = self.signed_by_airflow(token, &parts).await?;
        airflow::check_kind(&signed.claims)?;
        signed.claims.check_audience(&[EDGE_AUDIENCE.to_owned()])?;
        self.check_worker(&signed, Needed::All, now)?;
        VerifiedEdgeWorker::of(&signed.claims)
    }

    /// What a key of Airflow's has signed, and none of ours: wherever Airflow has been told to trust
    /// these, they make no worker.
    async fn signed_by_airflow<'p>(
        &self,
        token: &BearerToken,
        parts: &'p Parts,
    ) -> Result<Signed<'_, 'p>, Rejection> {
        let airflows_own = |key: &Key| !self.ours.iter().any(|specimen| specimen.is_by(key));
        self.signed(token, parts, check_issuer, airflows_own).await
    }

    /// Times, names and the revocation list; never stricter than Airflow.
    fn check_worker(
        &self,
        signed: &Signed<'_, '_>,
        needed: Needed,
        now: Timestamp,
    ) -> Result<(), Rejection> {
        let Signed { claimant, header, claims, .. } = signed;
        let leeway = self.leeway.max(LEAST_LEEWAY);
        claims.validity(needed, leeway)?.check(now)?;
        self.clear(claimant, claims, header, now).map(drop)
    }
}

/// A task whose token verified: proof of nothing but that, and of no user.
#[derive(Clone, Debug)]
pub struct VerifiedTask {
    issuer: Arc<str>,
    id: TaskId,
    scope: Scope,
}

impl VerifiedTask {
    /// The name of the issuer's entry.
    #[must_use]
    pub const fn issuer(&self) -> &Arc<str> {
        &self.issuer
    }

    /// Which task instance it is: `sub`.
    #[must_use]
    pub const fn id(&self) -> TaskId {
        self.id
    }

    /// What the token is for.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        self.scope
    }
}

/// An Edge worker whose token verified.
#[derive(Debug)]
pub struct VerifiedEdgeWorker {
    path: String,
}

impl VerifiedEdgeWorker {
    /// The claim `method`: the path below the API of Edge workers that the token is for.
    fn of(claims: &Claims<'_>) -> Result<Self, Rejection> {
        let path = percent_decode_str(claims.required_text("method")?);
        Ok(Self { path: path.decode_utf8_lossy().into_owned() })
    }

    /// The one path that the token is for, decoded.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// What the token of a task is for (`TokenScope` of Airflow 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The work of one task; what a token without a `scope` is for.
    Execution,
    /// Beginning it.
    Workload,
}

impl Scope {
    /// The `scope` of the claims; `None` where it is none of a task's.
    pub(super) fn named(text: &str) -> Option<Self> {
        match text {
            "execution" => Some(Self::Execution),
            "workload" => Some(Self::Workload),
            _ => None,
        }
    }

    fn of(claims: &Claims<'_>) -> Result<Self, Rejection> {
        let Some(text) = claims.text("scope")? else {
            return Ok(Self::Execution);
        };
        Self::named(text).ok_or_else(|| {
            let found = "claim scope should be execution or workload";
            Rejection::found_that(Reason::ClaimInvalid, found)
        })
    }
}

/// The id of a task instance, a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskId(u128);

impl TaskId {
    /// Reads what Airflow (pydantic) reads: 32 hexadecimal digits in either case, as they are or
    /// with hyphens, the latter also in braces or after `urn:uuid:`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix("urn:uuid:");
        let bare = bare.or_else(|| text.strip_prefix('{')?.strip_suffix('}'));
        let digits = match (bare.unwrap_or(text), bare) {
            (plain, None) if plain.len() == 32 => plain.to_owned(),
            (hyphened, _) => {
                let groups: Vec<&str> = hyphened.split('-').collect();
                let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
                (lengths == [8, 4, 4, 4, 12]).then(|| groups.concat())?
            }
        };
        let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        hexadecimal.then(|| u128::from_str_radix(&digits, 16).ok().map(Self))?
    }

    fn of(claims: &Claims<'_>) -> Result<Self, Rejection> {
        let sub = claims.required_text("sub")?;
        Self::parse(sub).ok_or_else(|| {
            Rejection::found_that(Reason::ClaimInvalid, "claim sub should be a UUID")
        })
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        let mut rest = digits.as_str();
        for length in [8, 4, 4, 4] {
            let (group, after) = rest.split_at(length);
            write!(f, "{group}-")?;
            rest = after;
        }
        f.write_str(rest)
    }
}

/// The audience of the tokens of Edge workers.
const EDGE_AUDIENCE: &str = "api";

/// `[api_auth] jwt_leeway` of Airflow by default: with less, airside would refuse a task that
/// Airflow lets go on.
const LEAST_LEEWAY: Duration = Duration::from_secs(10);

/// Something that a key of airside's own has signed: by it the key is known again, in whatever form
/// and under whatever name it stands in a key set.
#[derive(Clone, Debug)]
pub struct Specimen {
    algorithm: Algorithm,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Specimen {
    /// The specimen in a compact JWS that the key signed by this algorithm.
    #[must_use]
    pub fn of(jws: &str, algorithm: Algorithm) -> Option<Self> {
        let (message, signature) = jws.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        Some(Self { algorithm, message: message.into(), signature })
    }

    /// Whether this key is the one that signed it.
    #[must_use]
    pub fn is_by(&self, key: &Key) -> bool {
        key.verifies(self.algorithm, &self.message, &self.signature)
    }
}

/// Refuses at once what another issuer has issued: the tokens of its tasks are Airflow's alone.
fn check_issuer(issuer: &Issuer) -> Result<(), Rejection> {
    if let Rules::Airflow(_) = issuer.rules {
        return Ok(());
    }
    let found = format!("a token of {}, where those of Airflow's tasks are expected", issuer.name);
    Err(Rejection::found_that(Reason::TokenKind, found))
}

#[cfg(test)]
mod tests {
    use super::super::json::Json;
    use super::*;

    const ID: &str = "01a200a6-add8-7fb6-b02e-123f4a563095";

    #[test]
    fn an_id_is_read_in_every_form_that_airflow_reads() {
        let plain = ID.replace('-', "");
        for form in [
            ID.to_owned(),
            ID.to_uppercase(),
            plain.clone(),
            format!("urn:uuid:{ID}"),
            format!("{{{ID}}}"),
        ] {
            let id = TaskId::parse(&form);
            assert_eq!(id.map(|id| id.to_string()).as_deref(), Some(ID), "{form}");
        }
        for other in [
            String::new(),
            "admin".into(),
            ID[1..].into(),
            format!("{ID}0"),
            format!(" {ID}"),
            format!("{{{plain}}}"),
            format!("urn:uuid:{plain}"),
            plain.replacen('0', "+", 1),
            ID.replacen('a', "g", 1),
            ID.replacen("01a200a6-", "01a200a6a-", 1),
            "é".repeat(16),
        ] {
            assert_eq!(TaskId::parse(&other), None, "{other}");
        }
    }

    #[test]
    fn a_scope_is_a_tasks_or_it_is_refused() {
        for (scope, expected) in [
            ("", Ok(Scope::Execution)),
            (r#","scope":"execution""#, Ok(Scope::Execution)),
            (r#","scope":"workload""#, Ok(Scope::Workload)),
            (r#","scope":"admin""#, Err(Reason::ClaimInvalid)),
            (r#","scope":null"#, Err(Reason::ClaimInvalid)),
            (r#","scope":["execution"]"#, Err(Reason::ClaimInvalid)),
        ] {
            let text = format!(r#"{{"sub":"{ID}"{scope}}}"#);
            let claims = Claims::of(Json::parse(text.as_bytes()).unwrap());
            assert_eq!(Scope::of(&claims).map_err(|error| error.reason()), expected, "{text}");
        }
    }
}
