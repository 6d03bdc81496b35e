//! Tickets, their text and what stands behind their seal: what is read has one encoding, what nobody sealed is refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealgram::fuzzing::ticket(data));
