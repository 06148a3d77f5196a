//! Where Airflow is.

use std::sync::Arc;

use super::super::written;
use super::Builder;
use crate::jwks::fetch::Url;
use crate::upstream::Settings;
use crate::upstream::address::Address;

impl Builder<'_, '_, '_> {
    pub(super) fn upstream(&mut self) -> Option<Settings> {
        let written = self.written.upstream.as_ref()?;
        let mut parts = Vec::new();
        let mut whole = true;
        for (key, url) in self.urls(written)? {
            match self.address(&key, url) {
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

    /// The addresses as they are written, with their keys: `url` or `urls`.
    fn urls<'w>(
        &mut self,
        written: &'w written::Upstream,
    ) -> Option<Vec<(String, &'w written::WebAddress)>> {
        match (&written.url, &written.urls) {
            (Some(url), None) => Some(vec![("upstream.url".into(), url)]),
            (None, Some(urls)) if !urls.is_empty() => {
                let key = |index| format!("upstream.urls[{index}]");
                Some(urls.iter().enumerate().map(|(index, url)| (key(index), url)).collect())
            }
            (None, Some(_)) => {
                self.findings.add("upstream.urls", "an empty list", "at least one address", None);
                None
            }
            (Some(_), Some(_)) => {
                let hint = "with several addresses, put all of them there";
                self.findings.add("upstream.url", "both", "url or urls", Some(hint));
                None
            }
            (None, None) => {
                let hint = "--upstream URL, AIRSIDE_UPSTREAM, or `upstream: {url: …}`";
                let expected = "where Airflow listens: http://HOST:PORT";
                self.findings.add("upstream.url", "nothing", expected, Some(hint));
                None
            }
        }
    }

    fn address(&mut self, key: &str, written: &written::WebAddress) -> Option<Part> {
        let url = self.url(key, written)?;
        if url.scheme() != "http" {
            let hint = "TLS to Airflow belongs to a later version of airside";
            self.findings.add(key, url.as_str(), "an http address", Some(hint));
            return None;
        }
        self.nothing_but_a_path(key, &url)?;
        Some(Part {
            address: Address::tcp(url.host_str()?.to_owned(), url.port_or_known_default()?),
            prefix: url.path().trim_end_matches('/').to_owned(),
        })
    }

    fn nothing_but_a_path(&mut self, key: &str, url: &Url) -> Option<()> {
        if url.query().is_none() && url.fragment().is_none() {
            return Some(());
        }
        let expected = "an address without a query or a fragment";
        self.findings.add(key, url.as_str(), expected, None);
        None
    }

    /// The path that all of them have: an assertion is bound to the path that Airflow sees, before
    /// it is known which of them gets it. Each is there once.
    fn prefix(&mut self, parts: &[(String, Part)]) -> Option<String> {
        let (_, first) = parts.first()?;
        let mut whole = true;
        for (index, (key, part)) in parts.iter().enumerate() {
            if part.prefix != first.prefix {
                let expected = format!("the path of the first, {:?}", first.prefix);
                self.findings.add(key, format!("the path {:?}", part.prefix), expected, None);
                whole = false;
            }
            let name = part.address.name();
            if parts.iter().take(index).any(|(_, other)| other.address.name() == name) {
                self.findings.add(key, format!("{name} again"), "each address once", None);
                whole = false;
            }
        }
        whole.then(|| first.prefix.clone())
    }
}

struct Part {
    address: Address,
    prefix: String,
}
