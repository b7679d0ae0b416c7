//! libFuzzer's way into the target of this name.
#![no_main]

#[path = "../../admin_order.rs"]
mod admin_order;

libfuzzer_sys::fuzz_target!(|data: &[u8]| admin_order::run(data));
