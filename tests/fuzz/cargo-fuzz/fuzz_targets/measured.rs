//! libFuzzer's way into the target of this name.
#![no_main]

#[path = "../../measured.rs"]
mod measured;

libfuzzer_sys::fuzz_target!(|data: &[u8]| measured::run(data));
