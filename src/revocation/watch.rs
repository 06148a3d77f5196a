//! Notices that the file with the list has changed, and takes up what is in it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{info, warn};

use super::document::{self, MOST_BYTES};
use super::{List, Reload, Revocations};
use crate::watch::{EVERY, Sight};

/// A file, and the list in force that follows it.
#[derive(Debug)]
pub struct Watch {
    file: PathBuf,
    seen: Sight,
    revocations: Arc<Revocations>,
}

/// Reads the file, of which so much is looked at as may be in it.
pub fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Watch {
    /// Follows `file`, whose `bytes` made the list that is in force.
    #[must_use]
    pub fn new(file: PathBuf, bytes: &[u8], revocations: Arc<Revocations>) -> Self {
        Self { file, seen: Sight::of(bytes), revocations }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Looks at the file again and again; never ends.
    pub async fn run(mut self) {
        loop {
            sleep(EVERY).await;
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let bytes = self.read().await;
        if Sight::now(&bytes) == self.seen {
            return;
        }
        // Half of a list is a shorter list: what is still being written has to come to rest.
        sleep(REST).await;
        let again = self.read().await;
        if Sight::now(&bytes) == Sight::now(&again) {
            self.changed(again).await;
        }
    }

    async fn read(&self) -> io::Result<Vec<u8>> {
        let file = self.file.clone();
        let read = spawn_blocking(move || read(&file)).await;
        read.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    async fn changed(&mut self, bytes: io::Result<Vec<u8>>) {
        self.seen = Sight::now(&bytes);
        let file = self.file.display();
        let entries = self.revocations.entries();
        let outcome = match bytes {
            Ok(bytes) => match self.parse(bytes).await {
                Ok(list) => {
                    info!(%file, entries = list.entries, "revocation list read");
                    self.revocations.publish(list);
                    Reload::Loaded
                }
                Err(faults) => {
                    warn!(%file, faults, entries, "revocation list is wrong; the last one stays");
                    Reload::Rejected
                }
            },
            Err(error) => {
                warn!(%file, %error, entries, "revocation list cannot be read; the last one stays");
                Reload::Unreadable
            }
        };
        self.revocations.count(outcome);
    }

    /// Elsewhere: a long list takes longer than connections should wait to be accepted.
    async fn parse(&self, bytes: Vec<u8>) -> Result<List, String> {
        let revocations = Arc::clone(&self.revocations);
        let parse = move || document::parse(&bytes, Some(&revocations.issuers));
        match spawn_blocking(parse).await {
            Ok(parsed) => parsed.map_err(|faults| faults.to_string()),
            Err(panicked) => Err(panicked.to_string()),
        }
    }
}

/// Longer than a write takes, and short enough not to count.
const REST: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::revocation::Watched;

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_being_written_is_left_alone_until_it_rests() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("revoked.yaml");
        let both = "- jti: a\n- jti: b\n";
        fs::write(&file, both).unwrap();
        let issuers = vec![Watched { name: "entra".into(), username_claim: "oid".into() }];
        let list = document::parse(both.as_bytes(), Some(&issuers)).unwrap();
        let revocations = Arc::new(Revocations::new(list, issuers));
        let mut watch = Watch::new(file.clone(), both.as_bytes(), Arc::clone(&revocations));

        fs::write(&file, "- jti: a\n").unwrap();
        let rest_of_it = async {
            sleep(REST / 2).await;
            fs::write(&file, format!("{both}- jti: c\n")).unwrap();
        };
        tokio::join!(watch.look(), rest_of_it);
        assert_eq!((revocations.entries(), revocations.reloads(Reload::Loaded)), (2, 0));
        watch.look().await;
        assert_eq!((revocations.entries(), revocations.reloads(Reload::Loaded)), (3, 1));
        watch.look().await;
        assert_eq!(revocations.reloads(Reload::Loaded), 1, "nothing has changed");
    }
}
