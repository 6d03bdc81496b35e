//! Fragments with any offsets and totals: memory stays in its bounds, and what is yielded was sent.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sealgram::fuzzing::reassembly(data));
