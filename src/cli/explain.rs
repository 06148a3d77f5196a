//! `airside explain`: what the configuration makes of a token, and why.

use std::io::{IsTerminal as _, Read as _, Write as _, stderr, stdin, stdout};
use std::process::ExitCode;

use tokio::runtime::Builder;

use super::exit;
use crate::clock;
use crate::config::{self, Config, Environment, Overrides};
use crate::explain::request::Asked;
use crate::explain::text::{self, Style};
use crate::explain::{Conclusion, Explanation, Question, explain, json};

/// Which token, and what about it.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// The token, or a whole Authorization header; `-` or nothing: read from standard input, which
    /// keeps it out of the shell's history.
    #[arg(value_name = "TOKEN")]
    token: Vec<String>,

    /// Fetches no keys: what needs them is judged by files and by `keys.cache_dir`, or not at all.
    #[arg(long)]
    offline: bool,

    /// Prints JSON.
    #[arg(long)]
    json: bool,

    /// Says whether this request would pass: --request "GET /api/v2/dags".
    #[arg(long, value_name = "METHOD PATH")]
    request: Option<Asked>,

    #[command(flatten)]
    overrides: Overrides,
}

/// Runs the command.
#[must_use]
pub fn run(args: ExplainArgs, environment: &Environment) -> ExitCode {
    let config = match config::read_to_explain(&args.overrides, environment) {
        Ok(config) => config,
        Err(problems) => {
            let _ = writeln!(stderr(), "airside: {problems}");
            return ExitCode::from(exit::CONFIG);
        }
    };
    let pasted = match pasted(&args.token) {
        Ok(pasted) => pasted,
        Err(why) => {
            let _ = writeln!(stderr(), "airside: {why}");
            return ExitCode::from(exit::USAGE);
        }
    };
    match answer(&config, &pasted, args.request, args.offline) {
        Ok(answer) => {
            print(&answer, args.json, environment);
            ExitCode::from(code(answer.verdict.conclusion()))
        }
        Err(error) => {
            let _ = writeln!(stderr(), "airside: {error}");
            ExitCode::from(exit::FAILED)
        }
    }
}

const fn code(conclusion: Conclusion) -> u8 {
    match conclusion {
        Conclusion::LetIn => exit::FINE,
        Conclusion::Undecided => exit::FAILED,
        Conclusion::Refused => exit::REFUSED,
    }
}

/// From the command line or from standard input, of which no more is read than a token can have.
fn pasted(words: &[String]) -> Result<String, String> {
    let from_stdin = matches!(words, [] | [_]) && words.first().is_none_or(|word| word == "-");
    if !from_stdin {
        return Ok(words.join(" "));
    }
    if words.is_empty() && stdin().is_terminal() {
        let how = "airside explain TOKEN, or airside explain - to paste it (end with Ctrl-D)";
        return Err(format!("a token is needed: {how}"));
    }
    let mut text = Vec::new();
    stdin().take(MOST_READ).read_to_end(&mut text).map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Larger than any token that airside can be told to take.
const MOST_READ: u64 = 4 << 20;

fn answer(
    config: &Config,
    pasted: &str,
    asked: Option<Asked>,
    offline: bool,
) -> std::io::Result<Explanation> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let question = Question { pasted, asked, offline };
    Ok(runtime.block_on(explain(config, question, clock::now())))
}

fn print(answer: &Explanation, as_json: bool, environment: &Environment) {
    let text = if as_json {
        format!("{:#}\n", json::render(answer, code))
    } else {
        text::render(answer, style(environment, stdout().is_terminal()))
    };
    // A closed pipe is the reader's choice.
    let _ = stdout().write_all(text.as_bytes());
}

/// Columns and colours for a terminal alone; no colours where it cannot or somebody does not want
/// them (no-color.org).
fn style(environment: &Environment, columns: bool) -> Style {
    let unwanted = environment.get("NO_COLOR").is_some() || environment.get("TERM") == Some("dumb");
    Style { columns, colours: columns && !unwanted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_a_terminal_whose_owner_wants_them() {
        let environment = Environment::of;
        for (environment, terminal, expected) in [
            (environment(&[("TERM", "xterm")]), true, true),
            (environment(&[]), true, true),
            (environment(&[("NO_COLOR", "1")]), true, false),
            (environment(&[("NO_COLOR", "")]), true, true),
            (environment(&[("TERM", "dumb")]), true, false),
            (environment(&[("TERM", "xterm")]), false, false),
        ] {
            let style = style(&environment, terminal);
            assert_eq!((style.columns, style.colours), (terminal, expected), "{environment:?}");
        }
    }
}
