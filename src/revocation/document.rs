//! The file with the list: YAML, one mapping for each entry. Everything that is wrong with it is
//! said with its line and column, and a file in which anything is wrong is no list.

use std::collections::BTreeMap;
use std::fmt;

use serde_saphyr::{Location, Spanned};

use super::{Field, List, Mark, Rule, Watched};
use crate::clock::Timestamp;

/// What is wrong with a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

#[derive(Debug, PartialEq, Eq)]
struct Fault {
    line: u64,
    column: u64,
    what: String,
}

/// Reads a list about `issuers`; without them, their names in it are not looked at.
pub fn parse(text: &[u8], issuers: Option<&[Watched]>) -> Result<List, Faults> {
    let entries = written(text).map_err(|fault| Faults(vec![fault]))?;
    let mut reader = Reader { issuers, faults: Vec::new() };
    let mut list = List::default();
    for entry in &entries {
        if let Some((mark, rule)) = reader.entry(entry) {
            list.add(mark, rule);
        }
    }
    if reader.faults.is_empty() { Ok(list) } else { Err(Faults(reader.faults)) }
}

/// The largest file that is read: some ten thousand entries.
pub const MOST_BYTES: u64 = 4 << 20;

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().take(MOST_SHOWN).enumerate() {
            let between = if index == 0 { "" } else { "; " };
            write!(f, "{between}line {}, column {}: {}", fault.line, fault.column, fault.what)?;
        }
        match self.0.len().saturating_sub(MOST_SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// So many say what kind of mistake it is.
const MOST_SHOWN: usize = 10;

/// An entry as written. Numbers and truth values are taken as the text they are written with: an
/// id of digits alone needs no quotes.
type Written = BTreeMap<String, Spanned<Option<String>>>;

fn written(text: &[u8]) -> Result<Vec<Spanned<Written>>, Fault> {
    if text.len() as u64 > MOST_BYTES {
        return Err(fault(&Location::UNKNOWN, format!("more than {MOST_BYTES} bytes")));
    }
    let Ok(text) = std::str::from_utf8(text) else {
        return Err(fault(&Location::UNKNOWN, "the file is not UTF-8"));
    };
    match serde_saphyr::from_str::<Option<Vec<Spanned<Written>>>>(text) {
        Ok(Some(entries)) => Ok(entries),
        // A file that somebody is about to write must not lift every entry.
        Ok(None) => Err(fault(&Location::UNKNOWN, "nothing, expected a list; an empty one is []")),
        Err(error) => {
            let location = error.location().unwrap_or(Location::UNKNOWN);
            let what = error.without_snippet().to_string();
            let place = format!(" at line {}, column {}", location.line(), location.column());
            Err(fault(&location, what.trim_end_matches(&place)))
        }
    }
}

fn fault(location: &Location, what: impl fmt::Display) -> Fault {
    // One line, whatever the parser has to say.
    let what = what.to_string().lines().collect::<Vec<_>>().join(" ");
    Fault { line: location.line().max(1), column: location.column().max(1), what }
}

struct Reader<'i> {
    issuers: Option<&'i [Watched]>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn entry(&mut self, entry: &Spanned<Written>) -> Option<(Mark, Rule)> {
        let (mut issuer, mut until, mut reason, mut named) = (None, None, None, Vec::new());
        for (name, value) in &entry.value {
            let text = value.value.as_deref().unwrap_or_default();
            let place = &value.referenced;
            if name == "reason" {
                reason = Some(text.trim().chars().take(MOST_OF_A_REASON).collect());
                continue;
            }
            if text.is_empty() || text.trim() != text {
                self.add(place, format!("`{name}` should be text without spaces around it"));
            }
            match name.as_str() {
                "issuer" => issuer = self.issuer(place, text),
                "until" => until = self.until(place, text),
                _ => match Field::named(name) {
                    Some(field) => named.push((field, text)),
                    None => self.add(place, format!("unknown key `{name}`, expected {KEYS}")),
                },
            }
        }
        let place = &entry.referenced;
        let [(field, value)] = *named.as_slice() else {
            let found = named.len();
            let expected = "exactly one of jti, subject, client, kid";
            self.add(place, format!("an entry with {found} of them, expected {expected}"));
            return None;
        };
        let rule = Rule { issuer, until, field, line: place.line(), reason };
        Some((Mark::of(field, value), rule))
    }

    fn issuer(&mut self, place: &Location, name: &str) -> Option<usize> {
        let issuers = self.issuers?;
        let found = issuers.iter().position(|issuer| issuer.name.as_ref() == name);
        if found.is_none() {
            self.add(place, format!("no entry of `issuers` has the name {name:?}"));
        }
        found
    }

    fn until(&mut self, place: &Location, text: &str) -> Option<Timestamp> {
        let until = instant(text);
        if until.is_none() {
            let expected = "a time in UTC such as 2026-12-31T00:00:00Z, or Unix seconds";
            self.add(place, format!("until {text:?}, expected {expected}"));
        }
        until
    }

    fn add(&mut self, place: &Location, what: String) {
        self.faults.push(fault(place, what));
    }
}

const KEYS: &str = "issuer, jti, subject, client, kid, until or reason";
/// It ends up in access lines.
const MOST_OF_A_REASON: usize = 200;

/// RFC 3339, or seconds since 1970.
fn instant(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<u64>() {
        return (seconds <= LAST).then(|| Timestamp::from_unix(seconds));
    }
    let time = humantime::parse_rfc3339(text).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_unix(since.as_secs()))
}

/// The end of the year 9999: beyond it somebody has written milliseconds.
const LAST: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> String {
        let issuer = Watched { name: "entra".into(), username_claim: "oid".into() };
        parse(text.as_bytes(), Some(&[issuer])).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_list_is_yaml_or_json() {
        let yaml = "# who left\n- subject: alice\n  issuer: entra\n  until: 2026-12-31T00:00:00Z\n  \
                    reason: >\n    left the company\n- jti: 12\n- {client: c, until: 1798675200}\n";
        let json = r#"[{"kid": "a"}, {"kid": "a", "reason": null}, {"jti": "b", "until": 5}]"#;
        for (text, entries) in [(yaml, 3), (json, 3), ("[]", 0), ("---\n[]\n", 0)] {
            assert_eq!(parse(text.as_bytes(), None).unwrap().entries, entries, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_column() {
        for (text, place, word) in [
            ("", "line 1", "[]"),
            ("# nothing yet\n", "line 1", "[]"),
            ("jti: a\n", "line 1", "sequence"),
            ("- a\n", "line 1, column 3: expected mapping", "start"),
            ("- jti: a\n- jit: b\n", "line 2, column 8: unknown key `jit`", "subject"),
            ("- jti: a\n  subject: b\n", "line 1, column 3", "exactly one"),
            ("- reason: x\n", "line 1, column 3", "exactly one"),
            ("- {}\n", "line 1, column 3", "exactly one"),
            ("- jti: [a]\n", "line 1, column 8", "scalar"),
            ("- jti:\n", "line 1", "`jti` should be text"),
            ("- jti: ''\n", "line 1, column 8", "`jti` should be text"),
            ("- jti: ' a'\n", "line 1, column 8", "`jti` should be text"),
            ("- jti: a\n  until: tomorrow\n", "line 2, column 10", "Unix seconds"),
            ("- jti: a\n  until: 1798675200000\n", "line 2, column 10", "Unix seconds"),
            ("- jti: a\n  until: -1\n", "line 2, column 10", "Unix seconds"),
            ("- jti: a\n  issuer: entr\n", "line 2, column 11", "\"entr\""),
            ("- jti: a\n  jti: b\n", "line 2", "uplicate"),
            ("- jti: \"a\n", "line", ""),
        ] {
            let found = faults(text);
            assert!(found.contains(place) && found.contains(word), "{text:?}: {found}");
            assert!(!found.contains('\n'), "{found}");
        }
        assert!(parse(b"- jti: \xff\n", None).is_err());
        assert!(parse(&vec![b' '; 5 << 20], None).is_err());
    }

    #[test]
    fn every_fault_is_said_at_once_up_to_a_limit() {
        let found = faults("- jit: a\n- jti: b\n- {until: x, kid: k}\n");
        assert_eq!(found.matches("line ").count(), 3, "{found}");
        let many = faults(&"- {kid: k, x: y}\n".repeat(40));
        assert!(many.ends_with("; and 30 more"), "{many}");
    }

    #[test]
    fn ten_thousand_entries_are_a_list() {
        let text = "- {issuer: entra, jti: 0123456789abcdef0123456789abcdef, until: 1798675200, \
                    reason: a laptop}\n";
        let list = parse(text.repeat(10_000).as_bytes(), None).unwrap();
        assert_eq!(list.entries, 10_000);
    }
}
