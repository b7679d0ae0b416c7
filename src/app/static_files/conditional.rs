//! Whether a request's preconditions hold, in the order of RFC 9110 section 13.2.2.
//!
//! A date that is malformed, or given twice, is ignored; a malformed list of tags matches nothing,
//! so that If-Match then refuses and If-None-Match then sends: the safe side of each.
//!
//! Not here: which bytes a Range field selects (`range`).

use std::time::SystemTime;

use http::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};
use http::{HeaderMap, HeaderValue};

use super::validators::{EntityTag, Validators};

/// What the preconditions of a GET or HEAD make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Send the file.
    Proceed,
    /// The client's copy is current: 304.
    NotModified,
    /// The file is not the one that the client means: 412.
    Failed,
}

/// Evaluates the preconditions of a GET or HEAD for a file that exists.
pub(super) fn decide(fields: &HeaderMap, current: &Validators) -> Decision {
    // Steps 1 and 2: a date counts only where there is no tag.
    if fields.contains_key(IF_MATCH) {
        if !matches_any(fields, &IF_MATCH, |tag| equal_strongly(tag, &current.etag)) {
            return Decision::Failed;
        }
    } else if let Some(date) = one_date(fields, &IF_UNMODIFIED_SINCE)
        && current.last_modified.is_some_and(|modified| modified > date)
    {
        return Decision::Failed;
    }
    // Steps 3 and 4, likewise.
    if fields.contains_key(IF_NONE_MATCH) {
        if matches_any(fields, &IF_NONE_MATCH, |tag| equal_weakly(tag, &current.etag)) {
            return Decision::NotModified;
        }
    } else if let Some(date) = one_date(fields, &IF_MODIFIED_SINCE)
        && current.last_modified.is_some_and(|modified| modified <= date)
    {
        return Decision::NotModified;
    }
    Decision::Proceed
}

/// Step 5: whether a Range field counts. If-Range holds a tag or a date, which must be exactly the
/// current one and strong, or the parts of two versions would be put together.
pub(super) fn range_counts(fields: &HeaderMap, current: &Validators) -> bool {
    let mut values = fields.get_all(IF_RANGE).iter();
    let (value, another) = (values.next(), values.next());
    let Some(value) = value else {
        return true;
    };
    if another.is_some() {
        return false;
    }
    match one_tag(value) {
        Some(tag) => equal_strongly(tag, &current.etag),
        // The date is as strong as the tag: both are once the file has settled (`validators`).
        None => {
            let date = parse_date(value);
            date.is_some() && date == current.last_modified && !current.etag.is_weak
        }
    }
}

/// A tag in a field, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SentTag<'field> {
    quoted: &'field [u8],
    is_weak: bool,
}

fn equal_strongly(sent: SentTag<'_>, current: &EntityTag) -> bool {
    !sent.is_weak && !current.is_weak && sent.quoted == current.quoted.as_bytes()
}

fn equal_weakly(sent: SentTag<'_>, current: &EntityTag) -> bool {
    sent.quoted == current.quoted.as_bytes()
}

/// Whether a field is `*`, or lists a tag for which `is_equal` holds. It may come in several lines.
fn matches_any(
    fields: &HeaderMap,
    name: &HeaderName,
    is_equal: impl Fn(SentTag<'_>) -> bool,
) -> bool {
    fields.get_all(name).iter().any(|value| {
        let mut rest = value.as_bytes();
        if rest.trim_ascii() == b"*" {
            return true;
        }
        let mut found = false;
        loop {
            // Empty elements are legal in a list (RFC 9110 section 5.6.1.2).
            while let [b' ' | b'\t' | b',', after @ ..] = rest {
                rest = after;
            }
            if rest.is_empty() {
                return found;
            }
            let Some((tag, after)) = split_tag(rest) else {
                return false;
            };
            found |= is_equal(tag);
            rest = after.trim_ascii_start();
            if !rest.is_empty() && !rest.starts_with(b",") {
                return false;
            }
        }
    })
}

fn one_tag(value: &HeaderValue) -> Option<SentTag<'_>> {
    let (tag, rest) = split_tag(value.as_bytes().trim_ascii())?;
    rest.is_empty().then_some(tag)
}

/// Takes one tag off the front. A comma may stand within the quotes.
fn split_tag(bytes: &[u8]) -> Option<(SentTag<'_>, &[u8])> {
    let (is_weak, opaque) = match bytes.strip_prefix(b"W/") {
        Some(opaque) => (true, opaque),
        None => (false, bytes),
    };
    let inner = opaque.strip_prefix(b"\"")?;
    let length = inner.iter().position(|&byte| byte == b'"')?;
    let is_tag_byte = |&byte: &u8| byte == 0x21 || (0x23..=0x7e).contains(&byte) || byte >= 0x80;
    if !inner[..length].iter().all(is_tag_byte) {
        return None;
    }
    let (quoted, rest) = opaque.split_at(length + 2);
    Some((SentTag { quoted, is_weak }, rest))
}

fn one_date(fields: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut values = fields.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => parse_date(value),
        (Some(_), Some(_)) | (None, _) => None,
    }
}

fn parse_date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::collection::vec;
    use proptest::prelude::{ProptestConfig, any, proptest};

    use super::*;

    /// Half a minute before, at, and after the file's time.
    const EARLIER: &str = "Thu, 01 Jan 1970 00:16:10 GMT";
    const SAME: &str = "Thu, 01 Jan 1970 00:16:40 GMT";
    const LATER: &str = "Thu, 01 Jan 1970 00:17:10 GMT";

    fn validators(is_weak: bool) -> Validators {
        Validators {
            etag: EntityTag { quoted: "\"v1\"".to_owned(), is_weak },
            last_modified: Some(UNIX_EPOCH + Duration::from_secs(1000)),
        }
    }

    fn fields(lines: &[(HeaderName, &str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(name, HeaderValue::from_str(value).unwrap());
        }
        fields
    }

    #[test]
    fn each_precondition_alone() {
        use Decision::{Failed, NotModified, Proceed};
        for (name, value, expected) in [
            (IF_MATCH, "\"v1\"", Proceed),
            (IF_MATCH, "\"v0\", \"v1\"", Proceed),
            (IF_MATCH, "*", Proceed),
            (IF_MATCH, "\"v0\"", Failed),
            (IF_MATCH, "W/\"v1\"", Failed),
            (IF_MATCH, "v1", Failed),
            (IF_MATCH, "", Failed),
            (IF_UNMODIFIED_SINCE, LATER, Proceed),
            (IF_UNMODIFIED_SINCE, SAME, Proceed),
            (IF_UNMODIFIED_SINCE, EARLIER, Failed),
            (IF_UNMODIFIED_SINCE, "yesterday", Proceed),
            (IF_NONE_MATCH, "\"v1\"", NotModified),
            (IF_NONE_MATCH, "W/\"v1\"", NotModified),
            (IF_NONE_MATCH, "\"a,b\" ,, W/\"v1\"", NotModified),
            (IF_NONE_MATCH, "*", NotModified),
            (IF_NONE_MATCH, "\"v0\"", Proceed),
            (IF_NONE_MATCH, "\"v1", Proceed),
            (IF_NONE_MATCH, "\"v1\" \"v2\"", Proceed),
            (IF_NONE_MATCH, "w/\"v1\"", Proceed),
            (IF_MODIFIED_SINCE, LATER, NotModified),
            (IF_MODIFIED_SINCE, SAME, NotModified),
            (IF_MODIFIED_SINCE, EARLIER, Proceed),
            (IF_MODIFIED_SINCE, "", Proceed),
            // RFC 850 and asctime dates are still read (RFC 9110 section 5.6.7).
            (IF_MODIFIED_SINCE, "Thursday, 01-Jan-70 00:16:40 GMT", NotModified),
            (IF_MODIFIED_SINCE, "Thu Jan  1 00:16:40 1970", NotModified),
        ] {
            let sent = fields(&[(name.clone(), value)]);
            assert_eq!(decide(&sent, &validators(false)), expected, "{name}: {value}");
        }
    }

    #[test]
    fn tags_come_before_dates_and_refusals_before_answers() {
        for (sent, expected) in [
            (&[(IF_MATCH, "\"v1\""), (IF_UNMODIFIED_SINCE, EARLIER)], Decision::Proceed),
            (&[(IF_NONE_MATCH, "\"v0\""), (IF_MODIFIED_SINCE, LATER)], Decision::Proceed),
            (&[(IF_MATCH, "\"v0\""), (IF_NONE_MATCH, "\"v1\"")], Decision::Failed),
            (&[(IF_MATCH, "\"v1\""), (IF_NONE_MATCH, "\"v1\"")], Decision::NotModified),
            (&[(IF_UNMODIFIED_SINCE, EARLIER), (IF_MODIFIED_SINCE, LATER)], Decision::Failed),
            (&[(IF_NONE_MATCH, "\"v0\""), (IF_NONE_MATCH, "\"v1\"")], Decision::NotModified),
            (&[(IF_MODIFIED_SINCE, LATER), (IF_MODIFIED_SINCE, LATER)], Decision::Proceed),
        ] {
            assert_eq!(decide(&fields(sent), &validators(false)), expected, "{sent:?}");
        }
    }

    #[test]
    fn a_weak_tag_never_satisfies_if_match() {
        let sent = fields(&[(IF_MATCH, "\"v1\"")]);
        assert_eq!(decide(&sent, &validators(true)), Decision::Failed);
        let sent = fields(&[(IF_NONE_MATCH, "\"v1\"")]);
        assert_eq!(decide(&sent, &validators(true)), Decision::NotModified);
    }

    #[test]
    fn dates_are_ignored_where_the_file_has_none() {
        let undated = Validators { last_modified: None, ..validators(false) };
        for name in [IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
            assert_eq!(decide(&fields(&[(name, SAME)]), &undated), Decision::Proceed);
        }
        assert!(!range_counts(&fields(&[(IF_RANGE, SAME)]), &undated));
    }

    #[test]
    fn a_range_counts_only_for_the_version_that_the_client_has() {
        for (value, expected) in [
            ("\"v1\"", true),
            ("\"v0\"", false),
            ("W/\"v1\"", false),
            ("\"v1\", \"v2\"", false),
            (SAME, true),
            (LATER, false),
            (EARLIER, false),
            ("", false),
        ] {
            let sent = fields(&[(IF_RANGE, value)]);
            assert_eq!(range_counts(&sent, &validators(false)), expected, "{value}");
            assert!(!range_counts(&sent, &validators(true)), "{value} of a weak version");
        }
        assert!(range_counts(&HeaderMap::new(), &validators(true)));
        let twice = fields(&[(IF_RANGE, "\"v1\""), (IF_RANGE, "\"v1\"")]);
        assert!(!range_counts(&twice, &validators(false)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn no_field_panics(bytes in vec(any::<u8>(), 0..40)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                for name in [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
                    let mut sent = HeaderMap::new();
                    sent.append(name, value.clone());
                    decide(&sent, &validators(false));
                }
                let mut sent = HeaderMap::new();
                sent.append(IF_RANGE, value);
                range_counts(&sent, &validators(false));
            }
        }
    }
}
