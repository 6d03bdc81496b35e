//! One whole sealed endpoint whose peer has all keys and no manners.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealgram::fuzzing::endpoint_fsm(data));
