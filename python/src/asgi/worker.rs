//! What Python's loop drives: turns, and the events of a worker's life.
//!
//! ```text
//!   loop: the epoll instance is readable ── turn ──┐  effects: bytes to protocols, …
//!   loop: what a turn has started has run ── settle ┘
//! ```
//!
//! Not here: what a turn consists of (`core`), why the worker ends (`maitred.asgi` in Python).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use maitred::app::HeaderValue;
use maitred::handoff::{DrainMode, ToMaster};
use maitred::ident::PeerAddress;
use maitred::worker::sessions::SessionKey;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::asgi::access::{self, Answered};
use crate::asgi::core::{Core, Effect};
use crate::asgi::session::{Closing, Ending, Stage, Standing};
use crate::asgi::shared::Shared;
use crate::asgi::steps::Application;
use crate::asgi::transport::Transport;

/// The native half of an ASGI worker; `maitred.asgi` has the other.
#[pyclass(frozen, module = "maitred._native")]
pub(crate) struct Worker {
    shared: Arc<Shared>,
    /// The Python half: what is to happen beside what protocols do.
    host: std::sync::OnceLock<Py<PyAny>>,
}

impl Worker {
    pub(super) fn new(core: Core) -> Self {
        Worker { shared: Shared::new(core), host: std::sync::OnceLock::new() }
    }
}

#[pymethods]
impl Worker {
    /// The application as protocols are to call it.
    fn application(&self, inner: Py<PyAny>) -> Application {
        Application::new(Arc::clone(&self.shared), inner)
    }

    /// The descriptor for the loop to watch; `turn` is to be called while it is readable.
    fn fileno(&self) -> i32 {
        self.shared.core().descriptor()
    }

    /// Ready: connections come from now on. `host` is told what happens, `soon` asks the loop for
    /// `settle` behind all that is to run by then.
    fn start(&self, py: Python<'_>, host: Py<PyAny>, soon: Py<PyAny>) -> PyResult<()> {
        self.host.set(host).map_err(|_| PyRuntimeError::new_err("it has started already"))?;
        self.shared.set_soon(py, soon);
        self.shared.core().send_ready().map_err(PyOSError::new_err)
    }

    /// Takes what there is, as far as it may.
    fn turn(&self, py: Python<'_>) -> PyResult<()> {
        // One that comes anyway, behind the handlers that are to run first, does it all.
        if self.shared.core().is_turn_asked() { Ok(()) } else { self.run_turn(py, false) }
    }

    /// The same, when everything that the last turn has started has run.
    fn settle(&self, py: Python<'_>) -> PyResult<()> {
        self.run_turn(py, true)
    }

    /// Asks the master for leave (TERM).
    fn ask_for_leave(&self) {
        self.shared.core().intake.send(ToMaster::Bye);
    }

    /// Gives back what nobody has claimed, and from now on what becomes idle.
    fn hand_over(&self, py: Python<'_>) -> PyResult<()> {
        self.shared.with(py, Core::hand_over)
    }

    /// Ends what is idle: nobody is left to give it to.
    fn end_idle(&self, py: Python<'_>) -> PyResult<()> {
        self.shared.with(py, Core::end_idle)
    }

    /// Cuts off what is not finished.
    fn cut_off(&self, py: Python<'_>) -> PyResult<()> {
        self.shared.with(py, Core::cut_off)
    }

    /// How many connections are here.
    fn connections(&self) -> usize {
        self.shared.core().sessions.len()
    }

    /// The last thing before the process ends.
    fn leave(&self) {
        let mut core = self.shared.core();
        core.intake.send(ToMaster::Bye);
        if let Some(log) = &core.request_log {
            log.finish();
        }
    }

    /// Who this worker is: slot and generation.
    fn identity(&self) -> (u16, u32) {
        let who = self.shared.core().who;
        (who.slot.0, who.generation.0)
    }

    /// The id of a request of this client's, which has given it one perhaps; with `--request-id`
    /// alone.
    fn request_id<'py>(
        &self,
        py: Python<'py>,
        given: Option<&[u8]>,
        client: Option<&str>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let peer = match client.and_then(|address| address.parse::<IpAddr>().ok()) {
            Some(address) => PeerAddress::Inet(SocketAddr::new(address, 0)),
            None => PeerAddress::Local,
        };
        let given = given.and_then(|given| HeaderValue::from_bytes(given).ok());
        let mut core = self.shared.core();
        let core = &mut *core;
        let Some(ids) = &mut core.request_ids else {
            return Err(PyRuntimeError::new_err("requests have no ids here"));
        };
        let id = ids.id_of(given.as_ref(), peer, &core.settings.forwarded.believed);
        Ok(PyBytes::new(py, id.as_bytes()))
    }

    /// The field that says how loaded the node is, if that is asked for and anything is known.
    fn load_field<'py>(
        &self,
        py: Python<'py>,
    ) -> Option<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let (name, value) = self.shared.core().load_field()?;
        Some((PyBytes::new(py, name.as_bytes()), PyBytes::new(py, value.as_bytes())))
    }

    /// A line of the access log, or of the slow log.
    fn log_access(&self, answered: Answered<'_>) {
        access::log(&self.shared, &answered);
    }
}

impl Worker {
    fn run_turn(&self, py: Python<'_>, settling: bool) -> PyResult<()> {
        self.shared.core().begin_turn(py, settling);
        loop {
            // The lock is free while an effect is carried out: it calls into Python.
            let Some(effect) = self.shared.core().poll_effect(py) else { break };
            self.carry_out(py, effect)?;
        }
        self.shared.with(py, |core| {
            core.end_turn();
            if settling {
                core.settle();
            }
        })
    }

    fn carry_out(&self, py: Python<'_>, effect: Effect) -> PyResult<()> {
        match effect {
            Effect::Begin(key, bytes) => {
                let protocol = match self.make_protocol(py, key) {
                    Ok(protocol) => protocol,
                    Err(error) => return self.fail(py, key, &error),
                };
                self.receive(py, key, protocol, bytes)
            }
            Effect::Data(key, protocol, bytes) => self.receive(py, key, protocol, bytes),
            Effect::EndOfInput(key, protocol) => {
                match protocol.call_method0(py, pyo3::intern!(py, "eof_received")) {
                    Ok(keep) if keep.is_truthy(py)? => Ok(()),
                    // The client may be gone altogether; there is no telling, as with asyncio.
                    Ok(_) => self.shared.with(py, |core| core.close(py, key, Closing::Orderly)),
                    Err(error) => self.fail(py, key, &error),
                }
            }
            Effect::PauseWriting(protocol) => {
                self.tell(py, &protocol, pyo3::intern!(py, "pause_writing"))
            }
            Effect::ResumeWriting(protocol) => {
                self.tell(py, &protocol, pyo3::intern!(py, "resume_writing"))
            }
            Effect::Moved(protocol) => self.call_host_with(py, "moved", (protocol,)),
            Effect::Lost(protocol, cause) => {
                let cause = cause.map(PyErr::from).map(|error| error.into_value(py));
                let lost = pyo3::intern!(py, "connection_lost");
                if let Err(error) = protocol.call_method1(py, lost, (cause,)) {
                    self.complain(py, "a protocol's connection_lost() failed", &error)?;
                }
                Ok(())
            }
            Effect::Ask(key, protocol) => self.ask(py, key, &protocol),
            Effect::TooSlow(key, protocol) => {
                // A protocol that has no word for it is that of a WebSocket, which has no such limit.
                match protocol.call_method0(py, pyo3::intern!(py, "too_slow")) {
                    Ok(_) => Ok(()),
                    Err(error) => self.fail(py, key, &error),
                }
            }
            Effect::Refresh => self.call_host(py, "refresh"),
            Effect::Drain(mode, graceful) => {
                let ends = mode == DrainMode::Finish;
                self.call_host_with(py, "drain", (ends, graceful.as_secs_f64()))
            }
            Effect::MasterGone => self.call_host(py, "master_gone"),
        }
    }

    fn make_protocol(&self, py: Python<'_>, key: SessionKey) -> PyResult<Py<PyAny>> {
        let Some(host) = self.host.get() else {
            return Err(PyRuntimeError::new_err("a connection before the start"));
        };
        let transport = Py::new(py, Transport::new(Arc::clone(&self.shared), key))?;
        let made = pyo3::intern!(py, "make_protocol");
        let protocol = host.call_method1(py, made, (transport,))?;
        if let Some(session) = self.shared.core().sessions.get_mut(key) {
            session.protocol = Some(protocol.clone_ref(py));
        }
        Ok(protocol)
    }

    fn receive(
        &self,
        py: Python<'_>,
        key: SessionKey,
        protocol: Py<PyAny>,
        bytes: Py<PyBytes>,
    ) -> PyResult<()> {
        let received = pyo3::intern!(py, "data_received");
        if let Err(error) = protocol.call_method1(py, received, (bytes,)) {
            return self.fail(py, key, &error);
        }
        let asks = self.shared.core().sessions.get_mut(key).is_some_and(|session| {
            // Of a fresh one it is asked when its handler has had its first step.
            let claimed = matches!(session.stage, Stage::Active | Stage::Answering);
            let owes =
                matches!(session.standing, Standing::Head | Standing::Body | Standing::Surplus);
            claimed && !session.flags.fresh && (owes || session.flags.responded)
        });
        if asks { self.ask(py, key, &protocol) } else { Ok(()) }
    }

    fn ask(&self, py: Python<'_>, key: SessionKey, protocol: &Py<PyAny>) -> PyResult<()> {
        let standing = pyo3::intern!(py, "standing");
        let Some(answer) = protocol.bind(py).getattr_opt(standing)? else { return Ok(()) };
        let standing = Standing::of(answer.call0()?.extract()?);
        if self.shared.with(py, |core| core.handle_standing(key, standing))? {
            return Ok(());
        }
        match protocol.call_method0(py, pyo3::intern!(py, "too_large")) {
            Ok(_) => Ok(()),
            Err(error) => self.fail(py, key, &error),
        }
    }

    fn tell(
        &self,
        py: Python<'_>,
        protocol: &Py<PyAny>,
        what: &Bound<'_, pyo3::types::PyString>,
    ) -> PyResult<()> {
        if let Err(error) = protocol.call_method0(py, what) {
            self.complain(py, "a protocol failed", &error)?;
        }
        Ok(())
    }

    fn call_host(&self, py: Python<'_>, what: &str) -> PyResult<()> {
        self.call_host_with(py, what, ())
    }

    fn call_host_with<'py>(
        &self,
        py: Python<'py>,
        what: &str,
        with: impl pyo3::call::PyCallArgs<'py>,
    ) -> PyResult<()> {
        match self.host.get() {
            Some(host) => host.bind(py).call_method1(what, with).map(|_| ()),
            None => Ok(()),
        }
    }

    /// A protocol has failed: it can say nothing sensible any more.
    fn fail(&self, py: Python<'_>, key: SessionKey, error: &PyErr) -> PyResult<()> {
        self.shared.with(py, |core| {
            core.count_error();
            core.finish(key, Ending::Reset, None);
        })?;
        self.complain(py, "a protocol failed, and its connection was reset", error)
    }

    /// As asyncio does: to whom the application has named for it.
    fn complain(&self, py: Python<'_>, message: &str, error: &PyErr) -> PyResult<()> {
        let context = PyDict::new(py);
        context.set_item("message", message)?;
        context.set_item("exception", error.value(py))?;
        let running = py.import("asyncio")?.call_method0("get_running_loop")?;
        running.call_method1("call_exception_handler", (context,)).map(|_| ())
    }
}
