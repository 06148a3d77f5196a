//! airside: a reverse proxy that verifies who is calling Apache Airflow and says so in a form that
//! stock Airflow accepts.
//!
//! The path of a request, one step after the other ([`proxy`] is the sentence itself):
//!
//! 1. [`downstream`] accepts the connection and reads the head, in bounded size and time.
//! 2. [`sanitize`] removes what only airside may say.
//! 3. [`route`] knows which rule the path falls under; what is not listed is protected.
//! 4. [`credential`] finds exactly one bearer token.
//! 5. [`token`] verifies it against the keys in [`jwks`] and the list of [`revocation`]; [`caller`]
//!    remembers the verdict.
//! 6. [`identity`] turns the claims into a user name and Airflow roles.
//! 7. [`policy`] decides whether this caller may make this request.
//! 8. [`handoff`] tells Airflow who is calling; nothing else makes a request that it may see. Or it
//!    gives the caller a token, where [`token_exchange`] has read that one is asked for.
//! 9. [`upstream`] forwards it and cleans the response; [`answer`] streams it back.
//! 10. [`rejection`] is what a caller gets when a step says no; [`failures`] counts how often a
//!     client was told that about its credentials.
//!
//! [`forward_auth`] walks it for another proxy, to which it answers what the hand-off made.
//!
//! Around the path: [`config`] (what is written, and the valid settings made of it), [`app`] (from
//! settings to bound sockets and back), [`generation`] (what of it can be replaced while requests
//! run) and [`watch`] (when), [`check`] (a rehearsal of it), [`admin`], [`telemetry`], [`shutdown`],
//! [`crash`], [`clock`], [`alarm`], [`loopback`], [`secret`], [`pem`], [`shell`], the commands in [`cli`],
//! [`explain`] (the same path for a token whose owner wants to know why), and,
//! for development only, `dev`.

pub mod admin;
pub mod alarm;
pub mod answer;
pub mod app;
pub mod caller;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crash;
pub mod credential;
#[cfg(feature = "dev")]
pub mod dev;
pub mod downstream;
pub mod explain;
pub mod failures;
pub mod forward_auth;
pub mod generation;
pub mod handoff;
pub mod identity;
pub mod jwks;
pub mod loopback;
pub mod pem;
pub mod policy;
pub mod proxy;
pub mod rejection;
pub mod revocation;
pub mod route;
pub mod sanitize;
pub mod secret;
pub mod shell;
pub mod shutdown;
pub mod telemetry;
pub mod token;
pub mod token_exchange;
pub mod upstream;
pub mod watch;
