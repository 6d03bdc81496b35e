//! Two whole plain endpoints and a network that does everything but compute a checksum.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealgram::fuzzing::plain_fsm(data));
