//! A Service of Kubernetes before several replicas: each new connection goes to the next of those
//! that are ready. It looks at bytes only and sends nothing twice, so what a replica does wrong the
//! client feels.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::airside::Airside;
use super::http::Request;
use super::listener::Listener;
use super::wait::eventually;

pub(crate) struct Balancer {
    listener: Listener,
    endpoints: Arc<Mutex<Endpoints>>,
    over: Arc<AtomicBool>,
    watch: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Endpoints {
    all: Vec<Endpoint>,
    turn: usize,
}

#[derive(Clone)]
struct Endpoint {
    proxy: SocketAddr,
    admin: SocketAddr,
    ready: bool,
    given: usize,
}

impl Endpoint {
    fn of(airside: &Airside) -> Self {
        Self { proxy: airside.proxy, admin: airside.admin, ready: false, given: 0 }
    }

    fn is_ready(&self) -> bool {
        Request::get("/readyz").try_send(self.admin).is_ok_and(|answer| answer.status == 200)
    }
}

impl Endpoints {
    /// The next that is ready.
    fn next(&mut self) -> Option<SocketAddr> {
        let count = self.all.len();
        for step in 0..count {
            let place = (self.turn + step) % count;
            let endpoint = &mut self.all[place];
            if endpoint.ready {
                endpoint.given += 1;
                self.turn = place + 1;
                return Some(endpoint.proxy);
            }
        }
        None
    }
}

/// Far below the replicas' `drain.delay`, as a kubelet's period has to be.
const PERIOD: Duration = Duration::from_millis(50);

impl Balancer {
    /// Before these, once all of them are ready.
    pub(crate) fn before<'a>(replicas: impl IntoIterator<Item = &'a Airside>) -> Self {
        let all = replicas.into_iter().map(Endpoint::of).collect();
        let endpoints = Arc::new(Mutex::new(Endpoints { all, turn: 0 }));
        let over = Arc::new(AtomicBool::new(false));
        let watch = thread::spawn({
            let (endpoints, over) = (Arc::clone(&endpoints), Arc::clone(&over));
            move || watch(&endpoints, &over)
        });
        let listener = Listener::start({
            let endpoints = Arc::clone(&endpoints);
            move |client| {
                let next = endpoints.lock().unwrap().next();
                if let Some(server) = next.and_then(|address| TcpStream::connect(address).ok()) {
                    join(&client, &server);
                }
            }
        });
        let balancer = Self { listener, endpoints, over, watch: Some(watch) };
        balancer.wait_for_all();
        balancer
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// This replica takes the place of the one that was there, and gets connections once it is ready.
    pub(crate) fn replace(&self, place: usize, replica: &Airside) {
        self.endpoints.lock().unwrap().all[place] = Endpoint::of(replica);
        self.wait_for_all();
    }

    /// Those that are there now, and how many connections each was given.
    pub(crate) fn given(&self) -> Vec<(SocketAddr, usize)> {
        let endpoints = self.endpoints.lock().unwrap();
        endpoints.all.iter().map(|endpoint| (endpoint.proxy, endpoint.given)).collect()
    }

    fn wait_for_all(&self) {
        eventually("all replicas are ready", || {
            self.endpoints.lock().unwrap().all.iter().all(|endpoint| endpoint.ready).then_some(())
        });
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.over.store(true, SeqCst);
        if let Some(watch) = self.watch.take() {
            let _ended = watch.join();
        }
    }
}

fn watch(endpoints: &Mutex<Endpoints>, over: &AtomicBool) {
    while !over.load(SeqCst) {
        let all = endpoints.lock().unwrap().all.clone();
        for (place, asked) in all.iter().enumerate() {
            let ready = asked.is_ready();
            let mut endpoints = endpoints.lock().unwrap();
            // Another may have taken its place meanwhile.
            let endpoint = endpoints.all.get_mut(place).filter(|one| one.admin == asked.admin);
            if let Some(endpoint) = endpoint {
                endpoint.ready = ready;
            }
        }
        thread::sleep(PERIOD);
    }
}

/// Passes bytes both ways, and each end on as it comes, until both have ended.
fn join(client: &TcpStream, server: &TcpStream) {
    let pass = |mut from: &TcpStream, mut to: &TcpStream| {
        let _ended = io::copy(&mut from, &mut to);
        let _closed_already = to.shutdown(Shutdown::Write);
    };
    let _without_delay = (client.set_nodelay(true), server.set_nodelay(true));
    thread::scope(|scope| {
        scope.spawn(|| pass(client, server));
        pass(server, client);
        // Who was told the end and says nothing more need not be waited for.
        let _closed_already = client.shutdown(Shutdown::Both);
    });
}
