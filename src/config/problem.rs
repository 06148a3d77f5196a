//! What is wrong with a configuration, said so that it can be mended: place, found, expected, hint.
//! And what is legal but risky: place, found, why, hint.

use std::fmt;
use std::path::Path;

use super::schema::purpose;
use super::tree::Tree;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, as `issuers[0].tenant`.
    pub key: String,
    /// Where it was written: file, line and column, flag or variable.
    pub place: String,
    /// What stands there.
    pub found: String,
    /// What should.
    pub expected: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Everything that is wrong, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems.
    #[must_use]
    pub fn all(&self) -> &[Problem] {
        &self.0
    }
}

/// One thing that is legal and may be meant, but has a risk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The key, as `access.password_login`.
    pub key: String,
    /// Where it was written, or would be.
    pub place: String,
    /// What stands there.
    pub found: String,
    /// Why it matters.
    pub why: String,
    /// What to do, unless it is meant.
    pub hint: String,
}

impl From<Vec<Problem>> for Problems {
    fn from(problems: Vec<Problem>) -> Self {
        Self(problems)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.key.is_empty() { "(the whole)" } else { &self.key };
        writeln!(f, "{}: {key}", self.place)?;
        writeln!(f, "    found:    {}", self.found)?;
        write!(f, "    expected: {}", self.expected)?;
        match &self.hint {
            Some(hint) => write!(f, "\n    hint:     {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.place, self.key)?;
        writeln!(f, "    found:    {}", self.found)?;
        writeln!(f, "    why:      {}", self.why)?;
        write!(f, "    hint:     {}", self.hint)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        write!(f, "the configuration has {count} {noun}")?;
        for problem in &self.0 {
            write!(f, "\n\n{problem}")?;
        }
        Ok(())
    }
}

/// Collects problems and warnings while a configuration is read.
#[derive(Debug)]
pub struct Findings<'t> {
    tree: &'t Tree,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl<'t> Findings<'t> {
    /// No findings yet about `tree`.
    #[must_use]
    pub const fn about(tree: &'t Tree) -> Self {
        Self { tree, problems: Vec::new(), warnings: Vec::new() }
    }

    /// The same, beginning with what is wrong already.
    #[must_use]
    pub const fn beginning_with(tree: &'t Tree, problems: Vec<Problem>) -> Self {
        Self { tree, problems, warnings: Vec::new() }
    }

    /// The problems until now, in the order of the file.
    #[must_use]
    pub fn problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| self.tree.position(&problem.key));
        self.problems
    }

    /// Adds a problem with the value at `key`, unless there is one with it or with a part of it
    /// already: the second would be the first's echo. Without a hint, what the setting is for is one.
    pub fn add(
        &mut self,
        key: &str,
        found: impl Into<String>,
        expected: impl Into<String>,
        hint: Option<&str>,
    ) {
        let part = |known: &str| {
            known
                .strip_prefix(key)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        if self.problems.iter().any(|known| part(&known.key)) {
            return;
        }
        self.problems.push(Problem {
            key: key.to_owned(),
            place: self.tree.place(key),
            found: self.without_secret(key, found.into()),
            expected: expected.into(),
            hint: hint.map(str::to_owned).or_else(|| purpose(key, &self.tree.root)),
        });
    }

    /// A variable may hold the secret itself where the name of its file belongs: unless there is such
    /// a file, nobody is to read its value in a log.
    fn without_secret(&self, key: &str, found: String) -> String {
        match self.tree.given_by_variable(key) {
            Some((text, written))
                if key.ends_with("file") && !text.is_empty() && !Path::new(text).exists() =>
            {
                let escaped = text.escape_debug().to_string();
                found.replace(text, &written).replace(&escaped, &written)
            }
            _ => found,
        }
    }

    /// Adds a warning of the value at `key`, unless there is a problem with it.
    pub fn warn(&mut self, key: &str, found: impl Into<String>, why: &str, hint: &str) {
        if self.has_problem(key) {
            return;
        }
        self.warnings.push(Warning {
            key: key.to_owned(),
            place: self.tree.place(key),
            found: found.into(),
            why: why.to_owned(),
            hint: hint.to_owned(),
        });
    }

    /// Whether something is wrong with the value at `key`.
    #[must_use]
    pub fn has_problem(&self, key: &str) -> bool {
        self.problems.iter().any(|problem| problem.key == key)
    }

    /// The value at `key` for a message, and whether anybody said so.
    #[must_use]
    pub fn said(&self, key: &str, value: &str) -> String {
        if self.tree.has(key) { value.to_owned() } else { format!("{value}, by default") }
    }

    /// The warnings until now, in the order of the file.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        self.warnings.sort_by_key(|warning| self.tree.position(&warning.key));
        std::mem::take(&mut self.warnings)
    }

    /// The value of `result`, or a problem whose `found` is the error.
    pub fn take<T>(
        &mut self,
        key: &str,
        result: Result<T, impl fmt::Display>,
        expected: &str,
    ) -> Option<T> {
        result.map_err(|error| self.add(key, error.to_string(), expected, None)).ok()
    }

    /// `value`, unless something is wrong.
    pub fn conclude<T>(self, value: Option<T>) -> Result<T, Problems> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(Problems(self.problems())),
        }
    }
}
