//! The datagrams read last, from which messages are lent: one, or several that the system gave by one call.

use std::{io, ops::Range};

use crate::socket::UdpLike;

/// Datagrams read one by one in a row, without an empty socket or something sent between them, after which the socket
/// is asked to give several by one call, if the last of them was genuine. Who gets answers to what he sends never comes
/// so far, and pays for nothing.
const JOIN_AFTER: u32 = 8;
/// The most that the system gives by one call.
const MAX_BYTES: usize = 65_535;

pub(super) struct Inbox {
    /// Room for one datagram and a byte, so that a longer one shows itself instead of arriving cut; for a whole run
    /// once reads are joined.
    bytes: Vec<u8>,
    /// No datagram is longer.
    largest: usize,
    /// Where the datagram taken last begins.
    start: usize,
    /// What was read and not taken, in datagrams of `size` bytes; the last may be shorter.
    waiting: Range<usize>,
    size: usize,
    reading: Reading,
}

enum Reading {
    /// One by one, so many in a row.
    Single(u32),
    /// The socket gives several by one call.
    Joined,
    /// The socket cannot.
    AlwaysSingle,
}

impl Inbox {
    pub(super) fn new(largest: usize) -> Self {
        Self {
            bytes: vec![0; largest + 1],
            largest,
            start: 0,
            waiting: 0..0,
            size: 0,
            reading: Reading::Single(0),
        }
    }

    /// Another socket is read from now on. What was read stays.
    pub(super) fn other_socket(&mut self) {
        self.reading = Reading::Single(0);
    }

    /// Whether something was read and not taken.
    pub(super) fn has_more(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The length of the next datagram among those that were read, which then is the one taken last.
    pub(super) fn take_next(&mut self) -> Option<usize> {
        let len = self.size.min(self.waiting.len());
        self.start = self.waiting.start;
        self.waiting.start += len;
        (len > 0).then_some(len)
    }

    /// Reads from the socket and takes the first datagram. Nothing that was read may be left, and nothing lent.
    pub(super) fn read<U: UdpLike>(&mut self, socket: &mut U) -> io::Result<usize> {
        let single = self.largest + 1;
        if matches!(self.reading, Reading::Joined) {
            let (len, size) = socket.recv_run(&mut self.bytes)?;
            self.waiting = 0..len.min(self.bytes.len());
            self.size = if size == 0 { len } else { size };
            return Ok(self.take_next().unwrap_or(0));
        }
        self.start = 0;
        let outcome = socket.recv(self.bytes.get_mut(..single).unwrap_or_default());
        if let Reading::Single(row) = &mut self.reading {
            match &outcome {
                Ok(_) => *row = row.saturating_add(1),
                Err(_) => *row = 0,
            }
        }
        outcome
    }

    /// Something was sent: what is read from now on may be the answer, and does not wait in a row.
    pub(super) fn sent(&mut self) {
        if let Reading::Single(row) = &mut self.reading {
            *row = 0;
        }
    }

    /// Whether so many were read in a row that the socket should be asked for several by one call. Who asks for it
    /// knows the last one for genuine: strangers make nobody allocate.
    pub(super) fn should_join(&self) -> bool {
        matches!(self.reading, Reading::Single(row) if row >= JOIN_AFTER)
    }

    pub(super) fn join<U: UdpLike>(&mut self, socket: &mut U) {
        self.reading = Reading::AlwaysSingle;
        if socket.join_reads() {
            self.reading = Reading::Joined;
            // The datagram taken last stays where it is.
            if self.bytes.len() < MAX_BYTES {
                self.bytes.resize(MAX_BYTES, 0);
            }
        }
    }

    /// The datagram taken last, of this length, unless that is none for a datagram.
    pub(super) fn datagram(&mut self, len: usize) -> Option<&mut [u8]> {
        let fits = len > 0 && len <= self.largest;
        self.bytes.get_mut(self.start..self.start + len).filter(|_| fits)
    }

    /// A part of the datagram taken last.
    pub(super) fn part(&self, start: usize, len: usize) -> &[u8] {
        let start = self.start + start;
        self.bytes.get(start..start + len).unwrap_or_default()
    }
}
