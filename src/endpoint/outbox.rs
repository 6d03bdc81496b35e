//! The datagrams that are sealed and have not left: one behind the other, so that those of one size can leave by one
//! call. Each was sealed under a number that must not be used again, so it is these bytes that have to leave.

use std::net::SocketAddr;

use crate::socket::{self, MAX_RUN, MAX_RUN_BYTES};

/// At most [`MAX_RUN`] datagrams of at most [`MAX_RUN_BYTES`] together. As long as one at a time waits, it has room for one.
pub(super) struct Outbox {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// So many of the entries, and of the bytes, are gone.
    gone: usize,
    gone_bytes: usize,
    /// Bytes in use, those that are gone among them.
    end: usize,
    /// No datagram is longer.
    largest: usize,
    /// So many may leave by one call.
    run: usize,
}

struct Entry {
    len: usize,
    to: Option<SocketAddr>,
}

/// Datagrams to one destination, all of `size` bytes but the last, which may be shorter.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) size: usize,
    pub(super) count: usize,
    /// `None`: the socket knows.
    pub(super) to: Option<SocketAddr>,
}

impl Outbox {
    pub(super) fn new(largest: usize, run: usize) -> Self {
        let (bytes, entries) = (vec![0; largest], Vec::with_capacity(1));
        let mut outbox = Self { bytes, entries, gone: 0, gone_bytes: 0, end: 0, largest, run: 1 };
        outbox.set_run(run);
        outbox
    }

    /// So many may leave by one call from now on.
    pub(super) fn set_run(&mut self, run: usize) {
        self.run = run.clamp(1, MAX_RUN);
    }

    /// How many may leave by one call.
    pub(super) fn run(&self) -> usize {
        self.run
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// No other datagram has room, or none may wait beside those that do.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.run || self.end + self.largest > self.capacity()
    }

    /// The place for the next datagram. Only who is full has none.
    pub(super) fn room(&mut self) -> Option<&mut [u8]> {
        let end = self.end + self.largest;
        if end > self.bytes.len() && end <= self.capacity() {
            // By doubling: an endpoint of few datagrams at a time keeps room for few.
            let room = (2 * self.bytes.len()).clamp(end, self.capacity());
            self.bytes.reserve_exact(room.saturating_sub(self.bytes.len()));
            self.bytes.resize(room, 0);
        }
        self.bytes.get_mut(self.end..end)
    }

    /// The first `len` bytes of the place are a datagram.
    pub(super) fn push(&mut self, len: usize, to: Option<SocketAddr>) {
        self.entries.push(Entry { len, to });
        self.end += len;
    }

    /// What is to leave next.
    pub(super) fn next_run(&self) -> Option<Run<'_>> {
        let waiting = self.entries.get(self.gone..)?;
        let first = waiting.first()?;
        let lens = waiting.iter().take_while(|entry| entry.to == first.to).map(|entry| entry.len);
        let (count, len) = socket::Run::measure(lens.take(self.run));
        let bytes = self.bytes.get(self.gone_bytes..self.gone_bytes + len)?;
        Some(Run { bytes, size: first.len, count, to: first.to })
    }

    /// The one that is to leave next.
    pub(super) fn next_one(&self) -> Option<(&[u8], Option<SocketAddr>)> {
        let first = self.entries.get(self.gone)?;
        Some((self.bytes.get(self.gone_bytes..self.gone_bytes + first.len)?, first.to))
    }

    /// The first `count` have left or are lost; returns how many bytes they had.
    pub(super) fn take(&mut self, count: usize) -> usize {
        if self.gone + count >= self.entries.len() {
            let len = self.end - self.gone_bytes;
            self.clear();
            return len;
        }
        let len = self.entries.iter().skip(self.gone).take(count).map(|entry| entry.len).sum();
        self.gone += count;
        self.gone_bytes += len;
        len
    }

    /// Forgets what has not left.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        (self.gone, self.gone_bytes, self.end) = (0, 0, 0);
    }

    /// Bytes that may be in use.
    fn capacity(&self) -> usize {
        (self.run * self.largest).min(MAX_RUN_BYTES).max(self.largest)
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}
