//! The status page: one document, drawn by the server from what `/status` says. It works without
//! its script, which only keeps it current, and asks nobody else for anything.

mod sections;

use std::fmt::{self, Display, Formatter};
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_FRAME_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

use super::html::Lapse;
use super::status::Status;

/// The answer with the page.
#[must_use]
pub(super) fn answer(status: &Status) -> Response<Full<Bytes>> {
    let mut answer = super::answer(StatusCode::OK, HTML, Page(status).to_string());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(COOP, HeaderValue::from_static("same-origin"));
    answer
}

const HTML: &str = "text/html; charset=utf-8";
const COOP: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// Style and script run because their digests stand here; what would get into the page does not.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let source = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        source(STYLE),
        source(SCRIPT)
    );
    // It has letters of base64 and of the line above alone.
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

struct Page<'a>(&'a Status);

impl Display for Page<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let status = self.0;
        let (word, colour) =
            if status.ready { ("ready", "%231a8a5a") } else { ("not ready", "%23c93a3a") };
        f.write_str("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")?;
        write!(f, "<title>airside: {word}</title>")?;
        f.write_str(
            r#"<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">"#,
        )?;
        write!(f, r#"<link rel="icon" href="data:image/svg+xml,{ICON}{colour}'/%3E%3C/svg%3E">"#)?;
        write!(f, "<style>{STYLE}</style>")?;
        f.write_str(
            r#"<noscript><meta http-equiv="refresh" content="30"></noscript></head><body>"#,
        )?;
        f.write_str(r##"<a class="skip" href="#page">Skip to the status</a>"##)?;
        self.header(f)?;
        f.write_str(r#"<main id="page">"#)?;
        self.sections(f)?;
        f.write_str("</main>")?;
        write!(f, "<script>{SCRIPT}</script></body></html>")
    }
}

/// A dot, but for its colour.
const ICON: &str = "%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='7' fill='";

impl Page<'_> {
    fn header(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Status { version, time, started, .. } = self.0;
        write!(f, r#"<header><p class="name">airside <small>{version}</small></p>"#)?;
        let up = Lapse(started.age(*time));
        let iso = time.to_string();
        let clock = iso.get(11..19).unwrap_or(&iso);
        write!(f, r#"<p class="when" id="when">up {up}, as of "#)?;
        write!(f, r#"<time datetime="{iso}">{clock} UTC</time></p>"#)?;
        f.write_str(r#"<button id="pause" type="button" hidden>Pause</button></header>"#)
    }

    fn sections(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let status = self.0;
        write!(f, "{}", sections::Banner(status))?;
        write!(f, "{}", sections::Tiles(status))?;
        write!(f, "{}", sections::Traffic(status))?;
        write!(f, "{}", sections::Issuers(status))?;
        write!(f, "{}", sections::Reasons(status))?;
        write!(f, "{}", sections::Latest(status))?;
        f.write_str(r#"<div class="pair">"#)?;
        write!(f, "{}{}</div>", sections::Airflow(status), sections::Configuration(status))
    }
}
