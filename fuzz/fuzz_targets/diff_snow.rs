//! Our reading of handshake messages against that of `snow`.
#![no_main]

#[path = "../../tests/common/snow.rs"]
mod snow_end;

libfuzzer_sys::fuzz_target!(|data: &[u8]| snow_end::diff_snow(data));
