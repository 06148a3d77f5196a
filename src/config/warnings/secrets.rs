//! Whether the secrets that sign are any. Nothing of them is ever told but how long they are.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::problem::Findings;
use super::super::written::{Issuer, Written};
use crate::secret::Secret;

pub(super) fn look(written: &Written, findings: &mut Findings<'_>) {
    let mut seen: Vec<(&str, Secret)> = Vec::new();
    for (key, file) in files(written) {
        if seen.iter().any(|(known, _)| *known == file) {
            continue;
        }
        // What cannot be read is a problem already.
        let Ok(secret) = Secret::load(Path::new(file)) else { continue };
        if let Some((first, _)) = seen.first().filter(|(_, first)| *first != secret) {
            let found = format!("{file} holds another secret than {first}");
            let why = "an Airflow has one [api_auth] jwt_secret, which signs its tokens and verifies ours: one of the two is wrong";
            findings.warn(&key, found, why, "the same file for both");
        }
        for doubt in doubts(secret.expose()) {
            let Doubt { found, why, hint } = doubt;
            findings.warn(&key, format!("{file} {found}"), why, hint);
        }
        seen.push((file, secret));
    }
}

/// The keys that name a secret, with the file.
fn files(written: &Written) -> impl Iterator<Item = (String, &str)> {
    let handoff = written.handoff.as_ref().and_then(|handoff| handoff.secret_file.as_deref());
    let handoff = handoff.map(|file| ("handoff.secret_file".to_owned(), file));
    let issuers = written.issuers.iter().flatten().enumerate();
    let issuers = issuers.filter_map(|(index, issuer)| match issuer {
        Some(Issuer::Airflow(airflow)) => {
            let file = airflow.secret_file.as_deref()?;
            Some((format!("issuers[{index}].secret_file"), file))
        }
        _ => None,
    });
    handoff.into_iter().chain(issuers)
}

struct Doubt {
    found: String,
    why: &'static str,
    hint: &'static str,
}

fn doubts(secret: &[u8]) -> Vec<Doubt> {
    if secret.is_empty() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(secret);
    let doubt = |found: &str, why, hint| Some(Doubt { found: found.to_owned(), why, hint });
    if WELL_KNOWN.contains(&&*text) {
        let why = "whoever has read Airflow's own files signs with it as any user";
        return doubt("holds a secret that Airflow publishes", why, MAKE).into_iter().collect();
    }
    let form = if text.contains("-----BEGIN ") {
        let why = "a secret is a text that Airflow has as well, and this is a key";
        doubt("holds PEM", why, "private_key_file, for a key that airside signs with")
    } else if is_placeholder(&text) {
        doubt("holds what looks like a placeholder", "whoever guesses it signs as any user", MAKE)
    } else if text.trim() != text || text.contains(['\n', '\r']) {
        let why =
            "every byte of it counts here, and Airflow loses such ones when it reads airflow.cfg";
        doubt(
            "begins or ends with a blank, or has several lines",
            why,
            "the secret alone, without a blank",
        )
    } else if is_base64_of_text(secret) {
        let why = "it is never decoded, here as in Airflow: nothing verifies if Airflow has the decoded text";
        doubt(
            "holds base64 of a text",
            why,
            "what comes out of a Kubernetes manifest has to be decoded first",
        )
    } else {
        None
    };
    let short = (secret.len() < SHORTEST).then(|| Doubt {
        found: format!("holds {} bytes, fewer than {SHORTEST}", secret.len()),
        why: "HS512 is no stronger than its secret (RFC 7518, section 3.2), and who finds it out signs as any user",
        hint: MAKE,
    });
    form.into_iter().chain(short).collect()
}

/// Nobody's secret: one of these words, one byte again and again, or something that was to be
/// replaced by another program.
fn is_placeholder(text: &str) -> bool {
    let folded: String = text.to_ascii_lowercase().replace(['-', '_', ' '], "");
    let mut bytes = text.bytes();
    let first = bytes.next();
    let alike = bytes.all(|byte| Some(byte) == first);
    let enclosed = ["<>", "{}"].iter().any(|pair| {
        pair.chars().next().is_some_and(|open| text.starts_with(open))
            && pair.chars().last().is_some_and(|close| text.ends_with(close))
    });
    alike || enclosed || text.contains("${") || WORDS.iter().any(|word| folded.contains(word))
}

/// Airflow's secret is always a text, because it stands in a file or a variable. So what was wrapped
/// once more is base64 of a text; random bytes in base64 are a secret like any other.
fn is_base64_of_text(secret: &[u8]) -> bool {
    let printable = |byte: &u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\n' | b'\r');
    let decoded = STANDARD.decode(secret).ok().filter(|decoded| decoded.len() >= 8);
    decoded.is_some_and(|decoded| decoded.iter().all(printable))
}

/// As long as the hash: RFC 7518, section 3.2.
const SHORTEST: usize = 64;
const MAKE: &str = "64 random bytes or more, such as `openssl rand -hex 32` prints, for Airflow's [api_auth] jwt_secret and here";
/// What Airflow's docker-compose.yaml falls back to, the template of its configuration, and the
/// secret key that Airflow 2 had by default.
const WELL_KNOWN: [&str; 3] = ["airflow_jwt_secret", "{JWT_SECRET_KEY}", "temporary_key"];
/// Long enough that no random text has one of them.
const WORDS: [&str; 7] = [
    "changeme",
    "placeholder",
    "replaceme",
    "yoursecret",
    "insecure",
    "notforprod",
    "examplesecret",
];

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{SHA512, digest};

    use super::*;

    #[test]
    fn a_secret_is_looked_at_for_what_it_is() {
        let random = "Zk3vQ0aXo9LrT5yWm2Jc8Bd1Hn7PsU4eGi6FtKxVqRzCwSbYhMjNfDpAuElOgI0x";
        let encoded = STANDARD.encode(random);
        let short: &[&str] = &["fewer than 64"];
        for (secret, expected) in [
            (random, &[][..]),
            (&"0123456789abcdef".repeat(4), &[]),
            (&STANDARD.encode(digest(&SHA512, b"random")), &[]),
            (&random[1..], short),
            ("airflow_jwt_secret", &["publishes"]),
            ("{JWT_SECRET_KEY}", &["publishes"]),
            ("changeme", &["placeholder", "fewer"]),
            (&format!("please-Change_Me {random}"), &["placeholder"]),
            (&"x".repeat(64), &["placeholder"]),
            (&format!("<{random}>"), &["placeholder"]),
            (&format!("${{JWT_SECRET}}{random}"), &["placeholder"]),
            (&encoded, &["base64"]),
            (&STANDARD.encode("a short one"), &["base64", "fewer"]),
            (&format!("{random} "), &["blank"]),
            (&format!("{random}\n"), &["blank"]),
            (&format!("{random}\n{random}"), &["blank"]),
            (&format!("-----BEGIN PUBLIC KEY-----\n{random}"), &["PEM"]),
        ] {
            let found = doubts(secret.as_bytes());
            assert_eq!(found.len(), expected.len(), "{secret}");
            for (doubt, word) in found.iter().zip(expected) {
                assert!(doubt.found.contains(word), "{secret}: {}", doubt.found);
                let told = format!("{}{}{}", doubt.found, doubt.why, doubt.hint);
                assert!(!told.contains(secret), "{told}");
            }
        }
        assert!(doubts(b"").is_empty());
    }
}
