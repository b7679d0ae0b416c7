//! What answers an operator's client, from any bytes: the HTTP of `maitred ctl`, and what it prints
//! of a status.
//!
//! An answer must be decided by its own bytes: each shorter beginning is a beginning, nothing behind
//! it changes it, more does not heal what was refused. Head and body are found a second time by
//! lines. A body that is a status is printed, and no text in it may reach a terminal as it came.

use maitred::admin::reply::Reply;
use maitred::observe::status::Text;
use maitred::observe::view::View;

/// Beginnings that are looked at; an input has two thousand.
const BEGINNINGS: usize = 50;

pub(crate) fn run(input: &[u8]) {
    match Reply::parse(input) {
        Ok(None) => {
            for end in beginnings(input.len()) {
                assert_eq!(Reply::parse(&input[..end]), Ok(None), "decided too early: {end}");
            }
        }
        Ok(Some(reply)) => {
            check_whole(input, &reply);
            check_status(&reply.body);
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            for end in beginnings(input.len()) {
                let beginning = Reply::parse(&input[..end]);
                assert!(
                    beginning == Ok(None) || beginning == Err(error),
                    "{end}: {beginning:?}, and {error}"
                );
            }
            for more in [&b"\r\n\r\n"[..], b"Content-Length: 0\r\n\r\n"] {
                assert!(Reply::parse(&[input, more].concat()).is_err(), "healed by more");
            }
        }
    }
    // Bytes that are the body of an answer which is in order.
    check_status(input);
}

fn check_whole(input: &[u8], reply: &Reply) {
    // The shortest beginning that is whole: all longer ones are, and say the same.
    let ends: Vec<usize> = (0..=input.len()).collect();
    let size = ends.partition_point(|end| matches!(Reply::parse(&input[..*end]), Ok(None)));
    assert_eq!(Reply::parse(&input[..size]).as_ref(), Ok(&Some(reply.clone())), "its own bytes");
    for end in beginnings(size) {
        assert_eq!(Reply::parse(&input[..end]), Ok(None), "decided too early: {end}");
    }
    let head = size.checked_sub(reply.body.len()).expect("a head before the body");
    assert_eq!(input[head..size], reply.body[..]);
    let head = String::from_utf8_lossy(&input[..head]);
    assert!(head.ends_with("\n\r\n") || head.ends_with("\n\n"), "{head:?}");
    let mut lines = head.trim_start_matches(['\r', '\n']).lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    assert_eq!(status, Some(&*format!("{:03}", reply.status)), "{head:?}");
    let fields = lines.filter_map(|line| line.split_once(':'));
    let lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let lengths: Vec<&str> = lengths.map(|(_, value)| value.trim()).collect();
    let digits = lengths[0].trim_start_matches('0');
    let is_zero = digits.is_empty() && !lengths[0].is_empty();
    let digits = if is_zero { "0" } else { digits };
    assert_eq!((lengths.len(), digits), (1, &*reply.body.len().to_string()), "{head:?}");
}

/// What is printed of a status is lines of text, whatever stands in it.
fn check_status(body: &[u8]) {
    let Ok(view) = serde_json::from_slice::<View>(body) else { return };
    let text = Text(&view).to_string();
    assert!(!text.chars().any(|one| one.is_control() && one != '\n'), "{text:?}");
}

/// Ends of beginnings of so many bytes, the shortest and the longest among them.
fn beginnings(size: usize) -> impl Iterator<Item = usize> {
    (0..size).step_by(size / BEGINNINGS + 1).chain(size.checked_sub(1))
}
