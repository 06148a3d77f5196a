//! The PROXY protocol, versions 1 and 2: a load balancer that passes bytes on says first for whom.
//! What it says is read here; whom to believe is for [`super::connection`] to say.

use std::io;
use std::net::IpAddr;

use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// For whom a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This client.
    Client(IpAddr),
    /// The load balancer itself, as for its health checks, or somebody it cannot name.
    Unnamed,
}

/// Reads the header, and not a byte more: what follows may be TLS.
pub async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Origin> {
    let mut header = vec![io.read_u8().await?];
    if header == b"P" {
        read_line(io, &mut header).await?;
    } else {
        read_binary(io, &mut header).await?;
    }
    parse(&header).ok_or_else(malformed)
}

/// Version 1: a line of text.
async fn read_line(io: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>) -> io::Result<()> {
    while !header.ends_with(b"\n") {
        let begins = header.iter().zip(V1).all(|(one, other)| one == other);
        if header.len() >= LONGEST_LINE || !begins {
            return Err(malformed());
        }
        header.push(io.read_u8().await?);
    }
    Ok(())
}

/// Version 2: sixteen bytes, of which the last two say how many follow.
async fn read_binary(io: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>) -> io::Result<()> {
    read_up_to(io, header, FIXED).await?;
    let [.., high, low] = header[..] else { return Err(malformed()) };
    let more = usize::from(u16::from_be_bytes([high, low]));
    if !header.starts_with(SIGNATURE) || more > MOST_MORE {
        return Err(malformed());
    }
    read_up_to(io, header, FIXED + more).await
}

async fn read_up_to(
    io: &mut (impl AsyncRead + Unpin),
    header: &mut Vec<u8>,
    length: usize,
) -> io::Result<()> {
    let read = header.len();
    header.resize(length, 0);
    io.read_exact(header.get_mut(read..).unwrap_or_default()).await.map(drop)
}

fn parse(header: &[u8]) -> Option<Origin> {
    let config = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };
    let (parsed, length) = ProxyHeader::parse(header, config).ok()?;
    if length != header.len() {
        return None;
    }
    match parsed.proxied_address() {
        None => Some(Origin::Unnamed),
        Some(address) if address.protocol == Protocol::Stream => {
            Some(Origin::Client(address.source.ip()))
        }
        // Nobody speaks HTTP over datagrams to a TCP port.
        Some(_) => None,
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no header of the PROXY protocol")
}

const V1: &[u8] = b"PROXY ";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED: usize = 16;
/// The specification's longest line, its end included.
const LONGEST_LINE: usize = 107;
/// Two addresses and what load balancers add, certificates excluded.
const MOST_MORE: usize = 2048;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    #[tokio::test]
    async fn both_versions_say_for_whom_and_leave_the_rest_alone() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0xC0, 0, 0, 80];
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        v6[15] = 7;
        let client = |text: &str| Some(Origin::Client(text.parse().unwrap()));
        for (header, expected) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 49152 80\r\n".to_vec(), client("192.0.2.7")),
            (b"PROXY TCP6 2001:db8::7 ::1 49152 80\r\n".to_vec(), client("2001:db8::7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Some(Origin::Unnamed)),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), Some(Origin::Unnamed)),
            (binary(0x21, 0x11, &v4), client("192.0.2.7")),
            (binary(0x21, 0x11, &[&v4[..], &[4, 0, 1, 0]].concat()), client("192.0.2.7")),
            (binary(0x21, 0x21, &v6), client("2001:db8::7")),
            (binary(0x20, 0x11, &v4), Some(Origin::Unnamed)),
            (binary(0x20, 0, &[]), Some(Origin::Unnamed)),
            (binary(0x21, 0x31, &[0; 216]), Some(Origin::Unnamed)),
            // Not headers.
            (binary(0x21, 0x12, &v4), None),
            (binary(0x21, 0x11, &v4[..8]), None),
            (binary(0x22, 0x11, &v4), None),
            (binary(0x11, 0x11, &v4), None),
            (binary(0x21, 0x11, &[0; 3000]), None),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 49152\r\n".to_vec(), None),
            (b"PROXY TCP4 192.0.2.256 10.0.0.1 49152 80\r\n".to_vec(), None),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 49152 80\n".to_vec(), None),
            (b"PROXY TCP5 192.0.2.7 10.0.0.1 49152 80\r\n".to_vec(), None),
            (b"PROXYTCP4 192.0.2.7 10.0.0.1 49152 80\r\n".to_vec(), None),
            (format!("PROXY UNKNOWN {}\r\n", "x".repeat(107)).into_bytes(), None),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), None),
            (b"POST / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), None),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaa".to_vec(), None),
            (b"\r\n\r\nGET / HTTP/1.1\r\n\r\n".to_vec(), None),
            (b"PROXY".to_vec(), None),
        ] {
            let bytes = [&header[..], b"\x16the rest"].concat();
            let mut io = &bytes[..];
            let found = read(&mut io).await.ok();
            assert_eq!(found, expected, "{}", header.escape_ascii());
            if found.is_some() {
                assert_eq!(io, b"\x16the rest");
            }
        }
    }

    proptest! {
        /// Whatever comes, it is a header or it is not, and what follows one is left alone.
        #[test]
        fn no_bytes_are_more_than_a_header(
            start in prop::sample::select(vec![
                b"".to_vec(),
                b"PROXY ".to_vec(),
                b"PROXY TCP4 ".to_vec(),
                SIGNATURE.to_vec(),
                [SIGNATURE, &[0x21, 0x11, 0, 12]].concat(),
                [SIGNATURE, &[0x21, 0x21, 0, 40]].concat(),
                [SIGNATURE, &[0x20, 0, 0, 3]].concat(),
            ]),
            rest in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let bytes = [start, rest].concat();
            let mut io = &bytes[..];
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            if runtime.block_on(read(&mut io)).is_ok() {
                let header = &bytes[..bytes.len() - io.len()];
                prop_assert!(header.ends_with(b"\r\n") || header.starts_with(SIGNATURE));
            }
        }
    }
}
