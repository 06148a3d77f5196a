//! Every input that the fuzzer starts from, and every one that it has found, without the fuzzer.
//!
//! What each has to keep to stands in `fuzz/targets`. The name of an input begins with what has to
//! become of it: `accepted.entra-v1-app`, `token_expired.by-the-leeway`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a target ends where a promise is broken"
)]

use std::fs;
use std::path::Path;

#[path = "../fuzz/targets/authorization.rs"]
mod authorization;
#[path = "../fuzz/targets/config.rs"]
mod config;
#[path = "../fuzz/targets/headers.rs"]
mod headers;
#[path = "../fuzz/targets/jwks.rs"]
mod jwks;
#[path = "../fuzz/targets/path.rs"]
mod path;
#[path = "../fuzz/targets/token/mod.rs"]
mod token;

#[test]
fn a_request_carries_one_well_formed_bearer_token_or_none_that_counts() {
    replay("authorization", authorization::run);
}

#[test]
fn a_configuration_is_taken_only_with_everything_that_is_needed() {
    replay("config", config::run);
}

#[test]
fn no_header_that_could_be_taken_for_one_of_ours_passes() {
    replay("headers", headers::run);
}

#[test]
fn a_key_is_used_only_if_it_verifies_signatures_and_nothing_else() {
    replay("jwks", jwks::run);
}

#[test]
fn a_path_opens_by_its_bytes_as_they_came_or_not_at_all() {
    replay("path", path::run);
}

#[test]
fn a_token_is_accepted_only_from_its_own_issuer_saying_what_it_must() {
    replay("token", token::run);
}

fn replay(target: &str, run: fn(&[u8]) -> &'static str) {
    let seeds = inputs("corpus", target);
    assert!(!seeds.is_empty());
    for (name, input) in seeds {
        println!("corpus/{target}/{name}");
        assert_eq!(Some(run(&input)), name.split('.').next());
    }
    for (name, input) in inputs("findings", target) {
        println!("findings/{target}/{name}");
        run(&input);
    }
}

/// The files of `fuzz/{kind}/{target}`; none where the fuzzer has found nothing.
fn inputs(kind: &str, target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind).join(target);
    let entries = fs::read_dir(folder).into_iter().flatten().map(Result::unwrap);
    let read = |entry: fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    };
    entries.map(read).collect()
}
