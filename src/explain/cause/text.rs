//! The words of each cause.

use super::{Cause, Fix, Says};

/// Blades of the Entra admin center (entra.microsoft.com), by their names there.
const MANIFEST: &str = "Entra > App registrations > (the API) > Manifest";
const EXPOSE: &str = "Entra > App registrations > (the API) > Expose an API";
const APP_ROLES: &str = "Entra > App registrations > (the API) > App roles";
const PERMISSIONS: &str = "Entra > App registrations > (the calling app) > API permissions";
const ASSIGN: &str = "Entra > Enterprise applications > (the API) > Users and groups";
const GROUPS: &str = "Entra > App registrations > (the API) > Token configuration";
const CLIENT: &str = "the caller";

fn fix(place: impl Into<String>, what: impl Into<String>) -> Fix {
    Fix { place: place.into(), what: what.into() }
}

fn airside(key: impl AsRef<str>, what: impl Into<String>) -> Fix {
    fix(format!("airside: {}", key.as_ref()), what)
}

fn airflow(key: &str, what: impl Into<String>) -> Fix {
    fix(format!("airflow.cfg: [api_auth] {key}"), what)
}

fn ask_for(client_id: &str) -> Fix {
    fix(
        CLIENT,
        format!(
            "request the scope api://{client_id}/.default (v1 endpoint: resource={client_id}); with the Azure CLI: az account get-access-token --scope api://{client_id}/.default"
        ),
    )
}

fn ask_for_this(client_id: Option<&str>) -> Fix {
    ask_for(client_id.unwrap_or("CLIENT-ID-OF-THE-API"))
}

fn new_token(why: &str) -> Fix {
    fix(CLIENT, format!("get a new token {why}"))
}

pub(super) fn says(cause: &Cause) -> Says {
    let (name, what, fixes) = sent(cause)
        .or_else(|| form(cause))
        .or_else(|| issuer(cause))
        .or_else(|| signature(cause))
        .or_else(|| kind(cause))
        .or_else(|| audience(cause))
        .or_else(|| caller(cause))
        .unwrap_or_else(|| request(cause));
    Says { name, what, fixes }
}

type Words = (&'static str, String, Vec<Fix>);

/// How it was sent.
fn sent(cause: &Cause) -> Option<Words> {
    Some(match cause {
        Cause::NothingSent => (
            "nothing_sent",
            "there is no token".into(),
            vec![fix(CLIENT, "send the header Authorization: Bearer TOKEN")],
        ),
        Cause::TokenEmpty => (
            "token_empty",
            "there is nothing behind Bearer: the variable that should hold the token is empty"
                .into(),
            vec![fix(
                CLIENT,
                "look why the command that fetches the token printed nothing; let scripts stop there (set -euo pipefail)",
            )],
        ),
        Cause::Placeholder { text } => (
            "placeholder",
            format!("{text:?} stands in the place of the token"),
            vec![fix(
                CLIENT,
                "a variable was not expanded (single quotes?) or a tool printed its word for nothing (jq prints null): send the token itself",
            )],
        ),
        Cause::Broken { by } => (
            "token_broken",
            format!("there is {by} in the token: a terminal, mail or YAML folding broke it up"),
            vec![fix(
                CLIENT,
                "send the token in one piece: base64 -w0, YAML's >- only without line breaks inside, secrets without wrapping",
            )],
        ),
        Cause::Quoted => (
            "token_quoted",
            "there are quotes around the token, and they are sent with it".into(),
            vec![fix(
                CLIENT,
                "take them away: jq -r instead of jq, az … --output tsv instead of json",
            )],
        ),
        Cause::BearerTwice => (
            "bearer_twice",
            "the header says Bearer twice: the client library adds its own".into(),
            vec![fix(CLIENT, "give the library the token alone")],
        ),
        Cause::SchemeMissing => (
            "scheme_missing",
            "the token stands in the header without Bearer before it".into(),
            vec![fix(CLIENT, "send Authorization: Bearer TOKEN")],
        ),
        Cause::SchemeForeign { scheme } => (
            "scheme_foreign",
            format!("the scheme is {scheme}, not Bearer"),
            vec![
                fix(CLIENT, "send Authorization: Bearer TOKEN"),
                airside(
                    "access.delegate",
                    "basic: true or negotiate: true hands such credentials to Airflow's own backends",
                ),
            ],
        ),
        Cause::WholeDocument { member } => (
            "whole_document",
            format!(
                "this is the whole answer of a token endpoint; the token is its member {member:?}"
            ),
            vec![fix(CLIENT, format!("send that member alone: … | jq -r .{member}"))],
        ),
        Cause::ForeignCharacter { place, character } => (
            "foreign_character",
            format!(
                "the character {character:?} at place {place} belongs to no token: it was shortened, masked or re-typed"
            ),
            vec![fix(CLIENT, "copy the token itself, not what a screen or a log shows of it")],
        ),
        Cause::Trailing => (
            "trailing_character",
            "a comma or semicolon came along behind the token".into(),
            vec![fix(CLIENT, "send the token alone")],
        ),
        Cause::TooLarge { bytes, most, groups } => (
            "token_too_large",
            format!(
                "the token has {bytes} bytes, {most} are allowed{}",
                if *groups { "; most of them are groups" } else { "" }
            ),
            vec![
                fix(
                    GROUPS,
                    "emit app roles, or only groups assigned to the application (groupMembershipClaims: ApplicationGroup)",
                ),
                airside("limits.token_bytes", "allow more (and limits.header_bytes)"),
            ],
        ),
        _ => return None,
    })
}

/// Its form.
fn form(cause: &Cause) -> Option<Words> {
    let again = || {
        vec![new_token(
            "and pass it on unchanged: no truncating column, variable or log line on its way",
        )]
    };
    Some(match cause {
        Cause::Opaque { looks_like } => (
            "token_opaque",
            format!("this is no JSON Web Token: it looks like {looks_like}"),
            vec![fix(CLIENT, "send the access_token that the token endpoint answers, for the scope of this API")],
        ),
        Cause::PartMissing { found } => (
            "part_missing",
            format!("the token has {found} part{} instead of 3: its end was cut off, the signature with it", if *found == 1 { "" } else { "s" }),
            again(),
        ),
        Cause::TooManyParts { found } => (
            "too_many_parts",
            format!("there are {found} parts instead of 3: two tokens, or a text that only looks like one"),
            again(),
        ),
        Cause::Encrypted => (
            "token_encrypted",
            "the token has five parts: it is encrypted for the key that the API's registration names".into(),
            vec![fix(MANIFEST, "unset tokenEncryptionKeyId")],
        ),
        Cause::Rewrapped { part, by } => (
            "token_rewrapped",
            format!("the {part} {by}: the token was decoded and encoded again on its way"),
            again(),
        ),
        Cause::Cut { part } => (
            "token_cut",
            format!("the {part} ends in the middle: the token was cut, or characters were lost"),
            again(),
        ),
        Cause::NotJson { part } => (
            "not_json",
            format!("the {part} is base64url, but not of a JSON object: characters were changed or lost"),
            again(),
        ),
        Cause::NotStrict { found } => (
            "not_strict",
            format!("{found}: a member stands twice, nesting is too deep, or characters were changed"),
            vec![fix(CLIENT, "use a token as its issuer made it; an issuer that writes such JSON has to be mended")],
        ),
        Cause::HeaderAsksForMore { found } => (
            "header_asks_for_more",
            format!("the JOSE header asks for what is not supported: {found}"),
            vec![fix(CLIENT, "use an ordinary access token, a signed JWT without crit, b64, zip or cty")],
        ),
        Cause::TypForeign { typ } => (
            "typ_foreign",
            format!("typ is {typ:?}: this is a JWT for another purpose than calling an API"),
            vec![fix(CLIENT, "send the access token, not the proof, logout or event token beside it")],
        ),
        Cause::AssertionOfOurs => (
            "assertion_of_airside",
            "this is the assertion that airside signs for Airflow, not a caller's token".into(),
            vec![fix(CLIENT, "send the token that you call airside with")],
        ),
        _ => return None,
    })
}

/// Its issuer.
fn issuer(cause: &Cause) -> Option<Words> {
    Some(match cause {
        Cause::AirflowNotConfigured => (
            "airflow_not_configured",
            "this token has no iss and an HMAC signature: Airflow issued it itself, and no entry is for such tokens".into(),
            vec![airside("issuers", "add an entry with type: airflow and secret_file (the flag --airflow-jwt-secret-file does it)")],
        ),
        Cause::IssuerAbsent => (
            "issuer_absent",
            "the token names no issuer (iss), and only Airflow's own may do without".into(),
            vec![fix(CLIENT, "use an access token of a configured issuer")],
        ),
        Cause::VersionNotAccepted { found, entry } => {
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
        Cause::OtherTenant { found, accepted, entry } => (
            "other_tenant",
            format!("the token comes from the tenant {found}; accepted is {accepted}"),
            vec![
                fix(CLIENT, format!("sign in at the right tenant: az login --tenant {accepted}, or the authority …/{accepted}")),
                airside(format!("{entry}.tenant"), format!("add {found}, if its users and applications shall call")),
            ],
        ),
        Cause::OtherCloud { found, entry } => (
            "other_cloud",
            format!("the token comes from Microsoft's cloud {found}, which is not the entry's"),
            vec![airside(format!("{entry}.cloud"), format!("{found}, if that is where the tenant is"))],
        ),
        Cause::PersonalAccount => (
            "personal_account",
            "the token is of a personal Microsoft account, which is in no tenant of an organisation".into(),
            vec![fix(CLIENT, "sign in with the work account, at the tenant itself instead of common or consumers")],
        ),
        Cause::ExternalId { iss } => (
            "external_id",
            format!("the token is of Entra External ID or Azure AD B2C ({iss}): other issuers and keys than the tenant's own"),
            vec![airside("issuers", "an entry with type: oidc and exactly this issuer takes such tokens")],
        ),
        Cause::IssuerSpelling { found, expected } => (
            "issuer_spelling",
            format!("iss is {found:?}, configured is {expected:?}: they differ in spelling alone (slash, case, scheme), and issuers are compared exactly"),
            vec![airside("issuers", format!("write the issuer as its tokens do: {found}"))],
        ),
        Cause::IssuerTemplate { iss } => (
            "issuer_template",
            format!("iss is {iss:?}: a placeholder of metadata, never that of a real token"),
            vec![fix(CLIENT, "a test or mock issuer makes it: let it write the tenant's id")],
        ),
        Cause::RawGithub => (
            "raw_github",
            "this is the token that GitHub Actions gives a job, not one of Entra's".into(),
            vec![
                fix("Entra > App registrations > (the calling app) > Certificates & secrets > Federated credentials", "exchange it first: azure/login (audience api://AzureADTokenExchange), then get a token for the API"),
                airside("issuers", "or take it as it is: an entry with type: oidc, issuer https://token.actions.githubusercontent.com, audiences and required_claims (config/github-actions.yaml)"),
            ],
        ),
        Cause::RawKubernetes { iss } => (
            "raw_kubernetes",
            format!("this is a service account's token of a Kubernetes cluster ({iss}), not one of Entra's"),
            vec![
                fix("Entra > Managed Identities > (the identity) > Federated credentials", "with workload identity: exchange it first (WorkloadIdentityCredential, or azure-identity's default), for the scope of the API"),
                airside("issuers", "or take it as it is: an entry with type: oidc and this issuer (config/kubernetes.yaml)"),
            ],
        ),
        Cause::RawOther { issuer } => (
            "raw_other",
            format!("this is a token of {issuer}, and no entry is for it"),
            vec![airside("issuers", "add an entry with type: oidc, audiences and required_claims, or use a token of a configured issuer")],
        ),
        Cause::AirflowIssuerDiffers { found, expected, entry } => (
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
        Cause::IssuerForeign { iss } => (
            "issuer_foreign",
            format!("nobody configured claims tokens of the issuer {iss}"),
            vec![
                fix(CLIENT, "use a token of a configured issuer"),
                airside("issuers", "or add an entry for this one"),
            ],
        ),
        _ => return None,
    })
}

/// Its algorithm, key and signature.
#[expect(clippy::too_many_lines, reason = "a table")]
fn signature(cause: &Cause) -> Option<Words> {
    let by_airflow = |entry: &str| {
        airside(
            format!("{entry}.secret_file"),
            "the file with the very bytes of [api_auth] jwt_secret, without quotes, never base64-decoded",
        )
    };
    Some(match cause {
        Cause::Graph { audience, proven, client_id } => (
            "graph_token",
            format!(
                "the header has a nonce: this is a token for Microsoft Graph{}, which only Graph can verify{}",
                audience.as_deref().map(|aud| format!(" (aud {aud})")).unwrap_or_default(),
                if *proven { "; its signature is Entra's, over the hash of that nonce" } else { "" },
            ),
            vec![ask_for_this(client_id.as_deref())],
        ),
        Cause::Unsigned => (
            "unsigned",
            "alg is none: the token is not signed, so anybody can have written it".into(),
            vec![fix(CLIENT, "use a token as its issuer signed it")],
        ),
        Cause::SharedSecret { algorithm } => (
            "shared_secret",
            format!("alg is {algorithm}, yet the issuer signs with a key pair: somebody made this token with a secret, or with the public key in its place"),
            vec![fix(CLIENT, "use a token of the issuer itself; an HMAC token of Airflow's has no iss of Entra's")],
        ),
        Cause::AirflowHasKey { algorithm, entry } => (
            "airflow_signs_with_key",
            format!("Airflow signed with {algorithm}, the entry has a shared secret: Airflow has a private key now"),
            vec![
                airside(entry, "public_key_file (and kid), keys_url or keys_file in the place of secret_file"),
                airflow("jwt_private_key_path", "or unset it, so that jwt_secret counts"),
            ],
        ),
        Cause::AirflowHasSecret { entry } => (
            "airflow_signs_with_secret",
            "Airflow signed with its secret (HS512), the entry has public keys".into(),
            vec![
                airside(entry, "secret_file in the place of public_key_file, keys_url or keys_file"),
                airflow("jwt_private_key_path", "or set it, and jwt_algorithm with it"),
            ],
        ),
        Cause::AirflowOtherHash { algorithm } => (
            "airflow_other_hash",
            format!("alg is {algorithm}; with a shared secret HS512 alone is taken"),
            vec![airflow("jwt_algorithm", "unset it, or HS512")],
        ),
        Cause::AlgorithmForeign { algorithm, accepted, entry } => (
            "algorithm_foreign",
            format!("alg is {algorithm}, the entry takes {accepted}"),
            vec![
                fix(CLIENT, "use a token as its issuer signs them"),
                airside(format!("{entry}.algorithms"), "of an entry with type: oidc, if the issuer really uses it"),
            ],
        ),
        Cause::KeyUnfit { kid, algorithm } => (
            "key_unfit",
            format!("the key {kid} is there, but of another type than {algorithm} needs"),
            vec![fix(CLIENT, "use a token as its issuer signed it: its header was changed")],
        ),
        Cause::KidMissing { entry } => (
            "kid_missing",
            "the header names no key (kid), and the issuer's keys all have names".into(),
            vec![
                fix(CLIENT, "use a token as its issuer made it: Entra always writes kid"),
                airflow("jwt_kid", format!("for a token of Airflow's: set it, or leave kid out of {entry}")),
            ],
        ),
        Cause::KidOfEntry { kid, owner } => (
            "kid_of_other_entry",
            format!("the key {kid} belongs to the entry {owner}, and keys of one issuer never sign for another"),
            vec![fix(CLIENT, format!("iss and signature do not belong together: use a token as {owner} made it"))],
        ),
        Cause::KidOfApp { kid, client_id, entry } => (
            "kid_of_application",
            format!("the key {kid} is not in the tenant's set but in the one for this API (?appid={client_id}): it has claims mapping or a signing certificate of its own"),
            vec![
                airside(format!("{entry}.keys_url"), format!("…/TENANT/discovery/keys?appid={client_id}")),
                fix(MANIFEST, "or set acceptMappedClaims to true and remove the signing certificate, so that the tenant's keys sign"),
            ],
        ),
        Cause::KidOfTenant { kid, tenant } => (
            "kid_of_other_tenant",
            format!("the key {kid} is one that the tenant {tenant} publishes, and the configured one does not"),
            vec![fix(CLIENT, "get the token from the configured tenant")],
        ),
        Cause::KidUnknown { kid, asked, issued } => (
            "kid_unknown",
            format!(
                "nobody who was asked has a key {kid} ({asked}){}",
                issued.as_deref().map(|ago| format!("; the token was issued {ago} ago")).unwrap_or_default(),
            ),
            vec![
                new_token("(the issuer may have changed its keys since)"),
                fix("airside: keys_url, authority, keys_file", "see that the keys come from where the token's issuer publishes them: a mock, another cloud and External ID have sets of their own"),
            ],
        ),
        Cause::KeyOfOurs => (
            "key_of_airside",
            "the token is signed with a key of airside's own, which never speaks for workers".into(),
            vec![fix(CLIENT, "use the token that Airflow gave the worker")],
        ),
        Cause::SignatureAbsent => (
            "signature_absent",
            "the third part is empty: the signature was taken off".into(),
            vec![new_token("and pass it on whole")],
        ),
        Cause::SignatureCut { found, expected } => (
            "signature_cut",
            format!("the signature has {found} bytes, the key makes {expected}: the token was cut at its end"),
            vec![new_token("and look for a length limit on its way (environment variable, 4 KiB cookie, database column, copied screen line)")],
        ),
        Cause::SignatureTooLong { found, expected } => (
            "signature_too_long",
            format!("the signature has {found} bytes, the key makes {expected}: something was put behind the token, or another key signed"),
            vec![new_token("and pass it on alone")],
        ),
        Cause::SignatureInDer => (
            "signature_in_der",
            "the ECDSA signature is in DER: a JWS has the two numbers side by side, 64 bytes".into(),
            vec![fix("the issuer", "write signatures as RFC 7518, section 3.4, says")],
        ),
        Cause::ContentChanged { kid } => (
            "content_changed",
            format!("the signature is genuine, made by the key {kid}, but over another content: header or claims were changed after signing"),
            vec![new_token("and pass it on unchanged: editing, redacting or re-encoding any part breaks it")],
        ),
        Cause::HashDiffers { hash, algorithm } => (
            "hash_differs",
            format!("the issuer's key made the signature with {hash}, but alg says {algorithm}: the header was changed"),
            vec![new_token("and pass it on unchanged")],
        ),
        Cause::SignedByOther { kid, other } => (
            "signed_by_other_key",
            format!("the header names the key {kid}, but {other} made the signature: header and signature are of different tokens"),
            vec![new_token("and pass it on unchanged")],
        ),
        Cause::OtherKeyOrDamaged { kid } => (
            "other_key_or_damaged",
            format!("the signature is not one of the key {kid}: another key made it (a mock, a test issuer, a forger), or it was damaged"),
            vec![
                new_token("from the configured issuer"),
                fix("airside: keys_url, authority, keys_file", "see that the keys are the issuer's: a stale or mock set may use the same kid"),
            ],
        ),
        Cause::ChangedOrOtherKey { kid } => (
            "changed_or_other_key",
            format!("the key {kid} did not sign this content; with this algorithm it cannot be told whether the content or the key is another"),
            vec![new_token("from the configured issuer and pass it on unchanged")],
        ),
        Cause::AirflowSecretDiffers { entry } => (
            "airflow_secret_differs",
            "the token looks like Airflow's, but the secret here did not sign it: airside and Airflow have different secrets, or the token is of another Airflow, or was changed".into(),
            vec![
                by_airflow(entry),
                airflow("jwt_secret", "without a value each start of Airflow makes up its own: set it (AIRFLOW__API_AUTH__JWT_SECRET), the same for all its components"),
            ],
        ),
        _ => return None,
    })
}

/// What it is.
fn kind(cause: &Cause) -> Option<Words> {
    Some(match cause {
        Cause::IdToken { client_id } => (
            "id_token",
            "this is an ID token: it tells an application who signed in, and calls no API".into(),
            vec![ask_for(client_id), fix(CLIENT, "send the access_token of the answer, not the id_token")],
        ),
        Cause::IdTokenOfOurs { client_id } => (
            "id_token_same_registration",
            "this is an ID token of a registration that client and API share, so its audience is right and its kind is not".into(),
            vec![ask_for(client_id), fix(EXPOSE, "define a scope and request it; better, give the client a registration of its own")],
        ),
        Cause::TaskToken { scope } => (
            "task_token",
            format!("this is a worker's token (scope {scope}): Airflow takes it under /execution/ alone, and it is nobody's identity on the API"),
            vec![fix(CLIENT, "in a task, call the API with a token for people or applications (Entra, or POST /auth/token)")],
        ),
        Cause::OnlyForWorkers { issuer } => (
            "only_for_workers",
            format!("the path is for workers, and this is a token of {issuer}"),
            vec![fix(CLIENT, "call /api/v2/; workers get their tokens from Airflow's scheduler")],
        ),
        Cause::WorkloadOnly => (
            "workload_only",
            "this token (scope workload) only begins a task: Airflow answers it with one that does the rest".into(),
            vec![fix(CLIENT, "use the token of the answer's Refreshed-API-Token header")],
        ),
        Cause::ExchangedAlready => (
            "exchanged_already",
            "this is one of Airflow's own tokens: there is nothing to exchange it for".into(),
            vec![fix(CLIENT, "use it as it is")],
        ),
        Cause::KindContradicts => (
            "kind_contradicts",
            "idtyp says app, and scp says a person delegated something: Entra issues no such token".into(),
            vec![fix(CLIENT, "use a token as Entra issued it; claims mapping must not touch these claims")],
        ),
        Cause::Bound { by } => (
            "bound_token",
            format!("the token is bound to a key of its client (cnf, {by}), and sent as a bearer anybody could use it"),
            vec![fix(CLIENT, "request a bearer token: no PoP, DPoP or certificate binding for this API")],
        ),
        Cause::TenantDiffers { found } => (
            "tenant_differs",
            format!("iss and tid name different tenants: {found}"),
            vec![fix(CLIENT, "use a token as Entra issued it")],
        ),
        Cause::KeyOfOtherTenant { found } => (
            "key_of_other_tenant",
            format!("the key that signed belongs to another tenant: {found}"),
            vec![fix(CLIENT, "get the token from the configured tenant")],
        ),
        Cause::VersionContradicts { found } => (
            "version_contradicts",
            format!("ver and iss tell different stories: {found}"),
            vec![fix(CLIENT, "use a token as Entra issued it; a mock must write ver 1.0 with sts.windows.net and 2.0 with …/v2.0")],
        ),
        Cause::RequiredClaimDiffers { found, entry } => (
            "required_claim_differs",
            format!("the issuer gives tokens to everybody, and this one is not of those that are let in: {found}"),
            vec![airside(format!("{entry}.required_claims"), "add the value, if they shall be let in")],
        ),
        _ => return None,
    })
}

/// Whom it is for, and when.
#[expect(clippy::too_many_lines, reason = "a table")]
fn audience(cause: &Cause) -> Option<Words> {
    Some(match cause {
        Cause::AudienceOfMicrosoft { audience, service, client_id } => (
            "audience_of_microsoft",
            format!("the token is for {service} (aud {audience})"),
            vec![ask_for_this(client_id.as_deref())],
        ),
        Cause::AudienceOfExchange { entry, client_id } => (
            "audience_of_exchange",
            "aud is api://AzureADTokenExchange: this is what a federated credential is exchanged with, not what it is exchanged for".into(),
            vec![ask_for(client_id), airside(format!("{entry}.audiences"), "never add this one")],
        ),
        Cause::AudienceIsClient { audience, client_id } => (
            "audience_is_client",
            format!("aud {audience} is the calling application itself: it asked for a token for its own registration"),
            vec![ask_for(client_id)],
        ),
        Cause::AudienceSpelling { found, accepted, entry } => (
            "audience_spelling",
            format!("aud {found} and an accepted one ({accepted}) differ in spelling alone (slash, case, api://, spn:), and audiences are compared exactly"),
            vec![airside(format!("{entry}.audiences"), format!("add {found} (a list replaces the default: keep those that are used)"))],
        ),
        Cause::AudienceUri { found, entry, client_id } => (
            "audience_uri",
            format!("aud {found} is no default spelling of this API: perhaps its Application ID URI (a v1 token carries the URI that the client asked for)"),
            vec![
                airside(format!("{entry}.audiences"), format!("add {found}, if it stands at Expose an API")),
                fix(EXPOSE, format!("compare the Application ID URI; or set api.requestedAccessTokenVersion to 2, then aud is always {client_id}")),
                ask_for(client_id),
            ],
        ),
        Cause::AudienceOfAirflow { found, accepted, entry } => (
            "audience_of_airflow",
            format!("aud of Airflow's token is {found}, the entry takes {accepted}"),
            vec![
                airside(format!("{entry}.audiences"), format!("[{found}]")),
                airflow("jwt_audience", "the same; before Airflow 3.3 its own logins use the key of [api]"),
            ],
        ),
        Cause::AudienceOfTasks => (
            "audience_of_tasks",
            "aud is that of Airflow's task API: a worker's token, which is nobody's identity on the API".into(),
            vec![fix(CLIENT, "in a task, call the API with a token for people or applications (Entra, or POST /auth/token)")],
        ),
        Cause::AudienceForeign { found, accepted, entry, asks } => (
            "audience_foreign",
            format!("the token is for another API: aud {found}; accepted: {accepted}"),
            vec![
                fix(CLIENT, asks.clone()),
                airside(format!("{entry}.audiences"), format!("or add {found}, if that is this API")),
            ],
        ),
        Cause::ClaimAbsent { claim, hint } => (
            "claim_absent",
            format!("the claim {claim} is absent{hint}"),
            vec![fix(CLIENT, "use a token as its issuer made it; a mock or claims mapping must write this claim")],
        ),
        Cause::ClaimOdd { found } => (
            "claim_odd",
            found.clone(),
            vec![fix(CLIENT, "use a token as its issuer made it; a mock must write this claim with the right type")],
        ),
        Cause::Expired { ago, lifetime } => (
            "expired",
            format!(
                "the token expired {} ago{}",
                super::super::span(*ago),
                lifetime.map(|lifetime| format!(", after {}", super::super::span(lifetime))).unwrap_or_default(),
            ),
            vec![new_token("before each run, or when the old one is nearly over (MSAL and azure-identity do it by themselves)")],
        ),
        Cause::NotYetValid { ahead } => (
            "not_yet_valid",
            format!("the token begins to hold in {}", super::super::span(*ahead)),
            vec![fix(CLIENT, "wait for it, or request one that holds at once")],
        ),
        Cause::ClockOfOursWrong { offset } => (
            "clock_of_this_host",
            format!(
                "this host's clock is {} {} that of the host of the keys: that is what the times of the token fail for",
                super::super::span(offset.unsigned_abs()),
                if *offset > 0 { "behind" } else { "ahead of" },
            ),
            vec![fix("this host", "set the clock (NTP, chrony); airside serve must not run with it")],
        ),
        Cause::ClockOfIssuerWrong { ahead, offset } => (
            "clock_of_issuer",
            format!(
                "the token says that it was issued {} from now: {}",
                super::super::span(*ahead),
                match offset {
                    Some(_) => "this host's clock agrees with that of the host of the keys, so who issued the token has another",
                    None => "the clock of its issuer or that of this host is wrong (the offset could not be measured)",
                },
            ),
            vec![
                fix("the issuer's host", "compare its clock with this one (NTP, chrony)"),
                airside("leeway", "at most 300s, for clocks that cannot be better"),
            ],
        ),
        Cause::Milliseconds { claim } => (
            "milliseconds",
            format!("{claim} is in milliseconds; a NumericDate is in seconds"),
            vec![fix("the issuer", "write seconds since 1970 (RFC 7519, section 2)")],
        ),
        Cause::Revoked { found } => (
            "revoked",
            format!("the revocation list names it: {found}"),
            vec![airside("revocation.file", "remove the entry to let it in again; otherwise this is what it is for")],
        ),
        _ => return None,
    })
}

/// Whose it is.
#[expect(clippy::too_many_lines, reason = "a table")]
fn caller(cause: &Cause) -> Option<Words> {
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
    Some(match cause {
        Cause::ClientNotListed { client, entry } => (
            "client_not_listed",
            format!("the client application {client} is not on the entry's list"),
            vec![airside(format!("{entry}.clients"), format!("add {client}, if it may call"))],
        ),
        Cause::UsernameAbsent { claim, entry } => (
            "username_absent",
            format!("the claim {claim}, which holds the user name, is absent"),
            vec![airside(format!("{entry}.username_claim"), "a claim that every caller's token has (Entra: oid)")],
        ),
        Cause::NameUnsafe { found, entry } => (
            "name_unsafe",
            format!("{found}: it cannot be handed on in a header, and is never cleaned"),
            vec![airside(format!("{entry}.username_claim"), "choose a claim of visible ASCII (Entra: oid); rename roles with other characters")],
        ),
        Cause::AppWithoutRole { client, client_id } => (
            "app_without_role",
            format!("the application {client} has no role of the API {client_id}: any application of the tenant gets such a token, so it is no permission"),
            for_app(),
        ),
        Cause::ManagedIdentityWithoutRole { resource, client_id } => (
            "managed_identity_without_role",
            format!("the managed identity {resource} has no role of the API {client_id}; the portal cannot assign one to it"),
            vec![
                fix("Microsoft Graph", "POST /servicePrincipals/(object id of the identity)/appRoleAssignments with principalId, resourceId (the API's service principal) and appRoleId; or New-MgServicePrincipalAppRoleAssignment"),
                fix(CLIENT, "then get a new token: that of a managed identity is cached for up to 24 hours"),
                fix(ASSIGN, "a role held through a group never reaches it"),
            ],
        ),
        Cause::UserWithoutRole { client_id } => (
            "user_without_role",
            format!("the person has no role of the API {client_id}"),
            vec![
                fix(ASSIGN, "Add user/group: assign an app role to the person, or to a group they are directly in"),
                fix(APP_ROLES, "the role must be allowed for Users/Groups (allowedMemberTypes: User)"),
                new_token("afterwards: roles are in tokens issued after the assignment"),
            ],
        ),
        Cause::GuestWithoutRole { client_id, home } => (
            "guest_without_role",
            format!("the person is a guest of the tenant (home: {home}) and has no role of the API {client_id}: a guest has an object id of its own here, and assignments of the home account do not count"),
            vec![fix(ASSIGN, "assign an app role to the guest user of this tenant"), new_token("afterwards")],
        ),
        Cause::GroupsOverage { entry } => (
            "groups_overage",
            "the person is in more groups than a token carries: Entra left them out and wrote a pointer (_claim_names), which airside does not follow".into(),
            vec![
                fix(APP_ROLES, format!("use app roles ({entry}.roles_claim: /roles), assigned to groups")),
                fix(GROUPS, "or Groups assigned to the application (groupMembershipClaims: ApplicationGroup)"),
            ],
        ),
        Cause::GroupsInsteadOfRoles { entry } => (
            "groups_instead_of_roles",
            "the token has groups and no roles, and roles are looked for".into(),
            vec![
                airside(format!("{entry}.roles_claim"), "/groups, with the groups' object ids in the map"),
                fix(APP_ROLES, "or define app roles and assign the groups to them (applications do not get them that way)"),
            ],
        ),
        Cause::RolesUnmapped { found, known, place } => (
            "roles_unmapped",
            format!("none of the token's roles is mapped: {found}; mapped are {known}"),
            vec![
                airside(place, "add the value, with the Airflow roles that it gives"),
                fix(ASSIGN, "or assign a role whose value is mapped"),
            ],
        ),
        Cause::RoleSpelling { found, known, place } => (
            "role_spelling",
            format!("the token's role {found:?} and the mapped {known:?} differ in case or blanks alone, and values are compared exactly"),
            vec![airside(place, format!("write {found:?}")), fix(APP_ROLES, format!("or make the role's Value {known:?}"))],
        ),
        Cause::RolesClaimAbsent { pointer, entry } => (
            "roles_claim_absent",
            format!("there is nothing at {pointer}, where the entry looks for roles"),
            vec![
                airside(format!("{entry}.roles_claim"), "where this issuer's tokens carry them"),
                fix("the issuer", "or let it write them into the access token (Keycloak: a mapper with Add to access token)"),
            ],
        ),
        Cause::RolesNotText { found, entry } => (
            "roles_not_text",
            found.clone(),
            vec![airside(format!("{entry}.roles_claim"), "point to a string or an array of strings")],
        ),
        _ => return None,
    })
}

/// The request, and the keys.
fn request(cause: &Cause) -> Words {
    match cause {
        Cause::PathClosed { found } => (
            "path_closed",
            format!("the path is closed for everybody{found}"),
            vec![airside(
                "access",
                "execution_api, password_login, or execution_listen, say what is open where",
            )],
        ),
        Cause::PathAmbiguous => (
            "path_ambiguous",
            "the path can be read in two ways".into(),
            vec![fix(
                CLIENT,
                "send it without dot segments, backslashes, a leading double slash or broken percent-encoding",
            )],
        ),
        Cause::PathOfOurs => (
            "path_of_airside",
            "what is below /airside/ is airside's own, and there is nothing at this path".into(),
            vec![airside("exchange.enabled", "true, for POST /airside/token")],
        ),
        Cause::MethodRefused => (
            "method_refused",
            "this method is not served at this path".into(),
            vec![fix(CLIENT, "use one that the Allow header of the answer names")],
        ),
        Cause::HeadTooLarge { found } => (
            "head_too_large",
            format!("the head of the request is too large: {found}"),
            vec![
                airside("limits.header_bytes", "allow more"),
                fix(GROUPS, "or make the token smaller: app roles instead of groups"),
            ],
        ),
        Cause::TaskOfAnother { found } => (
            "task_of_another",
            format!("a worker's token is for its own task alone: {found}"),
            vec![fix(CLIENT, "use the token of the task that the path names")],
        ),
        Cause::KeysUnreachable { entry, place, why } => (
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
        Cause::KeysNotFetched { entry } => (
            "keys_not_fetched",
            format!("the keys of {entry} were not fetched (--offline), and none are on disk"),
            vec![fix(
                "this command",
                "without --offline the signature can be judged; keys.cache_dir or keys_file work offline",
            )],
        ),
        Cause::KeysNone { entry } => (
            "keys_none",
            format!("the key set of {entry} is empty: its tokens are answered 503"),
            vec![airside(format!("{entry}.keys_file"), "a JWK Set with a key")],
        ),
        other => {
            let found =
                if let Cause::RequestOdd { found } = other { found.clone() } else { String::new() };
            ("request_odd", found, vec![fix(CLIENT, "see docs/troubleshooting.md for this reason")])
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_cause_stands_in_the_documentation_and_once_in_the_table() {
        let table = include_str!("text.rs");
        let documented = include_str!("../../../docs/troubleshooting.md");
        let name = |line: &'static str| {
            let name = line.trim().strip_prefix('"')?.strip_suffix("\",")?;
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            name.bytes().all(plain).then_some(name)
        };
        let mut names: Vec<&str> = table.lines().filter_map(name).collect();
        assert!(names.len() > 80, "{}", names.len());
        for name in names.iter().filter(|name| **name != "request_odd") {
            assert!(documented.contains(&format!("`{name}`")), "{name}");
        }
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
