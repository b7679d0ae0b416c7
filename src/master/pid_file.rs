//! The file that names the master's process, for whoever sends it signals.
//!
//! Written whole or not at all: a reader sees the old text or the new one. It is taken away at the
//! end if it still names this process; one that an upgrade in place has rewritten does.
//!
//! Not here: the flag (`cli`).

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::sys::process;

/// The file, while it is ours. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    pid: u32,
}

/// Why it cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PidFileError {
    /// Another server serves.
    #[error("process {0} is running already; stop it, or remove the file if that is not a server")]
    Running(u32),
    /// The folder does not let us.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl PidFile {
    /// Writes this process's number. A file whose process has gone is replaced, and so is one that
    /// holds no number at all.
    ///
    /// # Errors
    /// Its process lives and is another one, or the system refuses.
    pub(crate) fn write(path: &Path) -> Result<Self, PidFileError> {
        let pid = std::process::id();
        if let Some(named) = named(path)
            && named != pid
            && process::exists(named)
        {
            return Err(PidFileError::Running(named));
        }
        let beside = temporary(path, pid);
        let written = write_new(&beside, pid).and_then(|()| fs::rename(&beside, path));
        if let Err(error) = written {
            // Half a file is nobody's.
            let _ = fs::remove_file(&beside);
            return Err(error.into());
        }
        Ok(PidFile { path: path.to_owned(), pid })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if named(&self.path) == Some(self.pid) {
            // Gone meanwhile is as good.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn named(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// In the same folder, since a rename does not leave its file system.
fn temporary(path: &Path, pid: u32) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{pid}"));
    path.with_file_name(name)
}

fn write_new(path: &Path, pid: u32) -> io::Result<()> {
    // One of an earlier process of our number, which was killed between write and rename.
    let _ = fs::remove_file(path);
    // New, so that a link that somebody has laid there is not followed.
    fs::File::create_new(path)?.write_all(format!("{pid}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_us_until_the_end_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.pid");
        let file = PidFile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        // As after an upgrade in place: it is ours already.
        let again = PidFile::write(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(again);
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_stale_one_is_replaced_and_one_of_a_living_process_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.pid");
        for stale in ["999999999\n", "", "not a number", "-1", "0"] {
            fs::write(&path, stale).unwrap();
            drop(PidFile::write(&path).unwrap());
        }
        // A test has a parent that lives.
        let living = std::os::unix::process::parent_id();
        fs::write(&path, format!("{living}\n")).unwrap();
        let error = PidFile::write(&path).unwrap_err();
        assert!(matches!(error, PidFileError::Running(pid) if pid == living), "{error}");
        assert!(error.to_string().contains(&living.to_string()));
        assert!(path.exists());
    }

    #[test]
    fn one_that_names_another_by_now_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.pid");
        let file = PidFile::write(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
        let error = PidFile::write(&folder.path().join("no/such.pid")).unwrap_err();
        assert!(matches!(error, PidFileError::System(_)), "{error}");
    }
}
