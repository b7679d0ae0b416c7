//! `wsgi.input`: a request's body as a file that Python reads.
//!
//! A body that has arrived is handed out without further ado. One that is still arriving is waited
//! for without the GIL; what nobody reads stays with the client, whose sending stops for it.
//!
//! Not here: who takes bytes off the socket (`maitred::worker`), decoding of chunks
//! (`maitred::http`).

use std::io::{self, BufRead, BufReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Buf;
use maitred::app::RequestBody;
use pyo3::exceptions::{PyConnectionResetError, PyOSError, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

/// Bytes taken out of an arriving body at a time.
const PIECE_SIZE: usize = 64 << 10;

/// What an application finds as `wsgi.input`.
#[pyclass(frozen, module = "maitred._native")]
pub(super) struct Input {
    /// Locked only without the GIL where it may block: the thread that holds the lock and wants the
    /// GIL must not meet one that has it the other way round.
    source: Mutex<Source>,
    blocks: bool,
    failed: AtomicBool,
}

/// Bytes, with what lies ready of them.
type Source = Box<dyn BufRead + Send>;

impl Input {
    pub(super) fn new(body: RequestBody) -> Self {
        let (source, blocks): (Source, bool) = match body {
            RequestBody::Complete(bytes) => (Box::new(bytes.reader()), false),
            RequestBody::Streaming(reader) => {
                (Box::new(BufReader::with_capacity(PIECE_SIZE, reader)), true)
            }
        };
        Input { source: Mutex::new(source), blocks, failed: AtomicBool::new(false) }
    }

    /// Whether the client has not sent what it had announced: what an application makes of that is
    /// no fault of its own.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Reads without the GIL where that may take time.
    fn take(
        &self,
        py: Python<'_>,
        read: impl FnOnce(&mut Source) -> io::Result<Vec<u8>> + Send,
    ) -> PyResult<Vec<u8>> {
        let locked = || read(&mut self.source.lock().unwrap_or_else(PoisonError::into_inner));
        let outcome = if self.blocks { py.detach(locked) } else { locked() };
        outcome.map_err(|error| {
            self.failed.store(true, Ordering::Relaxed);
            raised(&error)
        })
    }

    fn take_line(&self, py: Python<'_>, size: Option<usize>) -> PyResult<Vec<u8>> {
        self.take(py, |source| read_line(source, size))
    }
}

#[pymethods]
impl Input {
    /// Up to `size` bytes, and fewer only at the end; all that is left without a size.
    #[pyo3(signature = (size=None, /))]
    fn read<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.take(py, |source| read(source, bound(size)))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// A line with its end, or `size` bytes of it.
    #[pyo3(signature = (size=None, /))]
    fn readline<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.take_line(py, bound(size))?))
    }

    /// The lines that are left; with a `hint` no more than until they have so many bytes.
    #[pyo3(signature = (hint=None, /))]
    fn readlines<'py>(&self, py: Python<'py>, hint: Option<isize>) -> PyResult<Bound<'py, PyList>> {
        let lines = PyList::empty(py);
        // As Python's own files have it: a hint of 0 is none.
        let enough = bound(hint).filter(|&hint| hint > 0).unwrap_or(usize::MAX);
        let mut total = 0;
        while total < enough {
            let line = self.take_line(py, None)?;
            if line.is_empty() {
                break;
            }
            total += line.len();
            lines.append(PyBytes::new(py, &line))?;
        }
        Ok(lines)
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let line = self.take_line(py, None)?;
        Ok((!line.is_empty()).then(|| PyBytes::new(py, &line)))
    }
}

/// A size as Python's files take it: none, or a negative one, has no bound.
fn bound(size: Option<isize>) -> Option<usize> {
    size.and_then(|size| usize::try_from(size).ok())
}

/// Reads until `size` bytes are there, or the end. What a caller asks for is not taken from memory
/// before it has arrived.
fn read(source: &mut dyn BufRead, size: Option<usize>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = size.map_or(u64::MAX, |size| size as u64);
    source.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_line(source: &mut dyn BufRead, size: Option<usize>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let limit = size.map_or(u64::MAX, |size| size as u64);
    source.take(limit).read_until(b'\n', &mut line)?;
    Ok(line)
}

/// What Python is told of a body that does not arrive.
fn raised(error: &io::Error) -> PyErr {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => {
            PyConnectionResetError::new_err(
                "the client has gone before all of the request's body had come",
            )
        }
        io::ErrorKind::TimedOut => {
            PyTimeoutError::new_err("the client sends the request's body too slowly")
        }
        io::ErrorKind::InvalidData => {
            PyOSError::new_err("the request's body is not what its head has announced")
        }
        _ => PyOSError::new_err(format!("reading the request's body: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a byte at a time, and fails where it should end.
    struct Dripping(&'static [u8]);

    impl Read for Dripping {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.split_first() {
                Some((&first, rest)) => {
                    buffer[0] = first;
                    self.0 = rest;
                    Ok(1)
                }
                None => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    #[test]
    fn a_size_is_filled_from_pieces() {
        let mut source = BufReader::new(Dripping(b"hello world"));
        assert_eq!(read(&mut source, Some(5)).unwrap(), b"hello");
        assert_eq!(read(&mut source, Some(0)).unwrap(), b"");
        assert_eq!(read(&mut source, Some(6)).unwrap(), b" world");
        assert!(read(&mut source, Some(1)).is_err(), "who has gone has sent no end");
    }

    #[test]
    fn lines_end_with_their_ends() {
        let mut source: &[u8] = b"one\ntwo\n\nlast";
        assert_eq!(read_line(&mut source, None).unwrap(), b"one\n");
        assert_eq!(read_line(&mut source, Some(2)).unwrap(), b"tw");
        assert_eq!(read_line(&mut source, Some(9)).unwrap(), b"o\n");
        assert_eq!(read_line(&mut source, None).unwrap(), b"\n");
        assert_eq!(read_line(&mut source, None).unwrap(), b"last");
        assert_eq!(read_line(&mut source, None).unwrap(), b"");
    }

    #[test]
    fn sizes_are_as_in_python() {
        assert_eq!(bound(None), None);
        assert_eq!(bound(Some(-1)), None);
        assert_eq!(bound(Some(0)), Some(0));
        assert_eq!(read(&mut &b"all of it"[..], None).unwrap(), b"all of it");
    }
}
