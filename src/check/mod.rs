//! Asks everybody outside whom a configuration relies on: issuers for their keys, Airflow whether it
//! is the one that was meant and takes what airside signs. Nothing is changed by it.

mod airflow;
mod issuers;
mod rehearsal;
mod roles;

use std::fmt;

use tokio::task::LocalSet;

use crate::config::Config;
use crate::config::written::Written;

/// Asks them all, one after the other; what was found stands in the order of the questions.
pub async fn online(written: &Written, config: &Config) -> Vec<Finding> {
    let mut findings = issuers::ask(written, &config.keys).await;
    // Connections to Airflow belong to one thread.
    findings.extend(LocalSet::new().run_until(airflow::ask(written, config)).await);
    findings
}

/// What came of one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it means.
    pub verdict: Verdict,
    /// What it is about: `keys of entra`.
    pub about: String,
    /// What was asked: `GET https://…`.
    pub asked: String,
    /// What came of it.
    pub found: String,
    /// What should have.
    pub expected: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Legal, and risky.
    Risky,
    /// Neither good nor bad, because nothing could be asked without a change.
    Unshown,
    /// Nobody answered.
    Silent,
    /// It cannot work like that.
    Wrong,
}

impl Finding {
    fn new(
        verdict: Verdict,
        about: impl Into<String>,
        asked: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        let (about, asked, found) = (about.into(), asked.into(), found.into());
        Self { verdict, about, asked, found, expected: None, hint: None }
    }

    fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Risky => "warning",
            Self::Unshown => "not shown",
            Self::Silent => "no answer",
            Self::Wrong => "problem",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { about, asked, found, .. } = self;
        write!(f, "{:<9}  {about}: {asked}: {found}", self.verdict.name())?;
        for (name, text) in [("expected:", &self.expected), ("hint:    ", &self.hint)] {
            if let Some(text) = text {
                write!(f, "\n           {name} {text}")?;
            }
        }
        Ok(())
    }
}
