//! Airflow in a process of its own, which can be killed: this program once more.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tokio::net::TcpSocket;

use super::support::http::{Head, Reader};
use super::support::wait::{DEADLINE, eventually};

/// The argument that tells this program to be Airflow; where comes behind it.
pub(crate) const WORD: &str = "upstream";

/// Pieces of a streamed answer, and what lies between them.
pub(crate) const PIECES: usize = 10;
const PAUSE: Duration = Duration::from_millis(20);
/// Of a large answer.
pub(crate) const LARGE: usize = 1 << 20;

pub(crate) struct Airflow {
    child: Child,
    address: SocketAddr,
    /// Bound and never listening: it keeps the port while nobody listens.
    _port: TcpSocket,
}

impl Airflow {
    pub(crate) fn start() -> Self {
        let port = TcpSocket::new_v4().unwrap();
        port.set_reuseaddr(true).unwrap();
        port.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = port.local_addr().unwrap();
        Self { child: launch(address), address, _port: port }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// By SIGKILL: nothing is finished, nothing is said.
    pub(crate) fn kill(&mut self) {
        let _ended_already = self.child.kill();
        self.child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.child = launch(self.address);
    }
}

impl Drop for Airflow {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts it and waits until it takes connections.
fn launch(address: SocketAddr) -> Child {
    let program = std::env::current_exe().unwrap();
    let child = Command::new(program)
        .args([WORD, &address.to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("Airflow listens", || std::net::TcpStream::connect(address).ok());
    child
}

/// Is Airflow, until whoever started it is gone.
pub(crate) fn serve(address: SocketAddr) {
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || converse(Reader::new(stream)));
        }
    });
    let _gone = io::stdin().read(&mut [0]);
}

fn converse(mut reader: Reader) {
    // Idle connections are kept for longer than any lasts.
    reader.stream.set_read_timeout(Some(4 * DEADLINE)).unwrap();
    while let Ok(head) = reader.head() {
        if answer(&mut reader, &head).is_err() {
            return;
        }
    }
}

fn answer(reader: &mut Reader, head: &Head) -> io::Result<()> {
    let (_, body) = reader.request_body(head)?;
    let target = head.first.split(' ').nth(1).unwrap_or_default();
    match target {
        "/api/v2/stream" => {
            reader.stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            for _ in 0..PIECES {
                reader.stream.write_all(b"5\r\npiece\r\n")?;
                thread::sleep(PAUSE);
            }
            reader.stream.write_all(b"0\r\n\r\n")
        }
        "/api/v2/large" => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
            reader.stream.write_all(head.as_bytes())?;
            reader.stream.write_all(&vec![b'x'; LARGE])
        }
        "/api/v2/live" => {
            // The answer to the one key that the callers send (RFC 6455, section 1.3).
            reader.stream.write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                  Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            )?;
            loop {
                let byte = reader.exactly(1)?;
                reader.stream.write_all(&byte)?;
            }
        }
        _ => {
            let text = body.len().to_string();
            let length = text.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}");
            reader.stream.write_all(head.as_bytes())
        }
    }
}
