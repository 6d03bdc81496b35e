//! The replay window against a set of all numbers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealgram::fuzzing::replay_window(data));
