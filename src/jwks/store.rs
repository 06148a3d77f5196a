//! The keys of one issuer as every core sees them, and the rules of when they may be used.
//!
//! Reading is lock-free. A token with an unknown `kid` may ask for one fetch and waits for it;
//! then the cooldown holds, whatever a stranger sends. A failed fetch never evicts: keys serve for
//! `stale_for` after the last good one, then the issuer fails closed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::document::{Algorithm, Key, KeySet};
use crate::clock::{self, Timestamp};
use crate::rejection::{Reason, Rejection};

/// When keys are fetched and for how long they serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The age at which keys are fetched again.
    pub refresh: Duration,
    /// The age at which keys are no longer used.
    pub stale_for: Duration,
    /// The pause between two fetches for an unknown `kid`.
    pub unknown_kid_cooldown: Duration,
    /// The longest a fetch may take, and a request waits for one.
    pub timeout: Duration,
}

/// The keys of one issuer.
#[derive(Debug)]
pub struct KeyStore {
    issuer: Arc<str>,
    current: ArcSwapOption<Published>,
    schedule: Option<Schedule>,
    fetches: Mutex<Fetches>,
    wanted: Notify,
    finished: watch::Sender<u64>,
}

#[derive(Debug)]
struct Published {
    keys: Arc<KeySet>,
    since: Instant,
    /// The age of the keys when they were published: those from disk were fetched long before.
    age: Duration,
    provenance: Provenance,
    generation: u64,
}

impl Published {
    fn age(&self) -> Duration {
        self.since.elapsed().saturating_add(self.age)
    }
}

/// Fetches are numbered from 1, so that a waiter can name the one it waits for.
#[derive(Debug, Default)]
struct Fetches {
    started: u64,
    /// Since when one runs.
    running: Option<Instant>,
    /// The fetch that unknown `kid`s wait for, until it has ended.
    asked: Option<u64>,
    last_asked: Option<Instant>,
    refreshes: Refreshes,
    place: Option<String>,
    next: Option<Instant>,
    failure: Option<Failure>,
}

/// A fetch that brought no keys.
#[derive(Clone, Debug)]
pub struct Failure {
    /// When it ended.
    pub time: Timestamp,
    /// Why.
    pub why: String,
}

/// A refusal, and whether newer keys might make it good.
#[derive(Debug)]
struct Refusal {
    rejection: Rejection,
    may_change: bool,
}

impl Refusal {
    const fn for_good(rejection: Rejection) -> Self {
        Self { rejection, may_change: false }
    }

    const fn for_now(rejection: Rejection) -> Self {
        Self { rejection, may_change: true }
    }
}

fn is_same(one: Option<&Arc<Published>>, other: Option<&Arc<Published>>) -> bool {
    one.map(Arc::as_ptr) == other.map(Arc::as_ptr)
}

fn unknown(kid: Option<&str>, issuer: &str) -> Rejection {
    let kid = kid.map_or("no kid".to_owned(), |kid| format!("kid {kid:?}"));
    Rejection::found_that(Reason::KeyUnknown, format!("{kid} is not a key of {issuer}"))
}

/// Proof that a key was in use, and the means to see whether it still is.
#[derive(Clone, Debug)]
pub struct KeyStamp {
    store: Arc<KeyStore>,
    generation: u64,
}

impl KeyStamp {
    /// Whether the key set is still the one the token was verified with, and not too old.
    #[must_use]
    pub fn holds(&self) -> bool {
        let current = self.store.current.load();
        current.as_ref().is_some_and(|current| {
            current.generation == self.generation && self.store.may_use(current)
        })
    }
}

/// How an issuer's keys are, for readiness and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// Fresh, stale or none.
    pub freshness: Freshness,
    /// Where the keys in use come from; `None` while there are none.
    pub source: Option<Provenance>,
    /// Age of the last good fetch; `None` for fixed keys and before the first.
    pub age: Option<Duration>,
    /// How long keys serve on without a further fetch; `None` for fixed keys, which do not end.
    pub autonomy: Option<Duration>,
    /// How the fetches of this process ended.
    pub refreshes: Refreshes,
    /// Whether there are keys, or the first attempt to get some has ended badly.
    pub attempted: bool,
}

/// What people want to know of a key set when something is wrong.
#[derive(Clone, Debug)]
pub struct Details {
    /// Where it is fetched; `None` for given keys, and before the first fetch.
    pub place: Option<String>,
    /// The keys that can be used now: names, and what they verify.
    pub keys: Vec<(Option<String>, Vec<Algorithm>)>,
    /// Why entries of the document were left out.
    pub left_out: Vec<String>,
    /// When it is fetched again on schedule; `None` for given keys, and while a fetch runs.
    pub next: Option<Duration>,
    /// The last fetch that brought none, if there was one.
    pub failure: Option<Failure>,
}

/// Where keys come from; the one that shows trouble last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Provenance {
    /// The configuration names them: a secret, a file.
    Given,
    /// Fetched by this process.
    Network,
    /// Fetched before the start, and kept on disk.
    Disk,
}

impl Provenance {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Given, Self::Network, Self::Disk];

    /// The name in reports and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Network => "network",
            Self::Disk => "disk",
        }
    }
}

/// How many fetches ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refreshes {
    /// With keys.
    pub ok: u64,
    /// Without.
    pub failed: u64,
}

/// Whether keys can be used, and whether they are on schedule; the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freshness {
    /// On schedule.
    Fresh,
    /// Usable, but the last refresh is overdue.
    Stale,
    /// There is no key to verify with.
    None,
}

impl Freshness {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::None => "none",
        }
    }
}

impl KeyStore {
    /// An empty store that a refresher fills.
    #[must_use]
    pub fn fetched(issuer: Arc<str>, schedule: Schedule) -> Self {
        Self::new(issuer, Some(schedule), None)
    }

    /// Keys that are given and do not age: a shared secret, a file.
    #[must_use]
    pub fn fixed(issuer: Arc<str>, keys: KeySet) -> Self {
        Self::new(issuer, None, Some(keys))
    }

    /// The store of an issuer whose keys are given, and are none: what asks for them is told so.
    #[must_use]
    pub fn without_keys(issuer: Arc<str>) -> Self {
        Self::new(issuer, None, None)
    }

    fn new(issuer: Arc<str>, schedule: Option<Schedule>, keys: Option<KeySet>) -> Self {
        let store = Self {
            issuer,
            current: ArcSwapOption::empty(),
            schedule,
            fetches: Mutex::default(),
            wanted: Notify::new(),
            finished: watch::Sender::new(0),
        };
        if let Some(keys) = keys {
            store.publish(Arc::new(keys), Duration::ZERO, Provenance::Given);
        }
        store
    }

    /// The issuer entry these keys belong to.
    #[must_use]
    pub const fn issuer(&self) -> &Arc<str> {
        &self.issuer
    }

    /// When its keys are fetched; `None` for given ones.
    #[must_use]
    pub const fn schedule(&self) -> Option<&Schedule> {
        self.schedule.as_ref()
    }

    /// The keys that verify tokens at this moment.
    #[must_use]
    pub fn keys(&self) -> Option<Arc<KeySet>> {
        self.usable().map(|current| Arc::clone(&current.keys))
    }

    /// Nobody will fetch for it: for the time of a cooldown a token is judged by the keys that are
    /// there.
    pub fn rest(&self) {
        self.fetches().last_asked = Some(Instant::now());
    }

    /// Takes over the keys of another store for the same issuer and place, as old as they are.
    pub fn inherit(&self, other: &Self) {
        if let Some(keys) = other.current.load_full() {
            self.publish(Arc::clone(&keys.keys), keys.age(), keys.provenance);
        }
    }

    /// Waits until there are keys, or the first attempt to get some has ended badly.
    pub async fn attempted(&self) {
        if !self.status().attempted {
            // The sender is of this store: it cannot be gone.
            let _ = self.finished.subscribe().wait_for(|ended| *ended > 0).await;
        }
    }

    /// Hands the keys that `kid` names to `judge`; where it names none, those without a name
    /// (RFC 7517, section 4.5: a `kid` is optional). Where that leaves the token refused, waits for
    /// one fetch, if the cooldown allows it, and tries again.
    pub async fn judge<T>(
        self: &Arc<Self>,
        kid: Option<&str>,
        judge: impl Fn(&mut dyn Iterator<Item = &Key>) -> Result<T, Rejection>,
    ) -> Result<(T, KeyStamp), Rejection> {
        let before = self.usable();
        let refusal = match self.judge_now(kid, &judge) {
            Ok(good) => return Ok(good),
            Err(refusal) => refusal,
        };
        if refusal.may_change {
            self.fetch_once().await;
            // Another's fetch may have ended in between, so that there was none to be had; or the keys
            // have become too old meanwhile.
            if !is_same(before.as_ref(), self.usable().as_ref()) {
                return self.judge_now(kid, &judge).map_err(|refusal| refusal.rejection);
            }
        }
        Err(refusal.rejection)
    }

    fn judge_now<T>(
        self: &Arc<Self>,
        kid: Option<&str>,
        judge: impl Fn(&mut dyn Iterator<Item = &Key>) -> Result<T, Rejection>,
    ) -> Result<(T, KeyStamp), Refusal> {
        let issuer = &self.issuer;
        let Some(current) = self.usable() else {
            let found = format!("no keys of issuer {issuer}");
            return Err(Refusal::for_now(Rejection::found_that(Reason::KeysUnavailable, found)));
        };
        let stamp = || KeyStamp { store: Arc::clone(self), generation: current.generation };
        let mut named = current.keys.named(kid).peekable();
        if named.peek().is_some() {
            return judge(&mut named).map(|good| (good, stamp())).map_err(Refusal::for_good);
        }
        self.judge_nameless(&current.keys, kid, judge).map(|good| (good, stamp()))
    }

    /// No key has the token's name; one without a name may have signed it all the same.
    fn judge_nameless<T>(
        &self,
        keys: &KeySet,
        kid: Option<&str>,
        judge: impl Fn(&mut dyn Iterator<Item = &Key>) -> Result<T, Rejection>,
    ) -> Result<T, Refusal> {
        let mut nameless = keys.nameless().peekable();
        let verdict = nameless.peek().is_some().then(|| judge(&mut nameless));
        match verdict {
            Some(Ok(good)) => Ok(good),
            // The `kid` says nothing: there is none, or no key of this issuer has one.
            Some(Err(rejection)) if kid.is_none() || !keys.has_named() => {
                Err(Refusal::for_now(rejection))
            }
            // A fetch brings keys with a name: it cannot help a token that names none.
            None if kid.is_none() => Err(Refusal::for_good(unknown(kid, &self.issuer))),
            Some(Err(_)) | None => Err(Refusal::for_now(unknown(kid, &self.issuer))),
        }
    }

    /// How the keys are at this moment.
    #[must_use]
    pub fn status(&self) -> KeyStatus {
        let current = self.current.load();
        let (age, freshness) = match (current.as_ref(), &self.schedule) {
            (None, _) => (None, Freshness::None),
            (Some(_), None) => (None, Freshness::Fresh),
            (Some(current), Some(schedule)) => {
                let age = current.age();
                (Some(age), schedule.freshness(age))
            }
        };
        let in_use = current.as_ref().filter(|_| freshness != Freshness::None);
        let left = |schedule: &Schedule| {
            age.map_or(Duration::ZERO, |age| schedule.stale_for.saturating_sub(age))
        };
        KeyStatus {
            freshness,
            source: in_use.map(|current| current.provenance),
            age,
            autonomy: self.schedule.as_ref().map(left),
            refreshes: self.fetches().refreshes,
            attempted: current.is_some() || self.schedule.is_none() || *self.finished.borrow() > 0,
        }
    }

    /// What there is to know at this moment.
    #[must_use]
    pub fn details(&self) -> Details {
        let usable = self.usable();
        let keys = usable.as_ref().map_or(&[][..], |published| published.keys.all());
        let named = |key: &Key| (key.kid().map(str::to_owned), key.algorithms());
        let left_out = usable.as_ref().map_or(&[][..], |published| published.keys.skipped());
        let fetches = self.fetches();
        let next = fetches.next.filter(|_| fetches.running.is_none());
        Details {
            place: fetches.place.clone(),
            keys: keys.iter().map(named).collect(),
            left_out: left_out.to_vec(),
            next: next.map(|next| next.saturating_duration_since(Instant::now())),
            failure: fetches.failure.clone(),
        }
    }

    /// For the refresher: the age at which keys are no longer used.
    pub(super) fn stale_for(&self) -> Duration {
        self.schedule.as_ref().map_or(Duration::MAX, |schedule| schedule.stale_for)
    }

    /// For the refresher: keys that were fetched that long ago, before this process began.
    pub(super) fn restore(&self, keys: KeySet, age: Duration) {
        self.publish(Arc::new(keys), age, Provenance::Disk);
    }

    /// For the refresher: waits until a request asks for a fetch.
    pub(super) async fn wanted(&self) {
        // A fetch on schedule may have answered the request in the meantime.
        while self.fetches().asked.is_none() {
            self.wanted.notified().await;
        }
    }

    /// For the refresher: unless a request asks for one earlier, the next fetch begins then.
    pub(super) fn fetch_follows(&self, next: Instant) {
        self.fetches().next = Some(next);
    }

    /// For the refresher: a fetch from this place begins.
    pub(super) fn fetch_begins(&self, place: &str) {
        let mut fetches = self.fetches();
        fetches.place.get_or_insert_with(|| place.to_owned());
        fetches.started += 1;
        fetches.running = Some(Instant::now());
    }

    /// For the refresher: a fetch has ended, with new keys or with why there are none. Without, the
    /// old ones stay.
    pub(super) fn fetch_ended(&self, keys: Result<KeySet, String>) {
        let (keys, why) = match keys {
            Ok(keys) => (Some(keys), None),
            Err(why) => (None, Some(why)),
        };
        let good = keys.is_some();
        // As old as the fetch's beginning: nobody knows at which moment of it the issuer wrote them.
        let age = self.fetches().running.map_or(Duration::ZERO, |begun| begun.elapsed());
        if let Some(keys) = keys {
            self.publish(Arc::new(keys), age, Provenance::Network);
        }
        let ended = {
            let mut fetches = self.fetches();
            fetches.running = None;
            fetches.refreshes.ok += u64::from(good);
            fetches.refreshes.failed += u64::from(!good);
            if let Some(why) = why {
                fetches.failure = Some(Failure { time: clock::now(), why });
            }
            if fetches.asked.is_some_and(|asked| asked <= fetches.started) {
                fetches.asked = None;
                fetches.last_asked = Some(Instant::now());
            }
            fetches.started
        };
        self.finished.send_replace(ended);
    }

    fn publish(&self, keys: Arc<KeySet>, age: Duration, provenance: Provenance) {
        let generation = match self.current.load().as_ref() {
            None => 1,
            Some(current) if current.keys.same_as(&keys) => current.generation,
            Some(current) => current.generation + 1,
        };
        let published = Published { keys, since: Instant::now(), age, provenance, generation };
        self.current.store(Some(Arc::new(published)));
    }

    fn usable(&self) -> Option<Arc<Published>> {
        self.current.load_full().filter(|current| self.may_use(current))
    }

    /// Given keys do not age; fetched ones fail closed in the end.
    fn may_use(&self, keys: &Published) -> bool {
        self.schedule.as_ref().is_none_or(|schedule| keys.age() < schedule.stale_for)
    }

    async fn fetch_once(&self) {
        let Some(schedule) = &self.schedule else {
            return;
        };
        let mut finished = self.finished.subscribe();
        let Some(awaited) = self.ask(schedule) else {
            return;
        };
        // Either way the caller looks again: what counts is whether the key is there now.
        let _ = timeout(schedule.timeout, finished.wait_for(|ended| *ended >= awaited)).await;
    }

    /// The number of the fetch to wait for; `None` while the cooldown holds.
    fn ask(&self, schedule: &Schedule) -> Option<u64> {
        let mut fetches = self.fetches();
        if fetches.running.is_some() && self.current.load().is_none() {
            // There is no key at all, so whatever the running fetch brings is news.
            return Some(fetches.started);
        }
        if fetches.asked.is_some() {
            return fetches.asked;
        }
        let cooling = |last: Instant| last.elapsed() < schedule.unknown_kid_cooldown;
        if fetches.last_asked.is_some_and(cooling) {
            return None;
        }
        // A fetch that runs already may have read the set before the key was in it.
        fetches.asked = Some(fetches.started + 1);
        self.wanted.notify_one();
        fetches.asked
    }

    fn fetches(&self) -> MutexGuard<'_, Fetches> {
        // Nothing is left half-done behind this lock.
        self.fetches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The worst of each issuer's key sets and the sum of their refreshes, in the order of the
/// configuration.
#[must_use]
pub fn by_issuer(stores: &[Arc<KeyStore>]) -> Vec<(&Arc<str>, KeyStatus)> {
    let mut issuers: Vec<(&Arc<str>, KeyStatus)> = Vec::new();
    for store in stores {
        let status = store.status();
        match issuers.iter_mut().find(|(issuer, _)| *issuer == store.issuer()) {
            Some((_, worst)) => *worst = worst.or_worse(status),
            None => issuers.push((store.issuer(), status)),
        }
    }
    issuers
}

impl KeyStatus {
    fn or_worse(self, other: Self) -> Self {
        Self {
            freshness: self.freshness.max(other.freshness),
            source: self.source.max(other.source),
            age: self.age.max(other.age),
            autonomy: match (self.autonomy, other.autonomy) {
                (Some(one), Some(another)) => Some(one.min(another)),
                (one, another) => one.or(another),
            },
            refreshes: Refreshes {
                ok: self.refreshes.ok + other.refreshes.ok,
                failed: self.refreshes.failed + other.refreshes.failed,
            },
            attempted: self.attempted && other.attempted,
        }
    }
}

impl Schedule {
    fn freshness(&self, age: Duration) -> Freshness {
        if age >= self.stale_for {
            Freshness::None
        } else if age > self.refresh + self.timeout {
            Freshness::Stale
        } else {
            Freshness::Fresh
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwks::document::tests::jwk;

    const PLACE: &str = "https://idp.example/keys";
    const SCHEDULE: Schedule = Schedule {
        refresh: Duration::from_secs(3600),
        stale_for: Duration::from_secs(24 * 3600),
        unknown_kid_cooldown: Duration::from_secs(60),
        timeout: Duration::from_secs(5),
    };

    fn keys(kids: &[&str]) -> KeySet {
        let keys: Vec<_> = kids.iter().map(|kid| jwk(kid)).collect();
        KeySet::parse(serde_json::json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    fn store() -> Arc<KeyStore> {
        Arc::new(KeyStore::fetched("entra".into(), SCHEDULE))
    }

    fn fetch(store: &KeyStore, result: Option<KeySet>) {
        store.fetch_begins(PLACE);
        store.fetch_ended(result.ok_or_else(|| "down".to_owned()));
    }

    async fn find(store: &Arc<KeyStore>, kid: &str) -> Result<KeyStamp, Reason> {
        let found = store.judge(Some(kid), |keys| Ok(keys.count())).await;
        found.map(|(_, stamp)| stamp).map_err(|rejection| rejection.reason())
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_kid_causes_one_fetch_per_cooldown() {
        let store = store();
        fetch(&store, Some(keys(&["a"])));
        let asked = || store.fetches().asked.is_some();

        assert_eq!(find(&store, "b").await.unwrap_err(), Reason::KeyUnknown);
        assert!(asked(), "the first one asks and waits its time");
        fetch(&store, Some(keys(&["a"])));
        assert_eq!(find(&store, "c").await.unwrap_err(), Reason::KeyUnknown);
        assert!(!asked(), "the cooldown holds");
        tokio::time::advance(SCHEDULE.unknown_kid_cooldown).await;
        assert_eq!(find(&store, "d").await.unwrap_err(), Reason::KeyUnknown);
        assert!(asked(), "and ends");
    }

    #[tokio::test(start_paused = true)]
    async fn at_rest_nobody_waits_for_a_fetch_that_nobody_makes() {
        let store = store();
        let begun = Instant::now();
        store.rest();
        assert_eq!(find(&store, "a").await.unwrap_err(), Reason::KeysUnavailable);
        fetch(&store, Some(keys(&["a"])));
        assert_eq!(find(&store, "b").await.unwrap_err(), Reason::KeyUnknown);
        assert!(find(&store, "a").await.is_ok());
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_with_a_new_kid_waits_for_its_fetch() {
        let store = store();
        fetch(&store, Some(keys(&["a"])));
        let refresher = Arc::clone(&store);
        let refresh = async move {
            refresher.wanted().await;
            fetch(&refresher, Some(keys(&["b"])));
        };
        let (stamp, ()) = tokio::join!(find(&store, "b"), refresh);
        assert!(stamp.unwrap().holds());
        assert_eq!(find(&store, "a").await.unwrap_err(), Reason::KeyUnknown);
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_become_too_old_while_a_request_waits_are_none() {
        let store = store();
        fetch(&store, Some(keys(&["a"])));
        let left = SCHEDULE.timeout / 2;
        tokio::time::advance(SCHEDULE.stale_for.saturating_sub(left)).await;
        // Nobody fetches: the request waits its time, which is more than the keys have left.
        assert_eq!(find(&store, "b").await.unwrap_err(), Reason::KeysUnavailable);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_without_a_name_is_tried_where_no_key_has_the_tokens_name() {
        /// A key that can be told by its `issuer`, as a signature is by its key.
        fn key(kid: Option<&str>, signer: &str) -> serde_json::Value {
            let mut key = jwk("");
            key["issuer"] = signer.into();
            match kid {
                Some(kid) => key["kid"] = kid.into(),
                None => drop(key.as_object_mut().unwrap().remove("kid")),
            }
            key
        }
        let (named, nameless) = (key(Some("a"), "A"), key(None, "X"));
        let mixed = vec![named.clone(), nameless.clone()];
        let (named, nameless) = (vec![named], vec![nameless]);
        let (unknown, invalid) = (Some(Reason::KeyUnknown), Some(Reason::SignatureInvalid));
        for (keys, kid, signer, expected, asks) in [
            (&named, Some("a"), "A", None, false),
            (&named, Some("a"), "X", invalid, false),
            (&named, Some("b"), "A", unknown, true),
            (&named, None, "A", unknown, false),
            (&nameless, Some("b"), "X", None, false),
            (&nameless, None, "X", None, false),
            (&nameless, Some("b"), "Y", invalid, true),
            (&nameless, None, "Y", invalid, true),
            (&mixed, Some("a"), "A", None, false),
            (&mixed, Some("a"), "X", invalid, false),
            (&mixed, Some("b"), "X", None, false),
            (&mixed, Some("b"), "A", unknown, true),
            (&mixed, None, "X", None, false),
            (&mixed, None, "A", invalid, true),
        ] {
            let store = store();
            let document = serde_json::json!({ "keys": keys }).to_string();
            fetch(&store, Some(KeySet::parse(document.as_bytes()).unwrap()));
            let signed = |keys: &mut dyn Iterator<Item = &Key>| {
                let mut signers = keys.filter_map(Key::issuer);
                signers
                    .any(|key| key == signer)
                    .then_some(())
                    .ok_or(Reason::SignatureInvalid.into())
            };
            let verdict = store.judge(kid, signed).await.map_err(|rejection| rejection.reason());
            let case = format!("{kid:?} by {signer} of {document:.60}");
            assert_eq!(verdict.err(), expected, "{case}");
            assert_eq!(store.fetches().asked.is_some(), asks, "a fetch: {case}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_answered_by_a_fetch_on_schedule_is_not_fetched_for_again() {
        let store = store();
        fetch(&store, Some(keys(&["a"])));
        let on_schedule = async { fetch(&store, Some(keys(&["b"]))) };
        let (stamp, ()) = tokio::join!(find(&store, "b"), on_schedule);
        assert!(stamp.unwrap().holds());
        assert!(timeout(SCHEDULE.refresh, store.wanted()).await.is_err(), "nobody waits");
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_as_old_as_the_beginning_of_their_fetch() {
        let store = store();
        store.fetch_begins(PLACE);
        tokio::time::advance(SCHEDULE.timeout).await;
        store.fetch_ended(Ok(keys(&["a"])));
        assert_eq!(store.status().age, Some(SCHEDULE.timeout));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_fetch_never_evicts_until_the_keys_are_too_old() {
        let store = store();
        fetch(&store, Some(keys(&["a"])));
        let stamp = find(&store, "a").await.unwrap();
        tokio::time::advance(SCHEDULE.stale_for.saturating_sub(Duration::from_secs(1))).await;
        fetch(&store, None);
        assert!(stamp.holds());
        assert_eq!(store.status().freshness, Freshness::Stale);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!stamp.holds());
        assert_eq!(find(&store, "a").await.unwrap_err(), Reason::KeysUnavailable);
        assert_eq!(store.status().freshness, Freshness::None);
    }

    #[tokio::test(start_paused = true)]
    async fn restored_keys_serve_at_once_and_age_from_their_fetch() {
        let store = store();
        let document = serde_json::json!({ "keys": [jwk("a")] }).to_string();
        let same = || KeySet::parse(document.as_bytes()).unwrap();
        let hour = Duration::from_secs(3600);
        store.restore(same(), SCHEDULE.stale_for.saturating_sub(hour));
        assert!(store.status().attempted);
        assert_eq!(store.status().freshness, Freshness::Stale);
        let stamp = find(&store, "a").await.unwrap();
        fetch(&store, None);
        assert!(stamp.holds());
        tokio::time::advance(hour).await;
        assert!(!stamp.holds(), "the restart gave them no new time");
        fetch(&store, Some(same()));
        assert!(stamp.holds(), "the same keys again");
        assert_eq!(store.status().age, Some(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_says_where_keys_come_from_and_how_long_they_last() {
        let fixed = KeyStore::fixed("file".into(), keys(&["a"]));
        let status = fixed.status();
        assert_eq!((status.source, status.autonomy), (Some(Provenance::Given), None));

        let store = store();
        let seen = || (store.status().source, store.status().autonomy);
        assert_eq!(seen(), (None, Some(Duration::ZERO)));
        let hour = Duration::from_secs(3600);
        store.restore(keys(&["a"]), hour);
        let left = SCHEDULE.stale_for.saturating_sub(hour);
        assert_eq!(seen(), (Some(Provenance::Disk), Some(left)));
        fetch(&store, None);
        assert_eq!(seen(), (Some(Provenance::Disk), Some(left)));
        fetch(&store, Some(keys(&["a"])));
        assert_eq!(seen(), (Some(Provenance::Network), Some(SCHEDULE.stale_for)));
        tokio::time::advance(SCHEDULE.stale_for + hour).await;
        assert_eq!(seen(), (None, Some(Duration::ZERO)), "too old is as good as none");
        assert_eq!(store.status().refreshes, Refreshes { ok: 1, failed: 1 });
    }

    #[tokio::test(start_paused = true)]
    async fn details_name_the_keys_in_use_the_next_fetch_and_the_last_failure() {
        let store = store();
        let nothing = store.details();
        assert!(nothing.keys.is_empty() && nothing.next.is_none() && nothing.failure.is_none());
        let one = serde_json::json!({ "keys": [jwk("a"), { "kty": "oct" }] }).to_string();
        fetch(&store, Some(KeySet::parse(one.as_bytes()).unwrap()));
        store.fetch_follows(Instant::now() + SCHEDULE.refresh);
        tokio::time::advance(SCHEDULE.timeout).await;
        let details = store.details();
        assert_eq!(details.place.as_deref(), Some(PLACE));
        let algorithms = vec![Algorithm::Rs256, Algorithm::Rs512];
        assert_eq!(details.keys, [(Some("a".to_owned()), algorithms)]);
        assert_eq!(details.left_out.len(), 1);
        assert_eq!(details.next, Some(SCHEDULE.refresh.saturating_sub(SCHEDULE.timeout)));
        store.fetch_begins(PLACE);
        assert_eq!(store.details().next, None, "it runs");
        store.fetch_ended(Err("no answer".to_owned()));
        assert_eq!(store.details().failure.unwrap().why, "no answer");
        assert_eq!(store.details().keys.len(), 1, "they serve on");
        tokio::time::advance(SCHEDULE.stale_for).await;
        assert!(store.details().keys.is_empty(), "too old to be used");
    }

    #[tokio::test(start_paused = true)]
    async fn an_issuer_with_several_sets_shows_the_worst() {
        let (good, kept, empty) = (store(), store(), store());
        fetch(&good, Some(keys(&["a"])));
        kept.restore(keys(&["b"]), Duration::from_secs(60));
        fetch(&kept, None);
        let worst = |stores: &[Arc<KeyStore>]| by_issuer(stores).remove(0).1;
        let two = worst(&[Arc::clone(&good), Arc::clone(&kept)]);
        assert_eq!((two.source, two.autonomy), (Some(Provenance::Disk), kept.status().autonomy));
        assert_eq!(two.refreshes, Refreshes { ok: 1, failed: 1 });
        assert!(two.attempted);
        let three = worst(&[good, kept, empty]);
        assert_eq!((three.freshness, three.autonomy), (Freshness::None, Some(Duration::ZERO)));
        assert!(!three.attempted);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stamp_dies_with_its_key_set_and_survives_an_equal_one() {
        let store = store();
        let document = serde_json::json!({ "keys": [jwk("a")] }).to_string();
        let same = || KeySet::parse(document.as_bytes()).unwrap();
        fetch(&store, Some(same()));
        let stamp = find(&store, "a").await.unwrap();
        fetch(&store, Some(same()));
        assert!(stamp.holds());
        fetch(&store, Some(keys(&["a"])));
        assert!(!stamp.holds(), "another key under the same kid");
    }
}
