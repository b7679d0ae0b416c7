//! `--reload`, for development: a thread of the master watches files, and when one has changed it
//! does what an operator would do, it sends HUP. The old workers go on until new ones are ready; so
//! an application that does not load any more shows why, and the last one that did goes on serving.
//!
//! Patterns mean what they mean in Uvicorn: `pathlib`'s `match` from the right, so that `*.py` is a
//! name anywhere and `tests/*` what lies in any directory `tests`; one that names a directory means
//! all that is beneath it.
//!
//! Not here: what a reload is (`supervise`), what is watched unless somebody says so (`config`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use notify::event::{EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tracing::{info, warn};

use crate::config::{RELOAD_BURST_MAX, WatchFiles};
use crate::exit::RunError;
use crate::sys::upgrade::SignalsBlocked;

/// Which files count.
#[derive(Debug)]
struct Filter {
    includes: GlobSet,
    excludes: GlobSet,
    directories_included: Vec<PathBuf>,
    directories_excluded: Vec<PathBuf>,
}

/// Watches from now on, for as long as the process lives. Paths are meant as seen from `here`.
///
/// # Errors
/// A pattern is none, a directory is not there, or the kernel watches no more files
/// (fs.inotify.max_user_watches).
pub(super) fn start(watch: &WatchFiles, here: &Path) -> Result<(), RunError> {
    let failed =
        |doing: String| move |source: io::Error| RunError::System { doing, source: source.into() };
    let filter = Filter::new(watch, here).map_err(failed("reading the patterns".to_owned()))?;
    let mut directories: Vec<PathBuf> =
        watch.directories.iter().map(|one| here.join(one)).collect();
    if directories.is_empty() {
        directories.push(here.to_owned());
    }
    let (sender, events) = mpsc::channel();
    // Its threads take no signals: the master looks for the last ones before an upgrade.
    let _blocked = SignalsBlocked::begin().map_err(failed("blocking signals".to_owned()))?;
    let mut watcher = notify::recommended_watcher(sender)
        .map_err(io::Error::other)
        .map_err(failed("watching files".to_owned()))?;
    for directory in &directories {
        watcher
            .watch(directory, RecursiveMode::Recursive)
            .map_err(io::Error::other)
            .map_err(failed(format!("watching {}", directory.display())))?;
    }
    let delay = watch.delay;
    thread::Builder::new()
        .name("watching".to_owned())
        .spawn(move || run(watcher, &events, &filter, delay))
        .map_err(failed("starting a thread".to_owned()))?;
    let shown: Vec<_> = directories.iter().map(|one| one.display().to_string()).collect();
    info!(directories = shown.join(" "), "watching files: a change replaces the workers");
    Ok(())
}

fn run(
    watcher: RecommendedWatcher,
    events: &Receiver<notify::Result<Event>>,
    filter: &Filter,
    delay: Duration,
) {
    while let Ok(event) = events.recv() {
        let Some(file) = changed(&event, filter) else { continue };
        settle(events, filter, delay);
        info!(file = %file.display(), "a file has changed");
        if let Err(cause) = kill(Pid::this(), Signal::SIGHUP) {
            warn!(%cause, "asking for a reload");
        }
    }
    drop(watcher);
}

/// Waits until nothing that counts has changed for a while: an editor writes in several steps, and a
/// checkout writes many files.
fn settle(events: &Receiver<notify::Result<Event>>, filter: &Filter, delay: Duration) {
    let begun = Instant::now();
    let mut last = begun;
    while begun.elapsed() < RELOAD_BURST_MAX {
        let left = delay.saturating_sub(last.elapsed());
        match events.recv_timeout(left) {
            Ok(event) if changed(&event, filter).is_some() => last = Instant::now(),
            Ok(_) if !left.is_zero() => {}
            Ok(_) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// The file of an event that counts. When the kernel has lost some, anything may have changed.
fn changed(event: &notify::Result<Event>, filter: &Filter) -> Option<PathBuf> {
    let event = match event {
        Ok(event) => event,
        Err(cause) => {
            warn!(%cause, "watching files");
            return None;
        }
    };
    if event.need_rescan() {
        return Some(PathBuf::from("(too many to tell)"));
    }
    // Reading a file is an event too, and an application that starts reads all of them.
    let is_change = match event.kind {
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Any => true,
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Name(_) | ModifyKind::Any) => true,
        EventKind::Modify(ModifyKind::Metadata(_)) => true,
        EventKind::Modify(ModifyKind::Other) | EventKind::Access(_) | EventKind::Other => false,
    };
    let mut paths = event.paths.iter().filter(|_| is_change);
    paths.find(|path| filter.counts(path)).cloned()
}

impl Filter {
    fn new(watch: &WatchFiles, here: &Path) -> io::Result<Filter> {
        let (directories_included, includes) = apart(&watch.includes, here)?;
        let (directories_excluded, excludes) = apart(&watch.excludes, here)?;
        Ok(Filter { includes, excludes, directories_included, directories_excluded })
    }

    fn counts(&self, path: &Path) -> bool {
        let beneath = |directories: &[PathBuf]| directories.iter().any(|one| path.starts_with(one));
        (self.includes.is_match(path) || beneath(&self.directories_included))
            && !self.excludes.is_match(path)
            && !beneath(&self.directories_excluded)
    }
}

/// Patterns that name directories, and the others.
fn apart(patterns: &[String], here: &Path) -> io::Result<(Vec<PathBuf>, GlobSet)> {
    let mut directories = Vec::new();
    let mut globs = GlobSetBuilder::new();
    for pattern in patterns {
        let path = here.join(pattern);
        if path.is_dir() {
            directories.push(path);
            continue;
        }
        let from_right =
            if pattern.starts_with('/') { pattern.clone() } else { format!("**/{pattern}") };
        let glob = GlobBuilder::new(&from_right).literal_separator(true).build();
        globs.add(glob.map_err(|cause| io::Error::new(io::ErrorKind::InvalidInput, cause))?);
    }
    let globs =
        globs.build().map_err(|cause| io::Error::new(io::ErrorKind::InvalidInput, cause))?;
    Ok((directories, globs))
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, AccessMode, CreateKind, DataChange, Flag};

    use super::*;

    fn filter(includes: &[&str], excludes: &[&str], here: &Path) -> Filter {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let watch = WatchFiles {
            includes: owned(includes),
            excludes: owned(excludes),
            ..WatchFiles::default()
        };
        Filter::new(&watch, here).unwrap()
    }

    #[test]
    fn patterns_are_matched_from_the_right() {
        let filter =
            filter(&["*.py", "templates/*.html", "/etc/app.toml"], &["test_*"], "/".as_ref());
        for (path, counts) in [
            ("/srv/app.py", true),
            ("/srv/deep/app.py", true),
            ("/srv/app.pyc", false),
            ("/srv/test_app.py", false),
            ("/srv/templates/a.html", true),
            ("/srv/templates/deep/a.html", false),
            ("/srv/a.html", false),
            ("/etc/app.toml", true),
            ("/srv/etc/app.toml", false),
        ] {
            assert_eq!(filter.counts(path.as_ref()), counts, "{path}");
        }
    }

    #[test]
    fn the_defaults_leave_out_what_editors_write() {
        let filter = Filter::new(&WatchFiles::default(), "/srv".as_ref()).unwrap();
        for (path, counts) in [
            ("/srv/app.py", true),
            ("/srv/.#app.py", false),
            ("/srv/.app.py.swp", false),
            ("/srv/~app.py", false),
            ("/srv/4913", false),
        ] {
            assert_eq!(filter.counts(path.as_ref()), counts, "{path}");
        }
    }

    #[test]
    fn a_pattern_that_names_a_directory_means_all_beneath_it() {
        let here = tempfile::tempdir().unwrap();
        let here = here.path();
        for name in ["vendor", "assets"] {
            std::fs::create_dir(here.join(name)).unwrap();
        }
        let filter = filter(&["*.py", "assets"], &["vendor"], here);
        assert!(filter.counts(&here.join("app.py")));
        assert!(filter.counts(&here.join("assets/deep/a.css")));
        assert!(!filter.counts(&here.join("vendor/deep/b.py")));
        assert!(filter.counts(&here.join("vendored.py")));
    }

    #[test]
    fn a_pattern_that_is_none_is_refused() {
        let watch = WatchFiles { includes: vec!["[a".to_owned()], ..WatchFiles::default() };
        assert!(Filter::new(&watch, "/".as_ref()).is_err());
    }

    #[test]
    fn reading_is_no_change_and_what_is_lost_is_one() {
        let filter = filter(&["*.py"], &[], "/".as_ref());
        let event = |kind| Ok(Event::new(kind).add_path("/srv/app.py".into()));
        let read = event(EventKind::Access(AccessKind::Close(AccessMode::Read)));
        assert_eq!(changed(&read, &filter), None);
        for kind in [
            EventKind::Create(CreateKind::File),
            EventKind::Modify(ModifyKind::Data(DataChange::Any)),
        ] {
            assert!(changed(&event(kind), &filter).is_some(), "{kind:?}");
        }
        let lost = Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan));
        assert!(changed(&lost, &filter).is_some());
    }

    #[test]
    fn a_burst_is_one_change() {
        let filter = filter(&["*.py"], &[], "/".as_ref());
        let (sender, events) = mpsc::channel();
        for _ in 0..100 {
            let kind = EventKind::Modify(ModifyKind::Any);
            sender.send(Ok(Event::new(kind).add_path("/srv/app.py".into()))).unwrap();
        }
        settle(&events, &filter, Duration::from_millis(20));
        assert!(events.try_recv().is_err(), "all of it was one");
    }
}
