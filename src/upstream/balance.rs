//! Which of Airflow's addresses gets a request: of those that are in, the one with the fewest
//! requests of this core. One that is out is tried by one request when its time is over; if all are
//! out, the one that is due first is tried, so a request is never refused unheard.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::address::Address;
use super::health::Standing;
use super::pool::{Connection, Pool};

/// Airflow's addresses, as one core sees them.
#[derive(Debug)]
pub struct Balancer {
    pools: Vec<Rc<Pool>>,
    /// Whose turn it is among equals.
    turn: Cell<usize>,
}

/// The address for a request.
#[derive(Debug)]
pub struct Choice {
    pool: Rc<Pool>,
    /// Whether the address is out and this request finds out about it.
    trying: bool,
}

impl Balancer {
    pub(super) fn new(addresses: &[Arc<Address>], connect_timeout: Duration) -> Self {
        let pool = |address| Rc::new(Pool::new(Arc::clone(address), connect_timeout));
        Self { pools: addresses.iter().map(pool).collect(), turn: Cell::new(0) }
    }

    /// The best address now, other than `beside`, if there is one.
    pub(super) fn choose(&self, beside: Option<&Choice>) -> Option<Choice> {
        match (self.pools.as_slice(), beside) {
            ([only], None) => Some(Choice { pool: Rc::clone(only), trying: false }),
            (pools, beside) => self.best(pools, beside, Instant::now()),
        }
    }

    fn best(&self, pools: &[Rc<Pool>], beside: Option<&Choice>, now: Instant) -> Option<Choice> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let (last, first) = pools.split_at(turn.checked_rem(pools.len())?);
        let others = first
            .iter()
            .chain(last)
            .filter(|pool| beside.is_none_or(|beside| !Rc::ptr_eq(pool, &beside.pool)));
        let mut best: Option<((Standing, usize), &Rc<Pool>)> = None;
        for pool in others {
            if pool.address().health().may_try(now) {
                return Some(Choice { pool: Rc::clone(pool), trying: true });
            }
            let rank = (pool.address().health().standing(), pool.busy());
            if best.is_none_or(|(least, _)| rank < least) {
                best = Some((rank, pool));
            }
        }
        best.map(|(_, pool)| Choice { pool: Rc::clone(pool), trying: false })
    }
}

impl Choice {
    /// A connection to it that is open already.
    pub(super) fn idle(&self) -> Option<Connection> {
        self.pool.idle()
    }

    /// A fresh one, or why there is none.
    pub(super) async fn connect(&self) -> Result<Connection, String> {
        let address = self.pool.address();
        let connected = self.pool.connect().await;
        address.connected(connected.is_ok());
        connected.map_err(|why| {
            self.is_out(address.health().failed(self.trying, Instant::now()), &why);
            format!("{}: {why}", address.name())
        })
    }

    /// It answered.
    pub(super) fn answered(&self) {
        let address = self.pool.address();
        if address.health().answered() {
            info!(address = address.name(), "an address of Airflow is back");
        }
    }

    /// It ended a fresh connection before an answer.
    pub(super) fn reset(&self, why: &str) {
        let health = self.pool.address().health();
        self.is_out(health.reset(self.trying, Instant::now()), why);
    }

    fn is_out(&self, span: Option<Duration>, why: &str) {
        let address = self.pool.address().name();
        match span {
            Some(span) if self.trying => debug!(address, ?span, why, "still out"),
            Some(span) => warn!(address, ?span, why, "an address of Airflow is out"),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);

    fn balancer(count: u16) -> (Vec<Arc<Address>>, Balancer) {
        let address = |port| Arc::new(Address::tcp("127.0.0.1".into(), port));
        let addresses: Vec<_> = (1..=count).map(address).collect();
        let balancer = Balancer::new(&addresses, TIMEOUT);
        (addresses, balancer)
    }

    fn name(choice: &Choice) -> &str {
        choice.pool.address().name()
    }

    #[test]
    fn equals_take_turns_and_the_least_busy_goes_first() {
        let (_, balancer) = balancer(3);
        let mut seen = Vec::new();
        for _ in 0..6 {
            seen.push(name(&balancer.choose(None).unwrap()).to_owned());
        }
        let all = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"];
        assert_eq!(seen, [all, all].concat());
        let _busy = [balancer.pools[0].seat(), balancer.pools[1].seat()];
        for _ in 0..6 {
            assert_eq!(name(&balancer.choose(None).unwrap()), "127.0.0.1:3");
        }
    }

    #[test]
    fn who_is_out_gets_no_request_until_one_may_try() {
        let (addresses, balancer) = balancer(2);
        let now = Instant::now();
        addresses[0].health().failed(false, now);
        for _ in 0..4 {
            assert_eq!(name(&balancer.choose(None).unwrap()), "127.0.0.1:2");
        }
        let due = now + Duration::from_secs(2);
        let chosen: Vec<_> =
            (0..4).map(|_| balancer.best(&balancer.pools, None, due).unwrap()).collect();
        let tried: Vec<_> = chosen.iter().filter(|choice| choice.trying).map(name).collect();
        assert_eq!(tried, ["127.0.0.1:1"], "one alone");
        assert!(chosen.iter().filter(|choice| !choice.trying).all(|c| name(c) == "127.0.0.1:2"));
    }

    #[test]
    fn if_all_are_out_the_first_that_is_due_is_tried() {
        let (addresses, balancer) = balancer(3);
        let now = Instant::now();
        for (address, earlier) in addresses.iter().zip([300, 100, 200]) {
            address.health().failed(false, now + Duration::from_millis(earlier));
        }
        for _ in 0..4 {
            assert_eq!(name(&balancer.best(&balancer.pools, None, now).unwrap()), "127.0.0.1:2");
        }
    }

    #[test]
    fn elsewhere_is_another_address_or_none() {
        let (_, balancer) = balancer(2);
        let first = balancer.choose(None).unwrap();
        for _ in 0..4 {
            assert_ne!(name(&balancer.choose(Some(&first)).unwrap()), name(&first));
        }
        let (_, alone) = self::balancer(1);
        let only = alone.choose(None).unwrap();
        assert!(alone.choose(Some(&only)).is_none());
    }
}
