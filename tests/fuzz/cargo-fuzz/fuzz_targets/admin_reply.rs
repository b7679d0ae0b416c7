//! libFuzzer's way into the target of this name.
#![no_main]

#[path = "../../admin_reply.rs"]
mod admin_reply;

libfuzzer_sys::fuzz_target!(|data: &[u8]| admin_reply::run(data));
