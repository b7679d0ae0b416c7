//! libFuzzer's way into the target of this name.
#![no_main]

#[path = "../../forwarded.rs"]
mod forwarded;

libfuzzer_sys::fuzz_target!(|data: &[u8]| forwarded::run(data));
