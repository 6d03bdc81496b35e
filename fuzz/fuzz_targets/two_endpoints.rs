//! Two whole sealed endpoints and an adversary without keys between them: nothing forged is delivered.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealgram::fuzzing::two_endpoints(data));
