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

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes both signals over from the operating system.
    pub fn take_over() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { terminate, interrupt })
    }

    /// Waits for the next of either.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
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
