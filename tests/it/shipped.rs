//! What is published with airside: no key of its own that could sign, and so none that everybody
//! has. CVE-2026-31837 was a fallback key that stood in the source.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::keys::{CurveKey, encode, pem};
use crate::support::tls::Authority;

#[test]
fn no_private_key_stands_in_the_program() {
    let program = fs::read(env!("CARGO_BIN_EXE_airside")).unwrap();
    assert!(program.len() > 1024 * 1024);
    assert_eq!(private_key(&program), None);
}

#[test]
fn no_private_key_stands_in_the_repository() {
    let files = files(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(files.iter().any(|file| file.ends_with("tests/it/shipped.rs")), "{files:?}");
    for file in files {
        assert_eq!(private_key(&fs::read(&file).unwrap()), None, "{}", file.display());
    }
}

#[test]
fn a_private_key_would_be_found() {
    let shown = Authority::new().itself();
    let pkcs8 = shown.key();
    let label = ["PRIVATE", "KEY"].join(" ");
    let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","d": "{}"}}"#, encode(&[7; 32]));
    for (form, bytes) in [
        ("PKCS #8", [b"before".as_slice(), pkcs8, b"behind"].concat()),
        ("PEM", pem(&label, pkcs8).into_bytes()),
        ("PEM in a string", pem(&label, pkcs8).replace('\n', "\\n").into_bytes()),
        (
            "PKCS #1",
            [b"\x30\x82\x04\xa4\x02\x01\x00\x02\x82\x01\x01\x00".as_slice(), &[7; 256]].concat(),
        ),
        ("JWK", jwk.into_bytes()),
    ] {
        assert!(private_key(&bytes).is_some(), "{form}");
    }
    for bytes in [CurveKey::p256().public_pem(), format!("BEGIN {label}-----"), String::new()] {
        assert_eq!(private_key(bytes.as_bytes()), None);
    }
}

/// The form of the first private key in these bytes.
fn private_key(bytes: &[u8]) -> Option<&'static str> {
    let forms: [Form; 6] = [
        ("PEM", b"PRIVATE KEY-----", is_base64_line),
        // PrivateKeyInfo: version 0, then an algorithm (RFC 5208, section 5).
        (
            "PKCS #8 of RSA",
            b"\x02\x01\x00\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01",
            any,
        ),
        ("PKCS #8 on a curve", b"\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01", any),
        ("PKCS #8 of Ed25519", b"\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70", any),
        // RSAPrivateKey: version 0, then a modulus of 2048 bits or more (RFC 8017, appendix A.1.2).
        ("PKCS #1", b"\x02\x01\x00\x02\x82", |rest| matches!(rest, [1 | 2 | 4, 1, 0, ..])),
        ("JWK", b"\"d\"", is_base64_member),
    ];
    for (form, start, goes_on) in forms {
        let found = |at: usize| bytes[at..].strip_prefix(start).is_some_and(goes_on);
        let mut places = (0..bytes.len()).filter(|&at| bytes[at] == start[0]);
        if places.any(found) {
            return Some(form);
        }
    }
    None
}

/// Its name, how it starts, and whether what follows is what it goes on with.
type Form = (&'static str, &'static [u8], fn(&[u8]) -> bool);

const fn any(_: &[u8]) -> bool {
    true
}

/// A line break, written out or as an escape, and a line of base64.
fn is_base64_line(rest: &[u8]) -> bool {
    let rest = rest.strip_prefix(b"\\n").unwrap_or(rest).trim_ascii_start();
    rest.len() > LEAST && rest[..LEAST].iter().all(|&byte| is_base64(byte))
}

fn is_base64_member(rest: &[u8]) -> bool {
    let value = rest.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start);
    let value = value.and_then(|value| value.strip_prefix(b"\""));
    value.is_some_and(|value| value.len() > LEAST && value[..LEAST].iter().all(|&b| is_base64(b)))
}

/// Shorter is no key.
const LEAST: usize = 40;

const fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// Everything but what is built, and the history.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap_or_default();
        if path.is_symlink() || matches!(name, "target" | ".git" | "__pycache__") {
            continue;
        }
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files
}
