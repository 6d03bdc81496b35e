//! Raw bytes as a datagram to an established session: nothing changes, nothing is answered.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealgram::fuzzing::datagram_open(data));
