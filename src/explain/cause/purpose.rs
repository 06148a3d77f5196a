//! What a token is for, and when.

use super::Words;
use super::places::{CLIENT, EXPOSE, airflow, airside, ask_for, ask_for_this, fix, new_token};
use crate::explain::span;

/// What it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each has its sentences below")]
pub enum Kind {
    IdToken { client_id: String },
    IdTokenOfOurs { client_id: String },
    TaskToken { scope: String },
    OnlyForWorkers { issuer: String },
    WorkloadOnly,
    ExchangedAlready,
    KindContradicts,
    Bound { by: &'static str },
    TenantDiffers { found: String },
    KeyOfOtherTenant { found: String },
    VersionContradicts { found: String },
    RequiredClaimDiffers { found: String, entry: String },
}

impl Kind {
    pub(super) fn words(&self) -> Words {
        match self {
            Self::IdToken { client_id } => (
                "id_token",
                "this is an ID token: it tells an application who signed in, and calls no API".into(),
                vec![ask_for(client_id), fix(CLIENT, "send the access_token of the answer, not the id_token")],
            ),
            Self::IdTokenOfOurs { client_id } => (
                "id_token_same_registration",
                "this is an ID token of a registration that client and API share, so its audience is right and its kind is not".into(),
                vec![ask_for(client_id), fix(EXPOSE, "define a scope and request it; better, give the client a registration of its own")],
            ),
            Self::TaskToken { scope } => (
                "task_token",
                format!("this is a worker's token (scope {scope}): Airflow takes it under /execution/ alone, and it is nobody's identity on the API"),
                vec![fix(CLIENT, "in a task, call the API with a token for people or applications (Entra, or POST /auth/token)")],
            ),
            Self::OnlyForWorkers { issuer } => (
                "only_for_workers",
                format!("the path is for workers, and this is a token of {issuer}"),
                vec![fix(CLIENT, "call /api/v2/; workers get their tokens from Airflow's scheduler")],
            ),
            Self::WorkloadOnly => (
                "workload_only",
                "this token (scope workload) only begins a task: Airflow answers it with one that does the rest".into(),
                vec![fix(CLIENT, "use the token of the answer's Refreshed-API-Token header")],
            ),
            Self::ExchangedAlready => (
                "exchanged_already",
                "this is one of Airflow's own tokens: there is nothing to exchange it for".into(),
                vec![fix(CLIENT, "use it as it is")],
            ),
            Self::KindContradicts => (
                "kind_contradicts",
                "idtyp says app, and scp says a person delegated something: Entra issues no such token".into(),
                vec![fix(CLIENT, "use a token as Entra issued it; claims mapping must not touch these claims")],
            ),
            Self::Bound { by } => (
                "bound_token",
                format!("the token is bound to a key of its client (cnf, {by}), and sent as a bearer anybody could use it"),
                vec![fix(CLIENT, "request a bearer token: no PoP, DPoP or certificate binding for this API")],
            ),
            Self::TenantDiffers { found } => (
                "tenant_differs",
                format!("iss and tid name different tenants: {found}"),
                vec![fix(CLIENT, "use a token as Entra issued it")],
            ),
            Self::KeyOfOtherTenant { found } => (
                "key_of_other_tenant",
                format!("the key that signed belongs to another tenant: {found}"),
                vec![fix(CLIENT, "get the token from the configured tenant")],
            ),
            Self::VersionContradicts { found } => (
                "version_contradicts",
                format!("ver and iss tell different stories: {found}"),
                vec![fix(CLIENT, "use a token as Entra issued it; a mock must write ver 1.0 with sts.windows.net and 2.0 with …/v2.0")],
            ),
            Self::RequiredClaimDiffers { found, entry } => (
                "required_claim_differs",
                format!("the issuer gives tokens to everybody, and this one is not of those that are let in: {found}"),
                vec![airside(format!("{entry}.required_claims"), "add the value, if they shall be let in")],
            ),
        }
    }
}

/// Whom it is for, and other claims.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each has its sentences below")]
pub enum Audience {
    AudienceOfMicrosoft { audience: String, service: &'static str, client_id: Option<String> },
    AudienceOfExchange { entry: String, client_id: String },
    AudienceIsClient { audience: String, client_id: String },
    AudienceSpelling { found: String, accepted: String, entry: String },
    AudienceUri { found: String, entry: String, client_id: String },
    AudienceOfAirflow { found: String, accepted: String, entry: String },
    AudienceOfTasks,
    AudienceForeign { found: String, accepted: String, entry: String, asks: String },
    ClaimAbsent { claim: String, hint: &'static str },
    ClaimOdd { found: String },
}

impl Audience {
    pub(super) fn words(&self) -> Words {
        match self {
            Self::AudienceOfMicrosoft { audience, service, client_id } => (
                "audience_of_microsoft",
                format!("the token is for {service} (aud {audience})"),
                vec![ask_for_this(client_id.as_deref())],
            ),
            Self::AudienceOfExchange { entry, client_id } => (
                "audience_of_exchange",
                "aud is api://AzureADTokenExchange: this is what a federated credential is exchanged with, not what it is exchanged for".into(),
                vec![ask_for(client_id), airside(format!("{entry}.audiences"), "never add this one")],
            ),
            Self::AudienceIsClient { audience, client_id } => (
                "audience_is_client",
                format!("aud {audience} is the calling application itself: it asked for a token for its own registration"),
                vec![ask_for(client_id)],
            ),
            Self::AudienceSpelling { found, accepted, entry } => (
                "audience_spelling",
                format!("aud {found} and an accepted one ({accepted}) differ in spelling alone (slash, case, api://, spn:), and audiences are compared exactly"),
                vec![airside(format!("{entry}.audiences"), format!("add {found} (a list replaces the default: keep those that are used)"))],
            ),
            Self::AudienceUri { found, entry, client_id } => (
                "audience_uri",
                format!("aud {found} is no default spelling of this API: perhaps its Application ID URI (a v1 token carries the URI that the client asked for)"),
                vec![
                    airside(format!("{entry}.audiences"), format!("add {found}, if it stands at Expose an API")),
                    fix(EXPOSE, format!("compare the Application ID URI; or set api.requestedAccessTokenVersion to 2, then aud is always {client_id}")),
                    ask_for(client_id),
                ],
            ),
            Self::AudienceOfAirflow { found, accepted, entry } => (
                "audience_of_airflow",
                format!("aud of Airflow's token is {found}, the entry takes {accepted}"),
                vec![
                    airside(format!("{entry}.audiences"), format!("[{found}]")),
                    airflow("jwt_audience", "the same; before Airflow 3.3 its own logins use the key of [api]"),
                ],
            ),
            Self::AudienceOfTasks => (
                "audience_of_tasks",
                "aud is that of Airflow's task API: a worker's token, which is nobody's identity on the API".into(),
                vec![fix(CLIENT, "in a task, call the API with a token for people or applications (Entra, or POST /auth/token)")],
            ),
            Self::AudienceForeign { found, accepted, entry, asks } => (
                "audience_foreign",
                format!("the token is for another API: aud {found}; accepted: {accepted}"),
                vec![
                    fix(CLIENT, asks.clone()),
                    airside(format!("{entry}.audiences"), format!("or add {found}, if that is this API")),
                ],
            ),
            Self::ClaimAbsent { claim, hint } => (
                "claim_absent",
                format!("the claim {claim} is absent{hint}"),
                vec![fix(CLIENT, "use a token as its issuer made it; a mock or claims mapping must write this claim")],
            ),
            Self::ClaimOdd { found } => (
                "claim_odd",
                found.clone(),
                vec![fix(CLIENT, "use a token as its issuer made it; a mock must write this claim with the right type")],
            ),
        }
    }
}

/// Its times.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each has its sentences below")]
pub enum Times {
    Expired { ago: u64, lifetime: Option<u64> },
    NotYetValid { ahead: u64 },
    ClockOfOursWrong { offset: i64 },
    ClockOfIssuerWrong { ahead: u64, offset: Option<i64> },
    Milliseconds { claim: &'static str },
    Revoked { found: String },
}

impl Times {
    pub(super) fn words(&self) -> Words {
        match self {
            Self::Expired { ago, lifetime } => (
                "expired",
                format!(
                    "the token expired {} ago{}",
                    span(*ago),
                    lifetime
                        .map(|lifetime| format!(", after {}", span(lifetime)))
                        .unwrap_or_default(),
                ),
                vec![new_token(
                    "before each run, or when the old one is nearly over (MSAL and azure-identity do it by themselves)",
                )],
            ),
            Self::NotYetValid { ahead } => (
                "not_yet_valid",
                format!("the token begins to hold in {}", span(*ahead)),
                vec![fix(CLIENT, "wait for it, or request one that holds at once")],
            ),
            Self::ClockOfOursWrong { offset } => (
                "clock_of_this_host",
                format!(
                    "this host's clock is {} {} that of the host of the keys: that is what the times of the token fail for",
                    span(offset.unsigned_abs()),
                    if *offset > 0 { "behind" } else { "ahead of" },
                ),
                vec![fix(
                    "this host",
                    "set the clock (NTP, chrony); airside serve must not run with it",
                )],
            ),
            Self::ClockOfIssuerWrong { ahead, offset } => (
                "clock_of_issuer",
                format!(
                    "the token says that it was issued {} from now: {}",
                    span(*ahead),
                    match offset {
                        Some(_) =>
                            "this host's clock agrees with that of the host of the keys, so who issued the token has another",
                        None =>
                            "the clock of its issuer or that of this host is wrong (the offset could not be measured)",
                    },
                ),
                vec![
                    fix("the issuer's host", "compare its clock with this one (NTP, chrony)"),
                    airside("leeway", "at most 300s, for clocks that cannot be better"),
                ],
            ),
            Self::Milliseconds { claim } => (
                "milliseconds",
                format!("{claim} is in milliseconds; a NumericDate is in seconds"),
                vec![fix("the issuer", "write seconds since 1970 (RFC 7519, section 2)")],
            ),
            Self::Revoked { found } => (
                "revoked",
                format!("the revocation list names it: {found}"),
                vec![airside(
                    "revocation.file",
                    "remove the entry to let it in again; otherwise this is what it is for",
                )],
            ),
        }
    }
}
