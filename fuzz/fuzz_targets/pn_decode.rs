//! Truncated packet numbers against the formula of the specification.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealgram::fuzzing::pn_decode(data));
