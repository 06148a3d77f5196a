//! `airside token`: prints a token from the running `dev`.

use std::io::{Write as _, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Builder;

use super::{default_state, exit};
use crate::config::Environment;
use crate::dev::client::{self, ClientError};
use crate::dev::mint::{APP_CLIENT_ID, Caller, MintRequest, Version};

/// Which token to ask for, and whom.
#[derive(Debug, clap::Args)]
pub struct TokenArgs {
    /// A value of the `roles` claim; repeat for several, leave out for a caller without roles.
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,

    /// The person it speaks for, as a short name or as NAME@DOMAIN.
    #[arg(long, value_name = "NAME", default_value = "dev", conflicts_with = "app")]
    user: String,

    /// Speaks for an application instead of a person.
    #[arg(long)]
    app: bool,

    /// Sets a claim to a JSON value, or removes it with `null`: --set 'tid="other"'.
    #[arg(long = "set", value_name = "CLAIM=JSON", value_parser = claim_and_value)]
    set: Vec<(String, Value)>,

    /// How long it is valid.
    #[arg(long = "for", value_name = "DURATION", default_value = "1h",
          value_parser = humantime::parse_duration)]
    lifetime: Duration,

    /// Its format: v1 is what Entra issues for an app registration that nobody changed.
    #[arg(long, value_enum, default_value_t)]
    token_version: Version,

    /// The state file of the running `dev`.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

/// Runs the command.
#[must_use]
pub fn run(args: TokenArgs, environment: &Environment) -> ExitCode {
    let state = args.state.clone().unwrap_or_else(|| default_state(environment));
    match fetch(&state, &args.wanted()) {
        Ok(token) => {
            // A closed pipe is the reader's choice.
            let _ = writeln!(stdout(), "{token}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(stderr(), "airside: {error}");
            ExitCode::from(exit::FAILED)
        }
    }
}

fn fetch(state: &Path, wanted: &MintRequest) -> Result<String, ClientError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(client::token(state, wanted))
}

impl TokenArgs {
    fn wanted(self) -> MintRequest {
        MintRequest {
            caller: if self.app {
                Caller::App(APP_CLIENT_ID.to_owned())
            } else {
                Caller::User(self.user)
            },
            roles: self.roles,
            version: self.token_version,
            lifetime: self.lifetime.as_secs(),
            audience: None,
            set: self.set.into_iter().collect(),
        }
    }
}

fn claim_and_value(text: &str) -> Result<(String, Value), String> {
    let (claim, json) = text.split_once('=').ok_or("expected CLAIM=JSON")?;
    let value = serde_json::from_str(json)
        .map_err(|_| format!("{json} is not JSON; text needs quotes: '{claim}=\"{json}\"'"))?;
    Ok((claim.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Token {
        #[command(flatten)]
        args: TokenArgs,
    }

    #[test]
    fn the_arguments_say_which_token() {
        let words = "token --role Op --role User --app --for 90s --token-version v2 --set exp=null";
        let wanted = Token::try_parse_from(words.split(' ')).unwrap().args.wanted();
        assert_eq!(wanted.caller, Caller::App(APP_CLIENT_ID.to_owned()));
        assert_eq!((wanted.roles.len(), wanted.version, wanted.lifetime), (2, Version::V2, 90));
        assert_eq!(wanted.set.get("exp"), Some(&json!(null)));
        let plain = Token::try_parse_from(["token"]).unwrap().args.wanted();
        assert_eq!(plain, MintRequest::default());
    }

    #[test]
    fn a_claim_that_is_not_json_is_wrong_usage() {
        assert!(claim_and_value("tid=other").unwrap_err().contains(r#"'tid="other"'"#));
        assert!(claim_and_value("tid").is_err());
    }
}
