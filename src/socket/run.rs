//! Datagrams that may leave together: which do, is decided here alone.

use std::net::SocketAddr;

/// Datagrams that the system takes by one call at most.
pub(crate) const MAX_RUN: usize = 64;
/// The most that one datagram carries over IPv4, and so one call of the system.
pub(crate) const MAX_RUN_BYTES: usize = 65_507;

/// Datagrams to one address that lie one behind the other, all of one size but the last, which may be shorter. At most 64,
/// and 65,507 bytes, unless it is one.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Run<'a> {
    /// All of them.
    pub datagrams: &'a [u8],
    /// The length of each but the last.
    pub size: usize,
    /// How many there are.
    pub count: usize,
    /// Where they go.
    pub to: SocketAddr,
}

impl<'a> Run<'a> {
    /// Datagrams of `size` bytes, the last of which may be shorter; `None` when they are more than leave together.
    #[cfg(target_os = "linux")]
    pub(super) fn of(datagrams: &'a [u8], size: usize, to: SocketAddr) -> Option<Self> {
        let count = datagrams.len().checked_div(size)? + usize::from(datagrams.len() % size > 0);
        (count <= MAX_RUN && datagrams.len() <= MAX_RUN_BYTES).then_some(Self { datagrams, size, count, to })
    }

    /// How many of the datagrams with these lengths, from the first, make a run, and how long that is. At most 64 may be
    /// shown.
    pub(crate) fn measure(lens: impl Iterator<Item = usize>) -> (usize, usize) {
        let (mut count, mut all) = (0, 0);
        let (mut size, mut last) = (0, 0);
        for len in lens {
            // One without bytes cannot be told from none at the end of a run.
            let fits = len > 0 && last == size && len <= size && all + len <= MAX_RUN_BYTES;
            if count > 0 && !fits {
                break;
            }
            if count == 0 {
                size = len;
            }
            (count, all, last) = (count + 1, all + len, len);
        }
        (count, all)
    }
}
