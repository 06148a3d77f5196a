//! The hand-off, tried out: Airflow is told of somebody whom nobody is, and its answer explained.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};

use super::airflow::{dags_path, get, within};
use super::{Finding, Verdict};
use crate::clock;
use crate::config::written::Handoff;
use crate::handoff::Airflow;
use crate::handoff::answers::{detail, json, told};
use crate::handoff::rehearsal::{Form, NOBODY, Rehearsal};

/// What is known of both sides.
pub(super) struct Facts<'a> {
    /// Airflow's address.
    pub(super) name: &'a str,
    pub(super) handoff: &'a Handoff,
    /// Airflow's major version.
    pub(super) airflow: u8,
}

/// Asks with what airside would say of a caller.
pub(super) async fn rehearse(
    rehearsal: &Rehearsal<'_, impl Airflow>,
    facts: &Facts<'_>,
) -> Finding {
    let about = format!("hand-off to {}", facts.name);
    let (path, whom) = match rehearsal.form() {
        Form::Token => (dags_path(facts.airflow), "as a viewer"),
        Form::Fab => (USERS, "as handoff.fab.admin_user_id"),
        Form::Assertion if facts.airflow == 2 => {
            let why = "Airflow 2 makes a user of whom an assertion names: only a caller's own request can show it";
            return Finding::new(Verdict::Unshown, about, "nothing", why);
        }
        Form::Assertion => {
            (dags_path(facts.airflow), "with an assertion of a role that nobody has")
        }
        Form::Headers => {
            let why = "identity headers without a signature prove nothing that could be tried out";
            return Finding::new(Verdict::Unshown, about, "nothing", why);
        }
    };
    let asked = format!("{} {whom}", get(path));
    let answer = match within(rehearsal.as_caller(path, clock::now())).await {
        Ok(answer) => answer,
        Err(found) => return Finding::new(Verdict::Silent, about, asked, found),
    };
    let form = rehearsal.form();
    if is_taken(form, &answer) {
        return Finding::new(Verdict::Good, about, asked, taken(form, &answer));
    }
    let expired = is_expired_one_known(rehearsal, path, &answer).await;
    let Refusal { found, expected, hint } = refusal(form, &answer, expired, facts);
    Finding::new(Verdict::Wrong, about, asked, found).expected(expected).hint(hint)
}

fn is_taken(form: Form, answer: &Response<Bytes>) -> bool {
    match form {
        Form::Token => answer.status() == StatusCode::OK && has(answer, "dags"),
        Form::Fab => answer.status() == StatusCode::OK && has(answer, "users"),
        // It was verified, or nobody would have looked for the role.
        Form::Assertion => {
            let refused = answer.status() == StatusCode::FORBIDDEN;
            refused && detail(answer).is_some_and(|detail| detail.contains(NOBODY))
        }
        Form::Headers => false,
    }
}

fn has(answer: &Response<Bytes>, member: &str) -> bool {
    json(answer).is_some_and(|body| body.get(member).is_some())
}

fn taken(form: Form, answer: &Response<Bytes>) -> String {
    let status = answer.status().as_u16();
    match form {
        Form::Token => format!("{status}: Airflow takes what airside signs"),
        Form::Fab => format!(
            "{status}: this user may manage the others; that FAB logs in by handoff.fab.remote_user_header is not tried out, because it would change the user"
        ),
        Form::Assertion | Form::Headers => {
            format!("{status}: the assertion was verified and, as it should be, has no role")
        }
    }
}

/// Airflow looks at signatures first and at times next: where it says of one that has expired that
/// it has, the key is right and something else is wrong.
async fn is_expired_one_known(
    rehearsal: &Rehearsal<'_, impl Airflow>,
    path: &str,
    answer: &Response<Bytes>,
) -> bool {
    if !is_invalid(answer) {
        return false;
    }
    let long_ago = clock::now().before(LONG);
    let answer = within(rehearsal.as_caller(path, long_ago)).await;
    answer.is_ok_and(|answer| is_expired(&answer))
}

fn is_invalid(answer: &Response<Bytes>) -> bool {
    detail(answer).is_some_and(|detail| detail == "Invalid JWT token")
}

fn is_expired(answer: &Response<Bytes>) -> bool {
    answer.status() == StatusCode::UNAUTHORIZED
        && detail(answer).is_some_and(|detail| detail == "Token Expired")
}

struct Refusal {
    found: String,
    expected: &'static str,
    hint: String,
}

fn refusal(form: Form, answer: &Response<Bytes>, key_is_right: bool, facts: &Facts<'_>) -> Refusal {
    let expected = match form {
        Form::Token => "200, with DAGs",
        Form::Fab => "200, with users",
        Form::Assertion | Form::Headers => "403, for want of a role",
    };
    let hint = match (answer.status(), detail(answer).as_deref()) {
        _ if is_expired(answer) => "the clocks differ by more than Airflow's [api_auth] jwt_leeway: synchronise both".into(),
        _ if is_invalid(answer) && key_is_right => terms(form, facts),
        _ if is_invalid(answer) => key(form, facts),
        (StatusCode::UNAUTHORIZED, _) if form == Form::Assertion => "Airflow does not look at assertions: set its [core] auth_manager to airside_auth_manager.AirsideFabAuthManager or .AirsideAuthManager (config/airflow3), and compare handoff.headers.assertion, which they expect to be X-Airside-Assertion".into(),
        (StatusCode::UNAUTHORIZED, _) => "Airflow saw no Authorization: something between airside and it takes the header away".into(),
        (StatusCode::FORBIDDEN, Some("Forbidden")) if form == Form::Fab => format!("the user with the id {:?} may not manage users: give it the role Admin in FAB, or name another in handoff.fab.admin_user_id", admin(facts)),
        (StatusCode::INTERNAL_SERVER_ERROR, _) if facts.handoff.private_key_file.is_some() => "before 3.3 Airflow fails like that where its copy of trusted_jwks_url lacks the kid: see that the address is airside's /jwks.json; it is read once an hour, and when Airflow starts".into(),
        _ if form == Form::Fab => format!("set [core] auth_manager in Airflow to {FAB}, or handoff.auth_manager here to simple"),
        _ => "Airflow's log says more; see that its [core] auth_manager is the one of handoff.auth_manager".into(),
    };
    let key_found = if key_is_right {
        "; one that has expired is told so, which shows that the key is right"
    } else {
        ""
    };
    Refusal { found: format!("{}{key_found}", told(answer)), expected, hint }
}

/// The signature is not by a key that Airflow knows.
fn key(form: Form, facts: &Facts<'_>) -> String {
    let Handoff { secret_file, private_key_file, kid, .. } = facts.handoff;
    match (form, secret_file, private_key_file) {
        (Form::Assertion, ..) => "compare handoff.assertion.private_key_file with AIRSIDE_ASSERTION_PUBLIC_KEY on Airflow's side, a file or the address of airside's /jwks.json; Airflow's log says what it refused".into(),
        (_, Some(file), _) => format!(
            "Airflow verifies by another key: its [api_auth] jwt_secret must be the content of {file}, byte for byte, in every component, and jwt_private_key_path and trusted_jwks_url unset; what stands in an airflow.cfg or a Secret that is made anew with each installation changes"
        ),
        (_, None, _) => {
            let kid = kid.as_deref().map_or(String::new(), |kid| format!(" with the kid {kid:?}"));
            format!(
                "Airflow has no such key: [api_auth] trusted_jwks_url must be the address of airside's /jwks.json (admin listener), which shows it{kid}; Airflow reads that once an hour, and when it starts; jwt_algorithm, where it is set, must name the algorithm"
            )
        }
    }
}

/// The signature is right, but not for whom or by whom the token is.
fn terms(form: Form, facts: &Facts<'_>) -> String {
    if form == Form::Assertion {
        let audience = facts.handoff.assertion.as_ref().map_or("", |assertion| &assertion.audience);
        return format!(
            "AIRSIDE_ASSERTION_AUDIENCE on Airflow's side must be {audience:?} (handoff.assertion.audience); Airflow's log says what it refused"
        );
    }
    let Handoff { audience, issuer, .. } = facts.handoff;
    let issuer = issuer.as_deref().map_or("unset".to_owned(), |issuer| format!("{issuer:?}"));
    let user = if form == Form::Fab {
        format!("an active user must have the id {:?} (handoff.fab.admin_user_id)", admin(facts))
    } else {
        "[core] auth_manager must be SimpleAuthManager, or handoff.auth_manager here fab".to_owned()
    };
    format!(
        "[api_auth] jwt_audience must be {audience:?} (handoff.audience) and jwt_issuer {issuer} (handoff.issuer), or something else of the token is not to Airflow's liking: {user}"
    )
}

fn admin<'a>(facts: &'a Facts<'_>) -> &'a str {
    facts.handoff.fab.as_ref().map_or("", |fab| &fab.admin_user_id)
}

/// FAB's list of users, which only those who may manage them see.
const USERS: &str = "/auth/fab/v1/users?limit=1";
const FAB: &str = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager";
/// Longer than anything lasts that airside signs for a request.
const LONG: Duration = Duration::from_secs(25 * 3600);
