//! Plaintext frames, below the cipher: what decodes is canonical, what does not is refused, nothing panics.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealgram::fuzzing::frames(data));
