//! Keys by issuer: how old, for how long they would do, and what went wrong last.

use std::fmt::{self, Display, Formatter};

use crate::admin::html::{Count, Lapse, Text};
use crate::admin::status::{Issuer, KeySet, Keys, Moment, Status};

/// The issuers, each with its key sets.
pub(in crate::admin::page) struct Issuers<'a>(pub(in crate::admin::page) &'a Status);

impl Display for Issuers<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(
            r#"<section id="issuers"><h2>Issuers and keys</h2><div class="scroll"><table>"#,
        )?;
        f.write_str("<thead><tr>")?;
        for heading in ["Issuer", "Keys", "Age", "Serve on for", "Next fetch", "Fetches"] {
            write!(f, r#"<th scope="col">{heading}</th>"#)?;
        }
        f.write_str("</tr></thead><tbody>")?;
        for issuer in &self.0.issuers {
            row(f, issuer)?;
            for set in &issuer.key_sets {
                details(f, set, self.0.time)?;
            }
        }
        f.write_str("</tbody></table></div>")?;
        f.write_str(
            r#"<p class="note">“Serve on for” is how long tokens would still be verified if the identity provider were down from now on.</p></section>"#,
        )
    }
}

fn row(f: &mut Formatter<'_>, issuer: &Issuer) -> fmt::Result {
    let keys = &issuer.keys;
    let class = match keys.state {
        "fresh" => "good",
        "stale" => "warn",
        _ => "bad",
    };
    let next = issuer.key_sets.iter().filter_map(|set| set.next_fetch_seconds).min();
    let fetched = issuer.key_sets.iter().any(|set| set.keys.autonomy_seconds.is_some());
    write!(f, r#"<tr class="issuer"><th scope="row">{}</th>"#, Text(&issuer.name))?;
    write!(f, r#"<td data-label="Keys"><span class="badge {class}">{}</span> "#, keys.state)?;
    f.write_str(match keys.source {
        Some("given") => "given",
        Some("network") => "fetched",
        Some(_) => "from disk",
        None => "",
    })?;
    f.write_str(r#"</td><td data-label="Age">"#)?;
    span(f, keys.age_seconds, if fetched { "–" } else { "does not age" })?;
    f.write_str(r#"</td><td data-label="Serve on for">"#)?;
    span(f, keys.autonomy_seconds, "for good")?;
    gauge(f, keys)?;
    f.write_str(r#"</td><td data-label="Next fetch">"#)?;
    match (next, fetched) {
        (Some(next), _) => write!(f, "in {}", Lapse(next))?,
        (None, true) => f.write_str("running")?,
        (None, false) => f.write_str("–")?,
    }
    f.write_str(r#"</td><td data-label="Fetches">"#)?;
    if fetched {
        write!(f, "{} good, {} failed", Count(keys.fetches_ok), Count(keys.fetches_failed))?;
    } else {
        f.write_str("–")?;
    }
    f.write_str("</td></tr>")
}

fn span(f: &mut Formatter<'_>, seconds: Option<u64>, otherwise: &str) -> fmt::Result {
    match seconds {
        Some(seconds) => write!(f, "{}", Lapse(seconds)),
        None => f.write_str(otherwise),
    }
}

/// What is left of the keys' time, as a bar; the words beside it say the same.
fn gauge(f: &mut Formatter<'_>, keys: &Keys) -> fmt::Result {
    let (Some(left), age) = (keys.autonomy_seconds, keys.age_seconds.unwrap_or_default()) else {
        return Ok(());
    };
    let share = (100 * left).checked_div(left + age).unwrap_or_default();
    let class = if share < 25 { "low" } else { "left" };
    write!(
        f,
        r#"<svg class="gauge" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true"><rect class="whole" width="100" height="4"/><rect class="{class}" width="{share}" height="4"/></svg>"#
    )
}

fn details(f: &mut Formatter<'_>, set: &KeySet, now: Moment) -> fmt::Result {
    f.write_str(r#"<tr class="details"><td colspan="6">"#)?;
    if let Some(from) = &set.from {
        write!(f, "<p>from <code>{}</code></p>", Text(from))?;
    }
    if let Some(failure) = &set.last_failure {
        let age = Lapse(failure.time.age(now));
        write!(f, r#"<p class="failure">Last failure, {age} ago: {}</p>"#, Text(&failure.why))?;
    }
    f.write_str(r#"<ul class="keys">"#)?;
    for key in &set.usable {
        let kid = key.kid.as_deref().unwrap_or("no kid");
        write!(f, "<li><code>{}</code> {}</li>", Text(kid), key.algorithms.join(", "))?;
    }
    f.write_str("</ul>")?;
    if !set.left_out.is_empty() {
        write!(f, "<details><summary>{} left out</summary><ul>", set.left_out.len())?;
        for why in &set.left_out {
            write!(f, "<li>{}</li>", Text(why))?;
        }
        f.write_str("</ul></details>")?;
    }
    f.write_str("</td></tr>")
}
