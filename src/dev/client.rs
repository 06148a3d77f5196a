//! The other side of the mint endpoint: how `airside token` gets a token from the running `dev`.
//!
//! It speaks HTTP over a connection to a loopback address of its own making, so that no proxy
//! setting, redirect or name lookup can carry the mint secret elsewhere.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::mint::MintRequest;
use super::state::{State, StateError};

/// The issuer signs in a millisecond; whoever takes this long is not it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// More than the largest token with its claims.
const ANSWER_LIMIT: usize = 1024 * 1024;

/// Asks the `dev` whose state file is at `path` for the token that `wanted` describes.
pub async fn token(path: &Path, wanted: &MintRequest) -> Result<String, ClientError> {
    let state = State::read(path)?;
    let address = issuer_address(&state.issuer).ok_or(StateError::Unreadable)?;
    match timeout(TIMEOUT, exchange(address, &state.mint_secret, wanted)).await {
        Ok(answered) => answered,
        Err(_) => Err(ClientError::NotRunning),
    }
}

async fn exchange(
    address: SocketAddr,
    secret: &str,
    wanted: &MintRequest,
) -> Result<String, ClientError> {
    #[derive(Deserialize)]
    struct Minted {
        token: String,
    }
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::post("/airside-dev/token")
        .header(HOST, address.to_string())
        .header(AUTHORIZATION, format!("Bearer {secret}"))
        .body(Full::new(Bytes::from(serde_json::to_vec(wanted).unwrap_or_default())))
        .map_err(|_| StateError::Unreadable)?;
    tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await?.into_parts();
    match (parts.status, Limited::new(body, ANSWER_LIMIT).collect().await) {
        (StatusCode::OK, Ok(body)) => serde_json::from_slice::<Minted>(&body.to_bytes())
            .map(|minted| minted.token)
            .map_err(|_| ClientError::NotRunning),
        (status, _) => Err(ClientError::Refused(status)),
    }
}

fn issuer_address(base_url: &str) -> Option<SocketAddr> {
    let address: SocketAddr = base_url.strip_prefix("http://")?.parse().ok()?;
    address.ip().is_loopback().then_some(address)
}

/// Why there is no token.
#[derive(Debug)]
pub enum ClientError {
    /// No state file, or nobody answers where it points: start `airside dev` first.
    NotRunning,
    /// The state file cannot be used.
    State(StateError),
    /// The issuer answered with this status: another run's state file, most likely.
    Refused(StatusCode),
}

impl From<StateError> for ClientError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::NotFound => Self::NotRunning,
            other => Self::State(other),
        }
    }
}

impl From<io::Error> for ClientError {
    fn from(_: io::Error) -> Self {
        Self::NotRunning
    }
}

impl From<hyper::Error> for ClientError {
    fn from(_: hyper::Error) -> Self {
        Self::NotRunning
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning => f.write_str("no `airside dev` is running: start it first"),
            Self::State(error) => write!(f, "the state file cannot be used: {error}"),
            Self::Refused(status) => write!(f, "`airside dev` answered {status}"),
        }
    }
}

impl std::error::Error for ClientError {}

#[cfg(test)]
mod tests {
    use http::uri::Scheme;
    use tokio::net::TcpListener;

    use super::super::assertion::Credentials;
    use super::super::directory::Directory;
    use super::super::issuer::Issuer;
    use super::super::mint::MintSecret;
    use super::super::serve::serve;
    use super::*;

    const NOW: u64 = 1_800_000_000;

    #[tokio::test]
    async fn a_token_comes_from_the_running_dev_and_from_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        let wanted = MintRequest::default();
        let missing = token(&path, &wanted).await;
        assert!(matches!(missing, Err(ClientError::NotRunning)));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let secret = MintSecret::generate().unwrap();
        let mut state = State {
            issuer: base_url.clone(),
            mint_secret: secret.expose().to_owned(),
            pid: 1,
            ..State::default()
        };
        let published = state.publish(&path).unwrap();
        let credentials = Credentials::generate(secret).unwrap();
        let issuer = Issuer::new(Directory::new(Some), credentials).unwrap();
        let answer = move |request: &_| issuer.answer(&Scheme::HTTP, request, NOW);
        let serving = tokio::spawn(serve(listener, answer));
        assert_eq!(token(&path, &wanted).await.unwrap().split('.').count(), 3);

        drop(published);
        state.mint_secret = "of another run".to_owned();
        let _published = state.publish(&path).unwrap();
        let refused = token(&path, &wanted).await;
        assert!(matches!(refused, Err(ClientError::Refused(StatusCode::UNAUTHORIZED))));

        serving.abort();
        assert!(serving.await.unwrap_err().is_cancelled());
        let gone = token(&path, &wanted).await;
        assert!(matches!(gone, Err(ClientError::NotRunning)));
    }

    #[test]
    fn the_secret_goes_to_loopback_addresses_only() {
        assert!(issuer_address("http://127.0.0.1:8082").is_some());
        assert!(issuer_address("http://[::1]:8082").is_some());
        for bad in ["http://10.0.0.1:80", "https://127.0.0.1:80", "http://evil.example:80", ""] {
            assert!(issuer_address(bad).is_none(), "{bad}");
        }
    }
}
