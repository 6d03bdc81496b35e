//! The back end of packets beside the reference cipher: the same bytes, and nothing opens that was changed.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealgram::fuzzing::cipher(data));
