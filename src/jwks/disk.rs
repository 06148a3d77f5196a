//! The last good key set of each store on disk, so that a restart does not need the issuer.
//!
//! A file is believed only when nobody else could have written it, and only for the issuer entry
//! and the address that it was fetched for. Its keys are as old as their fetch: what would not be
//! used any more in memory is not loaded either.

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::document::{DocumentError, KeySet};
use super::fetch::Url;
use crate::clock::Timestamp;

/// A folder that could be written to.
#[derive(Clone, Debug)]
pub struct CacheDir(PathBuf);

impl CacheDir {
    /// Makes the folder, for this user alone, where it is missing, and tries to write to it. What a
    /// process left there that ended in the middle of a write is removed.
    pub fn open(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let (probe, file) = temporary(&path.join(format!("{PREFIX}probe")))?;
        // The clock of the folder's own machine: files are compared with nothing else.
        let now = file.metadata().and_then(|metadata| metadata.modified());
        fs::remove_file(probe)?;
        sweep(path, now?);
        Ok(Self(path.to_owned()))
    }

    /// The file for the keys of this issuer entry from this address.
    #[must_use]
    pub fn file(&self, issuer: &str, url: &Url) -> CacheFile {
        // A name has no line break in it, so no two pairs have the same text.
        let digest = digest::digest(&digest::SHA256, format!("{issuer}\n{url}").as_bytes());
        let name = format!("{PREFIX}{}.json", URL_SAFE_NO_PAD.encode(digest));
        CacheFile { path: self.0.join(name), issuer: issuer.into(), url: url.as_str().into() }
    }
}

/// Where one key set is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheFile {
    path: PathBuf,
    issuer: Box<str>,
    url: Box<str>,
}

/// Keys from disk.
#[derive(Debug)]
pub struct Loaded {
    /// The keys.
    pub keys: KeySet,
    /// How long ago they were fetched.
    pub age: Duration,
}

impl CacheFile {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the keys that serve at `now` and are younger than `stale_for`; `None` when there is no
    /// file.
    pub fn load(&self, now: Timestamp, stale_for: Duration) -> Result<Option<Loaded>, Unusable> {
        let text = match read_own(&self.path) {
            Err(Unusable::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let content = Content::parse(&text)?;
        if content.issuer != *self.issuer || content.url != *self.url {
            return Err(Unusable::Foreign);
        }
        let age = age(Timestamp::from_unix(content.fetched_at), now)?;
        if age >= stale_for {
            return Err(Unusable::TooOld(age));
        }
        let keys = KeySet::parse(content.jwks.as_bytes()).map_err(Unusable::Document)?;
        Ok(Some(Loaded { keys, age }))
    }

    /// Keeps a document that was fetched at this time, in place of the last one: who reads the file
    /// finds the one or the other, whole.
    pub fn save(&self, document: &[u8], fetched: Timestamp) -> io::Result<()> {
        let content = Content {
            version: VERSION,
            issuer: Cow::Borrowed(&self.issuer),
            url: Cow::Borrowed(&self.url),
            fetched_at: fetched.unix(),
            jwks: std::str::from_utf8(document).map_err(io::Error::other)?.into(),
        };
        let text = serde_json::to_vec(&content).map_err(io::Error::from)?;
        if text.len() as u64 > MAX_FILE {
            return Err(io::Error::other(Unusable::TooLarge.to_string()));
        }
        let (temporary, mut file) = temporary(&self.path)?;
        let written = file
            .write_all(&text)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&temporary, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

/// Why a file on disk is not believed.
#[derive(Debug)]
pub enum Unusable {
    /// The operating system refuses.
    Io(io::Error),
    /// A symbolic link, not a regular file, someone else's, or writable by others.
    NotOurs,
    /// More than 2 MiB.
    TooLarge,
    /// Its content is not what airside writes.
    Malformed,
    /// Another version of the format.
    Version(u64),
    /// Kept for another issuer entry or another address.
    Foreign,
    /// Fetched at a time that is still to come.
    Future,
    /// Too long since it was fetched.
    TooOld(Duration),
    /// The document in it gives no keys.
    Document(DocumentError),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::NotOurs => f.write_str(
                "not a regular file of this user alone: a link, someone else's, or writable by others",
            ),
            Self::TooLarge => write!(f, "larger than {MAX_FILE} bytes"),
            Self::Malformed => f.write_str("not what airside writes"),
            Self::Version(found) => write!(f, "format version {found}, expected {VERSION}"),
            Self::Foreign => f.write_str("kept for another issuer entry or another address"),
            Self::Future => f.write_str("fetched in the future: a clock is or was wrong"),
            Self::TooOld(age) => write!(f, "fetched {age:?} ago, keys.stale_for is over"),
            Self::Document(error) => error.fmt(f),
        }
    }
}

/// What stands in a file.
#[derive(Serialize, Deserialize)]
struct Content<'c> {
    version: u64,
    issuer: Cow<'c, str>,
    url: Cow<'c, str>,
    /// Seconds since the Unix epoch.
    fetched_at: u64,
    /// The document as it was fetched: it is parsed like a fetched one, by whatever rules hold then.
    jwks: Cow<'c, str>,
}

impl Content<'_> {
    fn parse(text: &[u8]) -> Result<Self, Unusable> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u64,
        }
        match serde_json::from_slice(text) {
            Ok(Versioned { version: VERSION }) => {}
            Ok(Versioned { version }) => return Err(Unusable::Version(version)),
            Err(_) => return Err(Unusable::Malformed),
        }
        serde_json::from_slice(text).map_err(|_| Unusable::Malformed)
    }
}

const VERSION: u64 = 1;
/// How names of files of ours begin, and those of unfinished ones end.
const PREFIX: &str = "keys-";
const UNFINISHED: &str = ".tmp";
/// Long after any write: another process may share the folder and be in the middle of one.
const ABANDONED: Duration = Duration::from_secs(3600);
/// Room for a document of 1 MiB with nearly every byte of it escaped.
const MAX_FILE: u64 = 2 << 20;
/// What the clocks before and after a restart may differ by.
const CLOCK_STEP: Duration = Duration::from_secs(300);

fn age(fetched: Timestamp, now: Timestamp) -> Result<Duration, Unusable> {
    if fetched > now.after(CLOCK_STEP) {
        return Err(Unusable::Future);
    }
    Ok(Duration::from_secs(now.unix().saturating_sub(fetched.unix())))
}

/// Reads a file that nobody but the user of this process could have written.
fn read_own(path: &Path) -> Result<Vec<u8>, Unusable> {
    // NONBLOCK: a FIFO in its place must not make us wait.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = File::options().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => Unusable::NotOurs,
        _ => Unusable::Io(error),
    })?;
    let metadata = file.metadata().map_err(Unusable::Io)?;
    let own = metadata.uid() == rustix::process::geteuid().as_raw();
    let others_may_write = metadata.mode() & 0o022 != 0;
    if !metadata.is_file() || !own || others_may_write {
        return Err(Unusable::NotOurs);
    }
    let mut text = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(Unusable::Io)?;
    if text.len() as u64 > MAX_FILE {
        return Err(Unusable::TooLarge);
    }
    Ok(text)
}

/// A new file beside `path` that only this user may read. Its name is random, because processes of
/// several containers may have the same id and the same folder.
fn temporary(path: &Path) -> io::Result<(PathBuf, File)> {
    let mut random = [0; 12];
    rand::fill(&mut random).map_err(|_| io::Error::other("no random bytes"))?;
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}{UNFINISHED}", URL_SAFE_NO_PAD.encode(random)));
    let name = PathBuf::from(name);
    let file = File::options().write(true).create_new(true).mode(0o600).open(&name)?;
    Ok((name, file))
}

/// Removes unfinished files that nobody will finish. One that stays does no harm.
fn sweep(folder: &Path, now: SystemTime) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let unfinished = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(UNFINISHED));
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|modified| now.duration_since(modified).ok());
        if unfinished && age.is_some_and(|age| age > ABANDONED) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;
    use crate::jwks::document::tests::jwk;

    const FETCHED: Timestamp = Timestamp::from_unix(1_800_000_000);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn kept() -> (TempDir, CacheFile) {
        let folder = tempfile::tempdir().unwrap();
        let dir = CacheDir::open(folder.path()).unwrap();
        let file = dir.file("entra", &url("https://login.example/keys"));
        file.save(json!({ "keys": [jwk("a")] }).to_string().as_bytes(), FETCHED).unwrap();
        (folder, file)
    }

    fn load(file: &CacheFile) -> Result<Option<Loaded>, Unusable> {
        file.load(FETCHED, DAY)
    }

    fn names(folder: &TempDir) -> usize {
        fs::read_dir(folder.path()).unwrap().count()
    }

    #[test]
    fn what_was_saved_is_loaded_with_its_age() {
        let (folder, file) = kept();
        let later = FETCHED.after(Duration::from_secs(90));
        let loaded = file.load(later, DAY).unwrap().unwrap();
        assert_eq!(loaded.age, Duration::from_secs(90));
        assert_eq!(loaded.keys.named(Some("a")).count(), 1);
        assert_eq!(fs::metadata(file.path()).unwrap().mode() & 0o777, 0o600);
        file.save(json!({ "keys": [jwk("b")] }).to_string().as_bytes(), later).unwrap();
        let loaded = file.load(later, DAY).unwrap().unwrap();
        assert_eq!((loaded.age, loaded.keys.named(Some("b")).count()), (Duration::ZERO, 1));
        assert_eq!(names(&folder), 1, "nothing is left beside it");
    }

    #[test]
    fn without_a_file_there_are_no_keys() {
        let (_folder, file) = kept();
        fs::remove_file(file.path()).unwrap();
        assert!(load(&file).unwrap().is_none());
    }

    #[test]
    fn keys_serve_from_their_fetch_until_they_are_stale() {
        let (_folder, file) = kept();
        let at = |time: Timestamp| file.load(time, DAY).map(|loaded| loaded.unwrap().age);
        let second = Duration::from_secs(1);
        assert_eq!(at(FETCHED.before(CLOCK_STEP)).unwrap(), Duration::ZERO);
        assert!(matches!(at(FETCHED.before(CLOCK_STEP + second)), Err(Unusable::Future)));
        assert_eq!(at(FETCHED.after(DAY).before(second)).unwrap(), DAY.saturating_sub(second));
        assert!(matches!(at(FETCHED.after(DAY)), Err(Unusable::TooOld(age)) if age == DAY));
    }

    #[test]
    fn another_entry_or_address_has_another_file_and_refuses_this_one() {
        let (folder, file) = kept();
        let dir = CacheDir::open(folder.path()).unwrap();
        for other in [
            dir.file("other", &url("https://login.example/keys")),
            dir.file("entra", &url("https://login.example/other")),
        ] {
            assert!(load(&other).unwrap().is_none());
            fs::copy(file.path(), other.path()).unwrap();
            assert!(matches!(load(&other), Err(Unusable::Foreign)));
        }
    }

    #[test]
    fn a_file_that_was_not_written_by_us_is_not_believed() {
        let (_folder, file) = kept();
        let good: Value = serde_json::from_slice(&fs::read(file.path()).unwrap()).unwrap();
        let with = |name: &str, value: Value| {
            let mut changed = good.clone();
            changed[name] = value;
            changed.to_string()
        };
        let found = |text: &str| {
            fs::write(file.path(), text).unwrap();
            load(&file).unwrap_err()
        };
        for text in ["", "<html>", "[]", "{}", &good.to_string()[..200]] {
            assert!(matches!(found(text), Unusable::Malformed), "{text}");
        }
        assert!(matches!(found(&with("fetched_at", json!("now"))), Unusable::Malformed));
        assert!(matches!(found(&with("jwks", json!({}))), Unusable::Malformed));
        assert!(matches!(found(&with("version", json!(2))), Unusable::Version(2)));
        assert!(matches!(found(&with("issuer", json!("x"))), Unusable::Foreign));
        assert!(matches!(found(&with("jwks", json!(r#"{"keys":[]}"#))), Unusable::Document(_)));
        assert!(matches!(found(&" ".repeat(2 * 1024 * 1024 + 1)), Unusable::TooLarge));
        fs::write(file.path(), good.to_string()).unwrap();
        assert!(load(&file).unwrap().is_some());
    }

    #[test]
    fn a_file_that_others_could_write_is_not_believed() {
        let (folder, file) = kept();
        for mode in [0o620, 0o602, 0o666] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(load(&file), Err(Unusable::NotOurs)), "{mode:o}");
        }
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load(&file).unwrap().is_some(), "what others read, anybody may read");
        let elsewhere = folder.path().join("elsewhere");
        fs::rename(file.path(), &elsewhere).unwrap();
        symlink(&elsewhere, file.path()).unwrap();
        assert!(matches!(load(&file), Err(Unusable::NotOurs)), "a link");
        fs::remove_file(file.path()).unwrap();
        fs::create_dir(file.path()).unwrap();
        assert!(matches!(load(&file), Err(Unusable::NotOurs)), "a folder");
        assert!(file.save(b"{}", FETCHED).is_err());
        assert_eq!(names(&folder), 2, "a failed write leaves nothing");
    }

    #[test]
    fn a_file_of_another_user_is_not_believed() {
        let (_folder, file) = kept();
        // Only root can give a file away, so elsewhere this says nothing.
        if std::os::unix::fs::chown(file.path(), Some(1), None).is_ok() {
            assert!(matches!(load(&file), Err(Unusable::NotOurs)));
        }
    }

    #[test]
    fn what_a_crash_left_behind_goes_with_a_later_start() {
        let (folder, file) = kept();
        let (old, handle) = temporary(file.path()).unwrap();
        let hours_ago = handle.metadata().unwrap().modified().unwrap() - 2 * ABANDONED;
        handle.set_modified(hours_ago).unwrap();
        let (young, _handle) = temporary(file.path()).unwrap();
        let foreign = folder.path().join("notes.tmp");
        File::create(&foreign).unwrap().set_modified(hours_ago).unwrap();
        File::options().append(true).open(file.path()).unwrap().set_modified(hours_ago).unwrap();
        CacheDir::open(folder.path()).unwrap();
        assert!(!old.exists());
        assert!(young.exists(), "somebody may be writing it");
        assert!(foreign.exists(), "not ours");
        assert!(load(&file).unwrap().is_some());
    }

    #[test]
    fn a_folder_is_made_for_us_alone_and_must_be_writable() {
        let folder = tempfile::tempdir().unwrap();
        let made = folder.path().join("a/b");
        CacheDir::open(&made).unwrap();
        assert_eq!(fs::metadata(&made).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&made).unwrap().count(), 0);
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(CacheDir::open(&file).is_err());
        assert!(CacheDir::open(&file.join("below")).is_err());
    }
}
