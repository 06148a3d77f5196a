//! `airside healthcheck`: asks the running airside whether it is ready, for images without a shell
//! and a `curl`.

use std::error::Error;
use std::io::{Write as _, stderr};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::Scheme;
use http::{Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::exit;
use crate::config::{self, Environment, Overrides};

/// Whom to ask.
#[derive(Debug, clap::Args)]
pub struct HealthcheckArgs {
    /// The address to ask; without a path, its /readyz (default: the admin listener, as the
    /// configuration or the environment has it).
    #[arg(long, value_name = "URL", value_parser = address)]
    url: Option<Uri>,
    /// The configuration file of the airside that is asked.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Its admin listener, where a flag says so.
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_listen: Option<String>,
}

/// Runs the command.
#[must_use]
pub fn run(args: HealthcheckArgs, environment: &Environment) -> ExitCode {
    let (code, why) = match args.url(environment) {
        Ok(url) => match ask(&url) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(why) => (exit::FAILED, why),
        },
        Err(why) => (exit::CONFIG, why),
    };
    let _ = writeln!(stderr(), "airside: {why}");
    ExitCode::from(code)
}

impl HealthcheckArgs {
    fn url(self, environment: &Environment) -> Result<Uri, String> {
        if let Some(url) = self.url {
            return Ok(url);
        }
        let (config, admin_listen) = (self.config, self.admin_listen);
        let overrides = Overrides { config, admin_listen, ..Overrides::default() };
        let listen =
            config::admin_listen(&overrides, environment).map_err(|all| all.to_string())?;
        let bound: SocketAddr = listen
            .parse()
            .map_err(|_| format!("admin.listen is {listen:?}, expected an address and port"))?;
        if bound.port() == 0 {
            return Err("admin.listen has port 0: say with --url where it was bound".to_owned());
        }
        let url = format!("http://{}/readyz", SocketAddr::new(reachable(bound.ip()), bound.port()));
        address(&url)
    }
}

/// Who listens on all addresses is reached on this machine's own.
const fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        _ => ip,
    }
}

fn address(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|_| "not a URL")?;
    let authority = url.authority().filter(|_| url.scheme() == Some(&Scheme::HTTP));
    let authority = authority.ok_or("expected an address such as http://127.0.0.1:9090")?;
    if url.path() != "/" {
        return Ok(url);
    }
    format!("http://{authority}/readyz").parse().map_err(|_| "not a URL".to_owned())
}

fn ask(url: &Uri) -> Result<(), String> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let status = runtime.block_on(async { timeout(PATIENCE, status(url)).await });
    match status {
        Ok(Ok(StatusCode::OK)) => Ok(()),
        Ok(Ok(other)) => Err(format!("{url} answered {}, expected 200", other.as_u16())),
        Ok(Err(error)) => Err(format!("{url}: {error}")),
        Err(_) => Err(format!("{url} has not answered within {PATIENCE:?}")),
    }
}

async fn status(url: &Uri) -> Result<StatusCode, Box<dyn Error>> {
    let host = url.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, url.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let path = url.path_and_query().map_or("/readyz", |path| path.as_str());
    let request = Request::get(path).header(HOST, authority).body(Empty::<Bytes>::new())?;
    tokio::select! {
        answer = sender.send_request(request) => Ok(answer?.status()),
        Err(error) = connection => Err(error.into()),
    }
}

/// Shorter than what orchestrators give a probe by default, so that it ends with a reason.
const PATIENCE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(admin_listen: Option<&str>, variables: &[(&str, &str)]) -> Result<String, String> {
        let admin_listen = admin_listen.map(str::to_owned);
        let args = HealthcheckArgs { url: None, config: None, admin_listen };
        args.url(&Environment::of(variables)).map(|url| url.to_string())
    }

    #[test]
    fn it_asks_where_the_admin_listener_is() {
        for (flag, variable, expected) in [
            (None, "", "http://127.0.0.1:9090/readyz"),
            (None, "0.0.0.0:9191", "http://127.0.0.1:9191/readyz"),
            (None, "[::]:9191", "http://[::1]:9191/readyz"),
            (None, "10.1.2.3:1", "http://10.1.2.3:1/readyz"),
            (Some("127.0.0.1:7"), "0.0.0.0:9191", "http://127.0.0.1:7/readyz"),
        ] {
            let asked = asked(flag, &[("AIRSIDE_ADMIN_LISTEN", variable)]);
            assert_eq!(asked.as_deref(), Ok(expected), "{variable}");
        }
        assert!(asked(Some("127.0.0.1:0"), &[]).unwrap_err().contains("--url"));
        assert!(asked(Some("9090"), &[]).unwrap_err().contains("\"9090\""));
    }

    #[test]
    fn a_given_address_counts_as_it_is() {
        for (given, expected) in [
            ("http://10.0.0.1:9090", Some("http://10.0.0.1:9090/readyz")),
            ("http://airside:9090/livez", Some("http://airside:9090/livez")),
            ("https://airside:9090", None),
            ("127.0.0.1:9090", None),
            ("airside", None),
        ] {
            assert_eq!(
                address(given).ok().map(|url| url.to_string()).as_deref(),
                expected,
                "{given}"
            );
        }
    }
}
