//! A signing key as Entra publishes them, made in memory for one run.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value, json};

use super::mint::Version;

/// An RSA-2048 key pair with its `kid`; the private half never leaves it.
///
/// It signs by itself because jsonwebtoken wants PKCS#1, which aws-lc-rs does not export.
pub(super) struct SigningKey {
    pair: KeyPair,
    kid: String,
}

impl SigningKey {
    /// Makes a new key.
    pub(super) fn generate() -> Result<Self, Unspecified> {
        let pair = KeyPair::generate(KeySize::Rsa2048)?;
        // Entra hashes its certificate; here is none, so the modulus stands in.
        let modulus = pair.public_key().modulus();
        let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, modulus.big_endian_without_leading_zero());
        let kid = URL_SAFE_NO_PAD.encode(sha1);
        Ok(Self { pair, kid })
    }

    /// The name by which tokens name it.
    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    /// The key that verifies what this one signed.
    pub(super) fn verifying_key(&self) -> DecodingKey {
        let public = self.pair.public_key();
        DecodingKey::from_rsa_raw_components(
            public.modulus().big_endian_without_leading_zero(),
            public.exponent().big_endian_without_leading_zero(),
        )
    }

    /// The public half as an entry of a key set: no `alg`, as in Entra's, and the `issuer` only
    /// in the v2 document.
    pub(super) fn jwk(&self, version: Version, issuer: &str) -> Value {
        let public = self.pair.public_key();
        let mut jwk = json!({
            "kty": "RSA",
            "use": "sig",
            "kid": self.kid,
            "x5t": self.kid,
            "n": URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
            "e": URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()),
        });
        if let (Version::V2, Some(members)) = (version, jwk.as_object_mut()) {
            members.insert("issuer".to_owned(), json!(issuer));
        }
        jwk
    }

    /// The compact JWS over `claims`; v1 tokens carry `x5t` beside `kid`.
    pub(super) fn sign(
        &self,
        version: Version,
        claims: &Map<String, Value>,
    ) -> Result<String, Unspecified> {
        let header = match version {
            Version::V1 => json!({"typ": "JWT", "alg": "RS256", "x5t": self.kid, "kid": self.kid}),
            Version::V2 => json!({"typ": "JWT", "alg": "RS256", "kid": self.kid}),
        };
        let claims = Value::Object(claims.clone());
        let [header, payload] =
            [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let message = format!("{header}.{payload}");
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = SystemRandom::new();
        self.pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature)?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}
