//! What accept(2) can fail with, as far as anybody asks: each with its own counter.
//!
//! Not here: what is done about it (`master::acceptor`).

use nix::libc;

/// A failure of accept(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum AcceptError {
    /// This process has no descriptor left.
    OutOfDescriptors,
    /// The system has none.
    OutOfFiles,
    /// No memory for buffers, or at all.
    OutOfMemory,
    /// The client was gone before it was accepted.
    Aborted,
    /// Anything else: a firewall, a network that is down, a listener that is none.
    Other,
}

impl AcceptError {
    /// Every failure, in order of its number.
    pub const ALL: [AcceptError; 5] = [
        AcceptError::OutOfDescriptors,
        AcceptError::OutOfFiles,
        AcceptError::OutOfMemory,
        AcceptError::Aborted,
        AcceptError::Other,
    ];

    /// The failure that an error number stands for.
    pub fn of(errno: Option<i32>) -> AcceptError {
        match errno {
            Some(libc::EMFILE) => AcceptError::OutOfDescriptors,
            Some(libc::ENFILE) => AcceptError::OutOfFiles,
            Some(libc::ENOBUFS | libc::ENOMEM) => AcceptError::OutOfMemory,
            Some(libc::ECONNABORTED) => AcceptError::Aborted,
            Some(_) | None => AcceptError::Other,
        }
    }

    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            AcceptError::OutOfDescriptors => "accept_error_emfile",
            AcceptError::OutOfFiles => "accept_error_enfile",
            AcceptError::OutOfMemory => "accept_error_enomem",
            AcceptError::Aborted => "accept_error_econnaborted",
            AcceptError::Other => "accept_error_other",
        }
    }
}
