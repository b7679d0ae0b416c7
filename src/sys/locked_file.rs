//! A file that one process writes and others read, and whose lock says whether the writer lives.
//!
//! Written by pwrite(2), not through a mapping: anybody who may write the file may also truncate
//! it, and a mapping of a file that became shorter kills its process by SIGBUS. The lock is one of
//! an open file description (F_OFD_SETLK, fcntl(2)), not flock(2): it can be asked after without
//! being taken (F_OFD_GETLK), so that a reader never stands in the way of a server that starts.
//! Like flock it is let go of by the kernel when the process ends, however it ends.
//!
//! Not here: what stands in the file (`account::page`), when it is written (`master::publishing`).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use thiserror::Error;

/// A file that this process alone writes.
#[derive(Debug)]
pub struct LockedFile {
    file: File,
}

/// Why a file cannot be had.
#[derive(Debug, Error)]
pub enum LockedFileError {
    /// Another process writes it, and lives.
    #[error("another process holds it")]
    Locked,
    /// A directory, a device, a FIFO.
    #[error("it is no regular file")]
    NotRegular,
    /// The system refuses.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl LockedFile {
    /// Opens a file, creates it if it is not there, and locks it. What it holds is left as it is.
    ///
    /// # Errors
    /// It is locked, a symbolic link, no regular file, or not allowed.
    pub fn open(path: &Path, mode: u32) -> Result<Self, LockedFileError> {
        // A link would let whoever may create names in a shared directory choose what is written.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(mode)
            .custom_flags(flags)
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(LockedFileError::NotRegular);
        }
        match fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK))) {
            Ok(_) => Ok(LockedFile { file }),
            Err(Errno::EAGAIN | Errno::EACCES) => Err(LockedFileError::Locked),
            Err(errno) => Err(io::Error::from(errno).into()),
        }
    }

    /// Its first bytes, as far as they go.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn beginning(&self, size: usize) -> io::Result<Vec<u8>> {
        read_beginning(&self.file, size)
    }

    /// Writes over its beginning. What is longer stays behind it.
    ///
    /// # Errors
    /// No space, a quota, a medium that fails.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, 0)
    }
}

/// Whether a process holds the file as its [`LockedFile`].
///
/// # Errors
/// The file system knows no locks.
pub fn is_held(file: &File) -> io::Result<bool> {
    let mut lock = whole_file(libc::F_RDLCK);
    fcntl(file.as_fd(), FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

/// The first bytes of a file, as far as they go.
///
/// # Errors
/// It cannot be read.
pub fn read_beginning(file: &File, size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    let mut length = 0;
    while length < size {
        match file.read_at(&mut bytes[length..], length as u64) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

fn whole_file(kind: i32) -> libc::flock {
    libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 0,
        // To the end of the file, wherever that will be.
        l_len: 0,
        // An open file description's lock belongs to no process.
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_writes_and_whoever_looks_stands_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status");
        let ours = LockedFile::open(&path, 0o640).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777 & !0o640, 0, "{mode:o}");
        assert!(matches!(LockedFile::open(&path, 0o640), Err(LockedFileError::Locked)));
        let look = File::open(&path).unwrap();
        assert!(is_held(&look).unwrap());
        ours.write(b"first, and long").unwrap();
        ours.write(b"second").unwrap();
        assert_eq!(read_beginning(&look, 100).unwrap(), b"second and long");
        drop(ours);
        assert!(!is_held(&look).unwrap());
        let next = LockedFile::open(&path, 0o640).unwrap();
        assert_eq!(next.beginning(6).unwrap(), b"second", "what was there is left");
    }

    #[test]
    fn a_file_that_was_cut_short_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status");
        let ours = LockedFile::open(&path, 0o640).unwrap();
        ours.write(&[7; 10_000]).unwrap();
        OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        ours.write(&[8; 10_000]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [8; 10_000]);
    }

    #[test]
    fn links_directories_and_devices_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        std::fs::write(&target, b"precious").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(matches!(LockedFile::open(&link, 0o640), Err(LockedFileError::System(_))));
        assert!(LockedFile::open(folder.path(), 0o640).is_err());
        let device = LockedFile::open(Path::new("/dev/null"), 0o640);
        assert!(matches!(device, Err(LockedFileError::NotRegular)));
    }
}
