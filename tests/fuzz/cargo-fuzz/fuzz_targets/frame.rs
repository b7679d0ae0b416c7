//! libFuzzer's way into the target of this name.
#![no_main]

#[path = "../../frame.rs"]
mod frame;

libfuzzer_sys::fuzz_target!(|data: &[u8]| frame::run(data));
