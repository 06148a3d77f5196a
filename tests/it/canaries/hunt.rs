//! What must be nowhere, and the search for it in every form that a program might print it in.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::percent_decode;

use crate::support::keys::decode;

/// So many bytes in a row are no chance.
const WINDOW: usize = 12;

#[derive(Default)]
pub(super) struct Hunt {
    windows: HashSet<[u8; WINDOW]>,
}

impl Hunt {
    /// A compact token: its text, and the bytes of its signature. What the other parts say in clear
    /// may be told where it is needed, so canaries stand in them.
    pub(super) fn token(&mut self, token: &str) {
        self.secret(token);
        // In one without three parts the last may be claims.
        let signature = token.splitn(3, '.').nth(2).unwrap_or_default().trim_end_matches('=');
        if let Ok(bytes) = URL_SAFE_NO_PAD.decode(signature)
            && bytes.len() >= WINDOW
        {
            self.windows_of(&bytes);
            self.windows_of(digits(&bytes, "").as_bytes());
        }
    }

    /// A text, as it is and in base64, wherever its first byte falls.
    pub(super) fn secret(&mut self, secret: &str) {
        assert!(secret.len() >= WINDOW, "{secret} is found by chance");
        self.windows_of(secret.as_bytes());
        for start in 0..3 {
            let piece = &secret.as_bytes()[start..];
            // The last digits depend on what follows.
            let whole = &piece[..piece.len() / 3 * 3];
            self.windows_of(STANDARD_NO_PAD.encode(whole).as_bytes());
            self.windows_of(URL_SAFE_NO_PAD.encode(whole).as_bytes());
        }
    }

    fn windows_of(&mut self, bytes: &[u8]) {
        let windows = bytes.windows(WINDOW).map(<[u8; WINDOW]>::try_from);
        self.windows.extend(windows.map(Result::unwrap));
    }

    /// What of it is in there, as it stands or percent-encoded, with what is around it.
    pub(super) fn finds_in(&self, told: &[u8]) -> Option<String> {
        let decoded: Vec<u8> = percent_decode(told).collect();
        [told, &decoded].into_iter().find_map(|told| {
            let at = told.windows(WINDOW).position(|window| self.windows.contains(window))?;
            let around = &told[at.saturating_sub(120)..told.len().min(at + 120)];
            Some(String::from_utf8_lossy(around).into_owned())
        })
    }
}

/// Two hexadecimal digits for each byte, each pair behind the same mark.
fn digits(bytes: &[u8], mark: &str) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{mark}{byte:02x}"))
}

#[test]
fn the_hunt_finds_a_token_in_every_form() {
    let token = crate::support::entra::v2_app().token();
    let mut hunt = Hunt::default();
    hunt.token(&token);
    let signature = token.rsplit('.').next().unwrap();
    let percent = digits(signature.as_bytes(), "%");
    let hex = digits(&decode(signature), "");
    for form in [
        token.clone(),
        format!("x{}y", &signature[50..62]),
        percent[..60].to_owned(),
        STANDARD_NO_PAD.encode(format!("Bearer {token}")),
        STANDARD_NO_PAD.encode(format!("xx {}", &signature[..40])),
        URL_SAFE_NO_PAD.encode(format!("user:{token}")),
        hex[100..140].to_owned(),
    ] {
        assert!(hunt.finds_in(format!("line {form} line").as_bytes()).is_some(), "{form}");
    }
    let other = crate::support::entra::v2_app().with("uti", "other").token();
    let other = &other.rsplit('.').next().unwrap();
    assert_eq!(hunt.finds_in(format!("{other} and {}", &signature[..11]).as_bytes()), None);
}
