//! Whether anything grows, leaks or is lost over hours of use: `make soak`, ten minutes of
//! everything at once.
//!
//! Callers of every kind (traffic.rs) ask at a modest pace through the real executable, while the
//! configuration is read again and Airflow, a process of its own (upstream.rs), is killed and
//! started anew. Then it must hold that
//! - every request that failed has a reason: Airflow was down meanwhile. What is refused or cut off
//!   on purpose is no failure, but what was not refused as expected is;
//! - the counters and the log of airside agree with what the callers counted;
//! - once everybody has left, no request is in flight and no descriptor is open that was not before;
//! - from window to window, neither memory nor descriptors grow by more than a tenth: the first
//!   fifth of the time is for warming up, the rest falls into eight windows, and the medians of
//!   their samples (four a second) are compared with the first window's. A run below two minutes is
//!   too short to tell, and shows them only.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a measurement that cannot go on ends here, with its reason"
)]

#[path = "../../tests/support/mod.rs"]
mod support;

mod ledger;
mod traffic;
mod upstream;
mod watch;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ledger::Ledger;
use support::airside::Airside;
use support::config::Config;
use support::issuer::Issuer;
use support::wait::{DEADLINE, within};
use traffic::Traffic;
use upstream::Airflow;
use watch::Watch;

const MOST_SECONDS: u64 = 3600;
/// Below, memory is shown and not judged.
const ENOUGH_TO_JUDGE: Duration = Duration::from_secs(120);
/// Between two deaths of Airflow; a configuration is taken up in the middle.
const CYCLE: Duration = Duration::from_secs(8);
const DOWN: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let seconds = match &words[..] {
        [what, address] if what == upstream::WORD => {
            upstream::serve(address.parse().unwrap());
            return ExitCode::SUCCESS;
        }
        [seconds] => seconds.parse().expect("a number of seconds"),
        [] => 600,
        more => panic!("a number of seconds is all there is to say, not {more:?}"),
    };
    let faults = soak(Duration::from_secs(u64::clamp(seconds, 8, MOST_SECONDS)));
    for fault in &faults {
        println!("FAULT: {fault}");
    }
    println!("{}", if faults.is_empty() { "the promises hold" } else { "they do NOT hold" });
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs it all for so long, prints the tables, and tells what does not hold.
fn soak(time: Duration) -> Vec<String> {
    let issuer = Issuer::start();
    let mut airflow = Airflow::start();
    let config = Config::new(&issuer.url(), &airflow.url());
    let airside = Airside::start(&config.set("/limits/header_timeout", "2s"));
    // The admin listener has been asked once, and its connection is gone.
    let before = watch::settled_descriptors(&airside);
    let ledger = Ledger::start();
    let traffic = Traffic::new(airside.proxy);
    let over = AtomicBool::new(false);
    println!("{} s, {} callers", time.as_secs(), Traffic::callers());
    let watch = thread::scope(|scope| {
        let watch = scope.spawn(|| Watch::until(&over, &airside));
        traffic.spawn(scope, &ledger, &over);
        direct(time, &airside, &mut airflow, &ledger);
        over.store(true, Ordering::SeqCst);
        watch.join().unwrap()
    });
    airflow.kill();
    let mut faults = watch.judge(time, ENOUGH_TO_JUDGE);
    faults.extend(at_rest(&airside, before));
    let metrics = airside.ask_admin("/metrics").text();
    let log = airside.finish().log();
    faults.extend(ledger.judge(&metrics, &log));
    faults
}

/// Kills Airflow and takes up configurations, until the time is over.
fn direct(time: Duration, airside: &Airside, airflow: &mut Airflow, ledger: &Ledger) {
    let begun = Instant::now();
    let left = || time.saturating_sub(begun.elapsed());
    let mut cycles = 0;
    while left() > CYCLE {
        cycles += 1;
        thread::sleep(CYCLE / 2);
        // Everything is taken up anew, and no request may notice.
        airside.changes(|config| config.set("/limits/connections", 9_000 + cycles % 2));
        thread::sleep((CYCLE / 2).saturating_sub(DOWN));
        ledger.while_down(|| {
            airflow.kill();
            thread::sleep(DOWN);
            airflow.restart();
        });
    }
    thread::sleep(left());
    println!("{cycles} deaths of Airflow, {cycles} configurations taken up");
}

/// What must be over once everybody has left.
fn at_rest(airside: &Airside, before: usize) -> Vec<String> {
    let mut faults = Vec::new();
    for gauge in ["airside_requests_in_flight", "airside_connections"] {
        if within(DEADLINE, || (airside.count(gauge) == 0).then_some(())).is_none() {
            faults.push(format!("{gauge} is {} after the end", airside.count(gauge)));
        }
    }
    if within(DEADLINE, || (watch::descriptors(airside) <= before).then_some(())).is_none() {
        let now = watch::descriptors(airside);
        faults.push(format!("{now} descriptors after the end, {before} before"));
    }
    let lost = airside.count("airside_lost_log_lines_total");
    faults.extend((lost > 0).then(|| format!("{lost} lines of the log were lost")));
    faults
}
