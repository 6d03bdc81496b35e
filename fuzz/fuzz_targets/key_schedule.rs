//! Epochs of one direction against the rules of the specification.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealgram::fuzzing::key_schedule(data));
