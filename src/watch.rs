//! Notices that files have changed.
//!
//! Their bytes are read and compared: times and inodes say nothing of what a Kubernetes volume swaps
//! in behind a symlink, and notifications do not cross every kind of volume.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{Context, Digest, SHA256, digest};

/// What was in a file at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Bytes of this digest, good or bad.
    Bytes(Vec<u8>),
    /// None: it is not there, or not to be read.
    Nothing,
}

impl Sight {
    /// The sight of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from(digest(&SHA256, bytes))
    }

    /// What was read, or that nothing was.
    #[must_use]
    pub fn now(read: &io::Result<Vec<u8>>) -> Self {
        read.as_deref().map_or(Self::Nothing, Self::of)
    }

    /// Looks at the file.
    #[must_use]
    pub fn take(file: &Path) -> Self {
        digest_of(file).map_or(Self::Nothing, Self::from)
    }
}

impl From<Digest> for Sight {
    fn from(digest: Digest) -> Self {
        Self::Bytes(digest.as_ref().to_vec())
    }
}

/// What was in several files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sights(BTreeMap<PathBuf, Sight>);

impl Sights {
    /// Looks at the files.
    #[must_use]
    pub fn take(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let look = |file: PathBuf| {
            let sight = Sight::take(&file);
            (file, sight)
        };
        Self(files.into_iter().map(look).collect())
    }

    /// The files that are there.
    pub fn names(&self) -> impl Iterator<Item = &Path> {
        let there = self.0.iter().filter(|(_, sight)| **sight != Sight::Nothing);
        there.map(|(file, _)| file.as_path())
    }

    /// Looks at the same files again.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::take(self.0.keys().cloned())
    }

    /// These, and of `others` the files that are not among them.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        for (file, sight) in others.0 {
            self.0.entry(file).or_insert(sight);
        }
        self
    }

    /// These without that file.
    #[must_use]
    pub fn without(mut self, file: &Path) -> Self {
        self.0.remove(file);
        self
    }
}

fn digest_of(file: &Path) -> io::Result<Digest> {
    let mut file = File::open(file)?.take(MOST_BYTES);
    let (mut context, mut piece) = (Context::new(&SHA256), [0; 16 * 1024]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(context.finish());
        }
        context.update(piece.get(..read).unwrap_or_default());
    }
}

/// No file of a configuration is as large; what is never ends (`/dev/zero`) ends here.
const MOST_BYTES: u64 = 64 << 20;
/// Between two looks: a change is in force within five seconds, however busy the machine.
pub const EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_other_bytes_are_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        let absent = Sights::take([file.clone()]);
        assert_eq!(absent, absent.again());
        fs::write(&file, "1").unwrap();
        let one = absent.again();
        assert_ne!(absent, one);
        fs::write(folder.path().join("b"), "1").unwrap();
        fs::rename(folder.path().join("b"), &file).unwrap();
        assert_eq!(one, one.again(), "another file of the same bytes");
        fs::write(&file, "2").unwrap();
        assert_ne!(one, one.again(), "as long as before");
        fs::remove_file(&file).unwrap();
        assert_eq!(absent, one.again());
        assert_eq!(Sight::of(b"2"), Sight::now(&Ok(b"2".to_vec())));
    }
}
