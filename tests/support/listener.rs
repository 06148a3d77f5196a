//! A loopback listener: one thread accepts, one per connection serves, all can be stopped at once.
//! While it is stopped its port stays taken, so that connecting is refused and no other test gets
//! to listen there.

use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;

use tokio::net::TcpSocket;

type Serve = Arc<dyn Fn(TcpStream) + Send + Sync>;

pub(crate) struct Listener {
    address: SocketAddr,
    /// Bound and never listening: it keeps the port.
    _port: TcpSocket,
    serve: Serve,
    running: Option<Running>,
    accepted: Arc<AtomicUsize>,
}

struct Running {
    stopping: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<Weak<TcpStream>>>>,
    acceptor: thread::JoinHandle<()>,
}

impl Listener {
    /// Listens on a port of its own.
    pub(crate) fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let port = TcpSocket::new_v4().unwrap();
        port.set_reuseaddr(true).unwrap();
        port.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let mut listener = Self {
            address: port.local_addr().unwrap(),
            _port: port,
            serve: Arc::new(serve),
            running: None,
            accepted: Arc::new(AtomicUsize::new(0)),
        };
        listener.restart();
        listener
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Closes the socket and every connection; connecting is refused from here on.
    pub(crate) fn stop(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        running.stopping.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        running.acceptor.join().unwrap();
        for stream in running.open.lock().unwrap().drain(..).filter_map(|open| open.upgrade()) {
            let _closed_already = stream.shutdown(Shutdown::Both);
        }
    }

    /// Listens again, on the same port.
    pub(crate) fn restart(&mut self) {
        self.stop();
        let socket = TcpListener::bind(self.address).unwrap();
        let stopping = Arc::new(AtomicBool::new(false));
        let open = Arc::new(Mutex::new(Vec::new()));
        let acceptor = thread::spawn({
            let (stopping, open) = (Arc::clone(&stopping), Arc::clone(&open));
            let (serve, accepted) = (Arc::clone(&self.serve), Arc::clone(&self.accepted));
            move || accept(&socket, &stopping, &open, &serve, &accepted)
        });
        self.running = Some(Running { stopping, open, acceptor });
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept(
    socket: &TcpListener,
    stopping: &AtomicBool,
    open: &Mutex<Vec<Weak<TcpStream>>>,
    serve: &Serve,
    accepted: &AtomicUsize,
) {
    for stream in socket.incoming() {
        if stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        accepted.fetch_add(1, Ordering::SeqCst);
        let Ok(handle) = stream.try_clone().map(Arc::new) else {
            continue;
        };
        open.lock().unwrap().push(Arc::downgrade(&handle));
        let serve = Arc::clone(serve);
        thread::spawn(move || {
            serve(stream);
            let _closed_already = handle.shutdown(Shutdown::Both);
        });
    }
}
