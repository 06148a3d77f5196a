//! The Python programs that tests/airflow/setup.py installed, run in an environment made here.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A program of the Python environment `server` or `clients` that tests/airflow/setup.py built.
pub(crate) fn program(environment: &str, name: &str) -> PathBuf {
    built().join(environment).join("bin").join(name)
}

/// A file or folder that belongs to these tests.
pub(crate) fn beside_the_tests(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/airflow").join(name)
}

/// A command whose environment is made here: what is set around the tests does not reach it.
pub(crate) fn command(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", home)
        .env("AIRFLOW_HOME", home)
        .env("LANG", "C.UTF-8")
        .env("TZ", "UTC")
        .current_dir(home)
        .stdin(Stdio::null());
    command
}

/// What tests/airflow/setup.py has built.
pub(crate) fn built() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/airflow")
}

/// What a program printed; fails the test when it failed.
pub(crate) fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}\n{}\n{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}
