//! libFuzzer's way into the target of this name.
#![no_main]

#[path = "../../admin_answer.rs"]
mod admin_answer;

libfuzzer_sys::fuzz_target!(|data: &[u8]| admin_answer::run(data));
