//! What is left behind when something that cannot happen does: no core, and of a panic its place.

use std::any::Any;
use std::panic;
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::error;

/// From now on memory, which holds tokens and secrets, is not dumped, and panics are logged without
/// what they say of values.
pub fn leave_no_secrets() {
    allow_no_core();
    panic::set_hook(Box::new(|panicked| {
        let place = panicked.location().map(ToString::to_string).unwrap_or_default();
        let current = thread::current();
        let thread = current.name().unwrap_or_default();
        let said = literal(panicked.payload());
        error!(thread, place, said, "a task of airside panicked");
    }));
}

/// One byte, too little for a core in a file. Nothing at all would be no limit for programs that
/// `kernel.core_pattern` pipes cores to; one is what the kernel takes for a limit there, too
/// (`fs/coredump.c`).
fn allow_no_core() {
    let limit = getrlimit(Resource::Core);
    // Lowering a limit is allowed to everybody.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(1), ..limit });
}

/// Words that stand in the program. A message that was put together at run time may have what it
/// was about in it: slicing a text at the wrong place repeats the text.
fn literal(payload: &dyn Any) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("(a message with values)")
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn a_panic_repeats_nothing_that_it_was_about() {
        let token = "header.päyload.signature".to_owned();
        let slicing = catch_unwind(|| token[9..].len());
        let said = slicing.unwrap_err();
        let whole = said.downcast_ref::<String>().unwrap();
        assert!(whole.contains("signature"), "this is what the standard library prints: {whole}");
        assert_eq!(literal(said.as_ref()), "(a message with values)");
        let plain = catch_unwind(|| assert!(token.is_empty(), "no token")).unwrap_err();
        assert_eq!(literal(plain.as_ref()), "no token");
    }
}
