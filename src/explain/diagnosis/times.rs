//! Times that do not hold now, and whose clock is to blame.

use super::Facts;
use crate::explain::cause::{Cause, Times};
use crate::token::json::Json;

/// A token that has ended.
pub(super) fn expired(facts: &Facts<'_>) -> Cause {
    let now = seconds(facts.now.unix());
    let exp = number(facts, "exp").unwrap_or_default();
    let ours = clock_of_ours(facts, |now, leeway| now < exp + leeway);
    let lifetime = number(facts, "iat").map(|iat| exp - iat).filter(|span| *span > 0.0);
    ours.unwrap_or(Cause::Times(Times::Expired {
        ago: whole(now - exp),
        lifetime: lifetime.map(whole),
    }))
}

/// A token that has not begun.
pub(super) fn early(facts: &Facts<'_>) -> Cause {
    let now = seconds(facts.now.unix());
    let (iat, nbf) = (number(facts, "iat"), number(facts, "nbf"));
    for (claim, value) in [("iat", iat), ("nbf", nbf)] {
        // The year 5138 in seconds, 1973 in milliseconds.
        if value.is_some_and(|value| value > 1e11) {
            return Cause::Times(Times::Milliseconds { claim });
        }
    }
    let start = iat.unwrap_or_default().max(nbf.unwrap_or_default());
    if let Some(cause) = clock_of_ours(facts, |now, leeway| now >= start - leeway) {
        return cause;
    }
    let ahead = whole(start - now);
    if iat.is_some_and(|iat| iat > now) {
        return Cause::Times(Times::ClockOfIssuerWrong { ahead, offset: facts.keys.clock_ahead });
    }
    Cause::Times(Times::NotYetValid { ahead })
}

/// Our clock is wrong by more than is allowed for, and by that of the keys' host the token holds.
fn clock_of_ours(facts: &Facts<'_>, holds: impl Fn(f64, f64) -> bool) -> Option<Cause> {
    let offset = facts.keys.clock_ahead?;
    let leeway = facts.leeway.as_secs();
    let theirs = facts.now.unix().checked_add_signed(offset)?;
    let wrong = offset.unsigned_abs() > leeway.max(TOLERATED);
    (wrong && holds(seconds(theirs), seconds(leeway)))
        .then_some(Cause::Times(Times::ClockOfOursWrong { offset }))
}

/// A measurement by whole seconds over a network is no better.
const TOLERATED: u64 = 5;

fn number(facts: &Facts<'_>, name: &str) -> Option<f64> {
    match facts.claim(name)? {
        Json::Number(seconds) => Some(*seconds),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown to people, below 2^53 in any case")]
pub(in crate::explain) fn seconds(whole: u64) -> f64 {
    whole as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "shown to people; a cast saturates"
)]
pub(in crate::explain) fn whole(seconds: f64) -> u64 {
    seconds as u64
}
