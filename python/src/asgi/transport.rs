//! What a protocol of Uvicorn's sees of its connection: the part of asyncio's Transport that its
//! classes, and those of websockets and wsproto behind them, use.
//!
//! A transport is only a key: what it stands for is in the core, and gone when the connection is. So
//! a reference to it that outlives the connection, or is dropped by another thread, costs nothing.
//!
//! Not here: what is done (`stream`).

use std::sync::Arc;

use maitred::ident::PeerAddress;
use maitred::worker::sessions::SessionKey;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyString};
use socket2::{SockAddr, SockRef};

use crate::asgi::core::Core;
use crate::asgi::session::{Closing, Ending, HIGH_WATER, Session, Stage, Standing};
use crate::asgi::shared::Shared;

/// See the module.
#[pyclass(frozen, module = "maitred._native")]
pub(crate) struct Transport {
    shared: Arc<Shared>,
    key: SessionKey,
}

impl Transport {
    pub(super) fn new(shared: Arc<Shared>, key: SessionKey) -> Self {
        Transport { shared, key }
    }

    fn look<T>(&self, look: impl FnOnce(&mut Session) -> T) -> Option<T> {
        self.shared.core().sessions.get_mut(self.key).map(look)
    }

    fn with<T>(&self, py: Python<'_>, act: impl FnOnce(&mut Core) -> T) -> PyResult<T> {
        self.shared.with(py, act)
    }
}

#[pymethods]
impl Transport {
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Ok(bytes) = data.cast::<PyBytes>() {
            return self.with(py, |core| core.write(py, self.key, bytes.as_bytes()));
        }
        let bytes = match data.cast::<PyByteArray>() {
            Ok(array) => array.to_vec(),
            // A memoryview, or what else has a buffer.
            Err(_) => py.get_type::<PyBytes>().call1((data,))?.extract::<Vec<u8>>()?,
        };
        self.with(py, |core| core.write(py, self.key, &bytes))
    }

    fn writelines(&self, py: Python<'_>, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        for line in lines.try_iter()? {
            self.write(py, &line?)?;
        }
        Ok(())
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        // A request whose body is still arriving: reset by its bytes, the answer would be lost.
        let protocol = self.look(|session| match session.stage {
            Stage::Active | Stage::Answering if session.closing.is_none() => {
                session.protocol.as_ref().map(|protocol| protocol.clone_ref(py))
            }
            _ => None,
        });
        let lingers = match protocol.flatten() {
            Some(protocol) => protocol
                .bind(py)
                .getattr_opt(pyo3::intern!(py, "arriving"))?
                .is_some_and(|arriving| arriving.is_truthy().unwrap_or(false)),
            None => false,
        };
        let closing = if lingers { Closing::Lingering } else { Closing::Orderly };
        self.with(py, |core| core.close(py, self.key, closing))
    }

    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |core| match core.stage(self.key) {
            Some(Stage::Waiting(from)) => core.claim_to_end(self.key, from),
            Some(_) => core.finish(self.key, Ending::Reset, None),
            None => {}
        })
    }

    fn is_closing(&self) -> bool {
        self.look(|session| session.closing.is_some()).unwrap_or(true)
    }

    #[pyo3(signature = (name, default=None))]
    fn get_extra_info<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let found = match name {
            "peername" => match self.look(|session| session.peer) {
                Some(PeerAddress::Inet(address)) => {
                    Some((address.ip().to_string(), address.port()).into_pyobject(py)?.into_any())
                }
                // A client of a Unix socket has no name; asyncio says so with an empty one.
                Some(PeerAddress::Local) => Some(PyString::new(py, "").into_any()),
                None => None,
            },
            "sockname" => match self.look(|session| SockRef::from(&session.socket).local_addr()) {
                Some(Ok(name)) => Some(name_of(py, &name)?),
                Some(Err(_)) | None => None,
            },
            _ => None,
        };
        Ok(found.or(default))
    }

    fn set_protocol(&self, py: Python<'_>, protocol: Py<PyAny>) -> PyResult<()> {
        let old = self.with(py, |core| {
            core.pin(self.key);
            core.sessions.get_mut(self.key).and_then(|session| session.protocol.replace(protocol))
        })?;
        // Its last reference may run Python code: not under the lock.
        drop(old);
        Ok(())
    }

    fn get_protocol(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.look(|session| session.protocol.as_ref().map(|protocol| protocol.clone_ref(py)))
            .flatten()
    }

    fn pause_reading(&self) {
        self.look(|session| session.flags.reading_paused = true);
    }

    fn resume_reading(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |core| core.resume_reading(self.key))
    }

    fn is_reading(&self) -> bool {
        self.look(|session| !session.flags.reading_paused && session.closing.is_none())
            .unwrap_or(false)
    }

    fn can_write_eof(&self) -> bool {
        true
    }

    /// Nothing more is written; the client may still send. Uvicorn's classes close as well.
    fn write_eof(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |core| core.close(py, self.key, Closing::Lingering))
    }

    fn get_write_buffer_size(&self) -> usize {
        self.look(|session| session.out.len()).unwrap_or(0)
    }

    fn get_write_buffer_limits(&self) -> (usize, usize) {
        self.look(|session| (session.water.1, session.water.0)).unwrap_or((0, 0))
    }

    #[pyo3(signature = (high=None, low=None))]
    fn set_write_buffer_limits(&self, high: Option<usize>, low: Option<usize>) {
        // asyncio's own rules for what is left out.
        let high = high.unwrap_or_else(|| low.map_or(HIGH_WATER, |low| low.saturating_mul(4)));
        let low = low.unwrap_or(high / 4).min(high);
        self.look(|session| session.water = (high, low));
    }

    /// Uvicorn has written the last byte of a response; where it is with the next request.
    fn responded(&self, py: Python<'_>, standing: u8) -> PyResult<()> {
        self.with(py, |core| core.handle_responded(py, self.key, Standing::of(standing)))
    }

    /// How long the connection had waited until this worker took it, in seconds; once, for its first
    /// request.
    fn take_queue_time(&self) -> Option<f64> {
        self.look(|session| session.queue_time.take()).flatten().map(|time| time.as_secs_f64())
    }

    fn __repr__(&self) -> String {
        match self.look(|session| (session.peer, session.loan)) {
            Some((peer, loan)) => format!("<Transport peer={peer} loan={loan}>"),
            None => "<Transport closed>".to_owned(),
        }
    }
}

/// As Uvicorn takes names: two values whatever the family, a path, or nothing.
fn name_of<'py>(py: Python<'py>, name: &SockAddr) -> PyResult<Bound<'py, PyAny>> {
    Ok(match (name.as_socket(), name.as_pathname()) {
        (Some(address), _) => {
            (address.ip().to_string(), address.port()).into_pyobject(py)?.into_any()
        }
        (None, Some(path)) => PyString::new(py, &path.to_string_lossy()).into_any(),
        (None, None) => PyString::new(py, "").into_any(),
    })
}
