//! Bodies of any size in little memory, and sides that leave in the middle: what one side ends, ends
//! for the other, and nothing that is cut looks whole.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, Stream};
use serde_json::json;

use crate::support::airside::Airside;
use crate::support::config::Config;
use crate::support::entra::v2_app;
use crate::support::expect::{Verdicts, assert_refused};
use crate::support::http::{Connection, Reader, Request};
use crate::support::issuer::Issuer;
use crate::support::scene::Scene;
use crate::support::tls::Authority;
use crate::support::upstream::Upstream;
use crate::support::wait::{DEADLINE, eventually};

const GIB: u64 = 1 << 30;
const PIECE: usize = 256 * 1024;
/// What airside may take more while a body of any size passes, in KiB.
const ROOM: usize = 16 * 1024;

/// Takes what it is sent and sends as much as it is asked for: `/api/v2/bytes/N`.
fn bytes_both_ways() -> Upstream {
    Upstream::scripted(|mut reader| {
        while let Ok(head) = reader.head() {
            let target = head.first.split(' ').nth(1).unwrap().to_owned();
            let sent = head.header("content-length").map_or(0, |length| length.parse().unwrap());
            if take(&mut reader, sent).is_err() {
                return;
            }
            let asked: u64 = target.trim_start_matches("/api/v2/bytes/").parse().unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {asked}\r\n\r\n");
            if reader
                .stream
                .write_all(head.as_bytes())
                .and_then(|()| give(&mut reader.stream, asked))
                .is_err()
            {
                return;
            }
        }
    })
}

fn take(reader: &mut Reader, mut left: u64) -> io::Result<()> {
    while left > 0 {
        let next = left.min(PIECE as u64);
        reader.exactly(usize::try_from(next).unwrap())?;
        left -= next;
    }
    Ok(())
}

fn give(to: &mut impl io::Write, mut left: u64) -> io::Result<()> {
    let piece = vec![b'x'; PIECE];
    while left > 0 {
        let next = left.min(PIECE as u64);
        to.write_all(&piece[..usize::try_from(next).unwrap()])?;
        left -= next;
    }
    Ok(())
}

/// Sends and receives bodies of these lengths, and returns the most memory that airside took.
fn pass(airside: &Airside, up: u64, down: u64) -> usize {
    let mut most = airside.memory();
    let mut connection = Connection::open(airside.proxy);
    let token = v2_app().token();
    let head = format!(
        "POST /api/v2/bytes/{down} HTTP/1.1\r\nHost: airflow\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {up}\r\n\r\n"
    );
    connection.send(head.as_bytes()).unwrap();
    let piece = vec![b'x'; PIECE];
    for number in 0..up / PIECE as u64 {
        connection.send(&piece).unwrap();
        if number % 64 == 0 {
            most = most.max(airside.memory());
        }
    }
    assert!(connection.head().unwrap().first.starts_with("HTTP/1.1 200"));
    for number in 0..down / PIECE as u64 {
        connection.body(PIECE).unwrap();
        if number % 64 == 0 {
            most = most.max(airside.memory());
        }
    }
    most.max(airside.memory())
}

#[test]
fn a_gibibyte_passes_in_little_memory() {
    let scene = Scene::of(Issuer::start(), bytes_both_ways(), |config| config.set("/threads", 1));
    // Buffers that any body fills.
    pass(&scene.airside, 16 << 20, 16 << 20);
    let before = scene.airside.memory();
    for (label, up, down) in [("up", GIB, 0), ("down", 0, GIB)] {
        let most = pass(&scene.airside, up, down);
        assert!(most <= before + ROOM, "{label}: {before} KiB before, {most} KiB meanwhile");
    }
}

#[test]
fn the_slower_side_sets_the_pace() {
    let written = Arc::new(AtomicU64::new(0));
    let upstream = Upstream::scripted({
        let written = Arc::clone(&written);
        move |mut reader| {
            let Ok(_) = reader.head() else { return };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n");
            reader.stream.write_all(head.as_bytes()).unwrap();
            while give(&mut reader.stream, PIECE as u64).is_ok() {
                written.fetch_add(PIECE as u64, Ordering::SeqCst);
            }
        }
    });
    let scene = Scene::of(Issuer::start(), upstream, |config| config);
    let before = scene.airside.memory();
    let mut connection = Connection::open(scene.airside.proxy);
    let request = Request::get("/api/v2/bytes").bearer(&v2_app().token());
    connection.send(&request.bytes(scene.airside.proxy)).unwrap();
    connection.head().unwrap();
    // Time to write all of it, were there nothing to hold it back.
    thread::sleep(Duration::from_secs(2));
    let written = written.load(Ordering::SeqCst);
    assert!(written < 64 << 20, "{written} bytes were taken and none of them read");
    assert!(scene.airside.memory() <= before + ROOM);
}

/// Reports each connection that the other side has ended, or that this side has to.
fn reporting(
    ended: Sender<&'static str>,
    script: impl Fn(&mut Reader, &str) -> io::Result<()> + Send + Sync + 'static,
) -> Upstream {
    Upstream::scripted(move |mut reader| {
        let Ok(head) = reader.head() else { return };
        let met = script(&mut reader, &head.first);
        let rest = met.and_then(|()| reader.stream.read(&mut [0; 1024]));
        let how = match rest {
            Ok(0) => "closed",
            Ok(_) => "spoken to",
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => "left alone",
            Err(_) => "reset",
        };
        let _nobody_asks = ended.send(how);
    })
}

#[test]
fn airflow_is_told_when_the_client_has_left() {
    let (ended, told) = mpsc::channel();
    let begun = Arc::new(Mutex::new(Vec::new()));
    let upstream = reporting(ended, {
        let begun = Arc::clone(&begun);
        move |reader, first| {
            if first.contains("/streaming") {
                let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n";
                reader.stream.write_all(head)?;
            }
            if first.contains("/upload") {
                reader.exactly(5)?;
            }
            begun.lock().unwrap().push(first.to_owned());
            Ok(())
        }
    });
    let scene = Scene::of(Issuer::start(), upstream, |config| config);
    let token = v2_app().token();
    for (count, (what, more)) in [
        ("GET /api/v2/waiting", "\r\n"),
        ("GET /api/v2/streaming", "\r\n"),
        ("POST /api/v2/upload", "Content-Length: 1000\r\n\r\nhello"),
        ("POST /api/v2/upload/chunked", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut connection = Connection::open(scene.airside.proxy);
        let head =
            format!("{what} HTTP/1.1\r\nHost: airflow\r\nAuthorization: Bearer {token}\r\n{more}");
        connection.send(head.as_bytes()).unwrap();
        eventually("it is under way", || (begun.lock().unwrap().len() > count).then_some(()));
        if what.contains("streaming") {
            connection.head().unwrap();
        }
        drop(connection);
        // Long before any of its own limits, which are minutes.
        let how = told.recv_timeout(DEADLINE).unwrap_or("not told");
        assert!(matches!(how, "closed" | "reset"), "{what}: {how}");
    }
    eventually("nobody is served any more", || {
        let metrics = scene.airside.ask_admin("/metrics").text();
        metrics.contains("airside_requests_in_flight 0").then_some(())
    });
}

/// How an answer can begin: with a length, in chunks, or until the end of the connection.
const BEGINNINGS: [(&str, &str); 3] = [
    ("length", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"),
    ("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n"),
    ("until the end", "HTTP/1.1 200 OK\r\n\r\nonly this"),
];

/// Whether the answer could be taken for whole.
fn looks_whole(proxy: SocketAddr, go_on: &Sender<()>) -> Result<bool, String> {
    let mut connection = Connection::open(proxy);
    let request = Request::get("/api/v2/dags").bearer(&v2_app().token());
    connection.send(&request.bytes(proxy)).unwrap();
    let head = connection.head().map_err(|error| error.to_string())?;
    let chunked = head.header("transfer-encoding").is_some();
    let piece = if chunked { connection.chunk() } else { connection.body(9) };
    assert_eq!(piece.unwrap(), b"only this");
    // Only now, so that the reset does not take the beginning with it.
    go_on.send(()).unwrap();
    let more = if chunked { connection.chunk() } else { connection.body(91) };
    match more {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err("left open".into()),
        Err(_) => Ok(false),
    }
}

/// An upstream that ends its connections itself, as the script does. It is there for as long as the
/// test is.
fn ending_by_itself(script: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            script(stream.unwrap());
        }
    });
    address
}

#[test]
fn an_answer_that_is_reset_never_looks_complete() {
    let mut verdicts = Verdicts::default();
    for (label, beginning) in BEGINNINGS {
        let (go_on, gate) = mpsc::channel();
        let address = ending_by_itself(move |stream| {
            let mut reader = Reader::new(stream);
            let Ok(_) = reader.head() else { return };
            reader.stream.write_all(beginning.as_bytes()).unwrap();
            gate.recv_timeout(DEADLINE).unwrap();
            set_socket_linger(&reader.stream, Some(Duration::ZERO)).unwrap();
        });
        let issuer = Issuer::start();
        let airside = Airside::start(&Config::new(&issuer.url(), &format!("http://{address}")));
        let whole = looks_whole(airside.proxy, &go_on);
        verdicts.check(label, whole == Ok(false), &whole);
        airside.line_with(&["access", "status=200", "reason=upstream_invalid"]);
    }
}

/// Who cuts a TLS connection off cannot make an answer look complete: a sender says the end.
#[test]
fn an_answer_that_is_cut_off_within_tls_never_looks_complete() {
    let authority = Authority::new();
    let shown = authority.issue(&["localhost"], |_| {});
    let key = PrivatePkcs8KeyDer::from(shown.key().to_vec());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let server = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let server = Arc::new(server.with_single_cert(shown.chain().to_vec(), key.into()).unwrap());
    let mut verdicts = Verdicts::default();
    for (label, beginning) in BEGINNINGS {
        let (go_on, gate) = mpsc::channel();
        let server = Arc::clone(&server);
        let address = ending_by_itself(move |mut stream| {
            let mut session = ServerConnection::new(Arc::clone(&server)).unwrap();
            let mut tls = Stream::new(&mut session, &mut stream);
            if tls.read(&mut [0; 16 * 1024]).is_err() {
                return;
            }
            tls.write_all(beginning.as_bytes()).unwrap();
            tls.flush().unwrap();
            gate.recv_timeout(DEADLINE).unwrap();
        });
        let issuer = Issuer::start();
        let config = Config::new(&issuer.url(), &format!("https://localhost:{}", address.port()));
        let ca = config.file("ca.pem", &authority.pem());
        let airside = Airside::start(&config.set("/upstream/ca_file", ca.to_str()));
        let whole = looks_whole(airside.proxy, &go_on);
        verdicts.check(label, whole == Ok(false), &whole);
    }
}

/// An airside before `upstream` that takes Airflow's tokens: a process that can be killed.
fn process(upstream: &str, listen: &str) -> Airside {
    let config = Config::new("http://127.0.0.1:1", upstream).set("/listen", listen);
    Airside::start(&config)
}

#[test]
fn an_airflow_that_is_killed_is_used_again_as_soon_as_it_is_back() {
    let (upstream, issuer) = (Upstream::start(), Issuer::start());
    let airflow = process(&upstream.url(), "127.0.0.1:0");
    let address = airflow.proxy;
    let airside = Airside::start(&Config::new(&issuer.url(), &format!("http://{address}")));
    let token = v2_app().token();
    let get = Request::get("/api/v2/dags").bearer(&token);
    let post = Request::post("/api/v2/variables").bearer(&token);
    for _ in 0..5 {
        assert_eq!(airside.ask(&get).status, 200);
    }
    drop(airflow);
    assert_refused(&airside.ask(&get), 502, "upstream_unavailable");
    assert_refused(&airside.ask(&post), 502, "upstream_unavailable");
    let _back = process(&upstream.url(), &address.to_string());
    assert_eq!(airside.ask(&post).status, 200);
    assert_eq!(airside.ask(&get).status, 200);
}

#[test]
fn the_death_of_one_airflow_of_two_costs_what_it_was_at_work_on() {
    const CLIENTS: usize = 4;
    let (upstream, issuer) = (Upstream::start(), Issuer::start());
    let mut airflows = [(); 2].map(|()| Some(process(&upstream.url(), "127.0.0.1:0")));
    let addresses = airflows.each_ref().map(|airflow| airflow.as_ref().unwrap().proxy);
    let urls = addresses.map(|address| format!("http://{address}"));
    let config = Config::new(&issuer.url(), "").set("/upstream", json!({ "urls": urls }));
    let airside = Airside::start(&config);
    let token = v2_app().token();
    let (get, post) = (
        Request::get("/api/v2/dags").bearer(&token),
        Request::post("/api/v2/variables").bearer(&token),
    );
    let (over, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    let work = || {
        let mut failed = 0;
        while !over.load(Ordering::SeqCst) {
            for request in [&get, &post] {
                let answer = request.try_send(airside.proxy);
                failed += usize::from(!answer.is_ok_and(|answer| answer.status == 200));
            }
            rounds.fetch_add(1, Ordering::SeqCst);
        }
        failed
    };
    let some_more = |what: &str| {
        let target = rounds.load(Ordering::SeqCst) + 50;
        eventually(what, || (rounds.load(Ordering::SeqCst) > target).then_some(()));
    };
    let failed: usize = thread::scope(|scope| {
        let clients = [(); CLIENTS].map(|()| scope.spawn(work));
        some_more("both work");
        drop(airflows[0].take());
        some_more("one works");
        airflows[0] = Some(process(&upstream.url(), &addresses[0].to_string()));
        let back = format!("airside_upstream_up{{address=\"{}\"}} 1", addresses[0]);
        eventually("it is back", || {
            airside.ask_admin("/metrics").text().contains(&back).then_some(())
        });
        some_more("both work again");
        over.store(true, Ordering::SeqCst);
        clients.map(|client| client.join().unwrap()).into_iter().sum()
    });
    // Each client had one under way, and may have caught a connection that had just been cut.
    assert!(failed <= 2 * CLIENTS, "{failed} of {rounds:?} pairs failed");
}
