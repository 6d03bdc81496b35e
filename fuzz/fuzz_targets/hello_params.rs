//! What a peer says of itself in the handshake: what is accepted is canonical and can be agreed on.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealgram::fuzzing::hello_params(data));
