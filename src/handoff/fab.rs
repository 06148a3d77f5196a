//! Airflow with FAB knows its users by a number and keeps their roles in its database. So before a
//! caller's first request the user is found there, or created, and given the caller's roles; after
//! that the number stands in the token that is signed.
//!
//! What has been found out serves everybody who comes with the same user name, until it is compared
//! with FAB again. One request per user asks, the others wait for what it learns.

mod api;
mod edition;
mod note;
mod roles;
mod standing;
mod trouble;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use http::header::HeaderName;
use moka::sync::Cache;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::Airflow;
use super::airflow_token::{Minter, Subject};
use crate::caller::Authenticated;
use crate::clock::{self, Timestamp};
use crate::identity::{Principal, Statement};
use crate::rejection::{Reason, Rejection};
use api::{Admin, Created, Found, Release};
pub use edition::Edition;
use roles::Roles;
use standing::{Known, Wanted};
use trouble::Trouble;

/// How FAB is spoken to.
#[derive(Debug)]
pub struct Settings {
    /// The header by which FAB logs somebody in (`AUTH_REMOTE_USER_ENV_VAR`).
    pub remote_user_header: HeaderName,
    /// The id of the user by whose rights the others are managed; it has the role Admin.
    pub admin_user_id: String,
    /// How long Airflow goes on with the roles that a user had (`[fab] cache_ttl`).
    pub cache_ttl: Duration,
    /// Users that are changed although airside did not create them; `*` for all.
    pub adopt: HashSet<String>,
    /// The path of Airflow's `[api] base_url`.
    pub base_path: String,
    /// What tokens' values mean, in short.
    pub edition: Edition,
}

/// Makes tokens for users that FAB has.
#[derive(Debug)]
pub struct Fab {
    settings: Settings,
    minter: Minter,
    users: Cache<HeaderValue, Arc<Mutex<Memory>>, foldhash::fast::RandomState>,
    turns: Semaphore,
    release: ArcSwapOption<Release>,
}

/// What is remembered of one user.
#[derive(Debug, Default)]
struct Memory {
    known: Option<Known>,
    failed: Option<Failure>,
}

/// A failure is told for a moment to everybody who wants the same, instead of repeating it.
#[derive(Debug)]
struct Failure {
    roles: Roles,
    until: Instant,
    reason: Reason,
    found: String,
}

impl Fab {
    /// Knows nobody yet.
    #[must_use]
    pub fn new(settings: Settings, minter: Minter) -> Self {
        let users = Cache::builder()
            .max_capacity(MOST_USERS)
            .build_with_hasher(foldhash::fast::RandomState::default());
        let turns = Semaphore::new(MOST_TURNS);
        Self { settings, minter, users, turns, release: ArcSwapOption::empty() }
    }

    /// What signs for the users.
    #[must_use]
    pub const fn minter(&self) -> &Minter {
        &self.minter
    }

    /// The id of the user by whose rights the others are managed.
    #[must_use]
    pub fn admin_user_id(&self) -> &str {
        &self.settings.admin_user_id
    }

    /// The Authorization header for a caller: the one there is, while it is fresh and nobody has
    /// changed the user's roles, or a new one after what that takes.
    pub async fn authorization(
        &self,
        caller: &Authenticated,
        now: Timestamp,
        airflow: &impl Airflow,
    ) -> Result<HeaderValue, Rejection> {
        let principal = caller.principal();
        if let Some(header) = principal.statement(now) {
            return Ok(header);
        }
        // Boxed: what is asked once in a while must not make the state of every request larger.
        Box::pin(self.renew(caller, now, airflow)).await
    }

    async fn renew(
        &self,
        caller: &Authenticated,
        now: Timestamp,
        airflow: &impl Airflow,
    ) -> Result<HeaderValue, Rejection> {
        let principal = caller.principal();
        let mut memory = self.turn(principal).await?;
        // Whoever had the turn before may have done it.
        if let Some(header) = principal.statement(now) {
            return Ok(header);
        }
        let known = self.settle(&mut memory, caller, airflow).await?;
        self.state(known, principal)
    }

    /// A token of its own for a caller, good until `expires`.
    pub async fn token(
        &self,
        caller: &Authenticated,
        now: Timestamp,
        expires: Timestamp,
        airflow: &impl Airflow,
    ) -> Result<String, Rejection> {
        let mut memory = self.turn(caller.principal()).await?;
        let known = self.settle(&mut memory, caller, airflow).await?;
        self.minter.sign(&Subject::user(known.id()), now, expires)
    }

    /// One request at a time for each user.
    async fn turn(&self, principal: &Principal) -> Result<OwnedMutexGuard<Memory>, Rejection> {
        let memory = self.users.get_with_by_ref(principal.username_header(), Arc::default);
        let late = |_| Trouble::Late(PATIENCE).into();
        timeout(PATIENCE, memory.lock_owned()).await.map_err(late)
    }

    /// The user as the caller may be served now.
    async fn settle<'m>(
        &self,
        memory: &'m mut Memory,
        caller: &Authenticated,
        airflow: &impl Airflow,
    ) -> Result<&'m Known, Rejection> {
        let wanted = Wanted::of(caller);
        let known = self.learn(memory, &wanted, airflow).await?;
        known.grants(&wanted, clock::now())?;
        Ok(known)
    }

    /// What is known of the user, up to date.
    async fn learn<'m>(
        &self,
        memory: &'m mut Memory,
        wanted: &Wanted<'_>,
        airflow: &impl Airflow,
    ) -> Result<&'m Known, Rejection> {
        let Memory { known, failed } = memory;
        if let Some(failed) = failed.as_ref().filter(|failed| failed.concerns(wanted)) {
            return Err(Rejection::found_that(failed.reason, failed.found.clone()));
        }
        let again_after = self.compared_every();
        let current = known.as_ref();
        if !current.is_some_and(|known| known.answers(wanted, clock::now(), again_after)) {
            let compared = timeout(PATIENCE, self.compare(current, wanted, airflow)).await;
            let compared = compared.unwrap_or(Err(Trouble::Late(PATIENCE)));
            *known = Some(compared.map_err(|trouble| {
                let rejection = Rejection::from(trouble);
                *failed = Some(Failure::told(&rejection, wanted));
                rejection
            })?);
        }
        known.as_ref().ok_or_else(|| Reason::HandoffFailed.into())
    }

    /// Asks FAB about the user and changes there what has to be.
    async fn compare(
        &self,
        known: Option<&Known>,
        wanted: &Wanted<'_>,
        airflow: &impl Airflow,
    ) -> Result<Known, Trouble> {
        // Closed never: the semaphore lives as long as this.
        let _turn = self.turns.acquire().await;
        let admin = Admin::new(&self.settings, &self.minter, airflow)?;
        self.suits(&admin).await?;
        let found = self.find_or_create(&admin, known, wanted).await?;
        found.may_be_changed(wanted.username, &self.settings.adopt)?;
        let id = match known {
            Some(known) if known.is_row_of(&found) => known.id().to_owned(),
            _ => admin.log_in(wanted.username).await?,
        };
        if id == self.settings.admin_user_id {
            return Err(Trouble::AdminItself(wanted.username.to_owned()));
        }
        let latest = self.latest(known, &found, wanted);
        // What Airflow was told on the former roles must not go on under the new ones, whoever has
        // changed them.
        if let Some(known) = known.filter(|known| !known.stays(&found, latest.0)) {
            known.end();
        }
        if found.roles != *latest.0 {
            admin.assign(&found, latest, clock::now()).await?;
        }
        let ttl = self.settings.cache_ttl;
        Ok(Known::compared(id, &found, known, latest, ttl, clock::now()))
    }

    /// The user as FAB has it. Another airside may create it in the same moment.
    async fn find_or_create(
        &self,
        admin: &Admin<'_, impl Airflow>,
        known: Option<&Known>,
        wanted: &Wanted<'_>,
    ) -> Result<Found, Trouble> {
        if let Some(found) = admin.find(wanted.username).await? {
            return Ok(found);
        }
        let nothing = Found::default();
        let latest = self.latest(known, &nothing, wanted);
        match admin.create(wanted.username, latest).await? {
            Created::Here(found) => Ok(found),
            Created::NotNow(answer) => match admin.find(wanted.username).await? {
                Some(found) => Ok(found),
                None => Err(Trouble::NotCreated { username: wanted.username.to_owned(), answer }),
            },
        }
    }

    fn latest<'r>(
        &self,
        known: Option<&'r Known>,
        found: &'r Found,
        wanted: &'r Wanted<'_>,
    ) -> (&'r Roles, Timestamp) {
        standing::latest(known, found, wanted, self.settings.edition, clock::now())
    }

    /// Whether this Airflow and its FAB are recent enough; asked once in a while.
    async fn suits(&self, admin: &Admin<'_, impl Airflow>) -> Result<(), Trouble> {
        let now = clock::now();
        if self.release.load().as_ref().is_some_and(|release| release.is_current(now)) {
            return Ok(());
        }
        let release = admin.release(now).await?;
        if self.release.load().is_none() && release.leaks() {
            warn!(
                "this version of apache-airflow-providers-fab never frees the memory that a call \
                 about a user takes, close to 1 MB: users are compared with FAB once in \
                 {LEAKS_EVERY:?} instead of every handoff.fab.cache_ttl; 3.10 or later mends it"
            );
        }
        self.release.store(Some(Arc::new(release)));
        Ok(())
    }

    fn compared_every(&self) -> Duration {
        let ttl = self.settings.cache_ttl;
        let leaks = self.release.load().as_ref().is_some_and(|release| release.leaks());
        if leaks { ttl.max(LEAKS_EVERY) } else { ttl }
    }

    fn state(&self, known: &Known, principal: &Principal) -> Result<HeaderValue, Rejection> {
        let (header, renew_at) = self.minter.header(&Subject::user(known.id()), clock::now())?;
        let renew_at = renew_at.min(known.compared_at().after(self.compared_every()));
        let basis = known.basis().clone();
        principal.keep(Statement { header: header.clone(), renew_at, basis });
        Ok(header)
    }
}

impl Failure {
    fn told(rejection: &Rejection, wanted: &Wanted<'_>) -> Self {
        let found = rejection.found().unwrap_or_default().to_owned();
        let reason = rejection.reason().name();
        warn!(user = wanted.username, reason, found, "no token for a user of FAB");
        let until = Instant::now() + PAUSE;
        Self { roles: wanted.roles.clone(), until, reason: rejection.reason(), found }
    }

    fn concerns(&self, wanted: &Wanted<'_>) -> bool {
        Instant::now() < self.until && self.roles == wanted.roles
    }
}

/// Bounds memory: who is forgotten is looked up again.
const MOST_USERS: u64 = 100_000;
/// So many users are looked up at once; FAB's calls take one of Airflow's 40 threads each.
const MOST_TURNS: usize = 8;
/// Five calls take a second where FAB is slow; who waits longer is told so.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two attempts that fail alike.
const PAUSE: Duration = Duration::from_secs(2);
/// Where a comparison costs Airflow memory for good.
const LEAKS_EVERY: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;
    use std::rc::Rc;

    use bytes::Bytes;
    use http::Response;
    use tokio::task::{LocalSet, spawn_local, yield_now};

    use super::super::UpstreamRequest;
    use super::super::signing::SigningKey;
    use super::*;
    use crate::secret::Secret;

    /// An Airflow that never answers, and how many wait for it.
    #[derive(Default)]
    struct Silent {
        asked: Cell<usize>,
    }

    impl Airflow for Silent {
        async fn ask(&self, _: UpstreamRequest<Bytes>) -> Result<Response<Bytes>, Rejection> {
            self.asked.set(self.asked.get() + 1);
            pending().await
        }
    }

    fn fab() -> Fab {
        let settings = Settings {
            remote_user_header: HeaderName::from_static("x-remote-user"),
            admin_user_id: "1".into(),
            cache_ttl: Duration::from_secs(30),
            adopt: HashSet::new(),
            base_path: String::new(),
            edition: Edition::default(),
        };
        let key = SigningKey::shared(&Secret::new(b"secret"));
        Fab::new(settings, Minter::new(key, "a".into(), None, Duration::from_secs(300)))
    }

    fn wanted(username: &str) -> Wanted<'_> {
        Wanted { username, roles: Roles::default(), issued_at: Timestamp::from_unix(0) }
    }

    #[tokio::test(start_paused = true)]
    async fn an_airflow_that_says_nothing_is_waited_for_so_long_and_then_left_alone_for_a_moment() {
        let (fab, airflow, mut memory) = (fab(), Silent::default(), Memory::default());
        let begun = Instant::now();
        for (pause, asked, waited) in [
            (Duration::ZERO, 1, PATIENCE),
            (PAUSE / 2, 1, PATIENCE + PAUSE / 2),
            (PAUSE / 2, 2, PATIENCE + PAUSE + PATIENCE),
        ] {
            tokio::time::advance(pause).await;
            let learned = fab.learn(&mut memory, &wanted("alice"), &airflow).await;
            let rejection = learned.map(|_| ()).unwrap_err();
            assert_eq!(rejection.reason(), Reason::HandoffFailed);
            assert!(rejection.found().unwrap().contains("within 20s"));
            assert_eq!((airflow.asked.get(), begun.elapsed()), (asked, waited));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn not_everybody_is_looked_up_at_once() {
        let (fab, airflow) = (Rc::new(fab()), Rc::new(Silent::default()));
        let tasks = LocalSet::new();
        tasks
            .run_until(async {
                for number in 0..3 * MOST_TURNS {
                    let (fab, airflow) = (Rc::clone(&fab), Rc::clone(&airflow));
                    spawn_local(async move {
                        let (mut memory, name) = (Memory::default(), format!("user-{number}"));
                        fab.learn(&mut memory, &wanted(&name), &*airflow).await.map(|_| ())
                    });
                }
                for _ in 0..100 {
                    yield_now().await;
                }
                assert_eq!(airflow.asked.get(), MOST_TURNS);
            })
            .await;
    }
}
