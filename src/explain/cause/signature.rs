//! What public keys alone can tell.

use super::Words;
use super::places::{CLIENT, MANIFEST, airflow, airside, ask_for_this, fix, new_token};

/// Its algorithm, key and signature.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each has its sentences below")]
pub enum Signature {
    Graph { audience: Option<String>, proven: bool, client_id: Option<String> },
    Unsigned,
    SharedSecret { algorithm: String },
    AirflowHasKey { algorithm: String, entry: String },
    AirflowHasSecret { entry: String },
    AirflowOtherHash { algorithm: String },
    AlgorithmForeign { algorithm: String, accepted: String, entry: String },
    KeyUnfit { kid: String, algorithm: String },
    KidMissing { airflows: Option<String> },
    KidOfEntry { kid: String, owner: String },
    KidOfApp { kid: String, client_id: String, entry: String },
    KidOfTenant { kid: String, tenant: String },
    KidUnknown { kid: String, asked: String, issued: Option<String> },
    KeyOfOurs,
    SignatureAbsent,
    SignatureCut { found: usize, expected: usize },
    SignatureTooLong { found: usize, expected: usize },
    SignatureInDer,
    ContentChanged { kid: String },
    HashDiffers { hash: &'static str, algorithm: String },
    SignedByOther { kid: String, other: String },
    OtherKeyOrDamaged { kid: String },
    ChangedOrOtherKey { kid: String },
    AirflowSecretDiffers { entry: String },
    AirflowSecretReading { reading: &'static str, entry: String },
}

impl Signature {
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub(super) fn words(&self) -> Words {
        let by_airflow = |entry: &str| {
            airside(
                format!("{entry}.secret_file"),
                "the file with the very bytes of [api_auth] jwt_secret, without quotes, never base64-decoded",
            )
        };
        match self {
            Self::Graph { audience, proven, client_id } => (
                "graph_token",
                format!(
                    "the header has a nonce: this is a token for Microsoft Graph{}, which only Graph can verify{}",
                    audience.as_deref().map(|aud| format!(" (aud {aud})")).unwrap_or_default(),
                    if *proven { "; its signature is Entra's, over the hash of that nonce" } else { "" },
                ),
                vec![ask_for_this(client_id.as_deref())],
            ),
            Self::Unsigned => (
                "unsigned",
                "alg is none: the token is not signed, so anybody can have written it".into(),
                vec![fix(CLIENT, "use a token as its issuer signed it")],
            ),
            Self::SharedSecret { algorithm } => (
                "shared_secret",
                format!("alg is {algorithm}, yet the issuer signs with a key pair: somebody made this token with a secret, or with the public key in its place"),
                vec![fix(CLIENT, "use a token of the issuer itself; an HMAC token of Airflow's has no iss of Entra's")],
            ),
            Self::AirflowHasKey { algorithm, entry } => (
                "airflow_signs_with_key",
                format!("Airflow signed with {algorithm}, the entry has a shared secret: Airflow has a private key now"),
                vec![
                    airside(entry, "public_key_file (and kid), keys_url or keys_file in the place of secret_file"),
                    airflow("jwt_private_key_path", "or unset it, so that jwt_secret counts"),
                ],
            ),
            Self::AirflowHasSecret { entry } => (
                "airflow_signs_with_secret",
                "Airflow signed with its secret (HS512), the entry has public keys".into(),
                vec![
                    airside(entry, "secret_file in the place of public_key_file, keys_url or keys_file"),
                    airflow("jwt_private_key_path", "or set it, and jwt_algorithm with it"),
                ],
            ),
            Self::AirflowOtherHash { algorithm } => (
                "airflow_other_hash",
                format!("alg is {algorithm}; with a shared secret HS512 alone is taken"),
                vec![airflow("jwt_algorithm", "unset it, or HS512")],
            ),
            Self::AlgorithmForeign { algorithm, accepted, entry } => (
                "algorithm_foreign",
                format!("alg is {algorithm}, the entry takes {accepted}"),
                vec![
                    fix(CLIENT, "use a token as its issuer signs them"),
                    airside(format!("{entry}.algorithms"), "of an entry with type: oidc, if the issuer really uses it"),
                ],
            ),
            Self::KeyUnfit { kid, algorithm } => (
                "key_unfit",
                format!("the key {kid} is there, but of another type than {algorithm} needs"),
                vec![fix(CLIENT, "use a token as its issuer signed it: its header was changed")],
            ),
            Self::KidMissing { airflows } => {
                let of_airflow = |entry: &String| {
                    airflow("jwt_kid", format!("set it, or leave kid out of {entry}"))
                };
                let by_issuer = fix(CLIENT, "use a token as its issuer made it: Entra always writes kid");
                (
                    "kid_missing",
                    "the header names no key (kid), and the issuer's keys all have names".into(),
                    vec![airflows.as_ref().map_or(by_issuer, of_airflow)],
                )
            }
            Self::KidOfEntry { kid, owner } => (
                "kid_of_other_entry",
                format!("the key {kid} belongs to the entry {owner}, and keys of one issuer never sign for another"),
                vec![fix(CLIENT, format!("iss and signature do not belong together: use a token as {owner} made it"))],
            ),
            Self::KidOfApp { kid, client_id, entry } => (
                "kid_of_application",
                format!("the key {kid} is not in the tenant's set but in the one for this API (?appid={client_id}): it has claims mapping or a signing certificate of its own"),
                vec![
                    airside(format!("{entry}.keys_url"), format!("…/TENANT/discovery/keys?appid={client_id}")),
                    fix(MANIFEST, "or set acceptMappedClaims to true and remove the signing certificate, so that the tenant's keys sign"),
                ],
            ),
            Self::KidOfTenant { kid, tenant } => (
                "kid_of_other_tenant",
                format!("the key {kid} is one that the tenant {tenant} publishes, and the configured one does not"),
                vec![fix(CLIENT, "get the token from the configured tenant")],
            ),
            Self::KidUnknown { kid, asked, issued } => (
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
            Self::KeyOfOurs => (
                "key_of_airside",
                "the token is signed with a key of airside's own, which never speaks for workers".into(),
                vec![fix(CLIENT, "use the token that Airflow gave the worker")],
            ),
            Self::SignatureAbsent => (
                "signature_absent",
                "the third part is empty: the signature was taken off".into(),
                vec![new_token("and pass it on whole")],
            ),
            Self::SignatureCut { found, expected } => (
                "signature_cut",
                format!("the signature has {found} bytes, the key makes {expected}: the token was cut at its end"),
                vec![new_token("and look for a length limit on its way (environment variable, 4 KiB cookie, database column, copied screen line)")],
            ),
            Self::SignatureTooLong { found, expected } => (
                "signature_too_long",
                format!("the signature has {found} bytes, the key makes {expected}: something was put behind the token, or another key signed"),
                vec![new_token("and pass it on alone")],
            ),
            Self::SignatureInDer => (
                "signature_in_der",
                "the ECDSA signature is in DER: a JWS has the two numbers side by side, 64 bytes".into(),
                vec![fix("the issuer", "write signatures as RFC 7518, section 3.4, says")],
            ),
            Self::ContentChanged { kid } => (
                "content_changed",
                format!("the signature is genuine, made by the key {kid}, but over another content: header or claims were changed after signing"),
                vec![new_token("and pass it on unchanged: editing, redacting or re-encoding any part breaks it")],
            ),
            Self::HashDiffers { hash, algorithm } => (
                "hash_differs",
                format!("the issuer's key made the signature with {hash}, but alg says {algorithm}: the header was changed"),
                vec![new_token("and pass it on unchanged")],
            ),
            Self::SignedByOther { kid, other } => (
                "signed_by_other_key",
                format!("the header names the key {kid}, but {other} made the signature: header and signature are of different tokens"),
                vec![new_token("and pass it on unchanged")],
            ),
            Self::OtherKeyOrDamaged { kid } => (
                "other_key_or_damaged",
                format!("the signature is not one of the key {kid}: another key made it (a mock, a test issuer, a forger), or it was damaged"),
                vec![
                    new_token("from the configured issuer"),
                    fix("airside: keys_url, authority, keys_file", "see that the keys are the issuer's: a stale or mock set may use the same kid"),
                ],
            ),
            Self::ChangedOrOtherKey { kid } => (
                "changed_or_other_key",
                format!("the key {kid} did not sign this content; with this algorithm it cannot be told whether the content or the key is another"),
                vec![new_token("from the configured issuer and pass it on unchanged")],
            ),
            Self::AirflowSecretReading { reading, entry } => (
                "airflow_secret_reading",
                format!("the file of the secret and Airflow's setting differ in form alone: what signed the token is the file's content {reading}"),
                vec![
                    by_airflow(entry),
                    airflow("jwt_secret", "or write it there as it stands in the file: Airflow signs with the characters as they are"),
                ],
            ),
            Self::AirflowSecretDiffers { entry } => (
                "airflow_secret_differs",
                "the token looks like Airflow's, but the secret here did not sign it: airside and Airflow have different secrets, or the token is of another Airflow, or was changed".into(),
                vec![
                    by_airflow(entry),
                    airflow("jwt_secret", "without a value each start of Airflow makes up its own: set it (AIRFLOW__API_AUTH__JWT_SECRET), the same for all its components"),
                ],
            ),
        }
    }
}
