//! The directory that a result is written into, and its files.
//!
//! What is there already is never mixed with a result: a directory is new, empty, or a former
//! result, of which exactly our own files are replaced. Each file is written beside its name and then
//! moved there, so that an end in between leaves the old one.
//!
//! Not here: what the files say (`json`, `csv`, `html`).

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::experiment::report::schema::{BenchReport, SCHEMA};
use crate::experiment::report::{csv, html, json};

/// The name of the whole.
pub const REPORT: &str = "report.json";

/// A directory with a file for each run, of a row for each request, where they are wanted.
pub const REQUESTS: &str = "requests";

/// Bytes of a file that are looked at to know a former result.
const HEAD_SIZE: u64 = 200;

/// A directory that may be written into.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

/// Why a directory may not.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Something else is in it. The caller is at fault.
    #[error("{path:?} has other files than a former result: nothing is overwritten")]
    Occupied {
        /// The directory.
        path: PathBuf,
    },
    /// It cannot be read, made, or written into.
    #[error("{path:?}")]
    System {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Folder {
    /// Makes the directory if it is not there, and removes an older result from it.
    ///
    /// # Errors
    /// It holds anything else, or the system refuses.
    pub fn open(path: &Path) -> Result<Folder, FolderError> {
        let system = |source| FolderError::System { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(system)?;
        let is_empty = fs::read_dir(path).map_err(system)?.next().is_none();
        let folder = Folder { path: path.to_owned() };
        if !is_empty && !folder.is_former_result() {
            return Err(FolderError::Occupied { path: path.to_owned() });
        }
        folder.remove_requests().map_err(system)?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the requests of one run, as `requests/0007.csv`: the number is the run's place, which
    /// trials.csv has beside arm and workload.
    ///
    /// # Errors
    /// The system refuses.
    pub fn put_requests(
        &self,
        place: u32,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), FolderError> {
        let path = self.path.join(REQUESTS);
        fs::create_dir_all(&path).map_err(|source| FolderError::System { path, source })?;
        self.put(requests_of(place), write)
    }

    /// Writes everything that is made of a report alone. The report itself comes last: where it
    /// stands, the rest stands too.
    ///
    /// # Errors
    /// The system refuses.
    pub fn write(&self, report: &BenchReport) -> Result<(), FolderError> {
        self.put("figures.csv", |out| Ok(csv::figures(report, out)?))?;
        self.put("trials.csv", |out| Ok(csv::trials(report, out)?))?;
        self.put("workers.csv", |out| Ok(csv::workers(report, out)?))?;
        self.put("report.html", |out| out.write_all(html::page(report).as_bytes()))?;
        self.put(REPORT, |out| json::write(report, out))
    }

    /// Writes a file beside its name, then moves it there.
    fn put(
        &self,
        name: impl AsRef<Path>,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), FolderError> {
        let path = self.path.join(name);
        let mut beside = path.clone().into_os_string();
        beside.push(".new");
        let written = File::create(&beside).and_then(|file| {
            let mut out = BufWriter::new(file);
            write(&mut out)?;
            out.flush()?;
            fs::rename(&beside, &path)
        });
        written.map_err(|source| FolderError::System { path, source })
    }

    /// Removes what an older result has there: files of its runs, and nothing else.
    fn remove_requests(&self) -> io::Result<()> {
        let path = self.path.join(REQUESTS);
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.split('.').next()?.parse().ok());
            if number.is_some_and(|place| Path::new(REQUESTS).join(&name) == requests_of(place)) {
                fs::remove_file(path.join(name))?;
            }
        }
        Ok(())
    }

    /// Whether its report is one of ours, of whatever version.
    fn is_former_result(&self) -> bool {
        let mut head = Vec::new();
        let family = SCHEMA.split('/').next().unwrap_or(SCHEMA);
        let read = File::open(self.path.join(REPORT))
            .and_then(|file| file.take(HEAD_SIZE).read_to_end(&mut head));
        // It may be cut within a letter.
        let head = String::from_utf8_lossy(&head);
        read.is_ok() && head.contains(&format!("\"schema\": \"{family}/"))
    }
}

fn requests_of(place: u32) -> PathBuf {
    Path::new(REQUESTS).join(format!("{place:04}.csv"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> BenchReport {
        BenchReport { schema: SCHEMA.to_owned(), title: "ü".repeat(99), ..BenchReport::default() }
    }

    #[test]
    fn a_result_is_replaced_and_nothing_else_is() {
        let parent = tempfile::tempdir().expect("a directory");
        let path = parent.path().join("a/b");
        let folder = Folder::open(&path).expect("it is new");
        folder.write(&report()).expect("it is ours");
        folder.put_requests(7, |out| out.write_all(b"rows")).expect("it is ours");
        fs::write(path.join("requests/notes.txt"), "mine").expect("it is ours");
        let files = |folder: &str| {
            let names = fs::read_dir(path.join(folder)).expect("it is there").flatten();
            let mut names: Vec<_> = names.map(|entry| entry.file_name()).collect();
            names.sort();
            names
        };
        let expected =
            ["figures.csv", "report.html", "report.json", "requests", "trials.csv", "workers.csv"];
        assert_eq!(files(""), expected);
        assert_eq!(files("requests"), ["0007.csv", "notes.txt"]);
        Folder::open(&path).expect("a former result");
        assert_eq!(files("requests"), ["notes.txt"], "an older one's requests are gone");

        fs::remove_file(path.join(REPORT)).expect("it is there");
        let refused = Folder::open(&path).expect_err("who knows whose they are");
        assert!(refused.to_string().contains("nothing is overwritten"), "{refused}");
        fs::write(path.join(REPORT), "{\"schema\": \"something-else/1\"}").expect("it is ours");
        assert!(Folder::open(&path).is_err());
        assert!(Folder::open(&path.join("figures.csv")).is_err(), "a file is no directory");
    }
}
