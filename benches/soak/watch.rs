//! What airside takes of the machine, from second to second.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::support::airside::Airside;

const INTERVAL: Duration = Duration::from_millis(250);
const WINDOWS: usize = 8;
/// The share of the time in which nothing is judged: caches and buffers fill.
const WARM_UP: f64 = 0.2;
/// How much a window's median may be above the first's.
const MOST: f64 = 1.1;

#[derive(Clone, Copy)]
struct Sample {
    at: Duration,
    memory: usize,
    descriptors: usize,
}

pub(crate) struct Watch {
    samples: Vec<Sample>,
}

impl Watch {
    /// Looks again and again, until it is over.
    pub(crate) fn until(over: &AtomicBool, airside: &Airside) -> Self {
        let begun = Instant::now();
        let mut samples = Vec::new();
        while !over.load(Ordering::SeqCst) {
            let (memory, descriptors) = (airside.memory(), descriptors(airside));
            samples.push(Sample { at: begun.elapsed(), memory, descriptors });
            thread::sleep(INTERVAL);
        }
        Self { samples }
    }

    /// Prints the windows; what has grown, if the time is enough to tell.
    pub(crate) fn judge(&self, time: Duration, enough: Duration) -> Vec<String> {
        let start = time.mul_f64(WARM_UP);
        let length = time.saturating_sub(start) / u32::try_from(WINDOWS).unwrap();
        println!("\n{:<16} {:>12} {:>12}", "seconds", "memory KiB", "descriptors");
        let mut faults = Vec::new();
        let mut first = None;
        let starts = (0..u32::try_from(WINDOWS).unwrap()).map(|number| start + length * number);
        let windows =
            [(Duration::ZERO, start)].into_iter().chain(starts.map(|at| (at, at + length)));
        for (number, (from, to)) in windows.enumerate() {
            let within = |sample: &&Sample| (from..to).contains(&sample.at);
            let samples: Vec<_> = self.samples.iter().filter(within).copied().collect();
            if samples.is_empty() {
                faults.push(format!("nobody looked between {from:?} and {to:?}"));
                continue;
            }
            let window =
                [median(&samples, |one| one.memory), median(&samples, |one| one.descriptors)];
            let span = format!("{:.0} to {:.0}", from.as_secs_f64(), to.as_secs_f64());
            let note = if number == 0 { "  warming up" } else { "" };
            println!("{span:<16} {:>12} {:>12}{note}", window[0], window[1]);
            if number == 0 {
                continue;
            }
            let first = *first.get_or_insert(window);
            for (index, what) in ["memory", "descriptors"].iter().enumerate() {
                if time >= enough && grown(first[index], window[index]) {
                    let (now, then) = (window[index], first[index]);
                    faults.push(format!("{what} grew: {then} at first, {now} in {span} s"));
                }
            }
        }
        faults
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn grown(then: usize, now: usize) -> bool {
    now as f64 > then as f64 * MOST
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> usize) -> usize {
    let mut values: Vec<_> = samples.iter().map(of).collect();
    values.sort_unstable();
    values[values.len() / 2]
}

/// How many files and sockets it has open.
pub(crate) fn descriptors(airside: &Airside) -> usize {
    fs::read_dir(format!("/proc/{}/fd", airside.id())).unwrap().count()
}

/// The most of a second in which it is asked for nothing.
pub(crate) fn settled_descriptors(airside: &Airside) -> usize {
    let looks = (0..10).map(|_| {
        thread::sleep(Duration::from_millis(100));
        descriptors(airside)
    });
    looks.max().unwrap_or_default()
}
