//! What every answer of the proxy's own has to look like, and a list of cases that failed.

use serde_json::Value;

use super::http::Response;

/// Fails the test unless this is a refusal with that status and reason.
pub(crate) fn assert_refused(response: &Response, status: u16, reason: &str) {
    if let Err(fault) = refusal(response, status, &[reason]) {
        panic!("{fault}");
    }
}

/// Checks an answer of our own in all its parts; the reason is one of those given.
pub(crate) fn refusal(response: &Response, status: u16, reasons: &[&str]) -> Result<(), String> {
    let said = format!("{} {}", response.head.first, response.text());
    let check = |holds: bool, what: &str| {
        let fault = || format!("expected {status} {reasons:?}; {what}; found {said}");
        holds.then_some(()).ok_or_else(fault)
    };
    check(response.status == status, "the status differs")?;
    check(
        response.header("content-type") == Some("application/problem+json"),
        "the body is problem+json",
    )?;
    check(response.header("cache-control") == Some("no-store"), "nobody may store it")?;
    let body: Value = serde_json::from_slice(&response.body)
        .map_err(|error| format!("expected a JSON body; {error}; found {said}"))?;
    let reason = body["reason"].as_str().unwrap_or_default();
    check(reasons.contains(&reason), "the reason differs")?;
    check(body["status"] == status, "the body repeats the status")?;
    check(body["type"] == format!("urn:airside:problem:{reason}"), "`type` names the reason")?;
    check(!body["title"].as_str().unwrap_or_default().is_empty(), "there is a title")?;
    let detail = body["detail"].as_str().unwrap_or_default();
    check(!detail.is_empty(), "there is a detail")?;
    check(detail != "Invalid JWT token", "the detail is not what sends Airflow's UI to its login")?;
    let id = response.header("x-request-id").unwrap_or_default();
    check(is_request_id(id), "X-Request-Id is well formed")?;
    check(body["request_id"] == id, "the body repeats the request id")?;
    check(challenge_fits(response, status, reason), "WWW-Authenticate fits")
}

/// Whether the text can be a request id.
pub(crate) fn is_request_id(id: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=128).contains(&id.len()) && id.bytes().all(fits)
}

fn challenge_fits(response: &Response, status: u16, reason: &str) -> bool {
    let challenges = response.all("www-authenticate").join(", ");
    match (status, reason) {
        (401, "credential_missing") => {
            challenges.contains(r#"Bearer realm="airflow""#) && !challenges.contains("error")
        }
        (401, _) => {
            challenges.contains(r#"Bearer realm="airflow", error="invalid_token""#)
                && challenges.contains("error_description=\"")
        }
        (403, "role_missing") => challenges.contains(r#"error="insufficient_scope""#),
        _ => true,
    }
}

/// Goes through a whole table before it fails, so that one run shows every case that is wrong.
#[derive(Default)]
pub(crate) struct Verdicts {
    faults: Vec<String>,
    cases: usize,
}

impl Verdicts {
    pub(crate) fn case(&mut self, label: &str, verdict: Result<(), String>) {
        self.cases += 1;
        if let Err(fault) = verdict {
            self.faults.push(format!("{label}: {fault}"));
        }
    }

    pub(crate) fn check(&mut self, label: &str, holds: bool, found: impl std::fmt::Debug) {
        self.case(label, if holds { Ok(()) } else { Err(format!("found {found:?}")) });
    }

    /// A refusal with that status and one of these reasons.
    pub(crate) fn refused(
        &mut self,
        label: &str,
        response: &Response,
        status: u16,
        reasons: &[&str],
    ) {
        self.case(label, refusal(response, status, reasons));
    }
}

impl Drop for Verdicts {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.cases > 0, "a table without cases");
            assert!(
                self.faults.is_empty(),
                "{} of {} cases:\n{}",
                self.faults.len(),
                self.cases,
                self.faults.join("\n")
            );
        }
    }
}
