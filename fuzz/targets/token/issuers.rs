//! Three issuers, one of each kind, whose keys are in the target's hands. They sign with Ed25519 and
//! HMAC, which is quick; what RSA does is aws-lc's.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use airside::caller::Callers;
use airside::clock::Timestamp;
use airside::identity::{AirflowRole, Directory, Held, Mapping, Origin, RoleMap};
use airside::jwks::{Algorithm, Key, KeySet, KeyStore};
use airside::revocation::{Revocations, Watched, document};
use airside::secret::Secret;
use airside::token::entra::{Cloud, Tenant, Version};
use airside::token::{Issuer, Rules, Verifier, airflow, entra, oidc};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub(super) const NOW: Timestamp = Timestamp::from_unix(1_700_000_000);
pub(super) const LEEWAY: Duration = Duration::from_secs(60);
pub(super) const TENANT: &str = "aaaabbbb-0000-cccc-1111-dddd2222eeee";
pub(super) const AUDIENCES: [&str; 2] = ["api://airflow", "11112222-bbbb-3333-cccc-4444dddd5555"];
/// The one application that may call with tokens of Entra.
pub(super) const CALLER: &str = "00001111-aaaa-2222-bbbb-3333cccc4444";
pub(super) const GITHUB: &str = "https://token.actions.githubusercontent.com";
/// Values of tokens and what they mean, lowest first; `groups` of GitHub's are below an object.
pub(super) const ROLES: [(&str, &str); 2] = [("Airflow.Op", "Op"), ("Airflow.Admin", "Admin")];
pub(super) const OIDC_ROLES: &str = "/realm_access/roles";
/// One token, one subject and one key that are no longer welcome.
pub(super) const REVOKED: &str = "
- {jti: revoked-token}
- {issuer: oidc, subject: revoked}
- {kid: revoked-key}
";

/// Whose key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signer {
    Entra,
    Airflow,
    Oidc,
    Stranger,
}

impl Signer {
    pub(super) fn named(line: &[u8]) -> Option<Self> {
        match line.first()? {
            b'e' => Some(Self::Entra),
            b'a' => Some(Self::Airflow),
            b'o' => Some(Self::Oidc),
            b's' => Some(Self::Stranger),
            _ => None,
        }
    }

    /// The name of the entry.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Entra => "entra",
            Self::Airflow => "airflow",
            Self::Oidc => "oidc",
            Self::Stranger => "nobody",
        }
    }

    pub(super) const fn algorithm(self) -> &'static str {
        match self {
            Self::Airflow => "HS512",
            Self::Entra | Self::Oidc | Self::Stranger => "EdDSA",
        }
    }

    /// Signs whatever the bytes say.
    pub(super) fn sign(self, header: &[u8], claims: &[u8]) -> String {
        let input =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let by = |pair: &Ed25519KeyPair| URL_SAFE_NO_PAD.encode(pair.sign(input.as_bytes()));
        let signature = match self {
            Self::Entra => by(&SCENE.entra),
            Self::Oidc => by(&SCENE.oidc),
            Self::Stranger => by(&SCENE.stranger),
            Self::Airflow => {
                let key = hmac::Key::new(hmac::HMAC_SHA512, SECRET);
                URL_SAFE_NO_PAD.encode(hmac::sign(&key, input.as_bytes()))
            }
        };
        format!("{input}.{signature}")
    }
}

/// The keys, and those who judge.
pub(super) struct Scene {
    entra: Ed25519KeyPair,
    oidc: Ed25519KeyPair,
    stranger: Ed25519KeyPair,
    /// Remembers nothing.
    pub(super) verifier: Verifier,
    /// Remembers whom it has accepted.
    pub(super) callers: Callers,
}

pub(super) static SCENE: LazyLock<Scene> = LazyLock::new(|| {
    let generate = || Ed25519KeyPair::generate().expect("there is randomness");
    let (entra, oidc, stranger) = (generate(), generate(), generate());
    let verifier = verifier(&entra, &oidc);
    let callers = Callers::new(
        self::verifier(&entra, &oidc),
        Directory::new(mappings().into(), Held::Highest, None),
    );
    Scene { entra, oidc, stranger, verifier, callers }
});

const SECRET: &[u8] = b"an-example-secret-of-airflow-as-long-as-the-digest-that-it-is-used-with";

fn verifier(entra: &Ed25519KeyPair, oidc: &Ed25519KeyPair) -> Verifier {
    let watched = mappings()
        .map(|mapping| Watched { name: mapping.issuer, username_claim: mapping.username_claim });
    let list = document::parse(REVOKED.as_bytes(), Some(&watched)).expect("a list");
    let revocations = Arc::new(Revocations::new(list, watched.into()));
    let issuers = vec![of_entra(entra), of_airflow(), of_oidc(oidc)];
    Verifier::new(issuers, LEEWAY).expect("each claims its own").watching(revocations)
}

fn of_entra(pair: &Ed25519KeyPair) -> Issuer {
    let with_issuer = |kid, tenant: &str| {
        let mut key = jwk(pair, kid);
        key["issuer"] = format!("https://login.microsoftonline.com/{tenant}/v2.0").into();
        key
    };
    let keys = [
        with_issuer("entra-key", "{tenantid}"),
        with_issuer("key-of-another-tenant", "ffffbbbb-9999-cccc-1111-dddd2222eeee"),
        jwk(pair, "revoked-key"),
    ];
    let tenant = Tenant { id: TENANT.into(), keys: store("entra", &keys) };
    let rules = entra::Rules {
        tenants: vec![tenant],
        cloud: Cloud::Global,
        versions: vec![Version::V1, Version::V2],
        client_id: AUDIENCES[0].into(),
        clients: vec![CALLER.into()],
    };
    issuer("entra", Algorithm::EdDsa, Rules::Entra(rules))
}

fn of_airflow() -> Issuer {
    let keys = KeySet::single(Key::hs512(&Secret::new(SECRET)));
    let keys = Arc::new(KeyStore::fixed("airflow".into(), keys));
    let rules = airflow::Rules { issuer: None, keys, task_audiences: vec![] };
    issuer("airflow", Algorithm::Hs512, Rules::Airflow(rules))
}

fn of_oidc(pair: &Ed25519KeyPair) -> Issuer {
    let rules = oidc::Rules {
        issuer: GITHUB.into(),
        keys: store("oidc", &[jwk(pair, "oidc-key"), jwk(pair, "revoked-key")]),
        required_claims: vec![("repository_owner".into(), vec!["contoso".into()])],
    };
    issuer("oidc", Algorithm::EdDsa, Rules::Oidc(rules))
}

fn issuer(name: &str, algorithm: Algorithm, rules: Rules) -> Issuer {
    let audiences = AUDIENCES.map(str::to_owned).into();
    Issuer { name: name.into(), audiences, algorithms: vec![algorithm], rules }
}

fn mappings() -> [Mapping; 3] {
    let mapped = |pointer: &str| {
        let row = |(value, role): (&str, &str)| {
            (value.to_owned(), vec![AirflowRole::new(role).expect("a plain name")])
        };
        Origin::Mapped { pointer: pointer.into(), roles: RoleMap::new(ROLES.map(row).into()) }
    };
    let mapping = |issuer: &str, claim: &str, prefix: &str, origin| Mapping {
        issuer: issuer.into(),
        username_claim: claim.into(),
        username_prefix: prefix.into(),
        origin,
    };
    [
        mapping("entra", "oid", "", mapped("/roles")),
        mapping("airflow", "sub", "", Origin::Airflow),
        mapping("oidc", "sub", "github:", mapped(OIDC_ROLES)),
    ]
}

fn store(issuer: &str, keys: &[Value]) -> Arc<KeyStore> {
    let document = json!({ "keys": keys }).to_string();
    let keys = KeySet::parse(document.as_bytes()).expect("a key set");
    Arc::new(KeyStore::fixed(issuer.into(), keys))
}

fn jwk(pair: &Ed25519KeyPair, kid: &str) -> Value {
    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
    json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": kid, "x": x })
}
