//! What valid traffic feels of a flood: `make flood`.
//!
//! One airside with one data thread has a processor for itself; issuer, Airflow, callers and
//! attackers share the other. Valid requests come at a fixed pace, and each is timed from the moment
//! it was due, so that a late answer cannot hide the wait of the next. Quiet and flooded rounds
//! alternate, and each flooded one is held against the quiet one just before it: whatever else the
//! machine does falls on both. Single rounds scatter, so the pair with the median of the ratios is
//! judged, and printed.
//! Attackers go as fast as they are answered, each with its connection, but give way to callers on
//! the processor that they share, or the table would show their own contention.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a measurement that cannot go on ends here, with its reason"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use rustix::thread::{CpuSet, gettid, sched_setaffinity};
use serde_json::json;

use support::entra::v2_app;
use support::http::Request;
use support::issuer::Issuer;
use support::keys::{SigningKey, encode, parts};
use support::scene::Scene;
use support::upstream::Upstream;

/// Odd, so that the median is one of them; half a dozen may be spoilt by the machine.
const ROUNDS: usize = 13;
const ROUND: Duration = Duration::from_secs(2);
const CALLERS: u32 = 4;
/// Of all callers together, a second.
const PACE: u32 = 500;
const ATTACKERS: usize = 16;
/// The promise: how much longer the slowest hundredth may take.
const MOST: f64 = 1.5;
const COOLDOWN: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    pin(None, 1);
    let issuer = Issuer::start();
    let upstream = Upstream::scripted(|mut reader| {
        while reader.head().is_ok() {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
            if reader.stream.write_all(answer).is_err() {
                return;
            }
        }
    });
    let scene = Scene::of(issuer, upstream, |config| {
        config.set("/threads", 1).set("/keys/unknown_kid_cooldown", "10s").set("/log/access", false)
    });
    pin(Some(scene.airside.thread("airside-0")), 0);
    println!("{PACE} valid requests a second on {CALLERS} connections, {ATTACKERS} attackers");
    println!(
        "{:<14} {:>9} {:>19} {:>19} {:>6} {:>8} {:>7}",
        "flood of", "a second", "p50 µs", "p99 µs", "", "fetches", "others"
    );
    let wanted: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let mut holds = true;
    for flood in floods(scene.airside.proxy) {
        if wanted.is_empty() || wanted.iter().any(|part| flood.name.contains(part)) {
            holds &= measure(&scene, &flood);
        }
    }
    println!("{}", if holds { "the promise holds" } else { "the promise does NOT hold" });
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Flood {
    name: &'static str,
    /// As they are sent, in turn; enough that no two in flight are the same.
    pieces: Vec<Vec<u8>>,
    /// To each of them.
    answers: usize,
}

fn floods(proxy: SocketAddr) -> [Flood; 5] {
    const DIFFERENT: usize = 300;
    const TOGETHER: usize = 10;
    let request = |token: String| Request::get("/api/v2/dags").bearer(&token).bytes(proxy);
    let unknown_kid = |number: usize| {
        let token = v2_app().token();
        let [_, claims, signature] = parts(&token);
        let header = json!({"alg": "RS256", "kid": format!("unknown-{number}")}).to_string();
        request(format!("{}.{claims}.{signature}", encode(header.as_bytes())))
    };
    let bad_signature =
        |number: usize| request(SigningKey::stranger().token(v2_app().with("uti", number).value()));
    let garbage = |number: usize| request("x".repeat(1000 + number));
    let all = |number: usize| match number % 3 {
        0 => unknown_kid(number),
        1 => bad_signature(number),
        _ => garbage(number),
    };
    let together = |number: usize| {
        (0..TOGETHER).flat_map(|more| all(number * TOGETHER + more)).collect::<Vec<_>>()
    };
    let flood = |name, piece: &dyn Fn(usize) -> Vec<u8>, answers| Flood {
        name,
        pieces: (0..DIFFERENT).map(piece).collect(),
        answers,
    };
    [
        flood("unknown kids", &unknown_kid, 1),
        flood("bad signatures", &bad_signature, 1),
        flood("garbage", &garbage, 1),
        flood("all of it", &all, 1),
        flood("ten together", &together, TOGETHER),
    ]
}

/// Prints a line of the table; whether the promise held.
fn measure(scene: &Scene, flood: &Flood) -> bool {
    let (mut quiet, mut flooded) = (Vec::new(), Vec::new());
    let (mut answered, mut seconds) = (0, 0.0);
    let (fetches, begun, work) = (scene.issuer.fetches(), Instant::now(), Work::now(scene));
    for _ in 0..ROUNDS {
        quiet.push(Round::of(pace(scene.airside.proxy)));
        let over = AtomicBool::new(false);
        let started = Instant::now();
        thread::scope(|scope| {
            let attack = scope.spawn(|| attack(scene.airside.proxy, flood, &over));
            flooded.push(Round::of(pace(scene.airside.proxy)));
            over.store(true, Ordering::Relaxed);
            answered += attack.join().unwrap();
        });
        seconds += started.elapsed().as_secs_f64();
    }
    let fetches = (scene.issuer.fetches() - fetches) as u64;
    let allowed = begun.elapsed().as_secs() / COOLDOWN.as_secs() + 1;
    let others = 100.0 * Work::now(scene).of_others_since(&work);
    let mut pairs: Vec<_> = quiet.iter().zip(&flooded).collect();
    pairs.sort_by(|one, other| slower(one).total_cmp(&slower(other)));
    let judged = pairs[pairs.len() / 2];
    let (Round { p50, p99 }, Round { p50: p50_flooded, p99: p99_flooded }) = judged;
    let ratio = slower(&judged);
    println!(
        "{:<14} {:>9.0} {p50:>8.0} → {p50_flooded:>8.0} {p99:>8.0} → {p99_flooded:>8.0} \
         {ratio:>6.2} {:>8} {others:>5.0} %",
        flood.name,
        answered as f64 / seconds,
        format!("{fetches} of {allowed}"),
    );
    ratio <= MOST && fetches <= allowed
}

/// What the machine has done so far, in clock ticks.
struct Work {
    busy: u64,
    idle: u64,
    ours: u64,
}

impl Work {
    fn now(scene: &Scene) -> Self {
        let all = fs::read_to_string("/proc/stat").unwrap();
        let all = all.lines().next().unwrap().split(' ').filter_map(|word| word.parse().ok());
        // user, nice, system, idle, iowait, irq, softirq (proc_stat(5)).
        let all: Vec<u64> = all.collect();
        let (busy, idle) = (all[0] + all[1] + all[2] + all[5] + all[6], all[3] + all[4]);
        let ours = ticks("self") + ticks(&scene.airside.id().to_string());
        Self { busy, idle, ours }
    }

    /// The share of the machine that went to others than us.
    fn of_others_since(&self, then: &Self) -> f64 {
        let (busy, idle) = (self.busy - then.busy, self.idle - then.idle);
        busy.saturating_sub(self.ours - then.ours) as f64 / (busy + idle) as f64
    }
}

fn ticks(process: &str) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    // utime and stime are fields 14 and 15, and two are before the name's end (proc_pid_stat(5)).
    fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

/// In microseconds.
struct Round {
    p50: f64,
    p99: f64,
}

impl Round {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1e6;
        Self { p50: at(50), p99: at(99) }
    }
}

/// How much longer the slowest hundredth takes in the flooded round than in the quiet one before it.
fn slower((quiet, flooded): &(&Round, &Round)) -> f64 {
    flooded.p99 / quiet.p99
}

/// One round of valid traffic: how long each answer took from when its request was due.
fn pace(proxy: SocketAddr) -> Vec<Duration> {
    let request = Request::get("/api/v2/dags").bearer(&v2_app().token()).bytes(proxy);
    let interval = Duration::from_secs(1) * CALLERS / PACE;
    let started = Instant::now() + Duration::from_millis(50);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (request, offset) = (&request, interval * caller / CALLERS);
                scope.spawn(move || {
                    let mut client = Client::open(proxy);
                    // The first verifies the token; what is timed is remembered.
                    assert_eq!(client.ask(request), 200);
                    let mut times = Vec::new();
                    let mut due = started + offset;
                    while due < started + ROUND {
                        thread::sleep(due.saturating_duration_since(Instant::now()));
                        assert_eq!(client.ask(request), 200);
                        times.push(due.elapsed());
                        due += interval;
                    }
                    times
                })
            })
            .collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    })
}

/// Sends a piece on each connection, then reads its answers on each, until it is over; how many.
fn attack(proxy: SocketAddr, flood: &Flood, over: &AtomicBool) -> usize {
    give_way();
    let mut clients: Vec<_> = (0..ATTACKERS).map(|_| Client::open(proxy)).collect();
    let mut pieces = flood.pieces.iter().cycle();
    let mut answered = 0;
    while !over.load(Ordering::Relaxed) {
        for client in &mut clients {
            client.send(pieces.next().unwrap());
        }
        for client in &mut clients {
            for _ in 0..flood.answers {
                assert_eq!(client.status(), 401);
                answered += 1;
            }
        }
    }
    answered
}

/// A client that does as little as can be.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    length: usize,
}

impl Client {
    fn open(proxy: SocketAddr) -> Self {
        let stream = TcpStream::connect(proxy).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: vec![0; 16 * 1024], length: 0 }
    }

    fn ask(&mut self, request: &[u8]) -> u16 {
        self.send(request);
        self.status()
    }

    fn send(&mut self, request: &[u8]) {
        self.stream.write_all(request).unwrap();
    }

    /// Reads one answer whole.
    fn status(&mut self) -> u16 {
        loop {
            let answers = std::str::from_utf8(&self.buffer[..self.length]).unwrap();
            if let Some((head, _)) = answers.split_once("\r\n\r\n")
                && let whole = head.len() + 4 + body_length(head)
                && whole <= self.length
            {
                let status = head[9..12].parse().unwrap();
                self.buffer.copy_within(whole..self.length, 0);
                self.length -= whole;
                return status;
            }
            self.length += self.stream.read(&mut self.buffer[self.length..]).unwrap();
        }
    }
}

fn body_length(head: &str) -> usize {
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    let (_, length) = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length")).unwrap();
    length.parse().unwrap()
}

/// This thread runs only while no other wants to: by a better nice value alone it would finish its
/// slice, of milliseconds, before a caller that wakes up (sched(7), `SCHED_IDLE`).
fn give_way() {
    let thread = gettid().as_raw_nonzero().to_string();
    let given = Command::new("chrt").args(["--idle", "--pid", "0", &thread]).status().unwrap();
    assert!(given.success(), "chrt of util-linux");
}

/// The thread (this one, and what it starts from here on) runs on that processor alone.
fn pin(thread: Option<Pid>, processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(thread, &set).unwrap();
}
