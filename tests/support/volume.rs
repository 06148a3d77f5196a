//! What Kubernetes mounts of a `ConfigMap` or Secret, and how the kubelet changes it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A volume as the kubelet mounts it: files are links through `..data`, which is a link to a folder
/// that is made anew for each change.
pub(crate) struct Volume {
    folder: PathBuf,
    current: Option<PathBuf>,
}

impl Volume {
    /// An empty one.
    pub(crate) fn new(folder: PathBuf) -> Self {
        fs::create_dir(&folder).unwrap();
        Self { folder, current: None }
    }

    /// Where this file is, for those who read it.
    pub(crate) fn path(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }

    /// The steps of `AtomicWriter.Write` (`pkg/volume/util/atomic_writer.go`), in their order: the
    /// folder that was is removed last.
    pub(crate) fn write(&mut self, name: &str, files: &[(&str, String)]) {
        let made = self.folder.join(name);
        fs::create_dir(&made).unwrap();
        for (file, content) in files {
            fs::write(made.join(file), content).unwrap();
        }
        symlink(name, self.folder.join("..data_tmp")).unwrap();
        fs::rename(self.folder.join("..data_tmp"), self.folder.join("..data")).unwrap();
        for (file, _) in files {
            let link = self.folder.join(file);
            if !link.is_symlink() {
                symlink(Path::new("..data").join(file), link).unwrap();
            }
        }
        if let Some(former) = self.current.replace(made) {
            fs::remove_dir_all(former).unwrap();
        }
    }
}
