//! `airside dev`: the proxy on this machine, with an issuer that imitates Entra and, unless told
//! otherwise, an upstream that imitates Airflow.

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::fmt::Display;
use std::future::pending;
use std::io::{self, Write as _, stderr};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::error::ErrorKind;
use http::uri::Scheme;
use http::{Request, Uri};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::time::sleep;

use super::{default_state, exit};
use crate::app::App;
use crate::clock;
use crate::config::tree::Tree;
use crate::config::{self, Environment};
use crate::dev::assertion::Credentials;
use crate::dev::banner::Banner;
use crate::dev::certificate::Tls;
use crate::dev::child::{Child, airflow_environment};
use crate::dev::directory::Directory;
use crate::dev::handout::{self, Content, Files};
use crate::dev::issuer::Issuer;
use crate::dev::mint::{API_CLIENT_ID, MintSecret, TENANT_ID, random_id};
use crate::dev::sample::Sample;
use crate::dev::serve::{serve, serve_tls};
use crate::dev::state::{PrivateFile, State};
use crate::loopback::is_loopback_authority;
use crate::secret::Secret;
use crate::shutdown::Signals;
use crate::telemetry::logging::{Format, Logging};

/// How often a child that starts is looked for.
const POLL: Duration = Duration::from_millis(250);

/// How long the child gets to end; Airflow takes about five seconds.
const CHILD_GRACE: Duration = Duration::from_secs(15);

/// Random bytes of the hand-off secret: as text more than the 64 that HS512 wants.
const SECRET_BYTES: usize = 64;

/// What to run, and where.
#[derive(Debug, clap::Args)]
pub struct DevArgs {
    /// An Airflow that is running already; without it and CMD, a built-in sample.
    #[arg(long, value_name = "URL", value_parser = web_address, conflicts_with = "command")]
    upstream: Option<Uri>,
    /// Allow an upstream on another machine.
    #[arg(long)]
    allow_remote: bool,
    /// The file with that Airflow's `[api_auth] jwt_secret` (default: one made for this run).
    #[arg(long, value_name = "FILE")]
    airflow_jwt_secret_file: Option<PathBuf>,
    /// Where callers connect, on this machine only.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = loopback_address)]
    #[arg(default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the issuer listens, on this machine only.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = loopback_address)]
    #[arg(default_value = "127.0.0.1:8082")]
    issuer_listen: SocketAddr,
    /// Where the issuer also serves TLS, which Microsoft's clients need (default: a free port of
    /// 127.0.0.1; what is printed says which).
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = loopback_address)]
    #[arg(default_value = "127.0.0.1:0", hide_default_value = true)]
    issuer_tls_listen: SocketAddr,
    /// Where CMD is told to listen, on this machine only.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = loopback_address)]
    #[arg(default_value = "127.0.0.1:8081")]
    child_listen: SocketAddr,
    /// Where `airside token` finds this run (default: below `$XDG_RUNTIME_DIR`, else in
    /// the temporary folder).
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Maps a role value of tokens to an Airflow role; may be repeated.
    #[arg(long, value_name = "VALUE=ROLE", value_parser = mapping)]
    role: Vec<(String, String)>,
    /// How log lines look: text or json.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: String,
    /// From which level on is logged: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
    /// Starts this as the upstream, told how to sit behind airside: -- airflow standalone
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs the command.
#[must_use]
pub fn run(args: &DevArgs, environment: &Environment) -> ExitCode {
    if let Some(remote) = args.remote_upstream() {
        let text = format!("{remote} is on another machine: allow that with --allow-remote\n");
        let _ = clap::Error::raw(ErrorKind::ValueValidation, text).print();
        return ExitCode::from(exit::USAGE);
    }
    match start(args, environment) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(stderr(), "airside: {error}");
            ExitCode::from(exit::FAILED)
        }
    }
}

fn start(args: &DevArgs, environment: &Environment) -> Result<ExitCode, Box<dyn Error>> {
    let control = Builder::new_current_thread().enable_all().thread_name("airside").build()?;
    let ended = control.block_on(dev(args, environment));
    control.shutdown_background();
    ended
}

async fn dev(args: &DevArgs, environment: &Environment) -> Result<ExitCode, Box<dyn Error>> {
    let mut signals = Signals::take_over()?;
    let state_path = args.state.clone().unwrap_or_else(|| default_state(environment));
    // The commands to paste hold in any folder.
    let state_path = std::path::absolute(state_path)?;
    State::refuse_if_running(&state_path).map_err(about(&state_path))?;
    let issuer = bind(args.issuer_listen, "--issuer-listen").await?;
    let issuer_tls = bind(args.issuer_tls_listen, "--issuer-tls-listen").await?;
    let secret = HandoffSecret::of(args, &state_path)?;
    let upstream = Upstream::of(args, &secret.value).await?;
    let written = args.written(&web(issuer.local_addr()?), &upstream.url(), &secret.path);
    // JSON is YAML.
    let tree = Tree::parse("(airside dev)", &written.to_string())?;
    let config = match config::from_tree(&tree) {
        Ok(config) => config,
        Err(problems) => {
            let _ = writeln!(stderr(), "airside: {problems}");
            return Ok(ExitCode::from(exit::CONFIG));
        }
    };
    let logging = Logging::start(config.log_format, config.log_level);
    logging.listening("issuer", issuer.local_addr()?);
    logging.listening("issuer_tls", issuer_tls.local_addr()?);
    let app = App::start(config, None, &logging).await?;

    let mint_secret = MintSecret::generate()?;
    let state = State {
        issuer: web(issuer.local_addr()?),
        issuer_tls: format!("https://{}", issuer_tls.local_addr()?),
        mint_secret: mint_secret.expose().to_owned(),
        proxy: web(app.proxy()),
        pid: std::process::id(),
        files: Files::beside(&state_path),
    };
    let _handed_out = imitate(args, mint_secret, (issuer, issuer_tls), &state, &written)?;
    let _published = state.publish(&state_path).map_err(about(&state_path))?;

    let mut child = args.start_child(&upstream, &secret.value, &state.proxy)?;
    let status = web(app.admin());
    let banner = |upstream: &str| args.banner(&state, &state_path, &status, upstream);
    print(&logging, &banner(&upstream.described(args, &secret.path))?);
    let ready = banner(&format!("{}  ready", upstream.url()))?;
    let code = tokio::select! {
        () = signals.next() => ExitCode::SUCCESS,
        code = ended(child.as_mut()) => code,
        code = async {
            upstream.accepting().await;
            print(&logging, &ready);
            pending().await
        } => code,
    };
    app.drain(&mut signals).await;
    if let Some(child) = child {
        tokio::select! {
            () = child.stop(CHILD_GRACE) => {}
            () = signals.next() => {}
        }
    }
    Ok(code)
}

/// Serves the issuer on both listeners, and hands out what Microsoft's clients need for it.
fn imitate(
    args: &DevArgs,
    secret: MintSecret,
    (plain, tls): (TcpListener, TcpListener),
    state: &State,
    written: &Value,
) -> Result<Vec<PrivateFile>, Box<dyn Error>> {
    let certificate = Tls::generate(tls.local_addr()?.ip())?;
    let credentials = Credentials::generate(secret)?;
    let content = Content {
        ca: &certificate.ca_pem,
        client_certificate: &credentials.certificate.pem(),
        federated_token: &credentials.federation.token(clock::now().unix())?,
        config: &format!("# Made by `airside dev`, for this run.\n{written:#}\n"),
    };
    let handed_out = handout::write(state, &content)?;

    let issuer = Arc::new(Issuer::new(Directory::new(|role| args.value_for(role)), credentials)?);
    let answer = |scheme: Scheme| {
        let issuer = Arc::clone(&issuer);
        move |request: &Request<Bytes>| issuer.answer(&scheme, request, clock::now().unix())
    };
    tokio::spawn(serve(plain, answer(Scheme::HTTP)));
    tokio::spawn(serve_tls(tls, certificate.config, answer(Scheme::HTTPS)));
    Ok(handed_out)
}

/// What requests go to.
enum Upstream {
    /// The built-in sample.
    Sample(SocketAddr),
    /// A server that is running already.
    Given(Uri),
    /// The child, once it listens.
    Child(SocketAddr),
}

impl Upstream {
    /// Starts the sample where it is needed, and finds the child's address free.
    async fn of(args: &DevArgs, secret: &Secret) -> Result<Self, Box<dyn Error>> {
        if let Some(url) = &args.upstream {
            return Ok(Self::Given(url.clone()));
        }
        if !args.command.is_empty() {
            return Ok(Self::Child(bind(args.child_listen, "--child-listen").await?.local_addr()?));
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let sample = Sample::new(secret.expose());
        tokio::spawn(serve(listener, move |request| sample.answer(request, clock::now().unix())));
        Ok(Self::Sample(address))
    }

    fn url(&self) -> String {
        match self {
            Self::Sample(address) | Self::Child(address) => web(*address),
            Self::Given(url) => url.to_string(),
        }
    }

    fn described(&self, args: &DevArgs, secret: &Path) -> String {
        let url = self.url();
        match self {
            Self::Sample(_) => format!("{url}  a built-in sample that imitates Airflow"),
            Self::Given(_) => {
                let secret = secret.display();
                format!("{url}  its [api_auth] jwt_secret must be the content of {secret}")
            }
            Self::Child(_) => {
                format!("{url}  starting: {}", args.command.join(" ".as_ref()).display())
            }
        }
    }

    /// Resolves when the child listens; never for any other upstream.
    async fn accepting(&self) {
        let Self::Child(address) = self else { return pending().await };
        while TcpStream::connect(address).await.is_err() {
            sleep(POLL).await;
        }
    }
}

/// The secret that signs what Airflow is told, and the file from which the configuration reads it.
struct HandoffSecret {
    value: Secret,
    path: PathBuf,
    /// The file, if it is ours to remove.
    _made: Option<PrivateFile>,
}

impl HandoffSecret {
    fn of(args: &DevArgs, state_path: &Path) -> Result<Self, Box<dyn Error>> {
        if let Some(path) = &args.airflow_jwt_secret_file {
            let value = Secret::load(path).map_err(about(path))?;
            return Ok(Self { value, path: std::path::absolute(path)?, _made: None });
        }
        let mut path = state_path.as_os_str().to_owned();
        path.push(".secret");
        let path = PathBuf::from(path);
        let value = random_id(SECRET_BYTES)?;
        let made = PrivateFile::create(&path, value.as_bytes()).map_err(about(&path))?;
        Ok(Self { value: Secret::new(value.as_bytes()), path, _made: Some(made) })
    }
}

impl DevArgs {
    fn remote_upstream(&self) -> Option<&Uri> {
        let is_local =
            |url: &Uri| url.authority().is_some_and(|a| is_loopback_authority(a.as_str()));
        self.upstream.as_ref().filter(|url| !self.allow_remote && !is_local(url))
    }

    /// The configuration of this run: what `serve` would be given for Entra and Airflow, but with
    /// keys from our issuer, an admin port out of the way, and an end without waiting.
    fn written(&self, issuer: &str, upstream: &str, secret: &Path) -> Value {
        let mut map: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (value, role) in &self.role {
            map.entry(value).or_default().push(role);
        }
        json!({
            "listen": self.listen.to_string(),
            "admin": {"listen": "127.0.0.1:0"},
            "upstream": {"url": upstream},
            "issuers": [
                {"name": "entra", "type": "entra", "tenant": TENANT_ID,
                 "client_id": API_CLIENT_ID, "authority": issuer},
                {"name": "airflow", "type": "airflow", "secret_file": secret},
            ],
            "handoff": {"type": "airflow_token", "secret_file": secret},
            "roles": {"map": Some(map).filter(|map| !map.is_empty())},
            "drain": {"delay": "0s", "timeout": "5s"},
            "log": {"format": self.log_format, "level": self.log_level},
        })
    }

    fn start_child(
        &self,
        upstream: &Upstream,
        secret: &Secret,
        proxy_url: &str,
    ) -> Result<Option<Child>, Box<dyn Error>> {
        let (Upstream::Child(address), Some((program, arguments))) =
            (upstream, self.command.split_first())
        else {
            return Ok(None);
        };
        let secret = std::str::from_utf8(secret.expose())?;
        let environment = airflow_environment(secret, *address, proxy_url);
        let child = Child::start(program, arguments, environment);
        Ok(Some(child.map_err(about(program.as_ref()))?))
    }

    fn banner(
        &self,
        state: &State,
        state_path: &Path,
        status: &str,
        upstream: &str,
    ) -> io::Result<String> {
        let banner = Banner {
            proxy: &state.proxy,
            status,
            issuer: &state.issuer,
            issuer_tls: &state.issuer_tls,
            ca_file: &state.files.ca_file,
            environment_file: &state.files.environment_file,
            config_file: &state.files.config_file,
            upstream,
            program: &std::env::current_exe()?,
            state: state_path,
            state_is_default: self.state.is_none(),
            admin: self.value_for("Admin"),
            viewer: self.value_for("Viewer"),
            op: self.value_for("Op").is_some(),
        };
        Ok(banner.to_string())
    }

    /// A value of `roles` that is mapped to `role`; without a map each role stands for itself.
    fn value_for<'a>(&'a self, role: &'a str) -> Option<&'a str> {
        if self.role.is_empty() {
            return Some(role);
        }
        let mapped = self.role.iter().find(|(_, to)| to == role);
        mapped.map(|(value, _)| value.as_str())
    }
}

/// Resolves when the child has ended by itself, which ends `dev` as well.
async fn ended(child: Option<&mut Child>) -> ExitCode {
    let Some(child) = child else { return pending().await };
    let how = match child.exited().await {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    let _ = writeln!(stderr(), "airside: the upstream ended ({how}), and so does dev");
    ExitCode::from(exit::FAILED)
}

/// Prints to where the log goes, after what is already on its way; where that is JSON, to stderr.
fn print(logging: &Logging, text: &str) {
    let _ = match logging.format() {
        Format::Text => logging.writer().write_all(text.as_bytes()),
        Format::Json => stderr().write_all(text.as_bytes()),
    };
}

/// Binds a listener; an error names the flag that chooses another address.
async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener, String> {
    let said = |error| format!("{address}: {error}; choose another address with {flag}");
    TcpListener::bind(address).await.map_err(said)
}

fn web(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Puts the file in front of what is wrong with it.
fn about<E: Display>(path: &Path) -> impl Fn(E) -> String {
    move |error| format!("{}: {error}", path.display())
}

fn loopback_address(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "expected ADDRESS:PORT")?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err("dev serves this machine only: a loopback address such as 127.0.0.1".to_owned())
}

fn web_address(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|_| "not a URL")?;
    if url.scheme().is_some() && url.host().is_some() {
        return Ok(url);
    }
    Err("expected a URL such as http://127.0.0.1:8081".to_owned())
}

fn mapping(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((value, role)) if !value.is_empty() && !role.is_empty() => {
            Ok((value.to_owned(), role.to_owned()))
        }
        _ => Err("expected VALUE=ROLE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Dev {
        #[command(flatten)]
        args: DevArgs,
    }

    fn parsed(words: &[&str]) -> Result<DevArgs, ErrorKind> {
        let words = ["dev"].iter().chain(words);
        Dev::try_parse_from(words).map(|dev| dev.args).map_err(|error| error.kind())
    }

    #[test]
    fn it_listens_on_this_machine_only() {
        for flag in ["--listen", "--issuer-listen", "--issuer-tls-listen", "--child-listen"] {
            assert!(parsed(&[flag, "127.0.0.1:0"]).is_ok());
            assert!(parsed(&[flag, "[::1]:0"]).is_ok());
            for refused in ["0.0.0.0:8080", "[::]:8080", "10.0.0.1:1", "8080"] {
                assert_eq!(parsed(&[flag, refused]).unwrap_err(), ErrorKind::ValueValidation);
            }
        }
    }

    #[test]
    fn an_upstream_elsewhere_needs_permission() {
        let remote = |words: &[&str]| parsed(words).unwrap().remote_upstream().is_some();
        assert!(!remote(&[]));
        assert!(!remote(&["--upstream", "http://localhost:8081/af"]));
        assert!(remote(&["--upstream", "http://airflow.example"]));
        assert!(!remote(&["--upstream", "http://airflow.example", "--allow-remote"]));
        let both = parsed(&["--upstream", "http://localhost:1", "--", "airflow", "standalone"]);
        assert_eq!(both.unwrap_err(), ErrorKind::ArgumentConflict);
    }

    #[test]
    fn its_configuration_holds_with_and_without_a_role_map() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state.json");
        for words in [&[][..], &["--role", "admins=Admin", "--role", "admins=Op"]] {
            let args = parsed(words).unwrap();
            let secret = HandoffSecret::of(&args, &state).unwrap();
            let (issuer, upstream) = ("http://127.0.0.1:8082", "http://127.0.0.1:8081");
            let written = args.written(issuer, upstream, &secret.path).to_string();
            let config = config::from_tree(&Tree::parse("", &written).unwrap()).unwrap();
            assert_eq!(config.listen, args.listen);
        }
    }

    #[test]
    fn the_commands_to_paste_use_values_of_the_role_map() {
        let args = parsed(&["--role", "admins=Admin"]).unwrap();
        assert_eq!((args.value_for("Admin"), args.value_for("Viewer")), (Some("admins"), None));
        assert_eq!(parsed(&[]).unwrap().value_for("Viewer"), Some("Viewer"));
    }
}
