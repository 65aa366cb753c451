#![no_main]
#![expect(dead_code, reason = "each program drives one target")]

#[path = "../../tests/fuzz/targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::requests::raw(data));
