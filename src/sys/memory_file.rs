//! A file in memory that one process writes and another reads (memfd_create(2)).
//!
//! Written and read by pwrite(2) and pread(2), as a status file is; nobody maps it, so that nobody
//! dies of whoever truncates it. The reader's descriptor is opened anew and cannot write.
//!
//! Not here: memory that two processes write (`shm`), what stands in it (`account::page`).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, memfd_create};

use crate::sys::locked_file::read_beginning;

/// The end that writes.
#[derive(Debug)]
pub struct MemoryFile(File);

/// The end that reads.
#[derive(Debug)]
pub struct MemoryReader(File);

impl MemoryFile {
    /// An empty file of this name, which /proc/PID/fd shows.
    ///
    /// # Errors
    /// No descriptor, or no memory.
    pub fn create(name: &str) -> io::Result<Self> {
        let descriptor = memfd_create(format!("maitred-{name}"), MemfdFlags::CLOEXEC)?;
        Ok(MemoryFile(descriptor.into()))
    }

    /// Writes over its beginning. What is longer stays behind it.
    ///
    /// # Errors
    /// No memory.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, 0)
    }

    /// Another description of the same file, that can only read. Where /proc is not mounted it is a
    /// copy of this one.
    ///
    /// # Errors
    /// No descriptor.
    pub fn reader(&self) -> io::Result<MemoryReader> {
        let opened = File::open(format!("/proc/self/fd/{}", self.0.as_raw_fd()));
        Ok(MemoryReader(opened.or_else(|_| self.0.try_clone())?))
    }
}

impl MemoryReader {
    /// Takes over a reader that another process has opened.
    pub fn adopt(descriptor: OwnedFd) -> Self {
        MemoryReader(descriptor.into())
    }

    /// Its first bytes, as far as they go.
    ///
    /// # Errors
    /// None on memory.
    pub fn read_beginning(&self, size: usize) -> io::Result<Vec<u8>> {
        read_beginning(&self.0, size)
    }
}

impl AsFd for MemoryReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_end_writes_the_other_reads_and_cannot_change() {
        let file = MemoryFile::create("test").unwrap();
        let reader = file.reader().unwrap();
        assert_eq!(reader.read_beginning(9).unwrap(), b"");
        file.write(b"first").unwrap();
        file.write(b"2").unwrap();
        let reader = MemoryReader::adopt(reader.as_fd().try_clone_to_owned().unwrap());
        assert_eq!(reader.read_beginning(9).unwrap(), b"2irst");
        assert!(reader.0.write_all_at(b"3", 0).is_err());
    }
}
