//! libFuzzer's way into the target of this name.
#![no_main]

#[path = "../../access_line.rs"]
mod access_line;

libfuzzer_sys::fuzz_target!(|data: &[u8]| access_line::run(data));
