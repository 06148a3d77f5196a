//! The end of the program: signals have one door, and everything that must end learns of it from a
//! [`Drain`].

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Tells connections of the end: first that it comes, then that it has begun.
#[derive(Clone, Debug)]
pub struct Drain {
    announced: Arc<AtomicBool>,
    begun: watch::Receiver<bool>,
}

/// Announces the drain and begins it.
#[derive(Debug)]
pub struct Trigger {
    announced: Arc<AtomicBool>,
    begun: watch::Sender<bool>,
}

/// A trigger and what it triggers.
#[must_use]
pub fn drain() -> (Trigger, Drain) {
    let announced = Arc::<AtomicBool>::default();
    let (sender, receiver) = watch::channel(false);
    let drain = Drain { announced: Arc::clone(&announced), begun: receiver };
    (Trigger { announced, begun: sender }, drain)
}

impl Drain {
    /// Whether the end comes: answers tell clients to connect anew, elsewhere.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        self.announced.load(Relaxed)
    }

    /// Waits for the drain to begin.
    pub async fn begun(&mut self) {
        // A trigger that is gone can only mean the end as well.
        let _ = self.begun.wait_for(|begun| *begun).await;
    }
}

impl Trigger {
    /// Says that the drain will begin soon.
    pub fn announce(&self) {
        self.announced.store(true, Relaxed);
    }

    /// Begins the drain.
    pub fn begin(&self) {
        self.announce();
        self.begun.send_replace(true);
    }
}

/// SIGTERM and SIGINT, and SIGUSR1, which asks for the same end while SIGTERM is yet to come.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    drain: Signal,
    /// The end has begun by SIGUSR1, so that the next signal does not hurry it.
    ahead: bool,
}

impl Signals {
    /// Takes them over from the operating system.
    pub fn take_over() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let drain = signal(SignalKind::user_defined1())?;
        Ok(Self { terminate, interrupt, drain, ahead: false })
    }

    /// Waits until the end is asked for by any of them.
    pub async fn next(&mut self) {
        tokio::select! {
            () = either(&mut self.terminate, &mut self.interrupt) => {}
            _ = self.drain.recv() => self.ahead = true,
        }
    }

    /// Waits until somebody who has asked for the end already will not wait for it any longer. Whoever
    /// has said so ahead, by SIGUSR1, has SIGTERM still to send: Kubernetes runs the hooks of all
    /// containers of a pod at once and then stops them one after the other.
    pub async fn insisted(&mut self) {
        if self.ahead {
            either(&mut self.terminate, &mut self.interrupt).await;
        }
        either(&mut self.terminate, &mut self.interrupt).await;
    }
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// SIGHUP: the configuration is to be read again.
#[derive(Debug)]
pub struct Hangups(Signal);

impl Hangups {
    /// Takes the signal over from the operating system.
    pub fn take_over() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next one; several in a short time are one.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            // The runtime is ending: there will be none.
            std::future::pending::<()>().await;
        }
    }
}
