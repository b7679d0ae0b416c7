//! The core, and the way back into the loop, as transports and handlers hold them.
//!
//! Not here: the core itself (`core`), the object that Python drives (`worker`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::asgi::core::Core;

/// One for each worker.
pub(super) struct Shared {
    core: Mutex<Core>,
    /// Asks Python's loop for a turn behind everything that is to run now.
    soon: PyOnceLock<Py<PyAny>>,
}

impl Shared {
    pub(super) fn new(core: Core) -> Arc<Self> {
        Arc::new(Shared { core: Mutex::new(core), soon: PyOnceLock::new() })
    }

    /// The core, for a moment in which nothing of Python is called. Whoever waits for it holds the
    /// interpreter's lock, and so does its holder: nobody ever waits long.
    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_soon(&self, py: Python<'_>, soon: Py<PyAny>) {
        // Set once, at start.
        let _ = self.soon.set(py, soon);
    }

    /// Does something with the core, and sees to it that the loop comes back if it must.
    pub(super) fn with<T>(&self, py: Python<'_>, act: impl FnOnce(&mut Core) -> T) -> PyResult<T> {
        let (done, wants_turn) = {
            let mut core = self.core();
            let done = act(&mut core);
            (done, core.wants_turn())
        };
        if wants_turn && let Some(soon) = self.soon.get(py) {
            soon.call0(py)?;
        }
        Ok(done)
    }
}
