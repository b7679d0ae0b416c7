//! The flags that bound a worker's life, and the file that names the master.
//!
//! Not here: deadlines of starting and stopping (`resolve`).

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::faults::{Given, Reader};
use crate::cli::raw::RawServe;
use crate::cli::values::{self, Refusal};
use crate::config::{self, RecycleLimits};

/// When a worker that serves well is replaced all the same.
pub(super) fn recycle(raw: &RawServe, reader: &mut Reader<'_>) -> RecycleLimits {
    let requests_max = reader.value("--max-requests", raw.max_requests.as_deref(), requests_or_off);
    let requests_jitter =
        reader.value("--max-requests-jitter", raw.max_requests_jitter.as_deref(), |text| {
            values::whole(text, 0..=config::MAX_REQUESTS_MAX)
        });
    let lifetime_max = reader.value("--max-lifetime", raw.max_lifetime.as_deref(), |text| {
        values::duration_or_off(text, config::DEADLINE_MIN..=config::DEADLINE_MAX)
    });
    let lifetime_jitter =
        reader.value("--max-lifetime-jitter", raw.max_lifetime_jitter.as_deref(), |text| {
            values::duration(text, Duration::ZERO..=config::DEADLINE_MAX)
        });
    let rss_max = reader.value("--max-rss", raw.max_rss.as_deref(), size_or_off);
    let limits = RecycleLimits {
        requests_max: requests_max.and_then(|given| given.value),
        requests_jitter: requests_jitter.as_ref().map_or(0, |given| given.value),
        lifetime_max: lifetime_max.and_then(|given| given.value),
        lifetime_jitter: lifetime_jitter.as_ref().map_or(Duration::ZERO, |given| given.value),
        rss_max: rss_max.and_then(|given| given.value),
    };
    // A variable may be set for many servers; a flag was typed for this one.
    let typed = |given: Option<bool>| given == Some(true);
    if limits.requests_max.is_none() && typed(requests_jitter.map(|given| given.typed)) {
        reader.refuse("--max-requests-jitter", None, "needs --max-requests");
    }
    if limits.lifetime_max.is_none() && typed(lifetime_jitter.map(|given| given.typed)) {
        reader.refuse("--max-lifetime-jitter", None, "needs --max-lifetime");
    }
    limits
}

/// Where the master writes its process id; any bytes that can name a file.
pub(super) fn pid_file(raw: &RawServe, reader: &mut Reader<'_>) -> Option<PathBuf> {
    let typed = raw.pid_file.clone();
    let typed = typed.map(|value| Given { name: "--pid-file".to_owned(), value, typed: true });
    let given = typed.or_else(|| reader.variable("MAITRED_PID_FILE"))?;
    let path = reader.parsed_raw(given, |path| {
        let path = PathBuf::from(path);
        if path.file_name().is_some() {
            Ok(path)
        } else {
            Err("must be the path of a file".to_owned())
        }
    });
    path.map(|given| given.value)
}

fn requests_or_off(text: &str) -> Result<Option<u64>, Refusal> {
    match values::whole(text, 0..=config::MAX_REQUESTS_MAX) {
        Ok(most) => Ok((most > 0).then_some(most)),
        Err(refusal) => Err(format!("{refusal}; 0 switches it off")),
    }
}

fn size_or_off(text: &str) -> Result<Option<u64>, Refusal> {
    if values::size(text, 0..=0).is_ok() {
        return Ok(None);
    }
    match values::size(text, config::MAX_RSS_MIN..=config::MAX_RSS_MAX) {
        Ok(value) => Ok(Some(value)),
        Err(refusal) => Err(format!("{refusal}; 0 switches it off")),
    }
}
