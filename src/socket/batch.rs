//! Buffers for many datagrams, so that one call of the system carries them all. Allocated once, when they are made.

use std::{fmt, io, iter, net::SocketAddr};

use super::{AddressedUdp, Run, run::MAX_RUN};

/// Datagrams in a batch.
pub(crate) const SLOTS: usize = 64;
/// No datagram of UDP is longer.
const MAX_DATAGRAM: usize = 65_535;

/// Up to 64 datagrams on their way out.
///
/// Write each into [`room`](Self::room), and say with [`push`](Self::push) how long it is and where it goes. Then
/// [`flush`](Self::flush). What a blocked socket did not take stays, in its order.
pub struct SendBatch {
    /// One datagram behind the other, so that short ones lie close together.
    bytes: Vec<u8>,
    entries: Vec<Outgoing>,
    /// So many of the entries are gone.
    gone: usize,
    max_datagram: usize,
    /// So many to one address may leave together; the socket is asked when it has to send for the first time.
    run: Option<usize>,
}

struct Outgoing {
    start: usize,
    len: usize,
    to: SocketAddr,
}

impl SendBatch {
    /// An empty batch for datagrams of up to this many bytes, at most 65,535.
    #[must_use]
    pub fn new(max_datagram: usize) -> Self {
        let max_datagram = max_datagram.min(MAX_DATAGRAM);
        Self {
            bytes: vec![0; SLOTS * max_datagram],
            entries: Vec::with_capacity(SLOTS),
            gone: 0,
            max_datagram,
            run: None,
        }
    }

    /// The place for the next datagram, as long as the longest may be; `None` when the batch is full. A batch of which a
    /// part left has room again when the rest did.
    pub fn room(&mut self) -> Option<&mut [u8]> {
        let start = self.end();
        let free = self.entries.len() < SLOTS;
        self.bytes.get_mut(start..start + self.max_datagram).filter(|_| free)
    }

    /// The first `len` bytes of the place that [`room`](Self::room) gave are a datagram to this address. False, and
    /// nothing is changed, when there is no room or the length is beyond it.
    pub fn push(&mut self, len: usize, to: SocketAddr) -> bool {
        let fits = len <= self.max_datagram && self.entries.len() < SLOTS;
        if fits {
            self.entries.push(Outgoing { start: self.end(), len, to });
        }
        fits
    }

    /// What waits, the oldest first, and where it goes.
    pub fn waiting(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        let datagram = |each: &Outgoing| self.bytes.get(each.start..each.start + each.len);
        self.entries.iter().skip(self.gone).filter_map(move |each| Some((datagram(each)?, each.to)))
    }

    /// The same for a socket that sends several to one address together: those that are one behind the other, as many as
    /// the socket said in [`AddressedUdp::largest_run`] before the first of them was sent. Each by itself, if it said
    /// nothing, or has refused them together.
    pub fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        let most = self.run.unwrap_or(1);
        let mut waiting = self.entries.get(self.gone..).unwrap_or_default();
        iter::from_fn(move || {
            let first = waiting.first()?;
            let lens = waiting.iter().take_while(|each| each.to == first.to).map(|each| each.len);
            let (count, len) = Run::measure(lens.take(most));
            waiting = waiting.get(count..).unwrap_or_default();
            let datagrams = self.bytes.get(first.start..first.start + len)?;
            Some(Run { datagrams, size: first.len, count, to: first.to })
        })
    }

    /// How many datagrams wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() - self.gone
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends what waits, and returns whether all is gone; false means that the socket is blocked, and the rest is kept.
    /// Each other failure costs the one datagram that it met, and is handed to `failed`.
    pub fn flush<A: AddressedUdp + ?Sized>(
        &mut self,
        socket: &mut A,
        mut failed: impl FnMut(io::Error),
    ) -> bool {
        if self.run.is_none() && !self.is_empty() {
            self.run = Some(socket.largest_run().clamp(1, MAX_RUN));
        }
        while !self.is_empty() {
            match self.send(socket) {
                Ok(0) => return false,
                Ok(taken) => self.take(taken),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    self.take(1);
                    failed(error);
                }
            }
        }
        true
    }

    /// Sends what the socket takes by one call, together or, where together is refused, one by one.
    fn send<A: AddressedUdp + ?Sized>(&mut self, socket: &mut A) -> io::Result<usize> {
        let outcome = socket.send_batch(self);
        let refused = |error: &io::Error| error.kind() == io::ErrorKind::Unsupported;
        let Some(run) = self.run.filter(|run| *run > 1 && outcome.as_ref().is_err_and(refused)) else {
            return outcome;
        };
        self.run = Some(1);
        let outcome = socket.send_batch(self);
        if !matches!(outcome, Ok(1..)) {
            // It says nothing about runs that one which cannot leave at all cannot leave with others.
            self.run = Some(run);
        }
        outcome
    }

    fn take(&mut self, taken: usize) {
        self.gone = self.entries.len().min(self.gone + taken);
        if self.gone == self.entries.len() {
            self.gone = 0;
            self.entries.clear();
        }
    }

    fn end(&self) -> usize {
        self.entries.last().map_or(0, |last| last.start + last.len)
    }
}

impl fmt::Debug for SendBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendBatch").field("waiting", &self.len()).finish_non_exhaustive()
    }
}

/// Up to 64 datagrams that arrived.
///
/// [`AddressedUdp::recv_batch`] fills it, [`take_next`](Self::take_next) gives one after the other. Who stops in between
/// goes on there next time.
pub struct RecvBatch {
    /// Slots of equal length: one byte more than the longest datagram, so that a longer one cannot pass for it.
    bytes: Vec<u8>,
    slot_len: usize,
    /// Slots in use, from the first.
    filled: usize,
    /// Slots that may be used now.
    limit: usize,
    arrivals: Vec<Incoming>,
    /// So many of the arrivals were taken.
    taken: usize,
    /// A failure that came behind datagrams, for the next call.
    postponed: Option<io::Error>,
}

struct Incoming {
    slot: usize,
    len: usize,
    from: SocketAddr,
}

/// A datagram that arrived.
#[derive(Debug)]
#[non_exhaustive]
pub struct Arrival<'a> {
    /// Where it came from.
    pub from: SocketAddr,
    /// Its bytes; the first of them when it is too long.
    pub datagram: &'a mut [u8],
    /// Whether it is longer than the batch was made for, and so was cut.
    pub too_long: bool,
}

impl RecvBatch {
    /// An empty batch for datagrams of up to this many bytes, at most 65,535.
    #[must_use]
    pub fn new(max_datagram: usize) -> Self {
        let slot_len = max_datagram.min(MAX_DATAGRAM) + 1;
        Self {
            bytes: vec![0; SLOTS * slot_len],
            slot_len,
            filled: 0,
            limit: SLOTS,
            arrivals: Vec::with_capacity(SLOTS),
            taken: 0,
            postponed: None,
        }
    }

    /// The datagram that arrived first among those that were not taken.
    pub fn take_next(&mut self) -> Option<Arrival<'_>> {
        let Incoming { slot, len, from } = *self.arrivals.get(self.taken)?;
        self.taken += 1;
        let start = slot * self.slot_len;
        let datagram = self.bytes.get_mut(start..start + len).unwrap_or_default();
        Some(Arrival { from, datagram, too_long: len == self.slot_len })
    }

    /// Shows up to `most` datagrams that were not taken, in their order, and whether each is too long. None is left out, so
    /// that the caller's notes stand beside what `take_next` gives: one without bytes is shown as an empty one.
    pub(crate) fn look_ahead(&mut self, most: usize, mut look: impl FnMut(Arrival<'_>)) {
        let Self { bytes, slot_len, arrivals, taken, .. } = self;
        for &Incoming { slot, len, from } in arrivals.iter().skip(*taken).take(most) {
            let start = slot * *slot_len;
            let datagram = bytes.get_mut(start..start + len).unwrap_or_default();
            look(Arrival { from, datagram, too_long: len == *slot_len });
        }
    }

    /// The datagram that was taken last, as long as the batch received nothing since.
    #[must_use]
    pub fn last_taken(&self) -> &[u8] {
        let last = self.taken.checked_sub(1).and_then(|last| self.arrivals.get(last));
        let bytes = last.and_then(|last| {
            let start = last.slot * self.slot_len;
            self.bytes.get(start..start + last.len)
        });
        bytes.unwrap_or_default()
    }

    /// How many datagrams were not taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.arrivals.len() - self.taken
    }

    /// Whether all were taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next free slot, for a socket that fills the batch: one byte longer than the longest datagram. `None` when
    /// none is free; all are again when all arrivals were taken.
    pub fn room(&mut self) -> Option<&mut [u8]> {
        self.reuse();
        let start = self.filled * self.slot_len;
        let free = self.filled < self.limit;
        self.bytes.get_mut(start..start + self.slot_len).filter(|_| free)
    }

    /// The first `len` bytes of the slot that [`room`](Self::room) gave are a datagram of this sender. False, and nothing
    /// is changed, when there is no room or the length is beyond it.
    pub fn push(&mut self, len: usize, from: SocketAddr) -> bool {
        let fits = len <= self.slot_len && self.filled < self.limit;
        if fits {
            self.arrivals.push(Incoming { slot: self.filled, len, from });
            self.filled += 1;
        }
        fits
    }

    /// Keeps a failure that came behind datagrams, for [`postponed`](Self::postponed).
    pub fn postpone(&mut self, error: io::Error) {
        self.postponed = Some(error);
    }

    /// The failure that was kept, once. A socket that postpones asks for it before it receives.
    pub fn postponed(&mut self) -> Option<io::Error> {
        self.postponed.take()
    }

    /// Only so many slots may be used until the next call.
    pub(super) fn limit(&mut self, slots: usize) {
        self.limit = slots.min(SLOTS);
    }

    /// So many slots are in use or were not given back.
    pub(super) fn in_use(&mut self) -> usize {
        self.reuse();
        self.filled
    }

    /// The free slots in turn, to be filled in this order, and who notes how many and by whom.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn slots(&mut self) -> (impl Iterator<Item = &mut [u8]>, Filled<'_>) {
        self.reuse();
        let Self { bytes, slot_len, filled, limit, arrivals, .. } = self;
        let free = limit.saturating_sub(*filled);
        let slots = bytes.chunks_exact_mut(*slot_len).skip(*filled).take(free);
        (slots, Filled { arrivals, filled })
    }

    /// Takes out arrivals from the `first` on that `keep` does not want.
    pub(super) fn retain_from(&mut self, first: usize, mut keep: impl FnMut(&[u8], SocketAddr) -> bool) {
        let Self { bytes, slot_len, arrivals, taken, .. } = self;
        let (first, mut at) = (*taken + first, 0);
        arrivals.retain(|each| {
            let start = each.slot * *slot_len;
            at += 1;
            at <= first
                || bytes.get(start..start + each.len).is_some_and(|datagram| keep(datagram, each.from))
        });
    }

    fn reuse(&mut self) {
        if self.is_empty() {
            (self.filled, self.taken) = (0, 0);
            self.arrivals.clear();
        }
    }
}

impl fmt::Debug for RecvBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvBatch").field("waiting", &self.len()).finish_non_exhaustive()
    }
}

/// Notes what a call of the system put into the slots of a [`RecvBatch`].
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) struct Filled<'a> {
    arrivals: &'a mut Vec<Incoming>,
    filled: &'a mut usize,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Filled<'_> {
    /// The next slot holds this much; a datagram without a sender leaves it unused.
    pub(super) fn push(&mut self, len: usize, from: Option<SocketAddr>) {
        if let Some(from) = from {
            self.arrivals.push(Incoming { slot: *self.filled, len, from });
        }
        *self.filled += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrival_without_bytes_moves_no_other_out_of_its_place() {
        let mut batch = RecvBatch::new(9);
        let from = |port| SocketAddr::from(([192, 0, 2, 1], port));
        for port in 0..5 {
            batch.room().unwrap().fill(7);
            assert!(batch.push(usize::from(port) + 3, from(port)));
        }
        // What no socket of ours does: it says more than a slot holds.
        batch.arrivals[2].slot = SLOTS;
        let mut shown = Vec::new();
        batch.look_ahead(4, |arrival| shown.push((arrival.from, arrival.datagram.len())));
        let expected = [(0, 3), (1, 4), (2, 0), (3, 6)].map(|(port, len)| (from(port), len));
        assert_eq!(shown, expected);
        for each in expected {
            let taken = batch.take_next().unwrap();
            assert_eq!((taken.from, taken.datagram.len()), each);
        }
        assert_eq!(batch.len(), 1);
    }
}
