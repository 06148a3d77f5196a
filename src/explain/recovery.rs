//! What an RSA signature was made over, found with the public key: whether the key made it at all,
//! and for which content. It tells "changed after signing" from "another key"; nothing is verified by
//! it, and nothing secret is in it.

use aws_lc_rs::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use num_bigint::BigUint;

use crate::jwks::RsaNumbers;

/// The digest that a key has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    /// The hash that was used: `SHA-256`.
    pub(super) hash: &'static str,
    algorithm: &'static Algorithm,
    digest: Vec<u8>,
}

impl Signed {
    /// What the key signed, where the signature is well formed under it (RFC 8017, section 9.2:
    /// `00 01 FF … FF 00`, and the digest with the name of its hash).
    #[must_use]
    pub(super) fn recover(key: &RsaNumbers, signature: &[u8]) -> Option<Self> {
        let n = BigUint::from_bytes_be(&key.n);
        let s = BigUint::from_bytes_be(signature);
        if signature.len() != key.n.len() || s >= n {
            return None;
        }
        let encoded = s.modpow(&BigUint::from_bytes_be(&key.e), &n).to_bytes_be();
        // The leading zero is gone with the number.
        let rest = encoded.strip_prefix(&[1])?;
        let padding = rest.iter().take_while(|byte| **byte == 0xff).count();
        if encoded.len() + 1 != key.n.len() || padding < LEAST_PADDING {
            return None;
        }
        let info = rest.get(padding..)?.strip_prefix(&[0])?;
        HASHES.iter().find_map(|(hash, algorithm, prefix)| {
            let digest = info.strip_prefix(*prefix)?;
            let whole = digest.len() == algorithm.output_len();
            whole.then(|| Self { hash, algorithm, digest: digest.to_vec() })
        })
    }

    /// Whether it was made over this content.
    #[must_use]
    pub(super) fn is_over(&self, content: &[u8]) -> bool {
        digest(self.algorithm, content).as_ref() == self.digest
    }

    /// Whether it was made over this content with a header whose `nonce` is the hash of this one's,
    /// as Microsoft signs tokens for Graph.
    #[must_use]
    pub(super) fn is_graphs(&self, header: &[u8], nonce: &str, payload: &str) -> bool {
        let hashed = URL_SAFE_NO_PAD.encode(digest(&SHA256, nonce.as_bytes()));
        let Ok(text) = std::str::from_utf8(header) else { return false };
        let header = text.replacen(&format!("\"{nonce}\""), &format!("\"{hashed}\""), 1);
        let content = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(header));
        self.is_over(content.as_bytes())
    }
}

/// RFC 8017, section 9.2, note.
const LEAST_PADDING: usize = 8;

/// `DigestInfo` up to the digest (RFC 8017, section 9.2, notes).
const HASHES: [(&str, &Algorithm, &[u8]); 3] = [
    (
        "SHA-256",
        &SHA256,
        b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
    ),
    (
        "SHA-384",
        &SHA384,
        b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30",
    ),
    (
        "SHA-512",
        &SHA512,
        b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40",
    ),
];

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::{
        KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding,
    };

    use super::*;

    fn numbers(pair: &KeyPair) -> RsaNumbers {
        let public = pair.public_key();
        let bytes = |number: &[u8]| number.to_vec();
        RsaNumbers {
            n: bytes(public.modulus().big_endian_without_leading_zero()),
            e: bytes(public.exponent().big_endian_without_leading_zero()),
        }
    }

    fn sign(pair: &KeyPair, how: &'static dyn RsaEncoding, content: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(how, &SystemRandom::new(), content, &mut signature).unwrap();
        signature
    }

    #[test]
    fn a_changed_content_is_told_from_another_key() {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let other = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let key = numbers(&pair);
        let signature = sign(&pair, &RSA_PKCS1_SHA256, b"content");
        let signed = Signed::recover(&key, &signature).expect("the key made it");
        assert_eq!(signed.hash, "SHA-256");
        assert!(signed.is_over(b"content"));
        assert!(!signed.is_over(b"changed"));
        let with_sha512 = sign(&pair, &RSA_PKCS1_SHA512, b"content");
        assert_eq!(Signed::recover(&key, &with_sha512).unwrap().hash, "SHA-512");
        let mut damaged = signature.clone();
        damaged[100] ^= 1;
        for (label, signature) in [
            ("another key", sign(&other, &RSA_PKCS1_SHA256, b"content")),
            ("damaged", damaged),
            ("cut", signature[..200].to_vec()),
            ("PSS", sign(&pair, &RSA_PSS_SHA256, b"content")),
            ("nothing", Vec::new()),
            ("zeros", vec![0; 256]),
            ("too large", vec![0xff; 256]),
        ] {
            assert_eq!(Signed::recover(&key, &signature), None, "{label}");
        }
    }

    #[test]
    fn a_token_of_graphs_is_known_by_the_hash_of_its_nonce() {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let header = |nonce: &str| format!(r#"{{"typ":"JWT","nonce":"{nonce}","alg":"RS256"}}"#);
        let hashed = URL_SAFE_NO_PAD.encode(digest(&SHA256, b"raw"));
        let content = format!("{}.e30", URL_SAFE_NO_PAD.encode(header(&hashed)));
        let signature = sign(&pair, &RSA_PKCS1_SHA256, content.as_bytes());
        let signed = Signed::recover(&numbers(&pair), &signature).unwrap();
        assert!(signed.is_graphs(header("raw").as_bytes(), "raw", "e30"));
        assert!(!signed.is_graphs(header("raw").as_bytes(), "raw", "e31"));
    }
}
