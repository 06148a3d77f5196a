//! What was refused: how often for which reason, and the latest with what to do about them.

use std::collections::HashSet;
use std::fmt::{self, Display, Formatter};

use crate::admin::html::{Count, Text};
use crate::admin::plot::{Layer, Plots};
use crate::admin::status::{ByReason, Latest as Refusal, Series, Status};

/// Refusals by reason.
pub(in crate::admin::page) struct Reasons<'a>(pub(in crate::admin::page) &'a Status);

/// With a colour of their own; the others share one.
const COLOURED: usize = 5;

impl Display for Reasons<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (status, reasons) = (self.0, &self.0.refusals.by_reason);
        f.write_str(r#"<section id="reasons"><h2>Refusals by reason</h2>"#)?;
        if reasons.is_empty() {
            return f.write_str(r#"<p class="none">None since the start.</p></section>"#);
        }
        let (hour, day) =
            (layers(reasons, &status.history.hour), layers(reasons, &status.history.day));
        let now = status.time.0.unix();
        let plots = Plots {
            id: "reasons",
            title: "Refusals a second",
            history: &status.history,
            now,
            layers: [&hour, &day],
        };
        write!(f, "{plots}")?;
        table(f, reasons)?;
        f.write_str("</section>")
    }
}

fn layers<'a>(reasons: &[ByReason], series: &Series) -> Vec<Layer<'a>> {
    const CLASSES: [&str; COLOURED] = ["c-1", "c-2", "c-3", "c-4", "c-5"];
    let counts = |reason: &str| series.refused.get(reason);
    let zeros = || vec![0; series.ended.len()];
    let mut layers: Vec<Layer<'a>> = reasons
        .iter()
        .zip(CLASSES)
        .map(|(row, class)| Layer {
            label: row.reason,
            class,
            counts: counts(row.reason).cloned().unwrap_or_else(zeros),
        })
        .collect();
    let mut others = zeros();
    for row in reasons.iter().skip(COLOURED) {
        for (sum, count) in others.iter_mut().zip(counts(row.reason).into_iter().flatten()) {
            *sum += count;
        }
    }
    if reasons.len() > COLOURED {
        layers.push(Layer { label: "others", class: "c-gone", counts: others });
    }
    layers
}

fn table(f: &mut Formatter<'_>, reasons: &[ByReason]) -> fmt::Result {
    f.write_str(r#"<div class="scroll"><table><thead><tr>"#)?;
    for heading in ["Reason", "5 min", "1 h", "Since the start", "What the caller is told"] {
        write!(f, r#"<th scope="col">{heading}</th>"#)?;
    }
    f.write_str("</tr></thead><tbody>")?;
    for row in reasons {
        write!(f, r#"<tr><th scope="row">{} <small>{}</small></th>"#, row.reason, row.status)?;
        for (label, count) in [
            ("5 min", row.last_five_minutes),
            ("1 h", row.last_hour),
            ("Since the start", row.since_start),
        ] {
            write!(f, r#"<td class="number" data-label="{label}">{}</td>"#, Count(count))?;
        }
        write!(f, r#"<td class="meaning">{} "#, Text(row.meaning))?;
        write!(f, "<code>{}</code></td></tr>", Text(&row.section))?;
    }
    f.write_str("</tbody></table></div>")
}

/// The latest refusals.
pub(in crate::admin::page) struct Latest<'a>(pub(in crate::admin::page) &'a Status);

/// Shown at once; further ones where they are the latest of their reason.
const SHOWN: usize = 12;

impl Display for Latest<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let latest = &self.0.refusals.latest;
        f.write_str(r#"<section id="latest"><h2>Latest refusals</h2>"#)?;
        if latest.is_empty() {
            return f.write_str(r#"<p class="none">None since the start.</p></section>"#);
        }
        let mut seen = HashSet::new();
        let (shown, more): (Vec<_>, Vec<_>) =
            latest.iter().enumerate().partition(|(place, one)| {
                let first = seen.insert(one.reason);
                *place < SHOWN || first
            });
        list(f, &shown)?;
        if !more.is_empty() {
            write!(f, r#"<details data-key="more"><summary>{} more</summary>"#, more.len())?;
            list(f, &more)?;
            f.write_str("</details>")?;
        }
        f.write_str(
            r#"<p class="note">A reason that comes often is noted ten times a second; the counts above miss none. Tokens are never kept.</p></section>"#,
        )
    }
}

fn list(f: &mut Formatter<'_>, refusals: &[(usize, &Refusal)]) -> fmt::Result {
    f.write_str(r#"<ol class="refusals">"#)?;
    for (_, refusal) in refusals {
        item(f, refusal)?;
    }
    f.write_str("</ol>")
}

fn item(f: &mut Formatter<'_>, refusal: &Refusal) -> fmt::Result {
    let class = match refusal.status {
        500.. => "bad",
        _ => "warn",
    };
    write!(f, r#"<li><details data-key="{}"><summary>"#, refusal.number)?;
    let time = refusal.time.to_string();
    let clock = time.get(11..19).unwrap_or(&time);
    write!(f, r#"<time datetime="{time}">{clock}</time> "#)?;
    write!(f, r#"<span class="badge {class}">{}</span> "#, refusal.status)?;
    write!(f, "<strong>{}</strong> ", refusal.reason)?;
    write!(f, r#"<code class="request">{} {}</code> "#, refusal.method, Text(&refusal.path))?;
    write!(f, r#"<span class="client">{}</span>"#, Text(&refusal.client))?;
    if let Some(found) = &refusal.found {
        write!(f, r#" <span class="found">{}</span>"#, Text(found))?;
    }
    f.write_str("</summary>")?;
    advice(f, refusal)?;
    f.write_str("</details></li>")
}

fn advice(f: &mut Formatter<'_>, refusal: &Refusal) -> fmt::Result {
    f.write_str("<dl>")?;
    // A head that was no request got a bare answer of the HTTP library.
    let bare = refusal.request_id.is_empty();
    let told = if bare { "What is wrong" } else { "The caller is told" };
    write!(f, "<dt>{told}</dt><dd>{}</dd>", Text(refusal.why.sentence()))?;
    if let Some(command) = &refusal.explain {
        f.write_str("<dt>Ask</dt><dd><code class=\"command\">")?;
        write!(f, "{}</code> and paste the caller’s token</dd>", Text(command))?;
    }
    write!(f, "<dt>Read</dt><dd><code>{}</code></dd>", Text(refusal.why.help()))?;
    if let Some(issuer) = &refusal.issuer {
        write!(f, "<dt>Issuer</dt><dd>{}</dd>", Text(issuer))?;
    }
    if !bare {
        write!(f, "<dt>Route class</dt><dd>{}</dd>", refusal.class)?;
        write!(f, "<dt>Request id</dt><dd><code>{}</code></dd>", Text(&refusal.request_id))?;
    }
    f.write_str("</dl>")
}
