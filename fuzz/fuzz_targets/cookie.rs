//! Cookies of a server: it takes its own and no others.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealgram::fuzzing::cookie(data));
