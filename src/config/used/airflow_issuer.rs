//! Issuers of type `airflow`: tokens that Airflow issued itself.

use std::sync::Arc;

use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

use super::super::written::{self, TASK_AUDIENCE};
use super::issuers::Part;
use super::{Builder, KeySource};
use crate::identity::{Mapping, Origin};
use crate::jwks::{Algorithm, Key, KeySet, KeyStore};
use crate::token::{self, Rules, airflow};

impl Builder<'_, '_, '_> {
    pub(super) fn airflow(&mut self, key: &str, written: &written::Airflow) -> Option<Part> {
        let name: Arc<str> = written.name.as_str().into();
        self.not_empty(&format!("{key}.audiences"), written.audiences.len(), "jwt_audience");
        self.all_named(&format!("{key}.audiences"), &written.audiences, "jwt_audience");
        if written.audiences.iter().any(|audience| audience == TASK_AUDIENCE) {
            let hint = "tokens of tasks have no business on the REST API";
            let found = format!("{TASK_AUDIENCE:?}");
            self.findings.add(&format!("{key}.audiences"), found, "jwt_audience", Some(hint));
        }
        let (place, audiences) = (format!("{key}.task_audiences"), &written.task_audiences);
        self.not_empty(&place, audiences.len(), "[execution_api] jwt_audience");
        if let Some(both) = audiences.iter().find(|task| written.audiences.contains(task)) {
            let expected = "audiences of tasks alone";
            self.findings.add(&place, format!("{both:?}, as in audiences"), expected, None);
        }
        let (source, algorithms) = self.airflow_keys(key, written, &name)?;
        let keys = Arc::clone(&source.store);
        let rules = Rules::Airflow(airflow::Rules {
            issuer: written.issuer.clone(),
            keys,
            task_audiences: written.task_audiences.clone(),
        });
        let mapping = Mapping {
            issuer: Arc::clone(&name),
            username_claim: "sub".into(),
            username_prefix: String::new(),
            origin: Origin::Airflow,
        };
        let audiences = written.audiences.clone();
        Some((token::Issuer { name, audiences, algorithms, rules }, mapping, vec![source]))
    }

    /// The one place of Airflow's keys, and what such keys sign with.
    fn airflow_keys(
        &mut self,
        key: &str,
        written: &written::Airflow,
        name: &Arc<str>,
    ) -> Option<(KeySource, Vec<Algorithm>)> {
        let ca_file = written.ca_file.as_deref();
        let given = |keys| KeySource::given(Arc::new(KeyStore::fixed(Arc::clone(name), keys)));
        let places =
            (&written.secret_file, &written.public_key_file, &written.keys_url, &written.keys_file);
        match places {
            (Some(file), None, None, None) => {
                let secret = self.secret(&format!("{key}.secret_file"), file)?;
                let source = given(KeySet::single(Key::hs512(&secret)));
                let source = KeySource { secret_file: Some(file.into()), ..source };
                Some((source, vec![Algorithm::Hs512]))
            }
            (None, Some(file), None, None) => {
                let public = public_key(file, written.kid.as_deref());
                let place = format!("{key}.public_key_file");
                let public = self.findings.take(&place, public, "a public key, PEM")?;
                Some((given(KeySet::single(public)), Algorithm::PUBLIC.to_vec()))
            }
            (None, None, Some(url), None) => {
                let source = self.key_source(key, "keys_url", &url.0, ca_file)?;
                Some((self.fetched(name, source), Algorithm::PUBLIC.to_vec()))
            }
            (None, None, None, Some(file)) => {
                let source = self.keys_in_file(&format!("{key}.keys_file"), file, name)?;
                Some((source, Algorithm::PUBLIC.to_vec()))
            }
            // One that does not fit counts as none.
            _ if self.misfit(key, &PLACES) => None,
            _ => {
                let expected = "exactly one of secret_file, public_key_file, keys_url, keys_file";
                let hint = "what Airflow signs with: [api_auth] jwt_secret or jwt_private_key_path";
                let place = format!("{key}.secret_file");
                self.findings.add(&place, "none of them or several", expected, Some(hint));
                None
            }
        }
    }
}

const PLACES: [&str; 4] = ["secret_file", "public_key_file", "keys_url", "keys_file"];

fn public_key(file: &str, kid: Option<&str>) -> Result<Key, String> {
    let about = |error: &dyn std::fmt::Display| format!("{file}: {error}");
    let pem = std::fs::read(file).map_err(|error| about(&error))?;
    let der = SubjectPublicKeyInfoDer::from_pem_slice(&pem).map_err(|error| about(&error))?;
    Key::public(&der, kid)
        .ok_or_else(|| about(&"neither RSA of 2048 bits or more, nor P-256, nor Ed25519"))
}
