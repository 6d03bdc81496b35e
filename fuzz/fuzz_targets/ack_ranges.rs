//! Acknowledgements with any ranges: bounded work, and none for what was never sent.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealgram::fuzzing::ack_ranges(data));
