//! Keys made when the tests start, and tokens put together by hand, so that malformed ones can be
//! made as easily as good ones.

use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// An RSA key with the name under which it is published.
pub(crate) struct SigningKey {
    kid: String,
    pair: KeyPair,
}

impl SigningKey {
    pub(crate) fn generate(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: KeyPair::generate(KeySize::Rsa2048).unwrap() }
    }

    /// The key that the issuer publishes unless told otherwise.
    pub(crate) fn shared() -> &'static Self {
        static KEY: OnceLock<SigningKey> = OnceLock::new();
        KEY.get_or_init(|| Self::generate("first-key"))
    }

    /// A second key of the issuer, for rotations.
    pub(crate) fn next() -> &'static Self {
        static KEY: OnceLock<SigningKey> = OnceLock::new();
        KEY.get_or_init(|| Self::generate("second-key"))
    }

    /// An attacker's key under the name of the shared one.
    pub(crate) fn stranger() -> &'static Self {
        static KEY: OnceLock<SigningKey> = OnceLock::new();
        KEY.get_or_init(|| Self::generate("first-key"))
    }

    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half as Entra publishes it: without `alg`.
    pub(crate) fn jwk(&self) -> Value {
        let (n, e) = self.numbers();
        json!({"kty": "RSA", "use": "sig", "kid": self.kid, "n": encode(&n), "e": encode(&e)})
    }

    /// The same with further members, `issuer` for one.
    pub(crate) fn jwk_with(&self, member: &str, value: impl Into<Value>) -> Value {
        let mut jwk = self.jwk();
        jwk[member] = value.into();
        jwk
    }

    /// The header of a good token.
    pub(crate) fn header(&self) -> Value {
        json!({"typ": "JWT", "alg": "RS256", "kid": self.kid})
    }

    /// A good header over these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header(), claims)
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_bytes(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    /// Signs whatever the bytes say: duplicate members, other encodings, no JSON at all.
    pub(crate) fn sign_bytes(&self, header: &[u8], payload: &[u8]) -> String {
        self.sign_by(&RSA_PKCS1_SHA256, header, payload)
    }

    pub(crate) fn sign_rs512(&self, header: &Value, claims: &Value) -> String {
        let (header, claims) = (header.to_string(), claims.to_string());
        self.sign_by(&RSA_PKCS1_SHA512, header.as_bytes(), claims.as_bytes())
    }

    pub(crate) fn sign_ps256(&self, header: &Value, claims: &Value) -> String {
        let (header, claims) = (header.to_string(), claims.to_string());
        self.sign_by(&RSA_PSS_SHA256, header.as_bytes(), claims.as_bytes())
    }

    fn sign_by(&self, padding: &'static dyn RsaEncoding, header: &[u8], payload: &[u8]) -> String {
        let input = format!("{}.{}", encode(header), encode(payload));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = SystemRandom::new();
        self.pair.sign(padding, &random, input.as_bytes(), &mut signature).unwrap();
        format!("{input}.{}", encode(&signature))
    }

    /// The private half, as an operator gives it to airside.
    pub(crate) fn private_pem(&self) -> String {
        let der: Pkcs8V1Der<'_> = self.pair.as_der().unwrap();
        pem("PRIVATE KEY", der.as_ref())
    }

    /// The public half as Airflow's operators have it.
    pub(crate) fn public_pem(&self) -> String {
        pem("PUBLIC KEY", self.pair.public_key().as_der().unwrap().as_ref())
    }

    /// Every byte form of the public key that a confused verifier might take for an HMAC secret.
    pub(crate) fn public_forms(&self) -> Vec<(&'static str, Vec<u8>)> {
        let spki = self.pair.public_key().as_der().unwrap().as_ref().to_vec();
        let pkcs1 = self.pair.public_key().as_ref().to_vec();
        let (n, _) = self.numbers();
        let spki_pem = pem("PUBLIC KEY", &spki);
        vec![
            ("SPKI PEM", spki_pem.clone().into_bytes()),
            ("SPKI PEM without the last line break", spki_pem.trim_end().as_bytes().to_vec()),
            ("SPKI PEM after a space", format!(" {spki_pem}").into_bytes()),
            ("SPKI PEM after a line break", format!("\n{spki_pem}").into_bytes()),
            ("SPKI PEM of Windows", spki_pem.replace('\n', "\r\n").into_bytes()),
            ("SPKI PEM in one line", spki_pem.replace('\n', "").into_bytes()),
            ("SPKI DER", spki),
            ("PKCS#1 PEM", pem("RSA PUBLIC KEY", &pkcs1).into_bytes()),
            ("PKCS#1 DER", pkcs1),
            ("JWK", self.jwk().to_string().into_bytes()),
            ("modulus in base64url", encode(&n).into_bytes()),
            ("modulus", n),
        ]
    }

    /// Modulus and exponent, out of the DER of an `RSAPublicKey`.
    fn numbers(&self) -> (Vec<u8>, Vec<u8>) {
        let der = self.pair.public_key().as_ref();
        let (_, numbers, _) = element(der);
        let (_, n, after) = element(numbers);
        let (_, e, _) = element(after);
        let unsigned =
            |number: &[u8]| number.iter().copied().skip_while(|&byte| byte == 0).collect();
        (unsigned(n), unsigned(e))
    }
}

pub(crate) fn hs256(secret: &[u8], header: &Value, claims: &Value) -> String {
    by_hmac(hmac::HMAC_SHA256, secret, header, claims)
}

pub(crate) fn hs384(secret: &[u8], header: &Value, claims: &Value) -> String {
    by_hmac(hmac::HMAC_SHA384, secret, header, claims)
}

pub(crate) fn hs512(secret: &[u8], header: &Value, claims: &Value) -> String {
    by_hmac(hmac::HMAC_SHA512, secret, header, claims)
}

/// A token without a signature: it ends with its second dot.
pub(crate) fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.", signing_input(header, claims))
}

/// Header and claims of an HS512 token whose signature holds under the secret.
pub(crate) fn open_hs512(token: &str, secret: &[u8]) -> (Value, Value) {
    try_open_hs512(token, secret).expect("the signature holds")
}

/// The same, where it may be under another.
pub(crate) fn try_open_hs512(token: &str, secret: &[u8]) -> Option<(Value, Value)> {
    let [header, claims, signature] = parts(token);
    let key = hmac::Key::new(hmac::HMAC_SHA512, secret);
    let input = format!("{header}.{claims}");
    hmac::verify(&key, input.as_bytes(), &decode(signature)).ok()?;
    let parse = |part| serde_json::from_slice(&decode(part)).unwrap();
    Some((parse(header), parse(claims)))
}

/// The three parts of a compact token.
pub(crate) fn parts(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().expect("three parts")
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn by_hmac(algorithm: hmac::Algorithm, secret: &[u8], header: &Value, claims: &Value) -> String {
    let input = signing_input(header, claims);
    let tag = hmac::sign(&hmac::Key::new(algorithm, secret), input.as_bytes());
    format!("{input}.{}", encode(tag.as_ref()))
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Tag, content and what follows, of the first DER element.
fn element(der: &[u8]) -> (u8, &[u8], &[u8]) {
    let (length, start) = match der[1] {
        short @ 0..0x80 => (usize::from(short), 2),
        long => {
            let count = usize::from(long & 0x7f);
            let digits = der[2..2 + count].iter();
            (digits.fold(0, |sum, &byte| sum << 8 | usize::from(byte)), 2 + count)
        }
    };
    (der[0], &der[start..start + length], &der[start + length..])
}

/// A key on an elliptic curve with the name under which it is published.
pub(crate) enum CurveKey {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl CurveKey {
    pub(crate) fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    /// The P-256 key of a certificate.
    pub(crate) fn p256_from(pkcs8: &[u8]) -> Self {
        Self::P256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).unwrap())
    }

    pub(crate) fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::P256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    pub(crate) fn jwk(&self) -> Value {
        match self {
            Self::P256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": self.algorithm(),
                       "x": encode(x), "y": encode(y)})
            }
            Self::Ed25519(pair) => json!({
                "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": self.algorithm(),
                "x": encode(pair.public_key().as_ref()),
            }),
        }
    }

    pub(crate) fn public_pem(&self) -> String {
        let der = match self {
            Self::P256(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
        };
        pem("PUBLIC KEY", &der)
    }

    /// The private half, as an operator gives it to airside.
    pub(crate) fn private_pem(&self) -> String {
        let der = match self {
            Self::P256(pair) => pair.to_pkcs8v1().unwrap(),
            Self::Ed25519(pair) => pair.to_pkcs8v1().unwrap(),
        };
        pem("PRIVATE KEY", der.as_ref())
    }

    pub(crate) fn header(&self) -> Value {
        json!({"typ": "JWT", "alg": self.algorithm(), "kid": self.algorithm()})
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header(), claims)
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let input = signing_input(header, claims);
        let signature = match self {
            Self::P256(pair) => {
                pair.sign(&SystemRandom::new(), input.as_bytes()).unwrap().as_ref().to_vec()
            }
            Self::Ed25519(pair) => pair.sign(input.as_bytes()).as_ref().to_vec(),
        };
        format!("{input}.{}", encode(&signature))
    }

    /// As [`SigningKey::public_forms`].
    pub(crate) fn public_forms(&self) -> Vec<(&'static str, Vec<u8>)> {
        let (jwk, pem) = (self.jwk(), self.public_pem());
        let raw = match self {
            Self::P256(pair) => pair.public_key().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        };
        let x = jwk["x"].as_str().unwrap().to_owned();
        vec![
            ("PEM", pem.clone().into_bytes()),
            ("PEM without the last line break", pem.trim_end().as_bytes().to_vec()),
            ("JWK", jwk.to_string().into_bytes()),
            ("x", decode(&x)),
            ("x in base64url", x.into_bytes()),
            ("raw", raw),
        ]
    }
}

/// What is signed of these two.
pub(crate) fn signing_input(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()))
}
