//! A JWK Set (RFC 7517, section 5) turned into the keys that can be used, entry by entry: one bad
//! entry never costs the others.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA512, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::secret::Secret;

/// The signature algorithms that are verified (RFC 7518, section 3.1; RFC 8037). `none` is not
/// among them, and what a key can verify follows from its type, so HMAC with a public key cannot be
/// expressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256: all that Entra uses.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-512: Airflow 3.0 and 3.1 with an RSA key.
    Rs512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
    /// HMAC with SHA-512: what Airflow uses with `[api_auth] jwt_secret`.
    Hs512,
}

impl Algorithm {
    /// Those with a public key.
    pub const PUBLIC: [Self; 4] = [Self::Rs256, Self::Rs512, Self::Es256, Self::EdDsa];

    /// The `alg` value; compared by exact case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs512 => "RS512",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Hs512 => "HS512",
        }
    }
}

/// One key, and what it verifies with each algorithm that it fits.
pub struct Key {
    kid: Option<Box<str>>,
    issuer: Option<Box<str>>,
    material: Material,
    numbers: Option<Box<RsaNumbers>>,
}

/// Modulus and exponent of an RSA key, big-endian: to say what is wrong with a signature that does
/// not verify, never to verify one.
#[derive(Clone, Debug)]
pub struct RsaNumbers {
    /// The modulus.
    pub n: Vec<u8>,
    /// The public exponent.
    pub e: Vec<u8>,
}

enum Material {
    Public(Vec<(Algorithm, ParsedPublicKey)>),
    Hmac(Box<hmac::Key>),
}

impl Key {
    /// The HS512 key of a shared secret; it has no `kid`.
    #[must_use]
    pub fn hs512(secret: &Secret) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA512, secret.expose());
        Self { kid: None, issuer: None, material: Material::Hmac(Box::new(key)), numbers: None }
    }

    /// A public key as `SubjectPublicKeyInfo` in DER (RFC 5280, section 4.1.2.7); `None` when it is
    /// not RSA of 2048 bits or more, P-256 or Ed25519.
    #[must_use]
    pub fn public(der: &[u8], kid: Option<&str>) -> Option<Self> {
        let parse = |algorithm: &Algorithm| {
            let parameters: &'static dyn VerificationAlgorithm = match algorithm {
                Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
                Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
                Algorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
                Algorithm::EdDsa => &ED25519,
                Algorithm::Hs512 => return None,
            };
            Some((*algorithm, ParsedPublicKey::new(parameters, der).ok()?))
        };
        let fits: Vec<_> = Algorithm::PUBLIC.iter().filter_map(parse).collect();
        let large_enough = fits.iter().all(|(algorithm, key)| match algorithm {
            // The DER of a 2048-bit key has at least the modulus in it.
            Algorithm::Rs256 | Algorithm::Rs512 => key.as_ref().len() * 8 > MIN_MODULUS_BITS,
            _ => true,
        });
        let kid = kid.map(Into::into);
        (!fits.is_empty() && large_enough).then(|| Self {
            kid,
            issuer: None,
            material: Material::Public(fits),
            numbers: None,
        })
    }

    /// Its numbers, where it is an RSA key of a JWK Set.
    #[must_use]
    pub fn rsa_numbers(&self) -> Option<&RsaNumbers> {
        self.numbers.as_deref()
    }

    /// The issuer that the key names itself, as Entra's v2 documents do; may hold `{tenantid}`.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// The name by which tokens ask for it.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// What it verifies.
    #[must_use]
    pub fn algorithms(&self) -> Vec<Algorithm> {
        match &self.material {
            Material::Public(fits) => fits.iter().map(|(algorithm, _)| *algorithm).collect(),
            Material::Hmac(_) => vec![Algorithm::Hs512],
        }
    }

    /// Whether the key is for this algorithm, by its type, curve and `alg`.
    #[must_use]
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        match &self.material {
            Material::Public(fits) => fits.iter().any(|(fit, _)| *fit == algorithm),
            Material::Hmac(_) => algorithm == Algorithm::Hs512,
        }
    }

    /// Whether `signature` is this key's over `message` by `algorithm`; never by one that the key
    /// does not fit.
    #[must_use]
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Public(fits) => fits
                .iter()
                .any(|(fit, key)| *fit == algorithm && key.verify_sig(message, signature).is_ok()),
            Material::Hmac(key) => {
                algorithm == Algorithm::Hs512 && hmac::verify(key, message, signature).is_ok()
            }
        }
    }

    fn is_same_as(&self, other: &Self) -> bool {
        let same_material = match (&self.material, &other.material) {
            (Material::Public(ours), Material::Public(theirs)) => {
                let plain =
                    |(fit, key): &(Algorithm, ParsedPublicKey)| (*fit, key.as_ref().to_vec());
                ours.iter().map(plain).eq(theirs.iter().map(plain))
            }
            // Secrets are given, not fetched: nobody asks.
            (Material::Hmac(_), _) | (_, Material::Hmac(_)) => false,
        };
        same_material && self.kid == other.kid && self.issuer == other.issuer
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// The usable keys of one issuer.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    skipped: Vec<String>,
}

impl KeySet {
    /// A set of one key that needs no `kid`.
    #[must_use]
    pub fn single(key: Key) -> Self {
        Self { keys: vec![key], skipped: Vec::new() }
    }

    /// Parses a JWK Set; an error when it is none or holds no usable key.
    pub fn parse(document: &[u8]) -> Result<Self, DocumentError> {
        let document: Value =
            serde_json::from_slice(document).map_err(|_| DocumentError::NotJson)?;
        let entries =
            document.get("keys").and_then(Value::as_array).ok_or(DocumentError::NoKeys)?;
        if entries.len() > MAX_KEYS {
            return Err(DocumentError::TooMany(entries.len()));
        }
        if entries.is_empty() {
            return Err(DocumentError::Empty);
        }
        let mut set = Self { keys: Vec::new(), skipped: Vec::new() };
        for (index, entry) in entries.iter().enumerate() {
            match usable(entry) {
                Ok(key) => set.keys.push(key),
                Err(why) => set.skipped.push(format!("entry {index}: {why}")),
            }
        }
        if set.keys.is_empty() {
            return Err(DocumentError::NoneUsable(set.skipped.join("; ")));
        }
        Ok(set)
    }

    /// The keys of this name: more than one where a publisher uses it for several types of key. No
    /// name names none.
    pub fn named<'s>(&'s self, kid: Option<&'s str>) -> impl Iterator<Item = &'s Key> {
        self.keys.iter().filter(move |key| key.kid.is_some() && key.kid.as_deref() == kid)
    }

    /// The keys without a name, which may be meant by any.
    pub fn nameless(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(|key| key.kid.is_none())
    }

    /// Whether a `kid` means anything to this set.
    #[must_use]
    pub fn has_named(&self) -> bool {
        self.keys.iter().any(|key| key.kid.is_some())
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Key] {
        &self.keys
    }

    /// Why entries were left out, for who looks for what is wrong.
    #[must_use]
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// How many keys can be used.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key; a parsed set always has one.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether both sets hold the same keys.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.keys.len() == other.keys.len()
            && self.keys.iter().zip(&other.keys).all(|(ours, theirs)| ours.is_same_as(theirs))
    }
}

/// Why a document gave no keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentError {
    /// It is not JSON.
    NotJson,
    /// It has no `keys` array: perhaps a metadata document or an error body.
    NoKeys,
    /// More entries than any provider publishes.
    TooMany(usize),
    /// It has no entry.
    Empty,
    /// No entry can be used, and why.
    NoneUsable(String),
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson => f.write_str("the document is not JSON"),
            Self::NoKeys => f.write_str("the document has no `keys` array: it is not a JWK Set"),
            Self::TooMany(found) => write!(f, "{found} entries, at most {MAX_KEYS} are read"),
            Self::Empty => f.write_str("the key set is empty"),
            Self::NoneUsable(why) => write!(f, "no entry of the key set can be used: {why}"),
        }
    }
}

/// Entra publishes about 7, the largest known provider about 40.
const MAX_KEYS: usize = 200;
/// NIST SP 800-131A: RSA below 2048 bits is disallowed.
const MIN_MODULUS_BITS: usize = 2048;
const MAX_MODULUS_BITS: usize = 8192;

fn usable(entry: &Value) -> Result<Key, &'static str> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    if !entry.is_object() {
        return Err("not an object");
    }
    if entry.get("d").is_some() {
        return Err("it holds a private key");
    }
    if entry.get("use").is_some() && text("use") != Some("sig") {
        return Err("`use` is not sig");
    }
    if let Some(operations) = entry.get("key_ops")
        && !operations.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"))
    {
        return Err("`key_ops` lacks verify");
    }
    let mut fits = match (text("kty"), text("crv")) {
        (Some("RSA"), _) => rsa(text("n"), text("e"))?,
        (Some("EC"), Some("P-256")) => p256(text("x"), text("y"))?,
        (Some("OKP"), Some("Ed25519")) => ed25519(text("x"))?,
        _ => return Err("`kty` is not RSA, EC on P-256 or OKP on Ed25519"),
    };
    // A key that names its algorithm is for that one alone.
    if entry.get("alg").is_some() {
        fits.retain(|(algorithm, _)| text("alg") == Some(algorithm.name()));
    }
    if fits.is_empty() {
        return Err("its `alg` does not fit its type, or is none that is verified");
    }
    if entry.get("kid").is_some() && text("kid").is_none() {
        return Err("`kid` is not a string");
    }
    let (kid, issuer) = (text("kid").map(Into::into), text("issuer").map(Into::into));
    let numbers = number(text("n")).zip(number(text("e")));
    let numbers = numbers.map(|(n, e)| Box::new(RsaNumbers { n, e }));
    Ok(Key { kid, issuer, material: Material::Public(fits), numbers })
}

type Fits = Vec<(Algorithm, ParsedPublicKey)>;

fn rsa(n: Option<&str>, e: Option<&str>) -> Result<Fits, &'static str> {
    let n = number(n).ok_or("`n` is not a base64url number")?;
    let e = number(e).ok_or("`e` is not a base64url number")?;
    if !(MIN_MODULUS_BITS..=MAX_MODULUS_BITS).contains(&modulus_bits(&n)) {
        return Err("the modulus is not of 2048 to 8192 bits");
    }
    let is_even = |number: &[u8]| number.last().is_none_or(|byte| byte % 2 == 0);
    if is_even(&n) || is_even(&e) || e == [1] {
        return Err("modulus and exponent must be odd, the exponent above 1");
    }
    let components = PublicKeyComponents { n, e };
    let parse = |parameters| components.to_parsed_public_key(parameters);
    let (sha256, sha512) = (parse(&RSA_PKCS1_2048_8192_SHA256), parse(&RSA_PKCS1_2048_8192_SHA512));
    let (Ok(sha256), Ok(sha512)) = (sha256, sha512) else { return Err("not an RSA public key") };
    Ok(vec![(Algorithm::Rs256, sha256), (Algorithm::Rs512, sha512)])
}

/// The point uncompressed (SEC 1, section 2.3.3), from coordinates of exactly 32 bytes (RFC 7518,
/// section 6.2.1.2); aws-lc refuses one that is not on the curve.
fn p256(x: Option<&str>, y: Option<&str>) -> Result<Fits, &'static str> {
    let mut point = vec![4];
    for coordinate in [x, y] {
        let bytes = coordinate.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        point.extend(bytes.filter(|bytes| bytes.len() == 32).ok_or("`x` or `y` is not 32 bytes")?);
    }
    let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    Ok(vec![(Algorithm::Es256, key.map_err(|_| "not a point on P-256")?)])
}

fn ed25519(x: Option<&str>) -> Result<Fits, &'static str> {
    let bytes = x.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let bytes = bytes.filter(|bytes| bytes.len() == 32).ok_or("`x` is not 32 bytes")?;
    let key = ParsedPublicKey::new(&ED25519, bytes);
    Ok(vec![(Algorithm::EdDsa, key.map_err(|_| "not an Ed25519 public key")?)])
}

/// A `Base64urlUInt` (RFC 7518, section 2), leading zero bytes tolerated and removed.
fn number(text: Option<&str>) -> Option<Vec<u8>> {
    let mut bytes = URL_SAFE_NO_PAD.decode(text?).ok()?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    (!bytes.is_empty()).then_some(bytes)
}

fn modulus_bits(n: &[u8]) -> usize {
    let leading = n.first().map_or(0, |byte| byte.leading_zeros() as usize);
    n.len() * 8 - leading
}

#[cfg(test)]
pub(crate) mod tests {
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::KeyPair as _;
    use serde_json::json;

    use super::*;

    /// A fresh RSA key as a JWK of Entra's form.
    pub(crate) fn jwk(kid: &str) -> Value {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let public = pair.public_key();
        json!({
            "kty": "RSA", "use": "sig", "kid": kid,
            "n": URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
            "e": "AQAB",
        })
    }

    fn set(keys: &[Value]) -> Result<KeySet, DocumentError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn one_bad_entry_never_costs_the_others() {
        let good = jwk("good");
        let with = |name: &str, value: Value| {
            let mut entry = good.clone();
            entry["kid"] = json!("bad");
            entry[name] = value;
            entry
        };
        for bad in [
            json!(null),
            json!("x"),
            json!({ "kty": "oct", "kid": "bad", "k": "c2VjcmV0" }),
            json!({ "kty": "OKP", "kid": "bad", "crv": "X25519", "x": "AA" }),
            with("kty", json!("unheard-of")),
            with("use", json!("enc")),
            with("key_ops", json!(["encrypt"])),
            with("alg", json!("PS256")),
            with("alg", json!("HS256")),
            with("alg", json!("ES256")),
            with("kid", json!(7)),
            json!({ "kty": "EC", "crv": "P-256", "kid": "bad", "x": "AA", "y": "AA" }),
            json!({ "kty": "EC", "crv": "P-384", "kid": "bad", "x": "AA", "y": "AA" }),
            json!({ "kty": "EC", "crv": "P-256", "kid": "bad",
                    "x": URL_SAFE_NO_PAD.encode([1; 32]), "y": URL_SAFE_NO_PAD.encode([1; 32]) }),
            with("d", json!("AQAB")),
            with("n", json!("AQAB")),
            with("n", json!("not base64url!")),
            with("e", json!("AQ")),
            with("e", json!("AQAA")),
            with("e", json!(65537)),
        ] {
            let set = set(&[bad.clone(), good.clone()]).unwrap();
            assert_eq!(set.len(), 1, "{bad}");
            assert_eq!(set.skipped().len(), 1, "{bad}");
            assert_eq!(set.named(Some("good")).count(), 1);
            assert_eq!(set.named(Some("bad")).count(), 0);
            assert_eq!(set.nameless().count(), 0);
        }
    }

    #[test]
    fn a_document_without_keys_says_what_it_is() {
        for (document, expected) in [
            (&b"<html>"[..], DocumentError::NotJson),
            (b"{}", DocumentError::NoKeys),
            (br#"{"error":"invalid_tenant"}"#, DocumentError::NoKeys),
            (br#"{"keys":{}}"#, DocumentError::NoKeys),
            (br#"{"keys":[]}"#, DocumentError::Empty),
        ] {
            assert_eq!(KeySet::parse(document).unwrap_err(), expected);
        }
        assert_eq!(set(&vec![json!({}); 201]).unwrap_err(), DocumentError::TooMany(201));
    }

    #[test]
    fn sets_are_the_same_when_their_keys_are() {
        let (a, b) = (jwk("a"), jwk("b"));
        let one = set(std::slice::from_ref(&a)).unwrap();
        assert!(one.same_as(&set(std::slice::from_ref(&a)).unwrap()));
        assert!(!one.same_as(&set(&[a, b.clone()]).unwrap()));
        assert!(!one.same_as(&set(&[b]).unwrap()));
    }
}
