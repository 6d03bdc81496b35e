//! What both tools share: the requests to valgrind, and the control that both must catch.

use std::ffi::{c_int, c_ulong, c_void};

unsafe extern "C" {
    fn mark_undefined(at: *const c_void, len: usize);
    fn mark_defined(at: *const c_void, len: usize);
    fn count_errors() -> c_ulong;
    fn under_valgrind() -> c_int;
}

/// From here on valgrind reports every branch and every address that depends on these bytes.
pub fn hide(bytes: &[u8]) {
    // SAFETY: the request reads and writes no memory of the program.
    unsafe { mark_undefined(bytes.as_ptr().cast(), bytes.len()) }
}

/// What became of a secret is public now: a ciphertext, a tag.
pub fn show(bytes: &[u8]) {
    // SAFETY: as above.
    unsafe { mark_defined(bytes.as_ptr().cast(), bytes.len()) }
}

/// Reports so far.
#[must_use]
pub fn errors() -> u64 {
    // SAFETY: as above.
    unsafe { count_errors() }
}

/// Whether valgrind watches.
#[must_use]
pub fn is_watched() -> bool {
    // SAFETY: as above.
    unsafe { under_valgrind() != 0 }
}

/// The control: a comparison that stops at the first difference.
#[must_use]
pub fn leaky_equal(ours: &[u8], theirs: &[u8]) -> bool {
    ours.iter().zip(theirs).all(|(ours, theirs)| std::hint::black_box(*ours) == *theirs)
}
