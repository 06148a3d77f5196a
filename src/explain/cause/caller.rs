//! Who calls, what for, and the keys that it takes to know.

use super::Words;
use super::places::{APP_ROLES, ASSIGN, CLIENT, GROUPS, PERMISSIONS, airside, fix, new_token};

/// Whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each has its sentences below")]
pub enum Whose {
    ClientNotListed { client: String, entry: String },
    UsernameAbsent { claim: String, entry: String },
    NameUnsafe { found: String, entry: String },
    AppWithoutRole { client: String, client_id: String },
    ManagedIdentityWithoutRole { resource: String, client_id: String },
    UserWithoutRole { client_id: String },
    GuestWithoutRole { client_id: String, home: String },
    GroupsOverage { entry: String },
    GroupsInsteadOfRoles { entry: String },
    RolesUnmapped { found: String, known: String, place: String },
    RoleSpelling { found: String, known: String, place: String },
    RolesClaimAbsent { pointer: String, entry: String },
    RolesNotText { found: String, entry: String },
}

impl Whose {
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub(super) fn words(&self) -> Words {
        let for_app = || {
            vec![
                fix(
                    PERMISSIONS,
                    "Add a permission > My APIs > (the API) > Application permissions: choose the app role, then Grant admin consent",
                ),
                fix(
                    APP_ROLES,
                    "the role must be allowed for Applications (allowedMemberTypes: Application)",
                ),
                fix(
                    ASSIGN,
                    "a role that the application holds only through a group never reaches its token: assign it to the service principal itself",
                ),
            ]
        };
        match self {
            Self::ClientNotListed { client, entry } => (
                "client_not_listed",
                format!("the client application {client} is not on the entry's list"),
                vec![airside(format!("{entry}.clients"), format!("add {client}, if it may call"))],
            ),
            Self::UsernameAbsent { claim, entry } => (
                "username_absent",
                format!("the claim {claim}, which holds the user name, is absent"),
                vec![airside(format!("{entry}.username_claim"), "a claim that every caller's token has (Entra: oid)")],
            ),
            Self::NameUnsafe { found, entry } => (
                "name_unsafe",
                format!("{found}: it cannot be handed on in a header, and is never cleaned"),
                vec![airside(format!("{entry}.username_claim"), "choose a claim of visible ASCII (Entra: oid); rename roles with other characters")],
            ),
            Self::AppWithoutRole { client, client_id } => (
                "app_without_role",
                format!("the application {client} has no role of the API {client_id}: any application of the tenant gets such a token, so it is no permission"),
                for_app(),
            ),
            Self::ManagedIdentityWithoutRole { resource, client_id } => (
                "managed_identity_without_role",
                format!("the managed identity {resource} has no role of the API {client_id}; the portal cannot assign one to it"),
                vec![
                    fix("Microsoft Graph", "POST /servicePrincipals/(object id of the identity)/appRoleAssignments with principalId, resourceId (the API's service principal) and appRoleId; or New-MgServicePrincipalAppRoleAssignment"),
                    fix(CLIENT, "then get a new token: that of a managed identity is cached for up to 24 hours"),
                    fix(ASSIGN, "a role held through a group never reaches it"),
                ],
            ),
            Self::UserWithoutRole { client_id } => (
                "user_without_role",
                format!("the person has no role of the API {client_id}"),
                vec![
                    fix(ASSIGN, "Add user/group: assign an app role to the person, or to a group they are directly in"),
                    fix(APP_ROLES, "the role must be allowed for Users/Groups (allowedMemberTypes: User)"),
                    new_token("afterwards: roles are in tokens issued after the assignment"),
                ],
            ),
            Self::GuestWithoutRole { client_id, home } => (
                "guest_without_role",
                format!("the person is a guest of the tenant (home: {home}) and has no role of the API {client_id}: a guest has an object id of its own here, and assignments of the home account do not count"),
                vec![fix(ASSIGN, "assign an app role to the guest user of this tenant"), new_token("afterwards")],
            ),
            Self::GroupsOverage { entry } => (
                "groups_overage",
                "the person is in more groups than a token carries: Entra left them out and wrote a pointer (_claim_names), which airside does not follow".into(),
                vec![
                    fix(APP_ROLES, format!("use app roles ({entry}.roles_claim: /roles), assigned to groups")),
                    fix(GROUPS, "or Groups assigned to the application (groupMembershipClaims: ApplicationGroup)"),
                ],
            ),
            Self::GroupsInsteadOfRoles { entry } => (
                "groups_instead_of_roles",
                "the token has groups and no roles, and roles are looked for".into(),
                vec![
                    airside(format!("{entry}.roles_claim"), "/groups, with the groups' object ids in the map"),
                    fix(APP_ROLES, "or define app roles and assign the groups to them (applications do not get them that way)"),
                ],
            ),
            Self::RolesUnmapped { found, known, place } => (
                "roles_unmapped",
                format!("none of the token's roles is mapped: {found}; mapped are {known}"),
                vec![
                    airside(place, "add the value, with the Airflow roles that it gives"),
                    fix(ASSIGN, "or assign a role whose value is mapped"),
                ],
            ),
            Self::RoleSpelling { found, known, place } => (
                "role_spelling",
                format!("the token's role {found:?} and the mapped {known:?} differ in case or blanks alone, and values are compared exactly"),
                vec![airside(place, format!("write {found:?}")), fix(APP_ROLES, format!("or make the role's Value {known:?}"))],
            ),
            Self::RolesClaimAbsent { pointer, entry } => (
                "roles_claim_absent",
                format!("there is nothing at {pointer}, where the entry looks for roles"),
                vec![
                    airside(format!("{entry}.roles_claim"), "where this issuer's tokens carry them"),
                    fix("the issuer", "or let it write them into the access token (Keycloak: a mapper with Add to access token)"),
                ],
            ),
            Self::RolesNotText { found, entry } => (
                "roles_not_text",
                found.clone(),
                vec![airside(format!("{entry}.roles_claim"), "point to a string or an array of strings")],
            ),
        }
    }
}

/// The request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each has its sentences below")]
pub enum Request {
    PathClosed { found: String },
    PathAmbiguous,
    PathOfOurs,
    MethodRefused,
    HeadTooLarge { found: String },
    TaskOfAnother { found: String },
    RequestOdd { found: String },
}

impl Request {
    pub(super) fn words(&self) -> Words {
        match self {
            Self::PathClosed { found } => (
                "path_closed",
                format!("the path is closed for everybody{found}"),
                vec![airside(
                    "access",
                    "execution_api, password_login, or execution_listen, say what is open where",
                )],
            ),
            Self::PathAmbiguous => (
                "path_ambiguous",
                "the path can be read in two ways".into(),
                vec![fix(
                    CLIENT,
                    "send it without dot segments, backslashes, a leading double slash or broken percent-encoding",
                )],
            ),
            Self::PathOfOurs => (
                "path_of_airside",
                "what is below /airside/ is airside's own, and there is nothing at this path"
                    .into(),
                vec![airside("exchange.enabled", "true, for POST /airside/token")],
            ),
            Self::MethodRefused => (
                "method_refused",
                "this method is not served at this path".into(),
                vec![fix(CLIENT, "use one that the Allow header of the answer names")],
            ),
            Self::HeadTooLarge { found } => (
                "head_too_large",
                format!("the head of the request is too large: {found}"),
                vec![
                    airside("limits.header_bytes", "allow more"),
                    fix(GROUPS, "or make the token smaller: app roles instead of groups"),
                ],
            ),
            Self::TaskOfAnother { found } => (
                "task_of_another",
                format!("a worker's token is for its own task alone: {found}"),
                vec![fix(CLIENT, "use the token of the task that the path names")],
            ),
            Self::RequestOdd { found } => (
                "request_odd",
                found.clone(),
                vec![fix(CLIENT, "see docs/troubleshooting.md for this reason")],
            ),
        }
    }
}

/// The keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each has its sentences below")]
pub enum Keys {
    KeysUnreachable { entry: String, place: String, why: String },
    KeysNotFetched { entry: String },
    KeysNone { entry: String },
}

impl Keys {
    pub(super) fn words(&self) -> Words {
        match self {
            Self::KeysUnreachable { entry, place, why } => (
                "keys_unreachable",
                format!("the keys of {entry} cannot be had from {place}: {why}"),
                vec![
                    fix(
                        "the network",
                        "let this host reach that address (proxy: HTTPS_PROXY; egress rules; DNS)",
                    ),
                    airside(
                        "issuers",
                        "authority, keys_url and ca_file say where keys are and who vouches for it; keys_file needs no network",
                    ),
                ],
            ),
            Self::KeysNotFetched { entry } => (
                "keys_not_fetched",
                format!("the keys of {entry} were not fetched (--offline), and none are on disk"),
                vec![fix(
                    "this command",
                    "without --offline the signature can be judged; keys.cache_dir or keys_file work offline",
                )],
            ),
            Self::KeysNone { entry } => (
                "keys_none",
                format!("the key set of {entry} is empty: its tokens are answered 503"),
                vec![airside(format!("{entry}.keys_file"), "a JWK Set with a key")],
            ),
        }
    }
}
