//! `wsgi.file_wrapper`: an open file as a response's body.
//!
//! A file of the system leaves by sendfile(2) and never passes through Python; whatever else can be
//! `read` is read block by block.
//!
//! Not here: sendfile itself (`maitred::worker`).

use std::fs::File;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use super::start_response::not_bytes;

/// What an application finds as `wsgi.file_wrapper`.
#[pyclass(frozen, module = "maitred._native")]
pub(super) struct FileWrapper {
    #[pyo3(get)]
    filelike: Py<PyAny>,
    #[pyo3(get)]
    blksize: usize,
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (filelike, blksize=65536))]
    fn new(filelike: Py<PyAny>, blksize: usize) -> Self {
        FileWrapper { filelike, blksize }
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let block = self.filelike.bind(py).call_method1(intern!(py, "read"), (self.blksize,))?;
        let block = block.cast_into::<PyBytes>().map_err(|error| not_bytes(&error.into_inner()))?;
        Ok((!block.as_bytes().is_empty()).then_some(block))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.filelike.bind(py).getattr_opt(intern!(py, "close"))? {
            Some(close) => close.call0().map(|_| ()),
            None => Ok(()),
        }
    }
}

/// A stretch of a file.
pub(super) struct Stretch {
    pub(super) file: File,
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl FileWrapper {
    /// What is left of the file from where it stands, at most `declared` bytes, as the system has
    /// it. `None` where only reading it shows what it holds, or where it has less than was
    /// declared.
    pub(super) fn stretch(&self, py: Python<'_>, declared: Option<u64>) -> Option<Stretch> {
        let filelike = system_file(self.filelike.bind(py)).ok()??;
        let number: i32 = filelike.call_method0(intern!(py, "fileno")).ok()?.extract().ok()?;
        let offset: u64 = filelike.call_method0(intern!(py, "tell")).ok()?.extract().ok()?;
        // Opened anew, so that the application may close its own. A file that this process may not
        // open again is read block by block.
        let file = File::open(format!("/proc/self/fd/{number}")).ok()?;
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() {
            return None;
        }
        // Files of /proc have no length, and bytes all the same.
        let left = metadata.len().checked_sub(offset).filter(|&left| left > 0)?;
        let length = declared.unwrap_or(left);
        (length <= left).then_some(Stretch { file, offset, length })
    }
}

/// The file itself, if reading from this object is nothing but reading from it. Many objects have a
/// `fileno` and decompress, or decrypt, what they read.
fn system_file<'py>(filelike: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    if is_plain(filelike)? {
        return Ok(Some(filelike.clone()));
    }
    // These wrap one as `file`, and read from it what it holds.
    let kind = filelike.get_type();
    let module = kind.module()?;
    let wraps = matches!(
        module.to_str()?,
        "tempfile"
            | "django.core.files.base"
            | "django.core.files.temp"
            | "django.db.models.fields.files"
    );
    if !wraps {
        return Ok(None);
    }
    let inner = filelike.getattr(intern!(filelike.py(), "file"))?;
    Ok(is_plain(&inner)?.then_some(inner))
}

fn is_plain(filelike: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = filelike.py();
    let kind = filelike.get_type();
    let is_io = |name: &Bound<'_, PyString>| -> PyResult<bool> {
        Ok(kind.is(&py.import(intern!(py, "io"))?.getattr(name)?))
    };
    Ok(is_io(intern!(py, "BufferedReader"))?
        || is_io(intern!(py, "FileIO"))?
        || is_io(intern!(py, "BufferedRandom"))?)
}
