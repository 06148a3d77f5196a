//! What stands on the page, from what is most pressing to what is asked for least.

mod issuers;
mod refusals;
mod traffic;

use std::fmt::{self, Display, Formatter};

pub(super) use issuers::Issuers;
pub(super) use refusals::{Latest, Reasons};
pub(super) use traffic::{Tiles, Traffic};

use crate::admin::html::{Count, Lapse, Text, counted};
use crate::admin::status::{LastReload, Status};

/// Whether requests should be sent here, and what wants somebody's hand.
pub(super) struct Banner<'a>(pub(super) &'a Status);

impl Display for Banner<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let status = self.0;
        let troubles = troubles(status);
        let (class, word) = match (&status.not_ready_because, troubles.is_empty()) {
            (Some(_), _) => ("bad", "Not ready"),
            (None, false) => ("warn", "Ready, with trouble"),
            (None, true) => ("good", "Ready"),
        };
        write!(f, r#"<section class="banner {class}" aria-label="Readiness"><h1>{word}</h1>"#)?;
        match &status.not_ready_because {
            Some(why) => write!(f, "<p>Because {}, /readyz answers 503.</p>", Text(why))?,
            None => f.write_str("<p>Requests are served; /readyz answers 200.</p>")?,
        }
        if !troubles.is_empty() {
            f.write_str("<ul>")?;
            for (anchor, trouble) in troubles {
                write!(f, r##"<li><a href="#{anchor}">{}</a></li>"##, Text(trouble))?;
            }
            f.write_str("</ul>")?;
        }
        f.write_str("</section>")
    }
}

/// Each with the section that has more of it.
fn troubles(status: &Status) -> Vec<(&'static str, String)> {
    let mut troubles = Vec::new();
    for issuer in &status.issuers {
        let name = &issuer.name;
        let left = Lapse(issuer.keys.autonomy_seconds.unwrap_or_default());
        match issuer.keys.state {
            "none" => troubles.push((
                "issuers",
                format!("{name} has no keys: its tokens are answered 503 keys_unavailable"),
            )),
            "stale" => troubles.push((
                "issuers",
                format!("the keys of {name} are stale and serve for {left} more"),
            )),
            _ => {}
        }
    }
    let out = status.upstream.iter().filter(|upstream| !upstream.up);
    troubles.extend(out.map(|upstream| ("airflow", format!("{} is out", upstream.address))));
    if let Some(LastReload { outcome: "rejected", problems, .. }) =
        &status.configuration.last_reload
    {
        let count = counted(problems.len() as u64, "problem", "problems");
        let text = format!("the configuration was changed and has {count}: not in force");
        troubles.push(("configuration", text));
    }
    troubles
}

/// Where requests go.
pub(super) struct Airflow<'a>(pub(super) &'a Status);

impl Display for Airflow<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(
            r#"<section id="airflow"><h2>Airflow</h2><div class="scroll"><table><thead><tr>"#,
        )?;
        for heading in ["Address", "State", "Connections made", "Failed"] {
            write!(f, r#"<th scope="col">{heading}</th>"#)?;
        }
        f.write_str("</tr></thead><tbody>")?;
        for upstream in &self.0.upstream {
            let (class, word) = if upstream.up { ("good", "in use") } else { ("bad", "out") };
            write!(f, r#"<tr><th scope="row">{}</th>"#, Text(&upstream.address))?;
            write!(f, r#"<td data-label="State"><span class="badge {class}">{word}</span></td>"#)?;
            let (ok, failed) = (upstream.connections_ok, upstream.connections_failed);
            write!(f, r#"<td class="number" data-label="Connections made">{}</td>"#, Count(ok))?;
            write!(f, r#"<td class="number" data-label="Failed">{}</td></tr>"#, Count(failed))?;
        }
        f.write_str("</tbody></table></div></section>")
    }
}

/// What is in force since when, and why what was to take its place is not.
pub(super) struct Configuration<'a>(pub(super) &'a Status);

impl Display for Configuration<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (status, configuration) = (self.0, &self.0.configuration);
        let age = Lapse(configuration.since.age(status.time));
        f.write_str(r#"<section id="configuration"><h2>Configuration</h2><dl>"#)?;
        write!(f, "<dt>Generation</dt><dd>{}</dd>", configuration.generation)?;
        write!(f, "<dt>In force since</dt><dd>{}, {age} ago</dd>", Text(configuration.since))?;
        let (applied, rejected) = (configuration.applied, configuration.rejected);
        write!(f, "<dt>Changes</dt><dd>{applied} taken up, {rejected} refused</dd>")?;
        if let Some(entries) = configuration.revocation_entries {
            let entries = counted(entries, "entry", "entries");
            write!(f, "<dt>Revocation list</dt><dd>{entries}</dd>")?;
        }
        if let Some(last) = &configuration.last_reload {
            let age = Lapse(last.time.age(status.time));
            let (class, word) = match last.outcome {
                "applied" => ("good", "taken up"),
                _ => ("bad", "refused: the one before stays in force"),
            };
            write!(f, "<dt>Last change</dt><dd>{}, {age} ago ", Text(last.time))?;
            write!(f, r#"<span class="badge {class}">{word}</span></dd>"#)?;
        }
        f.write_str("</dl>")?;
        if let Some(last) = &configuration.last_reload {
            problems(f, last)?;
        }
        f.write_str("</section>")
    }
}

fn problems(f: &mut Formatter<'_>, last: &LastReload) -> fmt::Result {
    if last.problems.is_empty() {
        return Ok(());
    }
    f.write_str(r#"<ol class="problems">"#)?;
    for problem in &last.problems {
        let key = if problem.key.is_empty() { "(the whole)" } else { &problem.key };
        write!(f, "<li><p><code>{}</code> {}</p><dl>", Text(key), Text(&problem.place))?;
        write!(f, "<dt>Found</dt><dd>{}</dd>", Text(&problem.found))?;
        write!(f, "<dt>Expected</dt><dd>{}</dd>", Text(&problem.expected))?;
        if let Some(hint) = &problem.hint {
            write!(f, "<dt>Hint</dt><dd>{}</dd>", Text(hint))?;
        }
        f.write_str("</dl></li>")?;
    }
    f.write_str("</ol>")
}
