//! What tells one version of a file from another: its ETag and Last-Modified (RFC 9110
//! section 8.8).
//!
//! The tag is made of modification time in nanoseconds, size and inode. nginx takes seconds and
//! size, and so overlooks an edit within a second that keeps the length. The inode tells a file
//! from its replacement by rename where every file has the same time (reproducible builds, image
//! layers); the price is that two servers with copies of one tree give different tags.
//!
//! The tag is strong, so that an interrupted download can be resumed (If-Range), but not while the
//! file is younger than [`SETTLE`]: file systems stamp with the granularity of a timer tick, FAT
//! with two seconds, so a second write could keep the stamp. Apache does the same within a second.
//!
//! Not here: comparing them with what a client holds (`conditional`).

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Until a file is so old, another write may leave its time of modification unchanged.
const SETTLE: Duration = Duration::from_secs(2);

/// The last second that an HTTP-date can say: the end of the year 9999. httpdate panics past it.
const HTTP_DATE_MAX_S: u64 = 253_402_300_799;

/// An entity tag, with its quotes (RFC 9110 section 8.8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntityTag {
    /// The opaque part with its quotes, without `W/`.
    pub(super) quoted: String,
    /// Prefixed by `W/`: the same in meaning, perhaps not byte by byte.
    pub(super) is_weak: bool,
}

/// The validators of one file at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Validators {
    /// The tag.
    pub(super) etag: EntityTag,
    /// Whole seconds, never in the future; `None` where an HTTP-date cannot say it.
    pub(super) last_modified: Option<SystemTime>,
}

/// What the file system says of a file, as far as validators go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified_s: i64,
    modified_ns: i64,
    size: u64,
    inode: u64,
}

impl EntityTag {
    /// As the field's value.
    pub(super) fn to_field(&self) -> String {
        if self.is_weak { format!("W/{}", self.quoted) } else { self.quoted.clone() }
    }
}

impl Validators {
    /// The validators of a file, for a response made at `now`.
    pub(super) fn of(metadata: &Metadata, now: SystemTime) -> Validators {
        let stamp = Stamp {
            modified_s: metadata.mtime(),
            modified_ns: metadata.mtime_nsec(),
            size: metadata.size(),
            inode: metadata.ino(),
        };
        Validators::of_stamp(stamp, now)
    }

    fn of_stamp(stamp: Stamp, now: SystemTime) -> Validators {
        let now_s = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // Times before 1970 are legal in a file system, and have no HTTP-date.
        let modified_s = u64::try_from(stamp.modified_s).ok();
        let is_settled =
            modified_s.is_none_or(|modified_s| modified_s.saturating_add(SETTLE.as_secs()) < now_s);
        let quoted = format!(
            "\"{:x}.{:x}-{:x}-{:x}\"",
            stamp.modified_s, stamp.modified_ns, stamp.size, stamp.inode
        );
        // A date later than the response's own must not be sent (RFC 9110 section 8.8.2.1).
        let last_modified = modified_s
            .map(|modified_s| modified_s.min(now_s))
            .filter(|&modified_s| modified_s <= HTTP_DATE_MAX_S)
            .map(|modified_s| UNIX_EPOCH + Duration::from_secs(modified_s));
        Validators { etag: EntityTag { quoted, is_weak: !is_settled }, last_modified }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};

    use super::*;

    const STAMP: Stamp = Stamp { modified_s: 1000, modified_ns: 7, size: 20, inode: 255 };

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    #[test]
    fn a_tag_is_weak_until_its_file_has_settled() {
        let young = Validators::of_stamp(STAMP, at(1002));
        let settled = Validators::of_stamp(STAMP, at(1003));
        assert_eq!(young.etag.to_field(), "W/\"3e8.7-14-ff\"");
        assert_eq!(settled.etag.to_field(), "\"3e8.7-14-ff\"");
        assert_eq!(settled.last_modified, Some(at(1000)));
    }

    #[test]
    fn every_part_of_the_stamp_changes_the_tag() {
        let tag = |stamp| Validators::of_stamp(stamp, at(5000)).etag;
        for other in [
            Stamp { modified_s: 1001, ..STAMP },
            Stamp { modified_ns: 8, ..STAMP },
            Stamp { size: 21, ..STAMP },
            Stamp { inode: 256, ..STAMP },
        ] {
            assert_ne!(tag(other), tag(STAMP));
        }
    }

    #[test]
    fn a_time_in_the_future_is_now_and_never_strong() {
        let validators = Validators::of_stamp(Stamp { modified_s: 9000, ..STAMP }, at(5000));
        assert_eq!(validators.last_modified, Some(at(5000)));
        assert!(validators.etag.is_weak);
    }

    #[test]
    fn a_time_without_an_http_date_has_none() {
        let old = Validators::of_stamp(Stamp { modified_s: -1, ..STAMP }, at(5000));
        assert_eq!(old.last_modified, None);
        assert!(!old.etag.is_weak);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn a_date_can_always_be_written(
            modified_s in any::<i64>(), modified_ns in any::<i64>(), now_s in 0_u64..1 << 62,
        ) {
            let stamp = Stamp { modified_s, modified_ns, ..STAMP };
            let validators = Validators::of_stamp(stamp, at(now_s));
            if let Some(date) = validators.last_modified {
                prop_assert!(httpdate::fmt_http_date(date).ends_with(" GMT"));
            }
        }
    }
}
