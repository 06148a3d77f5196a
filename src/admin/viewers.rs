//! Who may see the status page. It names callers' addresses and paths, so by default it is for who
//! is on this machine: a person in the pod, or `kubectl port-forward`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Request;
use http::header::HOST;

use crate::loopback::is_loopback_authority;

/// Who may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Viewers {
    /// Peers on this machine.
    Local,
    /// Everybody who reaches the admin listener.
    Open,
}

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barred {
    /// The peer is on another machine.
    Remote,
    /// The peer is here, but the name that it asked for may be anybody's.
    Rebound,
}

impl Viewers {
    /// Whether who is at `peer` may see what `request` asks for.
    ///
    /// The browser of somebody on this machine has pages of strangers open, whose names may be made
    /// to resolve to loopback (DNS rebinding): such a page reads what a name of its own answers. A
    /// name that means this machine is nobody else's. And the peer may be a proxy here, of a mesh's
    /// sidecar for example, that passes on what others ask.
    pub fn admit<B>(self, peer: IpAddr, request: &Request<B>) -> Result<(), Barred> {
        match self {
            Self::Local if !is_here(peer) || was_passed_on(request) => Err(Barred::Remote),
            Self::Local if !asks_for_this_machine(request) => Err(Barred::Rebound),
            Self::Open | Self::Local => Ok(()),
        }
    }
}

/// Not the rest of 127.0.0.0/8: from there a mesh's sidecar connects (Istio's from 127.0.0.6) with what
/// others ask, and not every protocol lets it say so.
fn is_here(peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    peer == Ipv4Addr::LOCALHOST || peer == Ipv6Addr::LOCALHOST
}

fn asks_for_this_machine<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    let target = request.uri().authority().map(http::uri::Authority::as_str);
    host.is_some_and(is_loopback_authority)
        && hosts.next().is_none()
        && target.is_none_or(is_loopback_authority)
}

/// What proxies add to say so; `kubectl port-forward` adds nothing.
fn was_passed_on<B>(request: &Request<B>) -> bool {
    let says_so = |name: &str| {
        matches!(name, "forwarded" | "via" | "x-real-ip") || name.starts_with("x-forwarded-")
    };
    request.headers().keys().any(|name| says_so(name.as_str()))
}

impl Barred {
    /// What is wrong and what to do.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Remote => {
                "The status page is for peers on this machine: use kubectl port-forward and open it \
                 at localhost, or set admin.status: open."
            }
            Self::Rebound => {
                "The status page is served under names of this machine alone: ask for localhost or \
                 127.0.0.1, or set admin.status: open."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn asking(hosts: &[&str], target: &str) -> Request<()> {
        let mut request = Request::get(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn local_viewers_are_peers_on_this_machine() {
        let request = asking(&["localhost:9090"], "/status");
        for (peer, expected) in [
            ("127.0.0.1", Ok(())),
            ("127.0.0.6", Err(Barred::Remote)),
            ("127.9.8.7", Err(Barred::Remote)),
            ("::ffff:127.0.0.6", Err(Barred::Remote)),
            ("::1", Ok(())),
            ("::ffff:127.0.0.1", Ok(())),
            ("10.0.0.1", Err(Barred::Remote)),
            ("::ffff:10.0.0.1", Err(Barred::Remote)),
            ("0.0.0.0", Err(Barred::Remote)),
            ("::", Err(Barred::Remote)),
            ("fe80::1", Err(Barred::Remote)),
        ] {
            let peer: IpAddr = peer.parse().unwrap();
            assert_eq!(Viewers::Local.admit(peer, &request), expected, "{peer}");
            assert_eq!(Viewers::Open.admit(peer, &request), Ok(()), "{peer}");
        }
    }

    #[test]
    fn what_a_proxy_passes_on_comes_from_elsewhere() {
        for header in
            ["X-Forwarded-For", "x-forwarded-client-cert", "Forwarded", "Via", "X-Real-IP"]
        {
            let mut request = asking(&["localhost"], "/");
            request
                .headers_mut()
                .insert(header.parse::<HeaderName>().unwrap(), "x".parse().unwrap());
            let peer = IpAddr::from([127, 0, 0, 1]);
            assert_eq!(Viewers::Local.admit(peer, &request), Err(Barred::Remote), "{header}");
            assert_eq!(Viewers::Open.admit(peer, &request), Ok(()), "{header}");
        }
    }

    #[test]
    fn local_viewers_ask_for_this_machine_by_name() {
        let peer = IpAddr::from([127, 0, 0, 1]);
        for (hosts, target, may) in [
            (&["localhost:9090"][..], "/", true),
            (&["127.0.0.1"], "/", true),
            (&["[::1]:9090"], "/", true),
            (&["localhost"], "http://localhost/", true),
            (&["evil.example:9090"], "/", false),
            (&["localhost.evil.example"], "/", false),
            (&["airside.airflow.svc"], "/", false),
            (&["10.0.0.1:9090"], "/", false),
            (&[], "/", false),
            (&[""], "/", false),
            (&["localhost", "evil.example"], "/", false),
            (&["localhost"], "http://evil.example/", false),
        ] {
            let request = asking(hosts, target);
            let admitted = Viewers::Local.admit(peer, &request);
            assert_eq!(admitted, if may { Ok(()) } else { Err(Barred::Rebound) }, "{hosts:?}");
            assert_eq!(Viewers::Open.admit(peer, &request), Ok(()), "{hosts:?}");
        }
    }
}
