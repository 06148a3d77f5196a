//! The upstream that `dev` starts itself: a command such as `airflow standalone` in a process
//! group of its own, so that it ends with everything it started.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

/// How often a stopping group is looked at.
const POLL: Duration = Duration::from_millis(50);

/// How long the kernel gets to end what was killed, so that its port is free afterwards.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// What Airflow 3 must be told to sit behind airside.
///
/// `secret` signs the tokens handed over, `address` is where Airflow is to listen, `proxy_url`
/// where people reach it.
pub fn airflow_environment(
    secret: &str,
    address: SocketAddr,
    proxy_url: &str,
) -> Vec<(&'static str, String)> {
    let simple = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager";
    vec![
        ("AIRFLOW__API_AUTH__JWT_SECRET", secret.to_owned()),
        // The hand-off: its audience, and the auth manager that reads roles from the token.
        ("AIRFLOW__API_AUTH__JWT_AUDIENCE", "apache-airflow".to_owned()),
        ("AIRFLOW__CORE__AUTH_MANAGER", simple.to_owned()),
        ("AIRFLOW__API__HOST", address.ip().to_string()),
        ("AIRFLOW__API__PORT", address.port().to_string()),
        ("AIRFLOW__API__BASE_URL", proxy_url.to_owned()),
        // Otherwise derived from the base URL: tasks would come back through the proxy.
        ("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", format!("http://{address}/execution/")),
        ("FORWARDED_ALLOW_IPS", address.ip().to_string()),
    ]
}

/// A running command with its process group, which is killed if this is dropped.
pub struct Child {
    process: tokio::process::Child,
    group: Option<Pid>,
}

impl Child {
    /// Starts `command` with `environment` on top of ours, its output going where ours goes.
    pub fn start(
        program: &OsString,
        arguments: &[OsString],
        environment: Vec<(&'static str, String)>,
    ) -> io::Result<Self> {
        let process = Command::new(program)
            .args(arguments)
            .envs(environment)
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()?;
        let id = process.id().and_then(|id| i32::try_from(id).ok());
        Ok(Self { process, group: id.and_then(Pid::from_raw) })
    }

    /// Resolves when the command ends by itself.
    pub async fn exited(&mut self) -> io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Asks the whole group to end, and ends what is left of it after `grace`.
    pub async fn stop(mut self, grace: Duration) {
        self.signal(Signal::TERM);
        self.wait_for_group(grace).await;
        self.signal(Signal::KILL);
        self.wait_for_group(KILL_GRACE).await;
    }

    async fn wait_for_group(&mut self, at_most: Duration) {
        let deadline = Instant::now() + at_most;
        while self.is_running() && Instant::now() < deadline {
            sleep(POLL).await;
        }
    }

    /// Whether anything of the group is left; the leader is reaped on the way.
    fn is_running(&mut self) -> bool {
        let _ = self.process.try_wait();
        // A group of which we may not signal anybody is still there.
        let gone = |group| test_kill_process_group(group) == Err(Errno::SRCH);
        if self.group.is_some_and(gone) {
            self.group = None;
        }
        self.group.is_some()
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // The only failure is that the group is gone, which is what we want.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn shell(script: &str) -> Child {
        let arguments = ["-c".into(), script.into()];
        Child::start(&"sh".into(), &arguments, vec![("GREETING", "hello".to_owned())]).unwrap()
    }

    async fn written(path: &Path) -> String {
        loop {
            match std::fs::read_to_string(path) {
                Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
                _ => sleep(Duration::from_millis(5)).await,
            }
        }
    }

    fn is_alive(pid: &str) -> bool {
        rustix::process::test_kill_process(Pid::from_raw(pid.parse().unwrap()).unwrap()).is_ok()
    }

    #[tokio::test]
    async fn the_environment_arrives_and_the_exit_is_reported() {
        let status = shell("test \"$GREETING\" = hello && exit 3").exited().await.unwrap();
        assert_eq!(status.code(), Some(3));
    }

    #[tokio::test]
    async fn stopping_ends_grandchildren_that_ignore_the_request() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let child = shell(&format!(
            "(trap '' TERM; sleep 60 & echo $! > {}; wait; sleep 60) & wait",
            file.display()
        ));
        let grandchild = written(&file).await;
        assert!(is_alive(&grandchild));
        let stopping = Instant::now();
        child.stop(Duration::from_millis(200)).await;
        assert!(stopping.elapsed() < Duration::from_secs(10));
        // Killed, but perhaps not yet reaped by init.
        let stat = std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
        assert!(!is_alive(&grandchild) || stat.contains(") Z "), "{stat}");
    }

    #[tokio::test]
    async fn a_polite_group_is_not_waited_for() {
        let child = shell("sleep 60 & wait");
        let stopping = Instant::now();
        child.stop(Duration::from_mins(1)).await;
        assert!(stopping.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn airflow_is_told_where_it_listens_and_where_people_reach_it() {
        let address = "127.0.0.1:8081".parse().unwrap();
        let environment = airflow_environment("s3cret", address, "http://127.0.0.1:8080");
        for expected in [
            ("AIRFLOW__API_AUTH__JWT_SECRET", "s3cret"),
            ("AIRFLOW__API__PORT", "8081"),
            ("AIRFLOW__API__BASE_URL", "http://127.0.0.1:8080"),
            ("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "http://127.0.0.1:8081/execution/"),
        ] {
            assert!(environment.contains(&(expected.0, expected.1.to_owned())), "{expected:?}");
        }
    }
}
