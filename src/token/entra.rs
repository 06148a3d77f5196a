//! What a token of Microsoft Entra ID must be.
//!
//! The two token versions have two issuers for the same tenant and keys
//! (learn.microsoft.com/entra/identity-platform/access-tokens): the registration of the API decides
//! which one callers get, and v1.0 is the default, so both are accepted unless configured otherwise.

use std::sync::Arc;

use super::claims::{Claims, missing};
use super::json::Json;
use super::jws::Header;
use crate::jwks::KeyStore;
use crate::rejection::{Reason, Rejection};

/// The rules of one Entra issuer entry.
#[derive(Debug)]
pub struct Rules {
    /// The tenants whose tokens are accepted, each with the keys published for it.
    pub tenants: Vec<Tenant>,
    /// Decides which `iss` values are expected.
    pub cloud: Cloud,
    /// The accepted token versions.
    pub versions: Vec<Version>,
    /// The API's registration: for what is said of a token, not for what is decided.
    pub client_id: Arc<str>,
    /// The client applications (`azp`, `appid`) that may call; empty: any that holds a role.
    pub clients: Vec<String>,
}

/// One tenant of an entry.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The directory id, a GUID in lower case.
    pub id: Arc<str>,
    /// The keys published for this tenant.
    pub keys: Arc<KeyStore>,
}

/// A Microsoft cloud: each has its own sign-in host and issuers
/// (learn.microsoft.com/entra/identity-platform/authentication-national-cloud).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// The worldwide one.
    Global,
    /// Azure for US Government.
    UsGov,
    /// Azure operated by 21Vianet.
    China,
}

impl Cloud {
    /// Where sign-in and keys are.
    #[must_use]
    pub const fn authority(self) -> &'static str {
        match self {
            Self::Global => "https://login.microsoftonline.com",
            Self::UsGov => "https://login.microsoftonline.us",
            Self::China => "https://login.partner.microsoftonline.cn",
        }
    }

    const fn v1_host(self) -> &'static str {
        match self {
            Self::Global | Self::UsGov => "https://sts.windows.net",
            Self::China => "https://sts.chinacloudapi.cn",
        }
    }
}

/// A token version: the `ver` claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `1.0`, issued by `https://sts.windows.net/{tenant}/`.
    V1,
    /// `2.0`, issued by `https://login.microsoftonline.com/{tenant}/v2.0`.
    V2,
}

impl Version {
    const fn claim(self) -> &'static str {
        match self {
            Self::V1 => "1.0",
            Self::V2 => "2.0",
        }
    }

    /// The `iss` of tokens of this version from a tenant.
    #[must_use]
    pub fn issuer(self, cloud: Cloud, tenant: &str) -> String {
        match self {
            Self::V1 => format!("{}/{tenant}/", cloud.v1_host()),
            Self::V2 => format!("{}/{tenant}/v2.0", cloud.authority()),
        }
    }
}

impl Rules {
    /// Every `iss` that is expected, with its tenant.
    pub fn issuers(&self) -> impl Iterator<Item = (String, &Tenant)> {
        self.tenants.iter().flat_map(move |tenant| {
            let issuer = move |version: &Version| (version.issuer(self.cloud, &tenant.id), tenant);
            self.versions.iter().map(issuer)
        })
    }

    /// `tid`, `iss`, `ver` and the key's own issuer must tell the same story.
    pub(super) fn check_tenant(
        &self,
        claims: &Claims<'_>,
        tenant: &str,
        key_issuer: Option<&str>,
    ) -> Result<(), Rejection> {
        let tid = claims.required_text("tid")?;
        let mismatch = |found: String| Err(Rejection::found_that(Reason::TenantMismatch, found));
        if tid != tenant {
            return mismatch(format!("tid is {tid:?}, iss says {tenant:?}"));
        }
        let iss = claims.required_text("iss")?;
        let v2 = Version::V2.issuer(self.cloud, tenant);
        if let Some(template) = key_issuer {
            let of_key = template.replace("{tenantid}", tid);
            // A v1 token may be signed with a key that the v2 document lists.
            if of_key != iss && of_key != v2 {
                return mismatch(format!("the key belongs to {of_key:?}, iss is {iss:?}"));
            }
        }
        let version = if iss == v2 { Version::V2 } else { Version::V1 };
        match claims.text("ver")? {
            Some(ver) if ver != version.claim() => {
                let found = format!("ver is {ver:?}, iss is that of {}", version.claim());
                Err(Rejection::found_that(Reason::ClaimInvalid, found))
            }
            _ => Ok(()),
        }
    }

    /// The client must be on the allow-list, where there is one.
    pub(super) fn check_client(&self, claims: &Claims<'_>) -> Result<(), Rejection> {
        if self.clients.is_empty() {
            return Ok(());
        }
        let client = client(claims)?.ok_or_else(|| missing("azp"))?;
        if self.clients.iter().any(|allowed| allowed == client) {
            return Ok(());
        }
        let found = format!("client {client:?} is not among `clients`");
        Err(Rejection::found_that(Reason::ClientNotAllowed, found))
    }
}

/// Refuses what is not an access token for calling an API as oneself.
///
/// ID and access tokens of one tenant share issuer, keys, `typ` and, where client and API are
/// one registration, `aud`. An access token has `scp`, or is app-only; and it names its client.
pub(super) fn check_kind(claims: &Claims<'_>) -> Result<(), Rejection> {
    if claims.has("cnf") {
        return Err(Reason::TokenBound.into());
    }
    let kind = |found| Err(Rejection::found_that(Reason::TokenKind, found));
    let delegated = claims.text("scp")?.is_some_and(|scopes| !scopes.trim().is_empty());
    let app_only = match claims.text("idtyp")? {
        Some("app") => true,
        Some(_) => false,
        // Microsoft's documented fallback where the optional claim is not emitted.
        None => !delegated && claims.text("oid")?.is_some_and(|oid| Ok(Some(oid)) == sub(claims)),
    };
    if delegated && app_only {
        return kind("idtyp is app, yet there are delegated permissions (scp)");
    }
    if !delegated && !app_only {
        return kind("neither scp nor proof of an app-only token: an ID token?");
    }
    if client(claims)?.is_none() {
        return kind("neither azp nor appid: an ID token?");
    }
    Ok(())
}

/// Graph's tokens carry a `nonce` in the header and are signed over its hash, so that nobody else
/// can verify them; said before the signature, which would fail and mislead.
pub(super) fn refuse_graph(header: &Header<'_>) -> Result<(), Rejection> {
    if header.has("nonce") { Err(Reason::GraphToken.into()) } else { Ok(()) }
}

/// Why a user who is in a mapped group may still have no role: beyond 200 groups Entra sends a
/// pointer in place of `groups` (learn.microsoft.com/security/zero-trust/develop/configure-tokens-group-claims-app-roles).
#[must_use]
pub fn has_groups_overage(claims: &Claims<'_>) -> bool {
    claims.pointer("/_claim_names/groups").is_some()
        || claims.pointer("/hasgroups") == Some(&Json::Bool(true))
}

fn client<'c>(claims: &'c Claims<'_>) -> Result<Option<&'c str>, Rejection> {
    match claims.text("azp")? {
        Some(client) => Ok(Some(client)),
        None => claims.text("appid"),
    }
    .map(|client| client.filter(|client| !client.is_empty()))
}

fn sub<'c>(claims: &'c Claims<'_>) -> Result<Option<&'c str>, ()> {
    claims.text("sub").map_err(|_| ())
}
