//! Whose token it is.

use super::Words;
use super::places::{CLIENT, MANIFEST, airflow, airside, fix};

/// Who issued it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each has its sentences below")]
pub enum Issued {
    AirflowNotConfigured,
    IssuerAbsent,
    VersionNotAccepted { found: &'static str, entry: String },
    OtherTenant { found: String, accepted: String, entry: String },
    OtherCloud { found: &'static str, entry: String },
    PersonalAccount,
    ExternalId { iss: String },
    IssuerSpelling { found: String, expected: String },
    IssuerTemplate { iss: String },
    RawGithub,
    RawKubernetes { iss: String },
    RawOther { issuer: &'static str },
    AirflowIssuerDiffers { found: String, expected: Option<String>, entry: String },
    IssuerForeign { iss: String },
}

impl Issued {
    pub(super) fn words(&self) -> Words {
        match self {
            Self::AirflowNotConfigured => (
                "airflow_not_configured",
                "this token has no iss and an HMAC signature: Airflow issued it itself, and no entry is for such tokens".into(),
                vec![airside("issuers", "add an entry with type: airflow and secret_file (the flag --airflow-jwt-secret-file does it)")],
            ),
            Self::IssuerAbsent => (
                "issuer_absent",
                "the token names no issuer (iss), and only Airflow's own may do without".into(),
                vec![fix(CLIENT, "use an access token of a configured issuer")],
            ),
            Self::VersionNotAccepted { found, entry } => {
                let wanted = if *found == "v1" { "2" } else { "1" };
                (
                    "version_not_accepted",
                    format!("this is a {found} token of the right tenant, and the entry takes none: which version callers get is set at the API's registration, not at the endpoint"),
                    vec![
                        airside(format!("{entry}.versions"), "[v1, v2] takes both"),
                        fix(MANIFEST, format!("or set api.requestedAccessTokenVersion to {wanted} (accessTokenAcceptedVersion in the old manifest)")),
                    ],
                )
            }
            Self::OtherTenant { found, accepted, entry } => (
                "other_tenant",
                format!("the token comes from the tenant {found}; accepted is {accepted}"),
                vec![
                    fix(CLIENT, format!("sign in at the right tenant: az login --tenant {accepted}, or the authority …/{accepted}")),
                    airside(format!("{entry}.tenant"), format!("add {found}, if its users and applications shall call")),
                ],
            ),
            Self::OtherCloud { found, entry } => (
                "other_cloud",
                format!("the token comes from Microsoft's cloud {found}, which is not the entry's"),
                vec![airside(format!("{entry}.cloud"), format!("{found}, if that is where the tenant is"))],
            ),
            Self::PersonalAccount => (
                "personal_account",
                "the token is of a personal Microsoft account, which is in no tenant of an organisation".into(),
                vec![fix(CLIENT, "sign in with the work account, at the tenant itself instead of common or consumers")],
            ),
            Self::ExternalId { iss } => (
                "external_id",
                format!("the token is of Entra External ID or Azure AD B2C ({iss}): other issuers and keys than the tenant's own"),
                vec![airside("issuers", "an entry with type: oidc and exactly this issuer takes such tokens")],
            ),
            Self::IssuerSpelling { found, expected } => (
                "issuer_spelling",
                format!("iss is {found:?}, configured is {expected:?}: they differ in spelling alone (slash, case, scheme), and issuers are compared exactly"),
                vec![airside("issuers", format!("write the issuer as its tokens do: {found}"))],
            ),
            Self::IssuerTemplate { iss } => (
                "issuer_template",
                format!("iss is {iss:?}: a placeholder of metadata, never that of a real token"),
                vec![fix(CLIENT, "a test or mock issuer makes it: let it write the tenant's id")],
            ),
            Self::RawGithub => (
                "raw_github",
                "this is the token that GitHub Actions gives a job, not one of Entra's".into(),
                vec![
                    fix("Entra > App registrations > (the calling app) > Certificates & secrets > Federated credentials", "exchange it first: azure/login (audience api://AzureADTokenExchange), then get a token for the API"),
                    airside("issuers", "or take it as it is: an entry with type: oidc, issuer https://token.actions.githubusercontent.com, audiences and required_claims (config/github-actions.yaml)"),
                ],
            ),
            Self::RawKubernetes { iss } => (
                "raw_kubernetes",
                format!("this is a service account's token of a Kubernetes cluster ({iss}), not one of Entra's"),
                vec![
                    fix("Entra > Managed Identities > (the identity) > Federated credentials", "with workload identity: exchange it first (WorkloadIdentityCredential, or azure-identity's default), for the scope of the API"),
                    airside("issuers", "or take it as it is: an entry with type: oidc and this issuer (config/kubernetes.yaml)"),
                ],
            ),
            Self::RawOther { issuer } => (
                "raw_other",
                format!("this is a token of {issuer}, and no entry is for it"),
                vec![airside("issuers", "add an entry with type: oidc, audiences and required_claims, or use a token of a configured issuer")],
            ),
            Self::AirflowIssuerDiffers { found, expected, entry } => (
                "airflow_issuer_differs",
                match expected {
                    Some(expected) => format!("Airflow's token says iss {found}, the entry expects {expected:?}"),
                    None => format!("Airflow's token says iss {found}, the entry expects none"),
                },
                vec![
                    airside(format!("{entry}.issuer"), "the same as [api_auth] jwt_issuer"),
                    airflow("jwt_issuer", "or the other way round; handoff.issuer follows it too"),
                ],
            ),
            Self::IssuerForeign { iss } => (
                "issuer_foreign",
                format!("nobody configured claims tokens of the issuer {iss}"),
                vec![
                    fix(CLIENT, "use a token of a configured issuer"),
                    airside("issuers", "or add an entry for this one"),
                ],
            ),
        }
    }
}
