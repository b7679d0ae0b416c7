//! PROXY headers from any bytes.
//!
//! Whatever is decided must be decided from the header alone: each shorter beginning is a beginning
//! or refused for the same reason, nothing behind the header changes it, and what it said survives
//! its way to another worker.

use maitred::config::PROXY_HEADER_SIZE_MAX;
use maitred::proxy_protocol::{Announced, Parsed, parse};

pub(crate) fn run(input: &[u8]) {
    let whole = parse(input);
    match whole {
        Ok(Parsed::Header { size, announced }) => {
            assert!(size <= input.len() && size <= PROXY_HEADER_SIZE_MAX, "more than there is");
            assert_eq!(parse(&input[..size]), whole, "what stands behind it counts");
            assert_eq!(Announced::of_context(&announced.context()), Some(announced));
            for end in 0..size {
                assert_eq!(
                    parse(&input[..end]),
                    Ok(Parsed::Partial),
                    "known before its end: {end}"
                );
            }
        }
        Ok(Parsed::Partial) => {
            assert!(input.len() < PROXY_HEADER_SIZE_MAX, "kept without end");
            for end in 0..input.len() {
                assert_eq!(parse(&input[..end]), Ok(Parsed::Partial), "refused too early: {end}");
            }
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            for end in 0..input.len() {
                let beginning = parse(&input[..end]);
                let fits = beginning == Ok(Parsed::Partial) || beginning == whole;
                assert!(fits, "{end}: {beginning:?}, and {whole:?}");
            }
            assert!(parse(&[input, b"\r\n"].concat()).is_err(), "healed by more");
        }
    }
}
