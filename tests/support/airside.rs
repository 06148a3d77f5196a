//! The real executable: started with an environment of its own, watched, ended.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::config::Config;
use super::http::{Request, Response};
use super::wait::{DEADLINE, eventually, within};

/// A running proxy; dropping it kills it.
pub(crate) struct Airside {
    child: Child,
    output: Output,
    pub(crate) proxy: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Keeps the folder with the configuration and its secrets in place.
    config: Mutex<Option<Config>>,
}

/// What an ended process leaves behind.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; none when a signal ended the process.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Everything that was printed.
    pub(crate) fn log(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// What `check --online` printed about this, with what belongs to it.
    pub(crate) fn about(&self, what: &str) -> String {
        let mut lines = self.stdout.lines().skip_while(|line| !line.contains(&format!("  {what}")));
        let first = lines.next().unwrap_or_else(|| panic!("nothing about {what}: {}", self.log()));
        let others = lines.take_while(|line| line.starts_with(' '));
        [first].into_iter().chain(others).collect::<Vec<_>>().join("\n")
    }
}

impl Airside {
    /// Runs `serve` with the configuration and waits until it is ready.
    pub(crate) fn start(config: &Config) -> Self {
        let airside = Self::start_unready(config);
        airside.wait_until_ready();
        airside
    }

    /// Runs `serve` with the configuration and waits for its sockets alone.
    pub(crate) fn start_unready(config: &Config) -> Self {
        let line = config.command_line();
        let args: Vec<&str> = line.iter().map(String::as_str).collect();
        let airside = Self::launch(&args, config.environment());
        *airside.config.lock().unwrap() = Some(config.clone());
        airside
    }

    /// Runs the program with exactly these arguments, and no variables but these and `PATH`.
    pub(crate) fn launch(args: &[&str], env: &[(String, String)]) -> Self {
        Self::of(spawn(args, env, Stdio::null()))
    }

    /// Runs `serve` in this folder, where whoever starts it allows cores of any size.
    pub(crate) fn dumping_into(folder: &Path, config: &Config) -> Self {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "ulimit -c unlimited && exec \"$@\"", "sh"]);
        shell.arg(env!("CARGO_BIN_EXE_airside")).args(config.command_line()).current_dir(folder);
        let airside = Self::of(piped(&mut shell, config.environment(), Stdio::null()));
        airside.wait_until_ready();
        *airside.config.lock().unwrap() = Some(config.clone());
        airside
    }

    fn of(mut child: Child) -> Self {
        let output = Output::collect(&mut child);
        let proxy = listening(&mut child, &output, "proxy");
        let admin = listening(&mut child, &output, "admin");
        Self { child, output, proxy, admin, config: Mutex::default() }
    }

    /// Runs the program to its end, which has to come by itself.
    pub(crate) fn run(args: &[&str], env: &[(String, String)]) -> Ended {
        Self::run_fed(args, env, "")
    }

    /// The same with this on its standard input.
    pub(crate) fn run_fed(args: &[&str], env: &[(String, String)], input: &str) -> Ended {
        let mut child =
            spawn(args, env, if input.is_empty() { Stdio::null() } else { Stdio::piped() });
        if let Some(mut stdin) = child.stdin.take() {
            // Who does not read it to the end has seen enough.
            let _closed = stdin.write_all(input.as_bytes());
        }
        let output = Output::collect(&mut child);
        let ended = within(DEADLINE, || child.try_wait().unwrap());
        if ended.is_none() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let (stdout, stderr) = output.finish();
        assert!(ended.is_some(), "{args:?} did not end by itself:\n{stdout}{stderr}");
        Ended { code: ended.and_then(|status| status.code()), stdout, stderr }
    }

    /// Runs `serve` with a configuration that must be refused.
    pub(crate) fn fails(config: &Config) -> Ended {
        let line = config.command_line();
        let args: Vec<&str> = line.iter().map(String::as_str).collect();
        Self::run(&args, config.environment())
    }

    /// Where a further listener is bound: `execution`.
    pub(crate) fn listener(&mut self, name: &str) -> SocketAddr {
        listening(&mut self.child, &self.output, name)
    }

    /// Runs `check` with the configuration and these arguments behind it.
    pub(crate) fn checks(config: &Config, more: &[&str]) -> Ended {
        let line = config.command_line();
        let flags = line.iter().skip(1).map(String::as_str);
        let args: Vec<&str> =
            ["check"].into_iter().chain(flags).chain(more.iter().copied()).collect();
        Self::run(&args, config.environment())
    }

    /// How many connections were ended for this reason.
    pub(crate) fn ended(&self, reason: &str) -> u64 {
        let name = format!("airside_ended_connections_total{{reason=\"{reason}\"}} ");
        let text = self.ask_admin("/metrics").text();
        let count = text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok());
        count.unwrap_or_else(|| panic!("no {name} in:\n{text}"))
    }

    /// Waits until it is so many: a connection is closed a little before it is counted.
    pub(crate) fn wait_for_ended(&self, reason: &str, count: u64) {
        let counted = within(DEADLINE, || (self.ended(reason) == count).then_some(()));
        assert!(counted.is_some(), "{reason}: {} instead of {count}", self.ended(reason));
    }

    /// What was taken up last.
    pub(crate) fn config(&self) -> Config {
        self.config.lock().unwrap().clone().expect("started with a configuration")
    }

    /// Bends the configuration in force, and waits until the new one is.
    pub(crate) fn changes(&self, hook: impl FnOnce(Config) -> Config) {
        let before = self.count("airside_config_generation");
        let config = hook(self.config());
        config.command_line();
        eventually("the configuration is in force", || {
            (self.count("airside_config_generation") > before).then_some(())
        });
        *self.config.lock().unwrap() = Some(config);
    }

    /// Bends it so that it must be refused, and waits until it is.
    pub(crate) fn refuses(&self, hook: impl FnOnce(Config) -> Config) {
        let rejected = "airside_config_reloads_total{result=\"rejected\"}";
        let before = self.count(rejected);
        hook(self.config()).command_line();
        eventually("the configuration is refused", || {
            (self.count(rejected) > before).then_some(())
        });
    }

    /// The value of a metric, given with its labels.
    pub(crate) fn count(&self, metric: &str) -> u64 {
        let text = self.ask_admin("/metrics").text();
        let value = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
        let value = value.unwrap_or_else(|| panic!("no {metric} in:\n{text}"));
        value.parse().unwrap_or_else(|_| panic!("{metric} is {value}"))
    }

    /// Asks it to read its configuration again.
    pub(crate) fn hang_up(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
    }

    /// Sends a request to the proxy.
    pub(crate) fn ask(&self, request: &Request) -> Response {
        request.send(self.proxy)
    }

    /// Gets a path from the admin listener.
    pub(crate) fn ask_admin(&self, path: &str) -> Response {
        Request::get(path).send(self.admin)
    }

    pub(crate) fn wait_until_ready(&self) {
        eventually("/readyz answers 200", || {
            let answer = Request::get("/readyz").try_send(self.admin).ok()?;
            (answer.status == 200).then_some(())
        });
    }

    /// Everything printed so far.
    pub(crate) fn log(&self) -> String {
        format!("{}{}", self.output.stdout.text(), self.output.stderr.text())
    }

    /// The first printed line that has all of these words.
    pub(crate) fn line_with(&self, words: &[&str]) -> String {
        let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
        let line = within(DEADLINE, || self.log().lines().find(has_all).map(str::to_owned));
        line.unwrap_or_else(|| panic!("no line with {words:?} in:\n{}", self.log()))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The id of its thread of that name.
    pub(crate) fn thread(&self, name: &str) -> Pid {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let mut threads = threads.map(|thread| thread.unwrap().path());
        let named = |path: &PathBuf| fs::read_to_string(path.join("comm")).unwrap().trim() == name;
        let path = threads.find(named).unwrap_or_else(|| panic!("no thread {name}"));
        Pid::from_raw(path.file_name().unwrap().to_str().unwrap().parse().unwrap()).unwrap()
    }

    /// What it keeps in memory at this moment, in KiB.
    pub(crate) fn memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Asks it to end, as Kubernetes does.
    pub(crate) fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Whether it ended already.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it ended, at most that long.
    pub(crate) fn ended_within(mut self, limit: Duration) -> Ended {
        let status = within(limit, || self.child.try_wait().unwrap());
        let Some(status) = status else { panic!("still running:\n{}", self.log()) };
        let (stdout, stderr) = self.output.take().finish();
        Ended { code: status.code(), stdout, stderr }
    }

    /// Has it abort, as the kernel or an allocator would.
    pub(crate) fn abort(self) -> Ended {
        kill_process(Pid::from_child(&self.child), Signal::ABORT).unwrap();
        self.ended_within(DEADLINE)
    }

    /// Ends it and hands over all it printed.
    pub(crate) fn finish(self) -> Ended {
        self.terminate();
        self.ended_within(DEADLINE)
    }
}

impl Drop for Airside {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
    }
}

fn spawn(args: &[&str], env: &[(String, String)], stdin: Stdio) -> Child {
    piped(Command::new(env!("CARGO_BIN_EXE_airside")).args(args), env, stdin)
}

fn piped(command: &mut Command, env: &[(String, String)], stdin: Stdio) -> Child {
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The address in the line that says that this listener is bound, be it text or JSON.
fn listening(child: &mut Child, output: &Output, listener: &str) -> SocketAddr {
    let address = within(DEADLINE, || {
        let found = output.stdout.text().lines().find_map(|line| address_in(line, listener));
        (found.is_some() || child.try_wait().unwrap().is_some()).then_some(found)
    });
    address.flatten().unwrap_or_else(|| {
        let _ended_already = child.kill();
        let log = format!("{}{}", output.stdout.text(), output.stderr.text());
        panic!("no line `listening listener={listener} address=…` on stdout:\n{log}")
    })
}

fn address_in(line: &str, listener: &str) -> Option<SocketAddr> {
    if let Ok(line) = serde_json::from_str::<serde_json::Value>(line) {
        let said = line["message"] == "listening" && line["listener"] == listener;
        return said.then(|| line["address"].as_str()?.parse().ok()).flatten();
    }
    let text = format!("listening listener={listener} address=");
    let (_, address) = line.split_once(&text)?;
    address.split(' ').next()?.parse().ok()
}

/// Both pipes, read to their ends by a thread each.
#[derive(Default)]
struct Output {
    stdout: Pipe,
    stderr: Pipe,
}

impl Output {
    fn collect(child: &mut Child) -> Self {
        Self {
            stdout: Pipe::read(child.stdout.take().unwrap()),
            stderr: Pipe::read(child.stderr.take().unwrap()),
        }
    }

    fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    fn finish(self) -> (String, String) {
        (self.stdout.finish(), self.stderr.finish())
    }
}

#[derive(Default)]
struct Pipe {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Pipe {
    fn read(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let reader = thread::spawn({
            let text = Arc::clone(&text);
            move || {
                let mut pipe = BufReader::new(pipe);
                let mut line = Vec::new();
                while matches!(pipe.read_until(b'\n', &mut line), Ok(1..)) {
                    text.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                    line.clear();
                }
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    fn finish(self) -> String {
        if let Some(reader) = self.reader {
            reader.join().unwrap();
        }
        Arc::into_inner(self.text).unwrap().into_inner().unwrap()
    }
}
