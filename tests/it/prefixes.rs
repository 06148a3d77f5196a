//! A client may stop after any byte. Whatever had come by then is answered in good order or not at
//! all, leaves nothing behind, and harms nobody else.

use std::io::{ErrorKind, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use crate::support::airflow;
use crate::support::expect::Verdicts;
use crate::support::http::{Connection, Response};
use crate::support::scene::Scene;
use crate::support::wait::eventually;

#[test]
fn a_request_may_end_after_any_byte() {
    let mut scene = Scene::with(|config| config.set("/log/level", "debug"));
    let proxy = scene.airside.proxy;
    let mut verdicts = Verdicts::default();
    for (label, request) in requests() {
        let judged = thread::scope(|scope| {
            let request = &request;
            let workers: Vec<_> = (0..WORKERS)
                .map(|worker| scope.spawn(move || every_prefix(proxy, request, worker)))
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
        });
        for (length, verdict) in judged {
            verdicts.case(&format!("{label}, {length} bytes"), verdict);
        }
        let mut connection = Connection::open(proxy);
        connection.send(&request).unwrap();
        let whole = connection.response_to("GET").unwrap();
        verdicts.check(label, whole.status == 200, whole.text());
        let good = scene.present(&airflow::token());
        verdicts.check(label, good.status == 200, good.text());
    }
    verdicts.check("alive", !scene.airside.has_ended(), scene.airside.log());
    eventually("all that was left half-done is gone", || {
        let metrics = scene.airside.ask_admin("/metrics").text();
        let none = |name: &str| metrics.lines().any(|line| line == format!("airside_{name} 0"));
        (none("connections") && none("requests_in_flight")).then_some(())
    });
    let log = scene.finish().log();
    verdicts.check("no panic", !log.contains("panicked"), &log[log.len().saturating_sub(4000)..]);
}

const WORKERS: usize = 4;

/// In the forms in which HTTP/1 brings a request.
fn requests() -> [(&'static str, Vec<u8>); 7] {
    let token = airflow::token();
    let headers = format!(
        "Authorization: Bearer {token}\r\nCookie: a=b; c=d\r\nX-Request-Id: id-1\r\n\
         Accept: */*\r\nX-Forwarded-For: 192.0.2.1\r\n"
    );
    let get = format!("GET /api/v2/dags?limit=1 HTTP/1.1\r\nHost: airflow\r\n{headers}\r\n");
    let post = format!(
        "POST /api/v2/variables HTTP/1.1\r\nHost: airflow\r\n{headers}Content-Length: 15\r\n\r\n\
         {{\"key\":\"value\"}}"
    );
    [
        ("with a body", post.clone()),
        ("pipelined", format!("{get}{post}")),
        ("of HTTP/1.0", format!("GET /api/v2/dags HTTP/1.0\r\nHost: airflow\r\n{headers}\r\n")),
        (
            "in absolute form",
            format!("GET http://airflow/api/v2/dags HTTP/1.1\r\nHost: airflow\r\n{headers}\r\n"),
        ),
        (
            "in chunks",
            format!(
                "POST /api/v2/variables HTTP/1.1\r\nHost: airflow\r\n{headers}\
                 Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                 8;ext=\"a\"\r\n{{\"key\": \r\n8\r\n\"value\"}}\r\n0\r\nX-Sum: 1\r\n\r\n"
            ),
        ),
        (
            "that expects to go on",
            format!(
                "PUT /api/v2/variables/x HTTP/1.1\r\nHost: airflow\r\n{headers}\
                 Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{{}}"
            ),
        ),
        (
            "to switch protocols",
            format!(
                "GET /api/v2/dags HTTP/1.1\r\nHost: airflow\r\n{headers}Connection: Upgrade\r\n\
                 Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
            ),
        ),
    ]
    .map(|(label, text)| (label, text.into_bytes()))
}

type Judged = Vec<(usize, Result<(), String>)>;

/// This worker's share of the prefixes, each ended in each way.
fn every_prefix(proxy: SocketAddr, request: &[u8], worker: usize) -> Judged {
    let lengths = (0..=request.len()).skip(worker).step_by(WORKERS);
    let judged = lengths.map(|length| (length, ended_in_every_way(proxy, &request[..length])));
    judged.collect()
}

fn ended_in_every_way(proxy: SocketAddr, prefix: &[u8]) -> Result<(), String> {
    // Gone without a word, and gone with a reset.
    drop(begun(proxy, prefix));
    let reset = begun(proxy, prefix);
    set_socket_linger(&reset, Some(Duration::ZERO)).unwrap();
    drop(reset);
    // Nothing more is said, and the answer, if any, is listened to.
    for answer in answers(proxy, prefix) {
        if ![200, 400].contains(&answer.status) {
            return Err(format!("{} {}", answer.head.first, answer.text()));
        }
    }
    Ok(())
}

fn begun(proxy: SocketAddr, prefix: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(proxy).unwrap();
    stream.write_all(prefix).unwrap();
    stream
}

/// Everything that is answered to these bytes, after which the client says that it has no more.
fn answers(proxy: SocketAddr, bytes: &[u8]) -> Vec<Response> {
    let mut connection = Connection::open(proxy);
    connection.send(bytes).unwrap();
    let _closed_already = connection.stream().shutdown(Shutdown::Write);
    let mut answers = Vec::new();
    loop {
        match connection.response_to("GET") {
            Ok(answer) => answers.push(answer),
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::WouldBlock, "left open: {:?}", bytes.len());
                return answers;
            }
        }
    }
}
