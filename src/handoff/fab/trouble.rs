//! What goes wrong between airside and FAB, said so that whoever runs Airflow knows what to set.

use std::fmt;
use std::time::Duration;

use super::roles::Roles;
use crate::rejection::{Reason, Rejection};

/// Why a caller cannot be handed on to FAB.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No answer, or none that is HTTP.
    Airflow(Rejection),
    /// An answer, or our turn to ask, did not come in time.
    Late(Duration),
    /// An answer that none of our questions has.
    Odd { asked: String, answer: String },
    /// Nothing that Airflow 3 answers.
    NoVersion { answer: String },
    /// Before 3.2, FAB's API takes no token.
    TooOld { version: String },
    /// Airflow's auth manager is another.
    NotFab { answer: String },
    /// Airflow does not take the token of the managing user.
    AdminUnknown { id: String, answer: String },
    /// The managing user may not manage users.
    AdminForbidden { id: String },
    /// The caller has the name of the managing user.
    AdminItself(String),
    /// FAB does not log in by the header.
    NotLoggedIn { username: String, header: String, answer: String },
    /// FAB refused to create the user, and has it not.
    NotCreated { username: String, answer: String },
    /// FAB has no such role.
    UnknownRoles { answer: String },
    /// The user is somebody else's.
    NotOurs { username: String },
    /// FAB takes two names for one.
    OtherCase { username: String, theirs: String },
    /// The name cannot stand in the path of FAB's API.
    NotAPath { username: String },
    /// The name is longer than FAB's column.
    TooLong { most: usize },
    /// Somebody switched the user off in FAB.
    Inactive { username: String },
    /// Airflow may still grant what was taken away.
    Lowered { former: Option<Roles>, roles: Roles, seconds: u64 },
    /// A token issued later says that the user has other roles.
    Outdated { carries: Roles, roles: Roles },
}

impl From<Trouble> for Rejection {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Airflow(rejection) => rejection,
            trouble => Self::found_that(Reason::HandoffFailed, trouble.to_string()),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Airflow(rejection) => f.write_str(rejection.found().unwrap_or_default()),
            Self::Late(patience) => {
                write!(f, "Airflow has not said who the user is within {patience:?}")
            }
            Self::Odd { asked, answer } => write!(f, "Airflow answered {asked} with {answer}"),
            Self::NoVersion { answer } => write!(
                f,
                "Airflow answered GET /api/v2/version with {answer}: see that upstream.url and \
                 upstream.base_path lead to an Airflow 3.2 or later"
            ),
            Self::TooOld { version } => write!(
                f,
                "this is Airflow {version}, and auth_manager fab needs Airflow 3.2 or later"
            ),
            Self::NotFab { answer } => write!(
                f,
                "Airflow answered FAB's API of users with {answer}: set [core] auth_manager in \
                 Airflow to {FAB_AUTH_MANAGER}, or handoff.auth_manager here to simple"
            ),
            Self::AdminUnknown { id, answer } => write!(
                f,
                "Airflow refused airside's own token ({answer}): see that its [core] auth_manager \
                 is {FAB_AUTH_MANAGER} and that an active user has the id {id} \
                 (handoff.fab.admin_user_id), and compare the key, audience and issuer under \
                 handoff with its [api_auth], and the clocks"
            ),
            Self::AdminForbidden { id } => write!(
                f,
                "the user with the id {id} may not manage users: give it the role Admin in FAB, \
                 or set handoff.fab.admin_user_id to the id of one that has it"
            ),
            Self::AdminItself(username) => write!(
                f,
                "{username:?} is the user by whose rights airside manages the others \
                 (handoff.fab.admin_user_id): use a user for that whom no token names"
            ),
            Self::NotLoggedIn { username, header, answer } => write!(
                f,
                "FAB did not log {username:?} in by the header {header} ({answer}): set \
                 AUTH_TYPE = AUTH_REMOTE_USER and AUTH_REMOTE_USER_ENV_VAR = {:?} in Airflow's \
                 webserver_config.py",
                environment_name(header)
            ),
            Self::NotCreated { username, answer } => {
                write!(f, "FAB did not create the user {username:?}: {answer}")
            }
            Self::UnknownRoles { answer } => write!(
                f,
                "FAB lacks a role of this caller ({answer}): create it in Airflow under Security, \
                 List Roles, or correct the role map here"
            ),
            Self::NotOurs { username } => write!(
                f,
                "FAB has a user {username:?} that airside did not create: list it in \
                 handoff.fab.adopt if its roles are airside's to set, or give the issuer a \
                 username_prefix"
            ),
            Self::OtherCase { username, theirs } => write!(
                f,
                "FAB has a user {theirs:?} and takes {username:?} for the same: use a claim whose \
                 case never differs as username_claim"
            ),
            Self::NotAPath { username } => write!(
                f,
                "FAB's API cannot be asked about a name with a slash ({username:?}): use a \
                 username_claim without one"
            ),
            Self::TooLong { most } => {
                write!(f, "the user name is longer than the {most} characters FAB has room for")
            }
            Self::Inactive { username } => {
                write!(f, "the user {username:?} is deactivated in FAB")
            }
            Self::Lowered { former, roles, seconds } => {
                write!(f, "the roles were lowered")?;
                if let Some(former) = former {
                    write!(f, " from {former}")?;
                }
                write!(
                    f,
                    " to {roles}, and Airflow may grant the former for another {seconds} s \
                     (handoff.fab.cache_ttl)"
                )
            }
            Self::Outdated { carries, roles } => write!(
                f,
                "the token carries {carries}, and one of this user that was issued later {roles}: \
                 get a new token"
            ),
        }
    }
}

/// What WSGI calls a header (PEP 3333).
fn environment_name(header: &str) -> String {
    format!("HTTP_{}", header.to_ascii_uppercase().replace('-', "_"))
}

const FAB_AUTH_MANAGER: &str = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager";
