//! libFuzzer's way into the target of this name.
#![no_main]

#[path = "../../chunked_body.rs"]
mod chunked_body;
#[path = "../../drive.rs"]
mod drive;

libfuzzer_sys::fuzz_target!(|data: &[u8]| chunked_body::run(data));
