//! Text in HTML: what may have been chosen by a stranger is never markup, and shows what it is.

use std::fmt::{self, Display, Formatter, Write};

/// Shown as it is, in content and in quoted attributes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<T>(pub(super) T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'f, 'a>(&'f mut Formatter<'a>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|letter| match letter {
            '&' => self.0.write_str("&amp;"),
            '<' => self.0.write_str("&lt;"),
            '>' => self.0.write_str("&gt;"),
            '"' => self.0.write_str("&quot;"),
            '\'' => self.0.write_str("&#39;"),
            unseen if is_unseen(unseen) => write!(self.0, "\\u{{{:x}}}", u32::from(unseen)),
            letter => self.0.write_char(letter),
        })
    }
}

/// Controls, and what has no width or turns the direction of what follows.
fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}')
        || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A span of whole seconds as people say it, by its two largest units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lapse(pub(super) u64);

impl Display for Lapse {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        const DAY: u64 = 24 * HOUR;
        let seconds = self.0;
        let (large, large_unit, small, small_unit) = match seconds {
            ..MINUTE => return write!(f, "{seconds} s"),
            MINUTE..HOUR => (seconds / MINUTE, "min", seconds % MINUTE, "s"),
            HOUR..DAY => (seconds / HOUR, "h", seconds % HOUR / MINUTE, "min"),
            DAY.. => (seconds / DAY, "d", seconds % DAY / HOUR, "h"),
        };
        match small {
            0 => write!(f, "{large} {large_unit}"),
            small => write!(f, "{large} {large_unit} {small} {small_unit}"),
        }
    }
}

/// Seconds of a bucket's bound: from microseconds to minutes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short(pub(super) f64);

impl Display for Short {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds if seconds < 0.001 => write!(f, "{} µs", (seconds * 1e6).round()),
            seconds if seconds < 1.0 => write!(f, "{} ms", (seconds * 1e4).round() / 10.0),
            seconds => write!(f, "{seconds} s"),
        }
    }
}

/// How often in a second: two digits that say something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate(pub(super) f64);

impl Display for Rate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            0.0 => f.write_str("0"),
            rate if rate < 0.01 => f.write_str("&lt;0.01"),
            rate if rate >= 100.0 || rate.fract() == 0.0 => write!(f, "{rate:.0}"),
            rate if rate < 1.0 => write!(f, "{rate:.2}"),
            rate => write!(f, "{rate:.1}"),
        }
    }
}

/// A count, its thousands apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count(pub(super) u64);

impl Display for Count {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                // Narrow, and no place to break a line.
                f.write_char('\u{202f}')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// The number of things called so.
pub(super) fn counted(count: u64, one: &str, more: &str) -> String {
    format!("{} {}", Count(count), if count == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_never_markup() {
        for (text, shown) in [
            ("/a?b&c", "/a?b&amp;c"),
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            (r#"" onload='x'"#, "&quot; onload=&#39;x&#39;"),
            ("a\nb\u{202e}c\u{1b}[31m", r"a\u{a}b\u{202e}c\u{1b}[31m"),
            ("Größe 日本", "Größe 日本"),
        ] {
            assert_eq!(Text(text).to_string(), shown);
        }
    }

    #[test]
    fn spans_and_rates_are_short() {
        for (seconds, shown) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (754, "12 min 34 s"),
            (3600, "1 h"),
            (86_399, "23 h 59 min"),
            (2 * 86_400 + 3600, "2 d 1 h"),
        ] {
            assert_eq!(Lapse(seconds).to_string(), shown);
        }
        for (seconds, shown) in
            [(0.000_05, "50 µs"), (0.002_5, "2.5 ms"), (0.5, "500 ms"), (10.0, "10 s")]
        {
            assert_eq!(Short(seconds).to_string(), shown);
        }
        for (rate, shown) in [
            (0.0, "0"),
            (0.001, "&lt;0.01"),
            (0.25, "0.25"),
            (5.0, "5"),
            (12.34, "12.3"),
            (1234.5, "1234"),
        ] {
            assert_eq!(Rate(rate).to_string(), shown);
        }
        for (count, shown) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1\u{202f}000"),
            (1_234_567, "1\u{202f}234\u{202f}567"),
        ] {
            assert_eq!(Count(count).to_string(), shown);
        }
        assert_eq!(
            (counted(1, "answer", "answers"), counted(2, "answer", "answers")),
            ("1 answer".into(), "2 answers".into())
        );
    }
}
