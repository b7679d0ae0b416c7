//! libFuzzer's way into the target of this name.
#![no_main]

#[path = "../../admin_frame.rs"]
mod admin_frame;

libfuzzer_sys::fuzz_target!(|data: &[u8]| admin_frame::run(data));
