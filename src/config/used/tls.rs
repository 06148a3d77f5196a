//! How connections begin: plain or over TLS, with or without a header of a load balancer.

use std::path::PathBuf;

use super::Builder;
use crate::downstream::connection::Welcome;
use crate::downstream::tls::{Files, Part, Tls};

impl Builder<'_, '_, '_> {
    pub(super) fn welcome(&mut self) -> Option<Welcome> {
        let written = self.written;
        let proxy_protocol = written.proxy_protocol;
        let Some(tls) = &written.tls else {
            return Some(Welcome { proxy_protocol, tls: None });
        };
        let files = Files {
            certificate: PathBuf::from(&tls.cert_file),
            key: PathBuf::from(&tls.key_file),
            client_authority: tls.client_ca_file.as_ref().map(PathBuf::from),
        };
        match Tls::load(&files) {
            Ok(tls) => Some(Welcome { proxy_protocol, tls: Some(tls) }),
            Err(faults) => {
                for fault in faults {
                    self.findings.add(key(fault.part), fault.found, fault.expected, None);
                }
                None
            }
        }
    }
}

const fn key(part: Part) -> &'static str {
    match part {
        Part::Certificate => "tls.cert_file",
        Part::Key => "tls.key_file",
        Part::ClientAuthority => "tls.client_ca_file",
    }
}
