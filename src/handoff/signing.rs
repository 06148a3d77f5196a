//! The keys that airside signs with, and what it publishes of them at `/jwks.json`.

use std::collections::HashSet;
use std::fmt;

use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::Serialize;
use serde_json::{Value, json};

use crate::jwks;
use crate::secret::Secret;
use crate::token::worker::Specimen;

/// A key to sign with: its algorithm follows from its type and is never chosen by anybody.
pub struct SigningKey {
    key: EncodingKey,
    algorithm: Algorithm,
    public: Option<Jwk>,
}

impl SigningKey {
    /// HS512 with a secret that both sides hold. Nothing of it is published.
    #[must_use]
    pub fn shared(secret: &Secret) -> Self {
        let key = EncodingKey::from_secret(secret.expose());
        Self { key, algorithm: Algorithm::HS512, public: None }
    }

    /// A private key in PEM: RSA of 2048 bits or more signs by RS256, P-256 by ES256 (both in
    /// PKCS#8; RSA also in PKCS#1), Ed25519 by `EdDSA`. Without `kid` its name is its thumbprint
    /// (RFC 7638).
    pub fn private(pem: &[u8], kid: Option<&str>) -> Result<Self, KeyError> {
        let readers: [(_, Reader<EncodingKey>); 3] = [
            (Algorithm::RS256, EncodingKey::from_rsa_pem),
            (Algorithm::ES256, EncodingKey::from_ec_pem),
            (Algorithm::EdDSA, EncodingKey::from_ed_pem),
        ];
        let (algorithm, key) = first(readers, pem).ok_or(KeyError::NotPrivate)?;
        let public = Jwk::from_encoding_key(&key, algorithm).map_err(|_| KeyError::Unusable)?;
        let public = named(public, algorithm, kid)?;
        let key = Self { key, algorithm, public: Some(public) };
        // A key of another curve is only found out by using it.
        key.sign("JWT", &json!({})).map_err(|_| KeyError::Unusable)?;
        Ok(key)
    }

    /// The compact JWS over `claims`, with this `typ` in its header.
    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> jsonwebtoken::errors::Result<String> {
        let mut header = Header::new(self.algorithm);
        header.typ = Some(typ.to_owned());
        header.kid = self.public.as_ref().and_then(|public| public.common.key_id.clone());
        jsonwebtoken::encode(&header, claims, &self.key)
    }

    /// By what it is known again, wherever it stands in a key set; nothing of a shared secret, which
    /// is Airflow's own.
    #[must_use]
    pub fn specimen(&self) -> Option<Specimen> {
        let algorithm = match self.algorithm {
            Algorithm::RS256 => jwks::Algorithm::Rs256,
            Algorithm::ES256 => jwks::Algorithm::Es256,
            Algorithm::EdDSA => jwks::Algorithm::EdDsa,
            _ => return None,
        };
        Specimen::of(&self.sign("JWT", &json!({})).ok()?, algorithm)
    }

    /// What may be published of it; nothing of a shared secret.
    #[must_use]
    pub const fn public(&self) -> Option<&Jwk> {
        self.public.as_ref()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// A public key in PEM (RSA, P-256 or Ed25519) as an entry of a key set, under the name by which
/// tokens refer to it.
pub fn public_entry(pem: &[u8], kid: &str) -> Result<Jwk, KeyError> {
    let readers: [(_, Reader<DecodingKey>); 3] = [
        (Algorithm::RS256, DecodingKey::from_rsa_pem),
        (Algorithm::ES256, DecodingKey::from_ec_pem),
        (Algorithm::EdDSA, DecodingKey::from_ed_pem),
    ];
    let (algorithm, key) = first(readers, pem).ok_or(KeyError::NotPublic)?;
    let public = Jwk::from_decoding_key(&key, Some(algorithm)).map_err(|_| KeyError::Unusable)?;
    named(public, algorithm, Some(kid))
}

type Reader<K> = fn(&[u8]) -> jsonwebtoken::errors::Result<K>;

/// The first of these that can read the key.
fn first<K>(readers: [(Algorithm, Reader<K>); 3], pem: &[u8]) -> Option<(Algorithm, K)> {
    readers.into_iter().find_map(|(algorithm, read)| Some((algorithm, read(pem).ok()?)))
}

fn named(mut public: Jwk, algorithm: Algorithm, kid: Option<&str>) -> Result<Jwk, KeyError> {
    let thumbprint = || public.thumbprint(ThumbprintHash::SHA256).map_err(|_| KeyError::Unusable);
    let kid = kid.map_or_else(thumbprint, |kid| Ok(kid.to_owned()))?;
    public.common.key_id = Some(kid);
    public.common.key_algorithm = Some(algorithm.into());
    public.common.public_key_use = Some(PublicKeyUse::Signature);
    Ok(public)
}

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// There is no private key in it that we know to use.
    NotPrivate,
    /// There is no public key in it that we know to use.
    NotPublic,
    /// It is too small, of another curve, or damaged.
    Unusable,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPrivate => {
                "no private key in PEM (RSA, P-256 in PKCS#8, Ed25519; unencrypted)"
            }
            Self::NotPublic => "no public key in PEM (RSA, P-256, Ed25519)",
            Self::Unusable => {
                "RSA below 2048 bits, a curve other than P-256 and Ed25519, or damaged"
            }
        })
    }
}

/// The key set that others verify us by: our public keys, and those of Airflow that are merged in.
#[derive(Debug, Default)]
pub struct Published {
    keys: Vec<Value>,
    kids: HashSet<String>,
}

/// Two different keys have the same name: whoever verifies could take the wrong one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ambiguous {
    /// The name.
    pub kid: String,
}

impl Published {
    /// Adds a key; the same key twice is there once.
    pub fn add(&mut self, key: &Jwk) -> Result<(), Ambiguous> {
        let entry = serde_json::to_value(key).unwrap_or_default();
        self.add_entry(entry)
    }

    /// Adds an entry of a key set that was read elsewhere.
    pub fn add_entry(&mut self, entry: Value) -> Result<(), Ambiguous> {
        if self.keys.contains(&entry) {
            return Ok(());
        }
        let kid = entry.get("kid").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !self.kids.insert(kid.clone()) {
            return Err(Ambiguous { kid });
        }
        self.keys.push(entry);
        Ok(())
    }

    /// The JWK Set (RFC 7517, section 5).
    #[must_use]
    pub fn document(&self) -> String {
        json!({ "keys": self.keys }).to_string()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair,
    };
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use jsonwebtoken::{Validation, decode, decode_header};

    use super::*;

    fn pem(label: &str, der: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    }

    fn curve(algorithm: &'static EcdsaSigningAlgorithm) -> String {
        let pair = EcdsaKeyPair::generate(algorithm).unwrap();
        pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref())
    }

    fn rsa() -> String {
        let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        pem("PRIVATE KEY", der.as_ref())
    }

    /// A new Ed25519 key.
    pub(in crate::handoff) fn ed25519() -> String {
        let pair = Ed25519KeyPair::generate().unwrap();
        pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref())
    }

    #[test]
    fn what_a_key_signs_verifies_by_what_is_published_of_it() {
        for (pem, algorithm) in [
            (rsa(), Algorithm::RS256),
            (curve(&ECDSA_P256_SHA256_FIXED_SIGNING), Algorithm::ES256),
            (ed25519(), Algorithm::EdDSA),
        ] {
            let key = SigningKey::private(pem.as_bytes(), Some("ours-1")).unwrap();
            let token = key.sign("odd+jwt", &json!({"sub": "alice"})).unwrap();
            let header = decode_header(&token).unwrap();
            assert_eq!((header.alg, header.kid.as_deref()), (algorithm, Some("ours-1")));
            assert_eq!(header.typ.as_deref(), Some("odd+jwt"));
            let mut published = Published::default();
            published.add(key.public().unwrap()).unwrap();
            let document: Value = serde_json::from_str(&published.document()).unwrap();
            let entry = &document["keys"][0];
            assert_eq!(entry["alg"], serde_json::to_value(algorithm).unwrap());
            for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
                assert!(entry.get(private).is_none(), "{private}");
            }
            let jwk: Jwk = serde_json::from_value(entry.clone()).unwrap();
            let mut validation = Validation::new(algorithm);
            validation.required_spec_claims.clear();
            validation.validate_exp = false;
            let verified =
                decode::<Value>(&token, &DecodingKey::from_jwk(&jwk).unwrap(), &validation);
            assert_eq!(verified.unwrap().claims["sub"], "alice");
        }
    }

    #[test]
    fn a_key_without_a_name_is_named_by_its_thumbprint() {
        let pem = ed25519();
        let kid = |key: SigningKey| key.public().unwrap().common.key_id.clone();
        let first = kid(SigningKey::private(pem.as_bytes(), None).unwrap());
        assert_eq!(first, kid(SigningKey::private(pem.as_bytes(), None).unwrap()));
        assert_eq!(first.map(|kid| kid.len()), Some(43));
    }

    #[test]
    fn a_key_that_cannot_be_used_says_so_before_it_is_needed() {
        let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
        for (pem, expected) in [
            (String::new(), KeyError::NotPrivate),
            ("secret".into(), KeyError::NotPrivate),
            (public.into(), KeyError::NotPrivate),
            (curve(&ECDSA_P384_SHA384_FIXED_SIGNING), KeyError::Unusable),
        ] {
            assert_eq!(SigningKey::private(pem.as_bytes(), None).err(), Some(expected), "{pem}");
        }
        assert!(public_entry(public.as_bytes(), "airflow-1").is_ok());
        for private in [ed25519(), rsa(), curve(&ECDSA_P256_SHA256_FIXED_SIGNING)] {
            assert!(public_entry(private.as_bytes(), "airflow-1").is_err());
        }
    }

    #[test]
    fn a_shared_secret_is_not_published() {
        assert!(SigningKey::shared(&Secret::new(b"secret")).public().is_none());
    }

    #[test]
    fn two_keys_of_one_name_are_refused_and_one_key_twice_is_there_once() {
        let key = |kid| SigningKey::private(ed25519().as_bytes(), Some(kid)).unwrap();
        let (first, second) = (key("a"), key("a"));
        let mut published = Published::default();
        published.add(first.public().unwrap()).unwrap();
        published.add(first.public().unwrap()).unwrap();
        let ambiguous = Ambiguous { kid: "a".into() };
        assert_eq!(published.add(second.public().unwrap()), Err(ambiguous));
        assert_eq!(published.keys.len(), 1);
    }
}
