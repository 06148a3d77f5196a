//! An identity provider's key endpoint on loopback, which can rotate, fail, hang and be down.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde_json::{Value, json};

use super::entra::now;
use super::http::Reader;
use super::keys::SigningKey;
use super::listener::Listener;

pub(crate) struct Issuer {
    listener: Listener,
    state: Arc<Mutex<State>>,
}

struct State {
    answer: Answer,
    /// What metadata gives as the issuer, in place of the truth.
    misnamed: Option<String>,
    /// Documents at targets of their own.
    elsewhere: Vec<(String, Vec<u8>)>,
    /// How far its clock is ahead.
    ahead: i64,
    fetched: Vec<(Instant, String)>,
}

#[derive(Clone)]
enum Answer {
    Document(Vec<u8>),
    Script(Script),
}

type Script = Arc<dyn Fn(&mut TcpStream) + Send + Sync>;

impl Issuer {
    /// Publishes the shared key.
    pub(crate) fn start() -> Self {
        let state = State {
            answer: Answer::Document(Vec::new()),
            misnamed: None,
            elsewhere: Vec::new(),
            ahead: 0,
            fetched: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let listener = Listener::start({
            let state = Arc::clone(&state);
            move |stream| serve(stream, &state)
        });
        let issuer = Self { listener, state };
        issuer.publish(&[SigningKey::shared().jwk()]);
        issuer
    }

    /// One that is not there yet: `restart` brings it up.
    pub(crate) fn down() -> Self {
        let mut issuer = Self::start();
        issuer.stop();
        issuer
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The `authority` of an entry whose keys come from here.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Publishes these keys from now on.
    pub(crate) fn publish(&self, keys: &[Value]) {
        self.document(json!({"keys": keys}).to_string());
    }

    /// Publishes these keys at this target, beside those at every other.
    pub(crate) fn publish_at(&self, target: &str, keys: &[Value]) {
        let document = json!({"keys": keys}).to_string().into_bytes();
        self.state.lock().unwrap().elsewhere.push((target.to_owned(), document));
    }

    /// Writes dates that are so many seconds ahead.
    pub(crate) fn set_clock(&self, ahead: i64) {
        self.state.lock().unwrap().ahead = ahead;
    }

    /// Publishes this text in the place of a key set.
    pub(crate) fn document(&self, text: impl Into<Vec<u8>>) {
        self.set(Answer::Document(text.into()));
    }

    /// Answers with this whole response.
    pub(crate) fn answer(&self, response: impl Into<Vec<u8>>) {
        let response = response.into();
        self.script(move |stream| drop(stream.write_all(&response)));
    }

    /// Lets the script answer, byte by byte if it likes; then the connection ends.
    pub(crate) fn script(&self, script: impl Fn(&mut TcpStream) + Send + Sync + 'static) {
        self.set(Answer::Script(Arc::new(script)));
    }

    /// Gives this issuer in the metadata.
    pub(crate) fn misname(&self, issuer: &str) {
        self.state.lock().unwrap().misnamed = Some(issuer.to_owned());
    }

    pub(crate) fn fail(&self) {
        self.answer(
            "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    }

    /// Takes requests and never answers them.
    pub(crate) fn hang(&self) {
        // Until the other side gives up, or this issuer is stopped.
        self.script(|stream| drop(stream.read(&mut [0])));
    }

    pub(crate) fn stop(&mut self) {
        self.listener.stop();
    }

    pub(crate) fn restart(&mut self) {
        self.listener.restart();
    }

    /// How often keys were asked for.
    pub(crate) fn fetches(&self) -> usize {
        self.state.lock().unwrap().fetched.len()
    }

    /// The targets that were asked for.
    pub(crate) fn fetched(&self) -> Vec<String> {
        self.state.lock().unwrap().fetched.iter().map(|(_, target)| target.clone()).collect()
    }

    /// When something was asked for.
    pub(crate) fn fetch_times(&self) -> Vec<Instant> {
        self.state.lock().unwrap().fetched.iter().map(|(time, _)| *time).collect()
    }

    fn set(&self, answer: Answer) {
        self.state.lock().unwrap().answer = answer;
    }
}

const METADATA: &str = "/.well-known/openid-configuration";

fn ok(body: &[u8], ahead: i64) -> Vec<u8> {
    let length = body.len();
    let date = u64::try_from(now() + ahead).unwrap();
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(date));
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: {date}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n",
    );
    [head.as_bytes(), body].concat()
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = Reader::new(stream);
    let Ok(head) = reader.head() else { return };
    let target = head.first.split(' ').nth(1).unwrap_or_default().to_owned();
    let (answer, misnamed, elsewhere, ahead) = {
        let mut state = state.lock().unwrap();
        state.fetched.push((Instant::now(), target.clone()));
        let elsewhere = state.elsewhere.iter().find(|(at, _)| *at == target);
        let elsewhere = elsewhere.map(|(_, document)| document.clone());
        (state.answer.clone(), state.misnamed.clone(), elsewhere, state.ahead)
    };
    if let Some(document) = elsewhere {
        let _gone = reader.stream.write_all(&ok(&document, ahead));
        return;
    }
    let bytes = match answer {
        Answer::Script(script) => return script(&mut reader.stream),
        Answer::Document(body) if target.ends_with("/keys") => ok(&body, ahead),
        Answer::Document(_) if target.ends_with(METADATA) => {
            let realm = target.trim_end_matches(METADATA);
            let here = format!("http://{}{realm}", reader.stream.local_addr().unwrap());
            // A tenant of Entra has its name from Microsoft, wherever it is asked.
            let entra = format!("https://login.microsoftonline.com{realm}");
            let named = if realm.ends_with("/v2.0") { entra } else { here.clone() };
            let metadata = json!({
                "jwks_uri": format!("{here}/keys"),
                "issuer": misnamed.unwrap_or(named),
            });
            ok(metadata.to_string().as_bytes(), ahead)
        }
        Answer::Document(_) => {
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()
        }
    };
    let _gone = reader.stream.write_all(&bytes);
}
