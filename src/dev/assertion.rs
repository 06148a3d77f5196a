//! How applications prove who they are to the token endpoint: by a secret, by an assertion signed
//! with a registered certificate, or by a token of an issuer outside that the directory trusts.

use aws_lc_rs::error::Unspecified;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::json;

use super::certificate::{CertificateError, ClientCertificate};
use super::form::Form;
use super::key::SigningKey;
use super::mint::{MintSecret, Version, object, random_id};
use super::refusal::Refusal;

/// What proves an application: each of the directory's accepts all three.
pub struct Credentials {
    /// The secret of every application, and the password of every person.
    pub secret: MintSecret,
    /// The certificate that every application has registered.
    pub certificate: ClientCertificate,
    /// The issuer outside that every application trusts.
    pub federation: Federation,
}

/// By what an application has proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// A secret.
    Secret,
    /// An assertion.
    Assertion,
}

impl Proof {
    /// The value of `appidacr` and `azpacr`.
    pub(super) fn claim(self) -> &'static str {
        match self {
            Self::Secret => "1",
            Self::Assertion => "2",
        }
    }
}

impl Credentials {
    /// Makes certificate and issuer; takes the secret.
    pub fn generate(secret: MintSecret) -> Result<Self, CertificateError> {
        let certificate = ClientCertificate::generate()?;
        Ok(Self { secret, certificate, federation: Federation::generate()? })
    }

    /// Judges what the form sent to the token endpoint at the URL `endpoint` has for the
    /// application `client`.
    pub(super) fn judge(
        &self,
        form: &Form,
        client: &str,
        endpoint: &str,
        now: u64,
    ) -> Result<Proof, Refusal> {
        if let Some(assertion) = form.get("client_assertion") {
            if form.required("client_assertion_type")? != JWT_BEARER {
                let text = "The value of client_assertion_type is not supported.";
                return Err(Refusal::new("invalid_request", 9_002_313, text));
            }
            return self.judge_assertion(assertion, client, endpoint, now);
        }
        match form.get("client_secret") {
            Some(secret) if self.secret.is(secret) => Ok(Proof::Secret),
            Some(_) => {
                let text = format!("Invalid client secret provided for app '{client}'.");
                Err(Refusal::new("invalid_client", 7_000_215, text))
            }
            None => {
                let text = "The request body must contain the following parameter: \
                            'client_assertion' or 'client_secret'.";
                Err(Refusal::new("invalid_client", 7_000_218, text))
            }
        }
    }

    /// An assertion names the certificate it was signed with; one that names none comes from
    /// outside.
    fn judge_assertion(
        &self,
        assertion: &str,
        client: &str,
        endpoint: &str,
        now: u64,
    ) -> Result<Proof, Refusal> {
        let header = decode_header(assertion).map_err(|_| malformed("its header"))?;
        if header.x5t.is_none() && header.x5t_s256.is_none() {
            self.federation.judge(assertion, header.kid.as_deref(), now)?;
            return Ok(Proof::Assertion);
        }
        if !self.certificate.is_named_by(&header) {
            let text = "The certificate with identifier used to sign the client assertion is not \
                        registered on application.";
            return Err(Refusal::new("invalid_client", 700_027, text));
        }
        let claims = Claims::verified(assertion, &self.certificate.verifying_key())?;
        claims.judge_own(client, endpoint)?;
        claims.judge_times(now)?;
        Ok(Proof::Assertion)
    }
}

/// An issuer outside, as a Kubernetes cluster is one, whose tokens stand in for a secret
/// (learn.microsoft.com/entra/workload-id/workload-identity-federation).
pub struct Federation {
    key: SigningKey,
}

impl Federation {
    /// Makes the issuer's key.
    pub fn generate() -> Result<Self, Unspecified> {
        Ok(Self { key: SigningKey::generate()? })
    }

    /// The token that Kubernetes would project into the pod of a pipeline. It lasts as long as any
    /// run does, where Kubernetes would renew the file.
    pub fn token(&self, now: u64) -> Result<String, Unspecified> {
        let claims = json!({
            "iss": FEDERATED_ISSUER, "sub": FEDERATED_SUBJECT, "aud": [FEDERATED_AUDIENCE],
            "iat": now, "nbf": now, "exp": now.saturating_add(YEAR), "jti": random_id(16)?,
        });
        self.key.sign(Version::V2, &object(claims))
    }

    fn judge(&self, token: &str, kid: Option<&str>, now: u64) -> Result<(), Refusal> {
        if kid != Some(self.key.kid()) {
            return Err(signature_invalid());
        }
        let claims = Claims::verified(token, &self.key.verifying_key())?;
        for (code, which, found, expected) in [
            (700_211, "issuer", Some(&*claims.iss), FEDERATED_ISSUER),
            (700_213, "subject", Some(&*claims.sub), FEDERATED_SUBJECT),
            (700_212, "audience", claims.aud.only(), FEDERATED_AUDIENCE),
        ] {
            if found != Some(expected) {
                let text = format!(
                    "No matching federated identity record found for presented assertion {which}; \
                     expected '{expected}'."
                );
                return Err(Refusal::new("invalid_client", code, text));
            }
        }
        claims.judge_times(now)
    }
}

/// RFC 7523, section 2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

const FEDERATED_ISSUER: &str = "https://kubernetes.contoso.example";
const FEDERATED_SUBJECT: &str = "system:serviceaccount:airflow:pipeline";
const FEDERATED_AUDIENCE: &str = "api://AzureADTokenExchange";

/// In seconds.
const YEAR: u64 = 365 * 24 * 60 * 60;

/// The claims of an assertion. MSAL for Python writes times with a fraction.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: f64,
    nbf: Option<f64>,
    jti: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    List(Vec<String>),
}

impl Audience {
    /// The audience, where it is exactly one, which is what Entra asks for.
    fn only(&self) -> Option<&str> {
        match self {
            Self::One(audience) => Some(audience),
            Self::List(list) => match list.as_slice() {
                [audience] => Some(audience),
                _ => None,
            },
        }
    }
}

impl Claims {
    /// The claims, if `key` verifies the signature over them.
    fn verified(assertion: &str, key: &DecodingKey) -> Result<Self, Refusal> {
        let mut rules = Validation::new(Algorithm::RS256);
        // MSAL signs with PS256 where it is given a certificate instead of a thumbprint.
        rules.algorithms = vec![Algorithm::RS256, Algorithm::PS256];
        // What the claims say is judged by the caller, with Entra's errors.
        rules.required_spec_claims.clear();
        (rules.validate_exp, rules.validate_aud) = (false, false);
        let refused = |error: jsonwebtoken::errors::Error| match error.kind() {
            ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => signature_invalid(),
            _ => malformed("its claims"),
        };
        decode(assertion, key, &rules).map(|token| token.claims).map_err(refused)
    }

    /// Judges what an application says of itself. A `jti` must be there, but may come again: MSAL
    /// sends one assertion for as long as it lasts.
    fn judge_own(&self, client: &str, endpoint: &str) -> Result<(), Refusal> {
        if self.iss != client || self.sub != client {
            let text = "Client assertion application identifier doesn't match 'client_id' \
                        parameter.";
            return Err(Refusal::new("invalid_client", 700_021, text));
        }
        if self.aud.only() != Some(endpoint) {
            let text = format!(
                "Client assertion audience claim does not match Realm issuer; expected \
                 '{endpoint}'."
            );
            return Err(Refusal::new("invalid_client", 700_023, text));
        }
        if self.jti.as_deref().is_none_or(str::is_empty) {
            return Err(malformed("its jti"));
        }
        Ok(())
    }

    /// Both clocks are this machine's, so there is no leeway.
    fn judge_times(&self, now: u64) -> Result<(), Refusal> {
        #[expect(clippy::cast_precision_loss, reason = "exact for 285 million years")]
        let now = now as f64;
        // Not the negation, so that no NaN passes.
        if now < self.exp && self.nbf.is_none_or(|nbf| nbf < now + 1.0) {
            return Ok(());
        }
        let text = "Client assertion is not within its valid time range.";
        Err(Refusal::new("invalid_client", 700_024, text))
    }
}

fn malformed(what: &str) -> Refusal {
    let text = format!("JWT token is invalid or malformed: {what}.");
    Refusal::new("invalid_client", 50_027, text)
}

fn signature_invalid() -> Refusal {
    Refusal::new("invalid_client", 700_027, "Client assertion failed signature validation.")
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256};
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::Value;

    use super::super::directory::USUAL_APPLICATION as CLIENT;
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const ENDPOINT: &str = "https://127.0.0.1:8443/tenant/oauth2/v2.0/token";

    fn credentials() -> Credentials {
        Credentials::generate(MintSecret::generate().unwrap()).unwrap()
    }

    /// The AADSTS number of the refusal, 0 where there is none.
    fn judged(credentials: &Credentials, assertion: &str) -> u32 {
        let form = format!("client_assertion_type={JWT_BEARER}&client_assertion={assertion}");
        let proof = credentials.judge(&Form::parse(form.as_bytes()), CLIENT, ENDPOINT, NOW);
        match proof {
            Ok(proof) => {
                assert_eq!(proof, Proof::Assertion);
                0
            }
            Err(refusal) => {
                assert_eq!(refusal.error(), "invalid_client");
                refusal.code()
            }
        }
    }

    fn changed(mut claims: Value, changes: &Value) -> Value {
        for (claim, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => claims.as_object_mut().unwrap().remove(claim),
                _ => claims.as_object_mut().unwrap().insert(claim.clone(), value.clone()),
            };
        }
        claims
    }

    fn own_claims() -> Value {
        json!({"iss": CLIENT, "sub": CLIENT, "aud": ENDPOINT, "jti": "1",
            "iat": NOW, "exp": NOW + 600})
    }

    fn signing_key(certificate: &ClientCertificate) -> EncodingKey {
        let pem = certificate.pem();
        let (key, _) = pem.split_once("-----BEGIN CERTIFICATE").unwrap();
        EncodingKey::from_rsa_pem(key.as_bytes()).unwrap()
    }

    /// As MSAL for Python makes them: from a thumbprint, or from a certificate.
    fn headers(certificate: &ClientCertificate) -> [Header; 2] {
        let mut by_thumbprint = Header::new(Algorithm::RS256);
        by_thumbprint.x5t = Some(certificate.thumbprint(&SHA1_FOR_LEGACY_USE_ONLY) + "=");
        let mut by_certificate = Header::new(Algorithm::PS256);
        by_certificate.x5t_s256 = Some(certificate.thumbprint(&SHA256));
        [by_thumbprint, by_certificate]
    }

    #[test]
    fn an_assertion_proves_an_application_only_if_everything_about_it_holds() {
        let credentials = credentials();
        let key = signing_key(&credentials.certificate);
        for (changes, expected) in [
            (json!({}), 0),
            (json!({"exp": 1_800_000_599.75, "nbf": NOW}), 0),
            (json!({"aud": [ENDPOINT]}), 0),
            (json!({"exp": NOW}), 700_024),
            (json!({"nbf": NOW + 1}), 700_024),
            (json!({"aud": ENDPOINT.replace("https", "http")}), 700_023),
            (json!({"aud": "https://login.microsoftonline.com/tenant/v2.0"}), 700_023),
            (json!({"aud": [ENDPOINT, "another"]}), 700_023),
            (json!({"iss": "another"}), 700_021),
            (json!({"sub": "another"}), 700_021),
            (json!({"jti": null}), 50_027),
            (json!({"exp": null}), 50_027),
            (json!({"exp": "never"}), 50_027),
        ] {
            for header in headers(&credentials.certificate) {
                let assertion = encode(&header, &changed(own_claims(), &changes), &key).unwrap();
                assert_eq!(judged(&credentials, &assertion), expected, "{changes}");
            }
        }
    }

    #[test]
    fn an_assertion_of_another_key_proves_nothing() {
        let (credentials, other) = (credentials(), ClientCertificate::generate().unwrap());
        let other_key = signing_key(&other);
        let encode =
            |header: &_, key: &_| jsonwebtoken::encode(header, &own_claims(), key).unwrap();
        for header in headers(&credentials.certificate) {
            assert_eq!(judged(&credentials, &encode(&header, &other_key)), 700_027);
        }
        for header in headers(&other) {
            assert_eq!(judged(&credentials, &encode(&header, &other_key)), 700_027);
        }
        // The public key, taken for a shared secret.
        let [mut header, _] = headers(&credentials.certificate);
        header.alg = Algorithm::HS256;
        let secret = EncodingKey::from_secret(credentials.certificate.pem().as_bytes());
        assert_eq!(judged(&credentials, &encode(&header, &secret)), 700_027);
        for garbage in ["", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
            assert_eq!(judged(&credentials, garbage), 50_027, "{garbage}");
        }
    }

    #[test]
    fn a_token_of_the_trusted_issuer_outside_proves_an_application_and_no_other_does() {
        let credentials = credentials();
        let claims = json!({"iss": FEDERATED_ISSUER, "sub": FEDERATED_SUBJECT,
            "aud": [FEDERATED_AUDIENCE], "exp": NOW + 1});
        let signed = |federation: &Federation, changes: &Value| {
            let claims = changed(claims.clone(), changes);
            federation.key.sign(Version::V2, &object(claims)).unwrap()
        };
        for (changes, expected) in [
            (json!({}), 0),
            (json!({"aud": FEDERATED_AUDIENCE}), 0),
            (json!({"iss": "https://kubernetes.contoso.example/"}), 700_211),
            (json!({"sub": "system:serviceaccount:default:pipeline"}), 700_213),
            (json!({"aud": "https://kubernetes.default.svc"}), 700_212),
            (json!({"aud": [FEDERATED_AUDIENCE, "another"]}), 700_212),
            (json!({"exp": NOW}), 700_024),
            (json!({"sub": null}), 50_027),
        ] {
            let token = signed(&credentials.federation, &changes);
            assert_eq!(judged(&credentials, &token), expected, "{changes}");
        }
        let another = signed(&Federation::generate().unwrap(), &json!({}));
        assert_eq!(judged(&credentials, &another), 700_027);
        let handed_out = credentials.federation.token(NOW).unwrap();
        assert_eq!(judged(&credentials, &handed_out), 0);
    }

    #[test]
    fn without_a_credential_or_with_one_of_another_kind_nothing_is_proved() {
        let credentials = credentials();
        let judge = |form: &str| {
            let form = Form::parse(form.as_bytes());
            credentials.judge(&form, CLIENT, ENDPOINT, NOW)
        };
        let secret = format!("client_secret={}", credentials.secret.expose());
        assert_eq!(judge(&secret).unwrap(), Proof::Secret);
        for (form, expected) in [
            ("", 7_000_218),
            ("client_secret=guess", 7_000_215),
            ("client_assertion=e30.e30.e30", 900_144),
            ("client_assertion=e30.e30.e30&client_assertion_type=saml", 9_002_313),
        ] {
            assert_eq!(judge(form).unwrap_err().code(), expected, "{form}");
        }
        // The assertion counts, whatever secret comes with it.
        assert!(judge(&format!("{secret}&client_assertion=a.b.c")).is_err());
    }
}
