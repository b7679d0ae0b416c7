//! libFuzzer's way into the target of this name.
#![no_main]

#[path = "../../drive.rs"]
mod drive;
#[path = "../../request_head.rs"]
mod request_head;

libfuzzer_sys::fuzz_target!(|data: &[u8]| request_head::run(data));
