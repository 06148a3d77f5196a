//! Which names mean this machine: `dev` serves, and sends its secrets to, nothing else; the status
//! page is for nobody else unless configured.

use std::net::IpAddr;

use http::uri::Authority;

/// Whether `host` (a name or an address, IPv6 in brackets, without port) is this machine:
/// `localhost`, a name below it (RFC 6761, 6.3), `127.0.0.0/8` or `[::1]`.
///
/// Other spellings of such addresses (`127.1`, `0x7f000001`, `localhost.`) are not recognised.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    let name = host.to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") {
        return true;
    }
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&name);
    address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The same for `host[:port]`, as a Host header or a URL has it; user information is refused.
#[must_use]
pub fn is_loopback_authority(authority: &str) -> bool {
    !authority.contains('@')
        && authority.parse::<Authority>().is_ok_and(|parsed| is_loopback_host(parsed.host()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_count() {
        for good in
            ["localhost", "LOCALHOST:80", "a.localhost:1", "127.0.0.1", "127.9.8.7:8082", "[::1]:9"]
        {
            assert!(is_loopback_authority(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "localhost@evil.example",
            "evil.example@localhost",
            "0.0.0.0",
            "10.0.0.1:8082",
            "[::]:8082",
            "localhost:80:80",
        ] {
            assert!(!is_loopback_authority(bad), "{bad}");
        }
    }
}
