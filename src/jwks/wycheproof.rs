//! Signatures that verifiers have accepted or refused wrongly, collected by Project Wycheproof: zeros
//! and orders in place of numbers, bent paddings, lengths and encodings, edge cases of the
//! arithmetic. Each is tried on a key that comes, as an issuer's does, out of a key set.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify as rsa};

use super::document::{Algorithm, KeySet};

#[test]
fn es256_accepts_what_it_must_and_nothing_else() {
    let mut tally = Tally::of(Algorithm::Es256);
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    for group in &set.test_groups {
        let (x, y) = group.key.key[1..].split_at(32);
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)});
        for test in &group.tests {
            tally.judge(&jwk, test.tc_id, &test.msg, &test.sig, test.result);
        }
    }
    tally.is_of(set.number_of_tests);
}

#[test]
fn eddsa_accepts_what_it_must_and_nothing_else() {
    let mut tally = Tally::of(Algorithm::EdDsa);
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    for group in &set.test_groups {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": encode(&group.key.pk)});
        for test in &group.tests {
            tally.judge(&jwk, test.tc_id, &test.msg, &test.sig, test.result);
        }
    }
    tally.is_of(set.number_of_tests);
}

#[test]
fn rs256_and_rs512_accept_what_they_must_and_nothing_else() {
    use rsa::TestName::{
        Rsa2048Sha256, Rsa2048Sha512, Rsa3072Sha256, Rsa3072Sha512, Rsa4096Sha256, Rsa4096Sha512,
        Rsa8192Sha256, Rsa8192Sha512,
    };
    for (algorithm, names) in [
        (Algorithm::Rs256, [Rsa2048Sha256, Rsa3072Sha256, Rsa4096Sha256, Rsa8192Sha256]),
        (Algorithm::Rs512, [Rsa2048Sha512, Rsa3072Sha512, Rsa4096Sha512, Rsa8192Sha512]),
    ] {
        for name in names {
            let mut tally = Tally::of(algorithm);
            let set = rsa::TestSet::load(name).unwrap();
            for group in &set.test_groups {
                let jwk =
                    json!({"kty": "RSA", "n": encode(&group.key.n), "e": encode(&group.key.e)});
                for test in &group.tests {
                    tally.judge(&jwk, test.tc_id, &test.msg, &test.sig, test.result);
                }
            }
            tally.is_of(set.number_of_tests);
        }
    }
}

/// What came of the vectors of one file.
struct Tally {
    algorithm: Algorithm,
    accepted: usize,
    refused: usize,
}

impl Tally {
    const fn of(algorithm: Algorithm) -> Self {
        Self { algorithm, accepted: 0, refused: 0 }
    }

    fn judge(&mut self, jwk: &Value, id: usize, message: &[u8], signature: &[u8], due: TestResult) {
        let document = json!({ "keys": [jwk] }).to_string();
        let keys = KeySet::parse(document.as_bytes()).unwrap();
        let verifies = keys.nameless().any(|key| key.verifies(self.algorithm, message, signature));
        let right = match due {
            TestResult::Valid => verifies,
            TestResult::Invalid => !verifies,
            // By the letter, and yet nothing that has to be accepted.
            TestResult::Acceptable => true,
        };
        assert!(right, "{} vector {id} is {due:?}, found {verifies}", self.algorithm.name());
        self.accepted += usize::from(verifies);
        self.refused += usize::from(!verifies);
    }

    fn is_of(&self, vectors: usize) {
        assert_eq!(self.accepted + self.refused, vectors);
        assert!(self.accepted > 0 && self.refused > 0, "{} and {}", self.accepted, self.refused);
    }
}

fn encode(number: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(number)
}
