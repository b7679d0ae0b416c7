//! Which bytes a Range field asks for (RFC 9110 section 14).
//!
//! One range is served. Several are answered with the whole file, which a server may always do
//! (section 14.2): multipart answers are rarely used and were an amplification attack
//! (CVE-2011-3192).
//!
//! Not here: whether a Range field counts at all (`conditional`: If-Range).

use http::HeaderMap;
use http::header::RANGE;

/// What to send of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// All of it: 200.
    Whole,
    /// 206: never empty, and within the file.
    Part {
        /// The first byte.
        first: u64,
        /// How many bytes.
        length: u64,
    },
    /// The file has none of the bytes asked for: 416.
    Unsatisfiable,
}

impl Selection {
    /// Reads the fields of a GET for a file of `size` bytes. A Range field that is malformed, or
    /// in another unit, is ignored, as section 14.2 says.
    pub(super) fn of(fields: &HeaderMap, size: u64) -> Selection {
        let mut ranges = fields.get_all(RANGE).iter();
        match (ranges.next(), ranges.next()) {
            (Some(range), None) => {
                range.to_str().map_or(Selection::Whole, |text| parse(text, size))
            }
            (Some(_), Some(_)) | (None, _) => Selection::Whole,
        }
    }
}

fn parse(text: &str, size: u64) -> Selection {
    let Some((unit, ranges)) = text.split_once('=') else {
        return Selection::Whole;
    };
    let Some((first, last)) = ranges.trim_matches([' ', '\t']).split_once('-') else {
        return Selection::Whole;
    };
    // Nothing of an empty file can be named in a Content-Range; its whole is its every part.
    if !unit.eq_ignore_ascii_case("bytes") || size == 0 {
        return Selection::Whole;
    }
    match (number(first), number(last)) {
        (Some(first), Some(last)) if last < first => Selection::Whole,
        (Some(first), _) if first >= size && (last.is_empty() || number(last).is_some()) => {
            Selection::Unsatisfiable
        }
        (Some(first), Some(last)) => {
            let last = last.min(size - 1);
            Selection::Part { first, length: last - first + 1 }
        }
        (Some(first), None) if last.is_empty() => Selection::Part { first, length: size - first },
        (None, Some(0)) if first.is_empty() => Selection::Unsatisfiable,
        (None, Some(suffix)) if first.is_empty() => {
            let length = suffix.min(size);
            Selection::Part { first: size - length, length }
        }
        (Some(_) | None, None) | (None, Some(_)) => Selection::Whole,
    }
}

/// Digits alone. A number past u64 is past every file: saturated, since it is well-formed.
fn number(text: &str) -> Option<u64> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    const PAST_U64: &str = "bytes=99999999999999999999-";

    fn part(first: u64, length: u64) -> Selection {
        Selection::Part { first, length }
    }

    #[test]
    fn one_range_selects_a_part() {
        for (text, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-9", part(0, 10)),
            ("bytes=0-99", part(0, 10)),
            ("bytes=3-5", part(3, 3)),
            ("bytes=9-", part(9, 1)),
            ("bytes=0-", part(0, 10)),
            ("bytes=-1", part(9, 1)),
            ("bytes=-10", part(0, 10)),
            ("bytes=-99", part(0, 10)),
            ("BYTES= 3-5 ", part(3, 3)),
            ("bytes=3-99999999999999999999", part(3, 7)),
            ("bytes=-99999999999999999999", part(0, 10)),
            ("bytes=10-", Selection::Unsatisfiable),
            ("bytes=10-10", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            (PAST_U64, Selection::Unsatisfiable),
        ] {
            assert_eq!(parse(text, 10), expected, "{text}");
        }
    }

    #[test]
    fn what_is_malformed_or_several_is_ignored() {
        for text in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=5-3",
            "bytes=1-x",
            "bytes=x-1",
            "bytes=0-1,3-4",
            "bytes=0-1,",
            "bytes=--1",
            "bytes=+1-2",
            "bytes=1 - 2",
            "items=0-1",
            "bytes 0-1",
            "bytes=10-x",
            "bytes=20-10",
        ] {
            assert_eq!(parse(text, 10), Selection::Whole, "{text:?}");
        }
    }

    #[test]
    fn an_empty_file_is_always_sent_whole() {
        for text in ["bytes=0-", "bytes=-1", "bytes=-0", "bytes=5-6"] {
            assert_eq!(parse(text, 0), Selection::Whole, "{text:?}");
        }
    }

    #[test]
    fn two_fields_are_several_ranges() {
        let mut fields = HeaderMap::new();
        assert_eq!(Selection::of(&fields, 10), Selection::Whole);
        fields.append(RANGE, HeaderValue::from_static("bytes=0-1"));
        assert_eq!(Selection::of(&fields, 10), part(0, 2));
        fields.append(RANGE, HeaderValue::from_static("bytes=3-4"));
        assert_eq!(Selection::of(&fields, 10), Selection::Whole);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn a_part_is_within_its_file(text in "bytes=[0-9]{0,21}-[0-9]{0,21}", size in any::<u64>()) {
            if let Selection::Part { first, length } = parse(&text, size) {
                prop_assert!(length > 0);
                prop_assert!(first.checked_add(length).is_some_and(|end| end <= size));
            }
        }

        #[test]
        fn two_numbers_in_order_are_those_bytes(first in 0_u64..100, more in 0_u64..100) {
            let text = format!("bytes={first}-{}", first + more);
            prop_assert_eq!(parse(&text, 1000), part(first, more + 1));
        }

        #[test]
        fn no_text_panics(text in any::<String>(), size in any::<u64>()) {
            let _ = parse(&text, size);
        }
    }
}
