//! Handshake messages that an honest end wrote, changed: nothing forged is read, and no read changes the state.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealgram::fuzzing::noise_read_structured(data));
