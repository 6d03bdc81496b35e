//! The body of an envelope, below its cipher: what decodes is canonical, what does not is refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealgram::fuzzing::envelope_body(data));
