//! The private file through which `airside token` finds the running `dev`.
//!
//! It holds the mint secret, so only its owner may read it; `dev` keeps it locked while it runs,
//! so a file left behind by a crash is told from one in use without guessing by process id.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::handout::Files;

/// What the file says about the running `dev`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Base URL of the issuer, `http://127.0.0.1:8082`.
    pub issuer: String,
    /// The same issuer over TLS, `https://127.0.0.1:35791`.
    pub issuer_tls: String,
    /// The secret of its mint endpoint.
    pub mint_secret: String,
    /// Base URL of the proxy.
    pub proxy: String,
    /// The process.
    pub pid: u32,
    /// What Microsoft's clients need.
    #[serde(flatten)]
    pub files: Files,
}

/// Where the file is when nobody says: below `$XDG_RUNTIME_DIR` if that is an absolute path, else
/// in the temporary folder, under a name of the user's own.
pub fn default_path(runtime_dir: Option<&OsStr>, temp_dir: &Path) -> PathBuf {
    match runtime_dir.map(Path::new) {
        Some(dir) if dir.is_absolute() => dir.join("airside-dev.json"),
        _ => temp_dir.join(format!("airside-dev-{}.json", rustix::process::geteuid().as_raw())),
    }
}

impl State {
    /// Reads the file of the running `dev`.
    pub fn read(path: &Path) -> Result<Self, StateError> {
        let mut text = String::new();
        open_private(path)?.read_to_string(&mut text)?;
        serde_json::from_str(&text).map_err(|_| StateError::Unreadable)
    }

    /// Fails when a running `dev` holds the file at `path`.
    pub fn refuse_if_running(path: &Path) -> Result<(), StateError> {
        let file = match open_private(path) {
            Err(StateError::NotFound) => return Ok(()),
            opened => opened?,
        };
        match file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(StateError::Running(Self::read(path)?.pid)),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Writes the file, for as long as the returned value lives.
    pub fn publish(&self, path: &Path) -> Result<PrivateFile, StateError> {
        Self::refuse_if_running(path)?;
        let json = serde_json::to_vec_pretty(self).map_err(io::Error::from)?;
        Ok(PrivateFile::create(path, &json)?)
    }
}

/// A file of this run: only its owner may read it, it is locked while this lives, and removed
/// when this is dropped.
pub struct PrivateFile {
    path: PathBuf,
    file: File,
}

impl PrivateFile {
    /// Writes `content` to `path` in one step, in place of what is there.
    pub fn create(path: &Path, content: &[u8]) -> io::Result<Self> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
        let written = file
            .try_lock()
            .map_err(io::Error::from)
            .and_then(|()| file.write_all(content))
            .and_then(|()| fs::rename(&temporary, path));
        match written {
            Ok(()) => Ok(Self { path: path.to_owned(), file }),
            Err(error) => {
                let _ = fs::remove_file(&temporary);
                Err(error)
            }
        }
    }
}

impl Drop for PrivateFile {
    fn drop(&mut self) {
        let inode = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let ours = self.file.metadata().map(inode).ok();
        // Another file may be there by now: that one stays.
        if ours.is_some() && ours == fs::symlink_metadata(&self.path).map(inode).ok() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Opens the file if nobody but its owner, who is the user of this process, could have read or
/// written it.
fn open_private(path: &Path) -> Result<File, StateError> {
    // NONBLOCK: a FIFO in its place must not make us wait.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    let own = metadata.uid() == rustix::process::geteuid().as_raw();
    let others_may = metadata.mode() & 0o077;
    if metadata.is_file() && own && others_may == 0 {
        Ok(file)
    } else {
        Err(StateError::NotPrivate)
    }
}

/// Why the state file cannot be used.
#[derive(Debug)]
pub enum StateError {
    /// There is none: no `dev` is running.
    NotFound,
    /// A `dev` with this process id holds it.
    Running(u32),
    /// A symbolic link, not a regular file, someone else's, or open to others.
    NotPrivate,
    /// Its content is not what `dev` writes.
    Unreadable,
    /// The operating system refuses.
    Io(io::Error),
}

impl From<io::Error> for StateError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            return Self::NotFound;
        }
        match Errno::from_io_error(&error) {
            Some(Errno::LOOP) => Self::NotPrivate,
            _ => Self::Io(error),
        }
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such file"),
            Self::Running(pid) => write!(f, "another `airside dev` is running (process {pid})"),
            Self::NotPrivate => f.write_str(
                "not a regular file that is yours alone (mode 0600): remove it or name another",
            ),
            Self::Unreadable => f.write_str("not a state file of `airside dev`: remove it"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StateError {}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn state() -> State {
        State {
            issuer: "http://127.0.0.1:8082".to_owned(),
            mint_secret: "secret".to_owned(),
            proxy: "http://127.0.0.1:8080".to_owned(),
            pid: 7,
            ..State::default()
        }
    }

    #[test]
    fn the_file_is_private_and_goes_with_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        let published = state().publish(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(State::read(&path).unwrap() == state());
        drop(published);
        assert!(matches!(State::read(&path), Err(StateError::NotFound)));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn a_second_dev_is_refused_and_a_crashed_one_is_not_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        let first = state().publish(&path).unwrap();
        assert!(matches!(state().publish(&path), Err(StateError::Running(7))));
        let left_behind = fs::read(&path).unwrap();
        drop(first);
        fs::write(&path, left_behind).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        state().publish(&path).unwrap();
    }

    #[test]
    fn a_file_that_others_could_touch_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        fs::write(&path, "{}").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let link = dir.path().join("link.json");
        symlink(&path, &link).unwrap();
        for refused in [path.as_path(), &link, dir.path()] {
            assert!(matches!(State::read(refused), Err(StateError::NotPrivate)), "{refused:?}");
            assert!(matches!(state().publish(refused), Err(StateError::NotPrivate)));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(State::read(&path), Err(StateError::Unreadable)));
    }

    #[test]
    fn the_default_path_is_the_users_own() {
        let temp = Path::new("/tmp");
        let runtime = default_path(Some(OsStr::new("/run/user/1000")), temp);
        assert_eq!(runtime, Path::new("/run/user/1000/airside-dev.json"));
        let uid = rustix::process::geteuid().as_raw();
        for unset in [None, Some(OsStr::new("")), Some(OsStr::new("relative"))] {
            assert_eq!(default_path(unset, temp), temp.join(format!("airside-dev-{uid}.json")));
        }
    }
}
