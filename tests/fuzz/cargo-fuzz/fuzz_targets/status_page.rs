//! libFuzzer's way into the target of this name.
#![no_main]

#[path = "../../status_page.rs"]
mod status_page;

libfuzzer_sys::fuzz_target!(|data: &[u8]| status_page::run(data));
