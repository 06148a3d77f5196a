//! Where Airflow is, and how to get there.

use std::path::Path;
use std::sync::Arc;

use super::super::lint::UNIX;
use super::super::written::{self, UpstreamAddress, WebAddress};
use super::{Builder, Said};
use crate::jwks::fetch::Url;
use crate::pem::{certificates, private_key};
use crate::upstream::Settings;
use crate::upstream::address::Address;
use crate::upstream::tls::{Identity, Roots, Tls};

/// One address, with what has to be the same for all.
struct Part {
    address: Address,
    prefix: String,
    secure: bool,
}

impl Builder<'_, '_, '_> {
    pub(super) fn upstream(&mut self) -> Option<Settings> {
        let written = self.written.upstream.as_ref()?;
        let (urls, mut whole) = self.urls(written);
        let tls = self.upstream_tls(written, &urls);
        whole &= tls.is_ok();
        let tls = tls.ok().flatten();
        let mut parts = Vec::new();
        for (key, url) in urls {
            match self.part(&key, url, tls.as_ref()) {
                Some(part) => parts.push((key, part)),
                None => whole = false,
            }
        }
        let prefix = self.prefix(&parts)?;
        whole.then(|| Settings {
            addresses: parts.into_iter().map(|(_, part)| Arc::new(part.address)).collect(),
            prefix,
            connect_timeout: written.connect_timeout.0,
            response_header_timeout: written.response_header_timeout.0,
            idle_timeout: written.idle_timeout.0,
            body_bytes: self.written.limits.body_bytes,
        })
    }

    /// The addresses as they are written, with their keys, and whether that is as it should be: `url`
    /// or `urls`.
    fn urls<'w>(
        &mut self,
        written: &'w written::Upstream,
    ) -> (Vec<(String, &'w UpstreamAddress)>, bool) {
        let wrong = match (&written.url, &written.urls) {
            (Some(_), None) => None,
            (None, Some(urls)) if !urls.is_empty() => None,
            (None, Some(_)) => {
                let hint = "or upstream.url for one address";
                Some(("upstream.urls", "an empty list", "at least one address", hint))
            }
            (Some(_), Some(_)) => {
                let hint = "with several addresses, put all of them there";
                Some(("upstream", "both", "url or urls", hint))
            }
            (None, None) => {
                let hint = "--upstream URL, AIRSIDE_UPSTREAM, or `upstream: {url: …}`";
                Some(("upstream.url", "nothing", "where Airflow listens: http://HOST:PORT", hint))
            }
        };
        if let Some((key, found, expected, hint)) = wrong {
            self.findings.add(key, found, expected, Some(hint));
        }
        let one = written.url.iter().map(|url| ("upstream.url".to_owned(), url));
        let many = written.urls.iter().flatten().enumerate();
        let many = many.map(|(index, url)| (format!("upstream.urls[{index}]"), url));
        (one.chain(many).collect(), wrong.is_none())
    }

    fn part(&mut self, key: &str, written: &UpstreamAddress, tls: Option<&Tls>) -> Option<Part> {
        if let Some(path) = written.0.strip_prefix(UNIX) {
            return self.socket_path(key, path);
        }
        let url = self.url(key, &WebAddress(written.0.clone()))?;
        if url.query().is_some() || url.fragment().is_some() {
            let expected = "an address without a query or a fragment";
            self.findings.add(key, "a query or a fragment", expected, None);
            return None;
        }
        let (host, port) = (url.host_str()?.to_owned(), url.port_or_known_default()?);
        let address = if is_secure(&url) {
            // Without it something is wrong with its files, and that has been said.
            let address = Address::tls(host, port, tls?.clone());
            self.findings.take(key, address, "a host that a certificate can name")?
        } else {
            Address::tcp(host, port)
        };
        let prefix = url.path().trim_end_matches('/').to_owned();
        Some(Part { address, prefix, secure: is_secure(&url) })
    }

    /// The whole of it is the socket: there is no telling where a path of a request would begin.
    fn socket_path(&mut self, key: &str, path: &str) -> Option<Part> {
        let expected = "unix: and the absolute path of a socket, at most 107 bytes";
        if !path.starts_with('/') {
            self.findings.add(key, format!("{path:?}"), expected, None);
            return None;
        }
        let address = self.findings.take(key, Address::unix(Path::new(path)), expected)?;
        Some(Part { address, prefix: String::new(), secure: false })
    }

    /// How TLS is spoken, where an address asks for it.
    fn upstream_tls(
        &mut self,
        written: &written::Upstream,
        urls: &[(String, &UpstreamAddress)],
    ) -> Result<Option<Tls>, Said> {
        let files = [
            ("upstream.ca_file", &written.ca_file),
            ("upstream.client_cert_file", &written.client_cert_file),
            ("upstream.client_key_file", &written.client_key_file),
        ];
        if !urls.iter().any(|(_, url)| url.0.starts_with("https:")) {
            for (key, file) in files {
                if let Some(file) = file {
                    let hint = "only an address with https:// speaks TLS";
                    self.findings.add(key, file, "nothing", Some(hint));
                }
            }
            return Ok(None);
        }
        let roots = match &written.ca_file {
            None => Some(Roots::public()),
            Some(file) => {
                let expected = "a file with PEM certificates";
                self.findings.take("upstream.ca_file", Roots::of(Path::new(file)), expected)
            }
        };
        let identity = self.client_identity(written)?;
        let tls = Tls::new(roots.ok_or(Said)?, identity);
        let expected = "the key of upstream.client_cert_file";
        self.findings.take("upstream.client_key_file", tls, expected).map(Some).ok_or(Said)
    }

    fn client_identity(&mut self, written: &written::Upstream) -> Result<Option<Identity>, Said> {
        let (certificate, key) = match (&written.client_cert_file, &written.client_key_file) {
            (None, None) => return Ok(None),
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => {
                let expected = "the file with the key of upstream.client_cert_file";
                self.findings.add("upstream.client_key_file", "nothing", expected, None);
                return Err(Said);
            }
            (None, Some(_)) => {
                let expected = "the file with the certificate of upstream.client_key_file";
                self.findings.add("upstream.client_cert_file", "nothing", expected, None);
                return Err(Said);
            }
        };
        let expected = "a file with PEM certificates";
        let chain = certificates(Path::new(certificate));
        let chain = self.findings.take("upstream.client_cert_file", chain, expected);
        let key = private_key(Path::new(key));
        let key = self.findings.take("upstream.client_key_file", key, "a file with a PEM key");
        Ok(Some((chain.ok_or(Said)?, key.ok_or(Said)?)))
    }

    /// The path that all of them have: an assertion is bound to the path that Airflow sees, before
    /// it is known which of them gets it. Each is there once, and all are as safe as the first.
    fn prefix(&mut self, parts: &[(String, Part)]) -> Option<String> {
        let (_, first) = parts.first()?;
        let mut whole = true;
        for (index, (key, part)) in parts.iter().enumerate() {
            let name = part.address.name();
            let earlier = parts.iter().take(index);
            let problem = if part.prefix != first.prefix {
                let expected = format!("the path of the first, {:?}", first.prefix);
                Some((format!("the path {:?}", part.prefix), expected))
            } else if part.secure != first.secure {
                Some((name.to_owned(), "https for all of them, or for none".into()))
            } else if earlier.into_iter().any(|(_, other)| other.address.name() == name) {
                Some((format!("{name} again"), "each address once".into()))
            } else {
                None
            };
            if let Some((found, expected)) = problem {
                self.findings.add(key, found, expected, None);
                whole = false;
            }
        }
        whole.then(|| first.prefix.clone())
    }
}

fn is_secure(url: &Url) -> bool {
    url.scheme() == "https"
}
