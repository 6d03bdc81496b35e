//! The fuzzer's bytes sealed with the real key and then received: everything behind authentication.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealgram::fuzzing::sealed_frames(data));
