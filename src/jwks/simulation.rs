//! The life of a key store, lived fast: the real store and its real refresher against an issuer
//! that rotates, blinks, lies and hangs, while strangers flood it with unknown `kid`s. Time is
//! paused and everything follows from a seed, so a failure can be seen again.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, advance, sleep};

use super::fetch::{FetchError, Source};
use super::refresh::keep_fresh;
use super::store::{Freshness, KeyStamp, KeyStore, Schedule};
use crate::config::Environment;
use crate::rejection::Reason;

/// What a run is: so many days, from this seed on. Each life has a seed of its own, counted up, so
/// that one life can be run alone.
#[test]
fn keys_serve_as_promised_through_rotation_outage_garbage_and_floods() {
    let environment = Environment::of_process();
    let number = |name: &str| environment.get(name).map(|text| text.parse::<u64>().unwrap());
    let days = number("AIRSIDE_SIMULATION_DAYS").unwrap_or(60);
    let first = number("AIRSIDE_SIMULATION_SEED").unwrap_or(1);
    let mut total = Counts::default();
    for seed in (first..).take(usize::try_from(days.div_ceil(DAYS_OF_LIFE)).unwrap()) {
        println!("seed {seed}: AIRSIDE_SIMULATION_SEED={seed} AIRSIDE_SIMULATION_DAYS=1 lives it");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        total.add(&runtime.block_on(live(seed)));
    }
    println!("{days} days: {total:?}");
    assert!(total.accepted > 0 && total.unknown > 0 && total.asked > 0 && total.failed > 0);
}

const DAYS_OF_LIFE: u64 = 20;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The longest pause after a failure.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// Timers are exact to a millisecond and round up.
const TICK: Duration = Duration::from_millis(2);

/// What happened, to see that something did.
#[derive(Debug, Default)]
struct Counts {
    accepted: u64,
    unknown: u64,
    unavailable: u64,
    fetched: u64,
    failed: u64,
    asked: u64,
    rotated: u64,
    outages: u64,
    stalls: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.unknown += other.unknown;
        self.unavailable += other.unavailable;
        self.fetched += other.fetched;
        self.failed += other.failed;
        self.asked += other.asked;
        self.rotated += other.rotated;
        self.outages += other.outages;
        self.stalls += other.stalls;
    }
}

async fn live(seed: u64) -> Counts {
    let mut chance = Chance(seed.wrapping_mul(0x5851_F42D_4C95_7F2D));
    let schedule = schedule(&mut chance);
    let store = Arc::new(KeyStore::fetched("simulated".into(), schedule));
    let issuer = Issuer(Arc::new(Mutex::new(World::new(schedule, chance))));
    let source = Source::simulated(issuer.clone(), schedule.timeout);
    let age = issuer.clone();
    let jittered = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&jittered);
    let jitter = move |span: Duration| {
        count.fetch_add(1, Relaxed);
        span.mul_f64(age.world().chance.between(0.8, 1.0))
    };
    let kept = keep_fresh(Arc::clone(&store), source, None, schedule.refresh, jitter);
    let refresher = tokio::spawn(kept);
    let mut life = Life { issuer, store, requests: JoinSet::new(), stamps: Vec::new() };
    let end = Instant::now() + DAY * u32::try_from(DAYS_OF_LIFE).unwrap();
    while Instant::now() < end {
        life.step(&schedule).await;
        assert!(!refresher.is_finished(), "the refresher never ends");
    }
    while let Some(ended) = life.requests.join_next().await {
        ended.unwrap();
    }
    refresher.abort();
    let counts = std::mem::take(&mut life.issuer.world().counts);
    // The last fetch may have ended this very moment.
    let pauses = jittered.load(Relaxed);
    let ended = counts.fetched + counts.failed;
    assert!((pauses..=pauses + 1).contains(&ended), "{pauses} pauses jittered, {counts:?}");
    counts
}

fn schedule(chance: &mut Chance) -> Schedule {
    let seconds = Duration::from_secs;
    let refresh = chance.one_of(&[seconds(300), seconds(3600), seconds(6 * 3600)]);
    Schedule {
        refresh,
        stale_for: chance.one_of(&[refresh * 2, seconds(24 * 3600), seconds(72 * 3600)]),
        unknown_kid_cooldown: chance.one_of(&[seconds(5), seconds(60), seconds(600)]),
        timeout: chance.one_of(&[seconds(1), seconds(5), seconds(30)]),
    }
}

struct Life {
    issuer: Issuer,
    store: Arc<KeyStore>,
    requests: JoinSet<()>,
    stamps: Vec<(KeyStamp, u64)>,
}

impl Life {
    /// Something happens, or time passes.
    async fn step(&mut self, schedule: &Schedule) {
        let draw = self.issuer.world().chance.below(100);
        match draw {
            0..30 => self.pass(Duration::from_secs(2 * 3600)).await,
            30..45 => self.pass(schedule.unknown_kid_cooldown * 2).await,
            45..70 => self.visit(5, schedule.timeout).await,
            70..80 => self.flood(schedule.unknown_kid_cooldown).await,
            80..90 => self.issuer.world().rotate(),
            90..97 => self.issuer.world().change_weather(),
            97..98 => {
                self.issuer.world().fail();
                sleep(schedule.stale_for.mul_f64(1.2)).await;
            }
            _ => {
                let stall = self.issuer.world().stall();
                advance(stall).await;
            }
        }
        self.check(schedule).await;
    }

    async fn pass(&self, longest: Duration) {
        let part = self.issuer.world().chance.between(0.0, 1.0);
        sleep(longest.mul_f64(part)).await;
    }

    /// Callers with keys that the issuer knows or knew.
    async fn visit(&mut self, callers: usize, within: Duration) {
        for _ in 0..callers {
            let kid = self.issuer.world().some_kid();
            self.send(kid);
            self.pass(within).await;
        }
    }

    /// Strangers with keys that nobody has, and a caller among them.
    async fn flood(&mut self, cooldown: Duration) {
        for _ in 0..40 {
            for _ in 0..5 {
                let kid = UNHEARD_OF + self.issuer.world().chance.below(1000);
                self.send(kid);
            }
            self.visit(1, cooldown / 5).await;
        }
    }

    fn send(&mut self, kid: u64) {
        let (issuer, store) = (self.issuer.clone(), Arc::clone(&self.store));
        self.requests.spawn(async move { issuer.request(&store, kid).await });
    }

    async fn check(&mut self, schedule: &Schedule) {
        tokio::task::yield_now().await;
        while let Some(ended) = self.requests.try_join_next() {
            ended.unwrap();
        }
        self.check_stamps(schedule).await;
        let world = self.issuer.world();
        let freshness = self.store.status().freshness;
        assert_eq!(freshness != Freshness::None, world.usable().is_some(), "{world:?}");
        let settled = schedule.timeout * 2 + LONGEST_BACKOFF + TICK;
        if world.up_since.is_some_and(|since| since.elapsed() > settled) {
            assert_eq!(freshness, Freshness::Fresh, "{world:?}");
        }
    }

    /// A remembered verdict holds as long as the set it came from, and no longer.
    async fn check_stamps(&mut self, schedule: &Schedule) {
        let held = self.issuer.world().usable().cloned();
        for (stamp, edition) in &self.stamps {
            let still = held.as_ref().is_some_and(|held| held.edition == *edition);
            assert_eq!(stamp.holds(), still, "edition {edition} of {held:?} by {schedule:?}");
        }
        self.stamps.retain(|(stamp, _)| stamp.holds());
        let Some(held) = held.filter(|held| !self.stamps.iter().any(|(_, e)| *e == held.edition))
        else {
            return;
        };
        let kid = held.kids.first().unwrap().to_string();
        let (_, stamp) = self.store.judge(Some(&kid), |keys| Ok(keys.count())).await.unwrap();
        self.stamps.push((stamp, held.edition));
    }
}

/// From here on no key has its number.
const UNHEARD_OF: u64 = 1_000_000;

/// The issuer as the refresher sees it, and the judge of what callers get.
#[derive(Clone, Debug)]
pub(super) struct Issuer(Arc<Mutex<World>>);

impl Issuer {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One fetch. May never end.
    pub(super) async fn answer(&self) -> Result<Vec<u8>, FetchError> {
        let mut fetch = Fetch::begin(self);
        let (weather, delay, early) = {
            let mut world = self.world();
            let longest = world.schedule.timeout.mul_f64(0.9);
            let delay = longest.mul_f64(world.chance.between(0.0, 1.0).powi(4));
            (world.weather, delay, world.chance.below(2) == 0)
        };
        let read_early = self.world().published();
        if weather != Weather::Refusing {
            sleep(delay).await;
        }
        match weather {
            Weather::Up => {
                let mut world = self.world();
                let kids = if early { read_early } else { world.published() };
                let document = world.document(&kids);
                drop(world);
                fetch.brought = Some(kids);
                Ok(document)
            }
            Weather::Refusing => Err(FetchError::Network("connection refused".into())),
            Weather::Failing => Err(FetchError::Status(503)),
            Weather::Garbage => Ok(self.world().garbage()),
            Weather::Hanging => std::future::pending().await,
        }
    }

    /// One caller with a token signed by `kid`, and whether the answer is as promised.
    async fn request(&self, store: &Arc<KeyStore>, kid: u64) {
        let came = Instant::now();
        let before = self.world().outlook(kid);
        let name = kid.to_string();
        let found = store.judge(Some(&name), |keys| Ok(keys.count())).await;
        let mut world = self.world();
        match found.map_err(|rejection| rejection.reason()) {
            Ok((count, _)) => {
                world.counts.accepted += 1;
                assert_eq!(count, 1);
                world.may_accept(kid);
                if before.held {
                    assert_eq!(came.elapsed(), Duration::ZERO, "waited with the key at hand");
                }
            }
            Err(reason) => {
                match reason {
                    Reason::KeyUnknown => world.counts.unknown += 1,
                    Reason::KeysUnavailable => world.counts.unavailable += 1,
                    other => panic!("{other:?}"),
                }
                assert_eq!(reason == Reason::KeyUnknown, world.usable().is_some());
                assert!(!before.held, "kid {kid} refused with the key at hand: {world:?}");
                world.may_refuse(kid, came, &before);
            }
        }
    }
}

/// A fetch under way; when it is over, however it ends, the world knows.
struct Fetch<'i> {
    issuer: &'i Issuer,
    begun: Instant,
    brought: Option<Vec<u64>>,
}

impl<'i> Fetch<'i> {
    fn begin(issuer: &'i Issuer) -> Self {
        issuer.world().fetch_begins();
        Self { issuer, begun: Instant::now(), brought: None }
    }
}

impl Drop for Fetch<'_> {
    fn drop(&mut self) {
        self.issuer.world().fetch_ended(self.begun, self.brought.take());
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Up,
    Refusing,
    Failing,
    Garbage,
    Hanging,
}

/// All that is true, which the store can only learn by fetching.
#[derive(Debug)]
struct World {
    schedule: Schedule,
    chance: Chance,
    keys: Vec<Published>,
    weather: Weather,
    up_since: Option<Instant>,
    /// The last good set, as the store must have it.
    held: Option<Held>,
    running: bool,
    running_asked: bool,
    last: Option<Last>,
    failures: usize,
    last_asked: Option<Instant>,
    /// The end of the last time that the machine stood still.
    stalled: Instant,
    counts: Counts,
}

#[derive(Debug)]
struct Published {
    kid: u64,
    /// On the issuer's list since then.
    since: Option<Instant>,
    removed: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Held {
    kids: Vec<u64>,
    begun: Instant,
    edition: u64,
}

#[derive(Debug)]
struct Last {
    begun: Instant,
    ended: Instant,
    good: bool,
}

/// How things were when a caller came.
struct Outlook {
    held: bool,
    quiet: bool,
}

impl World {
    fn new(schedule: Schedule, chance: Chance) -> Self {
        let now = Instant::now();
        Self {
            schedule,
            chance,
            keys: vec![Published { kid: 0, since: Some(now), removed: None }],
            weather: Weather::Up,
            up_since: Some(now),
            held: None,
            running: false,
            running_asked: false,
            last: None,
            failures: 0,
            last_asked: None,
            stalled: now,
            counts: Counts::default(),
        }
    }

    /// A fetch that comes sooner than the schedule has it was asked for: one per cooldown.
    fn fetch_begins(&mut self) {
        assert!(!self.running, "one fetch at a time");
        self.running = true;
        let Some(last) = &self.last else { return };
        let early = if last.good {
            last.begun.elapsed() + TICK < self.schedule.refresh.mul_f64(0.8)
        } else {
            let pause = [1, 2, 4, 8, 16, 30].get(self.failures - 1).copied().unwrap_or(30);
            last.ended.elapsed() + TICK < Duration::from_secs(pause).mul_f64(0.8)
        };
        if early {
            self.counts.asked += 1;
            let cooldown = self.schedule.unknown_kid_cooldown;
            let cooled = self.last_asked.is_none_or(|ended| ended.elapsed() >= cooldown);
            assert!(cooled, "a second fetch within the cooldown: {self:?}");
        }
        self.running_asked = early;
    }

    fn fetch_ended(&mut self, begun: Instant, brought: Option<Vec<u64>>) {
        let ended = Instant::now();
        let in_time = ended - begun <= self.schedule.timeout + TICK;
        assert!(in_time || begun < self.stalled, "a fetch ends in time");
        self.running = false;
        if self.running_asked {
            self.last_asked = Some(ended);
        }
        self.last = Some(Last { begun, ended, good: brought.is_some() });
        let Some(kids) = brought else {
            self.failures += 1;
            self.counts.failed += 1;
            return;
        };
        self.failures = 0;
        self.counts.fetched += 1;
        let edition = match &self.held {
            Some(held) if held.kids == kids => held.edition,
            Some(held) => held.edition + 1,
            None => 1,
        };
        self.held = Some(Held { kids, begun, edition });
    }

    fn usable(&self) -> Option<&Held> {
        self.held.as_ref().filter(|held| held.begun.elapsed() < self.schedule.stale_for)
    }

    fn outlook(&self, kid: u64) -> Outlook {
        let cooldown = self.schedule.unknown_kid_cooldown;
        let rested = |last: &Last| last.ended.elapsed() >= cooldown;
        Outlook {
            held: self.usable().is_some_and(|held| held.kids.contains(&kid)),
            quiet: !self.running && self.last.as_ref().is_none_or(rested),
        }
    }

    /// Never what was not fetched, never longer than the age allows, and of a working issuer never
    /// longer than a refresh takes to come round.
    fn may_accept(&self, kid: u64) {
        let known = self.usable().is_some_and(|held| held.kids.contains(&kid));
        assert!(known, "kid {kid} accepted and not known: {self:?}");
        let key = self.keys.iter().find(|key| key.kid == kid).unwrap();
        let Some(removed) = key.removed.filter(|_| key.since.is_none()) else { return };
        assert!(removed.elapsed() <= self.schedule.stale_for, "kid {kid} outlived: {self:?}");
        let settled = self.schedule.timeout * 2 + LONGEST_BACKOFF;
        if self.up_since.is_some_and(|since| since + settled <= removed) {
            let bound = self.schedule.refresh + self.schedule.timeout + TICK;
            let accepted = removed.elapsed();
            assert!(accepted <= bound, "kid {kid} accepted {accepted:?} after: {self:?}");
        }
    }

    /// A key that a working issuer publishes is refused for cooldown and fetch at most, and not at
    /// all when nothing was asked for lately.
    fn may_refuse(&self, kid: u64, came: Instant, before: &Outlook) {
        let published = self.keys.iter().find(|key| key.kid == kid).and_then(|key| key.since);
        let (Some(published), Some(up)) = (published, self.up_since) else { return };
        let reachable = published.max(up);
        let Schedule { timeout, unknown_kid_cooldown, .. } = self.schedule;
        let late = came >= reachable + unknown_kid_cooldown + timeout + TICK;
        assert!(!late, "kid {kid} refused too long: {self:?}");
        assert!(!(before.quiet && came >= reachable), "kid {kid} refused in quiet: {self:?}");
    }

    fn published(&self) -> Vec<u64> {
        self.keys.iter().filter(|key| key.since.is_some()).map(|key| key.kid).collect()
    }

    fn some_kid(&mut self) -> u64 {
        // The newest are the ones that tokens are signed with.
        let recent = self.keys.len().saturating_sub(6);
        let index = recent + self.chance.index(self.keys.len() - recent);
        self.keys[index].kid
    }

    fn rotate(&mut self) {
        self.counts.rotated += 1;
        let (now, draw) = (Instant::now(), self.chance.below(10));
        let listed: Vec<usize> =
            (0..self.keys.len()).filter(|index| self.keys[*index].since.is_some()).collect();
        let gone = listed[self.chance.index(listed.len())];
        let back = self.keys.len() - 1 - self.chance.index(self.keys.len().min(4));
        match draw {
            // The next key is announced.
            0..4 => self.publish_next(now),
            // A key is replaced at once, or all are.
            4 => {
                self.publish_next(now);
                self.remove(gone, now);
            }
            5 => {
                self.publish_next(now);
                for index in listed {
                    self.remove(index, now);
                }
            }
            // A node of the issuer that does not know the newest, and later does.
            6 if self.keys[back].since.is_none() => self.keys[back].since = Some(now),
            // An old key goes.
            _ if listed.len() > 1 => self.remove(gone, now),
            _ => {}
        }
    }

    fn publish_next(&mut self, now: Instant) {
        let kid = u64::try_from(self.keys.len()).unwrap();
        self.keys.push(Published { kid, since: Some(now), removed: None });
    }

    fn remove(&mut self, index: usize, now: Instant) {
        self.keys[index].since = None;
        self.keys[index].removed = Some(now);
    }

    fn change_weather(&mut self) {
        if self.weather == Weather::Up {
            return self.fail();
        }
        self.weather = Weather::Up;
        self.up_since = Some(Instant::now());
    }

    fn fail(&mut self) {
        self.counts.outages += 1;
        self.up_since = None;
        self.weather = self.chance.one_of(&[
            Weather::Refusing,
            Weather::Failing,
            Weather::Garbage,
            Weather::Hanging,
        ]);
    }

    /// The machine stands still, a while or longer than keys serve; nobody is promised anything
    /// about the time between.
    fn stall(&mut self) -> Duration {
        self.counts.stalls += 1;
        let longest = self.schedule.stale_for.mul_f64(1.1);
        let stall = longest.mul_f64(self.chance.between(0.0, 1.0).powi(3));
        self.stalled = Instant::now() + stall;
        self.up_since = self.up_since.map(|_| self.stalled);
        stall
    }

    fn document(&mut self, kids: &[u64]) -> Vec<u8> {
        let mut keys: Vec<Value> = kids.iter().map(|kid| jwk(*kid)).collect();
        for bad in [json!(null), json!({ "kty": "oct", "kid": "0", "k": "AA" }), json!([])] {
            if self.chance.below(4) == 0 {
                keys.insert(self.chance.index(keys.len()), bad);
            }
        }
        json!({ "keys": keys }).to_string().into_bytes()
    }

    fn garbage(&mut self) -> Vec<u8> {
        let whole = json!({ "keys": [jwk(UNHEARD_OF)] }).to_string();
        let cut = self.chance.index(whole.len());
        let garbage = ["", "<html>", "{}", r#"{"keys":[]}"#, r#"{"keys":[null]}"#, &whole[..cut]];
        self.chance.one_of(&garbage).as_bytes().to_vec()
    }
}

/// Key number `kid`: all have a name of their own, and share a few points.
fn jwk(kid: u64) -> Value {
    static POINTS: std::sync::LazyLock<Vec<String>> = std::sync::LazyLock::new(|| {
        let point = |_| Ed25519KeyPair::generate().unwrap().public_key().as_ref().to_vec();
        (0..7).map(point).map(|point| URL_SAFE_NO_PAD.encode(point)).collect()
    });
    let point = &POINTS[usize::try_from(kid).unwrap() % POINTS.len()];
    json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": kid.to_string(), "x": point })
}

/// `SplitMix64` (Steele, Lea and Flood, 2014): small, and the same everywhere.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(u64::try_from(length).unwrap())).unwrap()
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        let part = u32::try_from(self.next() >> 32).unwrap();
        low + (high - low) * f64::from(part) / f64::from(u32::MAX)
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.index(all.len())]
    }
}
