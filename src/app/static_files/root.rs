//! A directory, and opening beneath it: the kernel itself keeps every open inside (openat2(2)).
//!
//! Checking a path and then opening it is a race that whoever can write beneath the root wins by
//! a rename in between. `RESOLVE_BENEATH` checks while it opens, symbolic links included: links
//! that stay beneath are followed, absolute ones and those that leave are as if not there.
//!
//! The root is held open: a directory that is moved is served on, and a link that was named as the
//! root and is turned to a new release takes effect with the next reload.
//!
//! Not here: what a target may ask for (`path`), what a file is answered with (`app::static_files`).

use std::ffi::{CStr, OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use http::StatusCode;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::path::CleanPath;
use crate::config::{LISTING_ENTRIES_MAX, OPEN_ATTEMPTS_MAX};

/// Why a directory cannot be served. The caller is at fault, or the system.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// It is not there, no directory, or not readable.
    #[error("opening the directory {}: {source}", path.display())]
    Open {
        /// As it was named.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel is older than Linux 5.6, or a container's filter forbids openat2.
    #[error("serving {}: openat2(2) is not permitted here: {source}", path.display())]
    Unsupported {
        /// As it was named.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A directory beneath which files are opened.
#[derive(Debug)]
pub(super) struct Root {
    directory: OwnedFd,
}

/// What stands at a path.
#[derive(Debug)]
pub(super) enum Found {
    /// A regular file, open for reading.
    File(File, Metadata),
    /// A directory.
    Directory,
}

/// Why nothing can be served from a path.
#[derive(Debug)]
pub(super) enum Miss {
    /// Nothing there that may be served.
    NotFound,
    /// It is there, and this process may not read it.
    Forbidden,
    /// No descriptors or no memory, or renames that do not end: later perhaps.
    Exhausted,
    /// The file system failed.
    Failed(io::Error),
}

/// One name in a directory that may be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its name; any bytes but slash and NUL.
    pub(super) name: OsString,
    /// A directory, or a link to one; else a regular file.
    pub(super) is_directory: bool,
    /// Bytes of a file.
    pub(super) size: u64,
}

/// What a directory holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// In the file system's order.
    pub(super) entries: Vec<Entry>,
    /// There is more than [`LISTING_ENTRIES_MAX`].
    pub(super) is_cut_off: bool,
}

impl Root {
    /// Opens the directory, and checks that it can be read and that openat2 works.
    pub(super) fn open(path: &Path) -> Result<Root, RootError> {
        let failed = |errno: Errno| RootError::Open { path: path.to_owned(), source: errno.into() };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
        match open_beneath(&directory, Path::new("."), OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(_) => Ok(Root { directory }),
            Err(errno @ (Errno::NOSYS | Errno::PERM)) => {
                Err(RootError::Unsupported { path: path.to_owned(), source: errno.into() })
            }
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Opens what stands at a path. Never waits for a FIFO's other end or a terminal.
    pub(super) fn find(&self, path: &CleanPath) -> Result<Found, Miss> {
        // O_NONBLOCK means nothing to a regular file.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(open_beneath(&self.directory, path.to_open(), flags)?);
        let metadata = file.metadata().map_err(Miss::Failed)?;
        if metadata.is_file() {
            Ok(Found::File(file, metadata))
        } else if metadata.is_dir() {
            Ok(Found::Directory)
        } else {
            Err(Miss::NotFound)
        }
    }

    /// Reads a directory: files and directories that may be served, links followed. Hidden names
    /// are left out, and so is whatever could not be opened beneath the root.
    pub(super) fn list(&self, path: &CleanPath) -> Result<Contents, Miss> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = open_beneath(&self.directory, path.to_open(), flags)?;
        let mut contents = Contents::default();
        for (count, entry) in Dir::read_from(&directory)?.enumerate() {
            if count == LISTING_ENTRIES_MAX {
                contents.is_cut_off = true;
                break;
            }
            let entry = entry?;
            let name = entry.file_name();
            if name.to_bytes().starts_with(b".") {
                continue;
            }
            let Some(stat) = self.stat(&directory, path, name) else {
                continue;
            };
            let file_type = FileType::from_raw_mode(stat.st_mode);
            if file_type.is_file() || file_type.is_dir() {
                contents.entries.push(Entry {
                    name: OsStr::from_bytes(name.to_bytes()).to_owned(),
                    is_directory: file_type.is_dir(),
                    size: u64::try_from(stat.st_size).unwrap_or(0),
                });
            }
        }
        Ok(contents)
    }

    /// What a name in a directory is. A link is followed as opening it would be: beneath the root.
    fn stat(&self, directory: &OwnedFd, path: &CleanPath, name: &CStr) -> Option<Stat> {
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        if !FileType::from_raw_mode(stat.st_mode).is_symlink() {
            return Some(stat);
        }
        let link = path.child(OsStr::from_bytes(name.to_bytes()));
        let target = open_beneath(&self.directory, link.to_open(), OFlags::PATH).ok()?;
        rustix::fs::fstat(target).ok()
    }
}

impl Miss {
    /// What to answer.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Miss::NotFound => StatusCode::NOT_FOUND,
            Miss::Forbidden => StatusCode::FORBIDDEN,
            Miss::Exhausted => StatusCode::SERVICE_UNAVAILABLE,
            Miss::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<Errno> for Miss {
    fn from(errno: Errno) -> Self {
        match errno {
            // XDEV: it leads out of the root. NXIO: a socket, or a device without a driver.
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::NAMETOOLONG
            | Errno::LOOP
            | Errno::XDEV
            | Errno::NXIO
            | Errno::NODEV => Miss::NotFound,
            Errno::ACCESS | Errno::PERM => Miss::Forbidden,
            Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => Miss::Exhausted,
            other => Miss::Failed(other.into()),
        }
    }
}

fn open_beneath(directory: impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut attempts = 0;
    loop {
        attempts += 1;
        match rustix::fs::openat2(&directory, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
        {
            // A rename elsewhere kept the kernel from proving that a link's `..` stays beneath;
            // openat2(2) says to try again.
            Err(Errno::AGAIN | Errno::INTR) if attempts < OPEN_ATTEMPTS_MAX => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use rustix::fs::CWD;

    use super::*;

    fn find(root: &Root, sent: &str) -> Result<Found, Miss> {
        root.find(&CleanPath::parse(sent).unwrap())
    }

    #[test]
    fn a_root_that_cannot_be_served_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        let error = Root::open(&missing).unwrap_err().to_string();
        assert!(error.contains("missing") && error.contains("No such file"), "{error}");
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Root::open(&file).unwrap_err().to_string();
        assert!(error.contains("file") && error.contains("Not a directory"), "{error}");
    }

    #[test]
    fn links_are_followed_beneath_the_root_and_never_out_of_it() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("inner")).unwrap();
        fs::write(at("file"), "").unwrap();
        symlink("../file", at("inner/up")).unwrap();
        symlink("inner", at("directory")).unwrap();
        symlink(outside.path().join("secret"), at("absolute")).unwrap();
        symlink("../../../../../../../../etc/passwd", at("inner/out")).unwrap();
        symlink(at("file"), at("absolute-inside")).unwrap();
        symlink("/proc/self/root/etc/passwd", at("magic")).unwrap();
        symlink("loop", at("loop")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();

        let root = Root::open(directory.path()).unwrap();
        for sent in ["/file", "/inner/up", "/directory/up"] {
            assert!(matches!(find(&root, sent), Ok(Found::File(..))), "{sent}");
        }
        assert!(matches!(find(&root, "/directory"), Ok(Found::Directory)));
        for sent in [
            "/absolute",
            "/inner/out",
            "/absolute-inside",
            "/magic",
            "/loop",
            "/dangling",
            "/none",
            "/file/x",
        ] {
            assert!(matches!(find(&root, sent), Err(Miss::NotFound)), "{sent}");
        }
        let contents = root.list(&CleanPath::parse("/").unwrap()).unwrap();
        let mut names: Vec<_> = contents.entries.iter().map(|entry| entry.name.clone()).collect();
        names.sort();
        assert_eq!(names, ["directory", "file", "inner"]);
    }

    #[test]
    fn only_regular_files_are_served_and_none_waits() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _socket = UnixListener::bind(directory.path().join("socket")).unwrap();
        let root = Root::open(directory.path()).unwrap();
        for sent in ["/fifo", "/socket"] {
            assert!(matches!(find(&root, sent), Err(Miss::NotFound)), "{sent}");
        }
        let contents = root.list(&CleanPath::parse("/").unwrap()).unwrap();
        assert_eq!(contents, Contents::default());
    }

    #[test]
    fn a_name_too_long_is_not_found() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        for length in [256, 5000] {
            let sent = format!("/{}", "a".repeat(length));
            assert!(matches!(find(&root, &sent), Err(Miss::NotFound)));
        }
    }

    #[test]
    fn what_the_kernel_says_decides_the_status() {
        for (errno, status) in [
            (Errno::NOENT, 404),
            (Errno::XDEV, 404),
            (Errno::ACCESS, 403),
            (Errno::PERM, 403),
            (Errno::MFILE, 503),
            (Errno::AGAIN, 503),
            (Errno::IO, 500),
        ] {
            assert_eq!(Miss::from(errno).status().as_u16(), status, "{errno}");
        }
    }
}
