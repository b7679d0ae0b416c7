//! Memory that two processes share: a sealed memfd, seen as atomic words.
//!
//! Sealed against shrinking and growing, because a mapping of a file that became shorter kills its
//! readers by SIGBUS; and against further seals, so that nobody can make it read-only either
//! (memfd_create(2), F_ADD_SEALS in fcntl(2)).
//!
//! Not here: what the words mean (`board`, `meters`).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{
    MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create,
};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

#[cfg(not(loom))]
use crate::board::{Readable, Words};

const WORD_BYTES: usize = size_of::<AtomicU64>();

/// A mapped, sealed memfd.
#[derive(Debug)]
pub struct SharedMemory {
    descriptor: OwnedFd,
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the mapping is memory of this process until it is unmapped at drop, which needs the only
// owner; nothing in it belongs to a thread.
unsafe impl Send for SharedMemory {}
// SAFETY: a shared reference gives out atomics alone.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// New memory of so many bytes, all zero, sealed. Pages are backed once they are touched.
    ///
    /// # Errors
    /// No descriptor, or no memory.
    pub fn create(bytes: usize) -> io::Result<Self> {
        let descriptor =
            memfd_create("maitred-page", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&descriptor, bytes as u64)?;
        fcntl_add_seals(&descriptor, seals())?;
        SharedMemory::map(descriptor, bytes, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// Maps memory that another process created: its size and its seals are checked.
    ///
    /// # Errors
    /// It is shorter than `bytes`, not sealed, or cannot be mapped.
    pub fn adopt(descriptor: OwnedFd, bytes: usize) -> io::Result<Self> {
        check(&descriptor, bytes)?;
        SharedMemory::map(descriptor, bytes, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// The memory as words.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, `words` words long, lives as long as `self`, and was
        // zero or written as atomics; every bit pattern is an AtomicU64. Other processes access it
        // by atomic operations too; if one does not, the values are wrong and nothing else.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }

    fn map(descriptor: OwnedFd, bytes: usize, prot: ProtFlags) -> io::Result<Self> {
        let words = bytes / WORD_BYTES;
        // SAFETY: a fresh mapping at an address of the kernel's choice replaces nothing.
        let start =
            unsafe { mmap(std::ptr::null_mut(), bytes, prot, MapFlags::SHARED, &descriptor, 0)? };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(SharedMemory { descriptor, start, words })
    }
}

#[cfg(not(loom))]
impl Words for SharedMemory {
    fn words(&self) -> &[AtomicU64] {
        SharedMemory::words(self)
    }
}

/// A sealed memfd of another process, mapped to be read: a store into it would end this one.
#[derive(Debug)]
pub struct ReadMemory(SharedMemory);

impl ReadMemory {
    /// Maps memory that another process created: its size and its seals are checked.
    ///
    /// # Errors
    /// As [`SharedMemory::adopt`].
    pub fn adopt(descriptor: OwnedFd, bytes: usize) -> io::Result<Self> {
        check(&descriptor, bytes)?;
        SharedMemory::map(descriptor, bytes, ProtFlags::READ).map(ReadMemory)
    }
}

#[cfg(not(loom))]
impl Readable for ReadMemory {
    fn words_in_all(&self) -> usize {
        self.0.words
    }

    fn load(&self, at: usize) -> u64 {
        // Never more than a load: an atomic one of this size needs no memory that can be written.
        self.0.words().get(at).map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: exactly what `map` mapped; no reference into it outlives `self`. A failure would
        // mean that it was not, which cannot be mended here.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.words * WORD_BYTES) };
    }
}

fn check(descriptor: &OwnedFd, bytes: usize) -> io::Result<()> {
    let is_sealed = fcntl_get_seals(descriptor)?.contains(seals());
    let is_long_enough =
        u64::try_from(fstat(descriptor)?.st_size).is_ok_and(|size| size >= bytes as u64);
    if is_sealed && is_long_enough {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "not a sealed page of ours"))
    }
}

fn seals() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn two_mappings_are_one_memory_and_cannot_be_cut_short() {
        let ours = SharedMemory::create(4096).unwrap();
        let descriptor = ours.as_fd().try_clone_to_owned().unwrap();
        let theirs = SharedMemory::adopt(descriptor, 4096).unwrap();
        theirs.words()[511].store(7, Ordering::Relaxed);
        assert_eq!(ours.words()[511].load(Ordering::Relaxed), 7);
        assert!(ftruncate(&ours, 0).is_err());
        assert!(ftruncate(&ours, 8192).is_err());
    }

    #[test]
    fn what_is_mapped_to_be_read_follows_what_is_written() {
        let ours = SharedMemory::create(4096).unwrap();
        let descriptor = ours.as_fd().try_clone_to_owned().unwrap();
        let theirs = ReadMemory::adopt(descriptor, 4096).unwrap();
        ours.words()[3].store(7, Ordering::Relaxed);
        assert_eq!((theirs.load(3), theirs.load(512), theirs.words_in_all()), (7, 0, 512));
    }

    #[test]
    fn memory_that_could_be_cut_short_is_refused() {
        let open = memfd_create("open", MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&open, 4096).unwrap();
        assert!(SharedMemory::adopt(open, 4096).is_err());
        let short = SharedMemory::create(4096).unwrap();
        let descriptor = short.as_fd().try_clone_to_owned().unwrap();
        assert!(SharedMemory::adopt(descriptor, 8192).is_err());
    }
}
