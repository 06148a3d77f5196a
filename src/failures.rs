//! How many credentials that fail a client may show in a minute before it is told to slow down.
//!
//! Each credential is judged first, so one that verifies always passes, whoever shares its address
//! with somebody who guesses. What changes beyond the limit is the answer to those that fail: it
//! does not say any more what is wrong with them.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::StatusCode;
use moka::sync::Cache;

use crate::rejection::{Reason, Rejection};

/// Counts failing credentials by the address of their client.
#[derive(Debug)]
pub struct Failures {
    limit: Option<NonZeroU32>,
    windows: Cache<IpAddr, Arc<Window>, foldhash::fast::RandomState>,
}

/// What one client has shown since its first failure of this minute.
#[derive(Debug)]
struct Window {
    since: Instant,
    failures: AtomicU32,
}

impl Failures {
    /// Up to `limit` in a minute are told what is wrong; without one all are.
    #[must_use]
    pub fn new(limit: Option<NonZeroU32>) -> Self {
        let windows = Cache::builder()
            .max_capacity(MOST_CLIENTS)
            .time_to_live(MINUTE)
            .build_with_hasher(foldhash::fast::RandomState::default());
        Self { limit, windows }
    }

    /// Counts the rejection if it is of a credential. Beyond the limit gives another in its place.
    #[must_use]
    pub fn too_many(&self, client: IpAddr, rejection: &Rejection) -> Option<Rejection> {
        let limit = self.limit?;
        if !is_of_a_credential(rejection.reason()) {
            return None;
        }
        let window = self.window(network(client));
        let failures = window.failures.fetch_add(1, Relaxed);
        if failures < limit.get() {
            return None;
        }
        let left = MINUTE.saturating_sub(window.since.elapsed());
        let why = rejection.reason().name();
        let found = match rejection.found() {
            Some(found) => format!("{why}: {found}"),
            None => why.to_owned(),
        };
        Some(Rejection::too_many_failures(left, found))
    }

    fn window(&self, client: IpAddr) -> Arc<Window> {
        let begin = || Arc::new(Window { since: Instant::now(), failures: AtomicU32::new(0) });
        self.windows.get_with(client, begin)
    }
}

/// A credential came, and it is none of ours; that none came is no guess.
fn is_of_a_credential(reason: Reason) -> bool {
    reason.status() == StatusCode::UNAUTHORIZED && reason != Reason::CredentialMissing
}

/// Whom an address is of: with IPv6 a host has as many as it likes in its /64.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => {
            let prefix = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from_bits(prefix))
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);
/// Bounds memory to some megabytes: who is forgotten begins anew.
const MOST_CLIENTS: u64 = 50_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(failures: &Failures, client: &str, reason: Reason) -> Option<Reason> {
        let rejection = Rejection::from(reason);
        failures.too_many(client.parse().unwrap(), &rejection).map(|many| many.reason())
    }

    #[test]
    fn each_client_has_a_limit_of_its_own() {
        let failures = Failures::new(NonZeroU32::new(3));
        let many = Some(Reason::TooManyFailures);
        for (client, expected) in [
            ("192.0.2.1", [None, None, None, many, many]),
            ("192.0.2.2", [None, None, None, many, many]),
            ("2001:db8::1", [None, None, None, many, many]),
            ("2001:db8::ffff:1", [many; 5]),
            ("2001:db8:0:1::1", [None, None, None, many, many]),
        ] {
            let found = [(); 5].map(|()| shown(&failures, client, Reason::SignatureInvalid));
            assert_eq!(found, expected, "{client}");
        }
    }

    #[test]
    fn only_credentials_that_fail_count() {
        let failures = Failures::new(NonZeroU32::new(1));
        for reason in Reason::ALL {
            let counts = [(); 2].map(|()| shown(&failures, &reason_address(reason), reason));
            let of_a_credential = counts[1].is_some();
            let expected =
                reason.status() == StatusCode::UNAUTHORIZED && reason != Reason::CredentialMissing;
            assert_eq!((counts[0], of_a_credential), (None, expected), "{reason:?}");
        }
        let unlimited = Failures::new(None);
        for _ in 0..100 {
            assert_eq!(shown(&unlimited, "192.0.2.1", Reason::TokenExpired), None);
        }
    }

    fn reason_address(reason: Reason) -> String {
        format!("192.0.2.{}", reason as u8)
    }

    #[test]
    fn memory_is_bounded_whoever_comes() {
        let failures = Failures::new(NonZeroU32::new(1));
        for number in 0..200_000 {
            let client = IpAddr::V4(number.into());
            let _ = failures.too_many(client, &Rejection::from(Reason::TokenExpired));
        }
        failures.windows.run_pending_tasks();
        assert!(failures.windows.entry_count() <= MOST_CLIENTS);
    }
}
