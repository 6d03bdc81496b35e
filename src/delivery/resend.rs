//! Sends again what did not arrive. What is known to be lost leaves at once; a small message that nobody has spoken of
//! rides in datagrams that leave anyway, by turns, until it is acknowledged. PROTOCOL.md, "Loss".
//!
//! Invariant: a message stands in the turns exactly when its `repeat` says so; an entry whose time is not that of the
//! message's latest copy is stale and dropped when it is met.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    Guarantee,
    expiry::Alarm,
    on_demand::Empty,
    outgoing::{Outgoing, Slab},
    pack::{Next, Packet},
    recovery::{Carrier, Content, Fate, SentPackets},
    send::SendQueue,
};

/// Longest message that rides along, bytes.
pub(crate) const SMALL: u32 = 512;
/// So many bytes ride in one datagram at most; fewer while nothing has been heard for long.
const RIDING_BYTES: usize = 1_100;
const RIDING_BYTES_DARK: usize = 450;
/// So long a message is repeated without back-off.
const EAGER: Duration = Duration::from_secs(1);
/// And at least so far apart after that.
const PATIENT: Duration = Duration::from_secs(1);
/// Entries that are looked at for one datagram, at most.
const LOOKED_AT: usize = 64;
/// The least time between two copies.
const LEAST_GAP: Duration = Duration::from_millis(2);
/// Where much is lost the first repetition that no acknowledgement called for leaves twice, so far apart.
const TWIN: Duration = Duration::from_millis(3);

/// How a message is being repeated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeat {
    /// When its latest copy was sent.
    last: Instant,
    /// When it was repeated first.
    since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    slot: u32,
    id: u64,
    last: Instant,
}

/// What the path is like, as far as it says how often to repeat.
#[derive(Clone, Copy, Debug)]
struct Pace {
    now: Instant,
    /// Between copies while nothing is heard.
    gap: Duration,
    /// Nothing has been heard for long.
    dark: bool,
    /// How long after its sending there should have been word of a part.
    overdue: Duration,
    /// So many packets are lost that it is worth waiting so much longer for the word that comes with the next.
    patience: Option<Duration>,
    /// Acknowledgements come in as they should.
    answered: bool,
}

/// Messages that are repeated until they are acknowledged, least recently sent first.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    eager: VecDeque<Turn>,
    patient: VecDeque<Turn>,
    pace: Option<Pace>,
}

impl Repeats {
    fn is_empty(&self, patient: bool) -> bool {
        if patient { self.patient.is_empty() } else { self.eager.is_empty() }
    }
}

impl Empty for Repeats {
    const EMPTY: &'static Self = &Self { eager: VecDeque::new(), patient: VecDeque::new(), pace: None };

    fn rest(&mut self) -> bool {
        self.eager.shrink_to_fit();
        self.patient.shrink_to_fit();
        self.eager.is_empty() && self.patient.is_empty()
    }
}

/// The message of an entry, if the entry speaks of its latest copy.
fn current<'s>(slab: &'s mut Slab, turn: &Turn) -> Option<(&'s mut Outgoing, Repeat)> {
    let message = slab.named(turn.slot, turn.id).filter(|message| !message.resending)?;
    let repeat = message.repeat.filter(|repeat| repeat.last == turn.last)?;
    Some((message, repeat))
}

/// Keeps the least recently sent in front.
fn insert(turns: &mut VecDeque<Turn>, turn: Turn) {
    let at = turns.partition_point(|earlier| earlier.last <= turn.last);
    turns.insert(at, turn);
}

impl SendQueue {
    /// Learns the fate of what `carrier` carried.
    pub(crate) fn on_fate(&mut self, content: Content, fate: Fate, carrier: Carrier) {
        let (slot, id, offset, len) = match content {
            Content::Part { slot, id, offset, len } => (slot, id, offset, len),
            Content::Skip { id } if fate != Fate::Overdue => return self.settle_skip(id, fate),
            Content::Skip { .. }
            | Content::Ack { .. }
            | Content::Window
            | Content::NewCid { .. }
            | Content::Redirect
            | Content::Probe { .. } => return,
        };
        let Some(message) = self.slab.named(slot, id) else { return self.on_stray_fate(id, fate) };
        if message.guarantee != Guarantee::Delivery {
            // It is never repeated: only what is certain counts.
            if fate != Fate::Overdue {
                self.settle(slot, id, (offset, len), fate);
            }
            return;
        }
        match (fate, message.repeat) {
            (Fate::Acked, repeat) => {
                // What was given up for lost and still waits to leave again was not sent in vain. What leaves again for
                // nothing counts when the first of its copies is heard of, not once more with the next.
                let part = u64::from(offset)..u64::from(offset) + u64::from(len);
                let counts = !message.resend.touches(&part) && !message.acked.touches(&part);
                let first = repeat.map_or(carrier.late && counts, |repeat| {
                    repeat.since.is_some_and(|since| carrier.sent < since)
                });
                self.needless += u64::from(first);
            }
            // A later copy is on its way, and will be judged by itself.
            (Fate::Lost, Some(repeat)) if repeat.last > carrier.sent => return,
            (Fate::Overdue, None) => {
                let whole = offset == 0 && len as usize == message.bytes.len();
                if whole && len <= SMALL && !message.resending {
                    message.repeat = Some(Repeat { last: carrier.sent, since: None });
                    insert(&mut self.repeats.eager, Turn { slot, id, last: carrier.sent });
                }
                return;
            }
            (Fate::Overdue, Some(_)) => return,
            (Fate::Lost, _) => {}
        }
        self.settle(slot, id, (offset, len), fate);
    }

    /// Whether what this names has its place in the turns, or is known to have arrived.
    pub(crate) fn is_repeated(&mut self, content: Content) -> bool {
        let Content::Part { slot, id, .. } = content else { return false };
        self.slab.named(slot, id).is_none_or(|message| message.repeat.is_some())
    }

    /// Everything whose latest copy was sent up to `bound` must be sent again at once.
    pub(crate) fn hurry_repeats(&mut self, bound: Instant) {
        for patient in [true, false] {
            while let Some(turn) = self.oldest_turn(patient).filter(|turn| turn.last <= bound) {
                self.hurry(turn);
            }
        }
    }

    /// Whether any message is repeated by turns.
    pub(crate) fn owes(&mut self) -> bool {
        self.oldest_turn(false).or_else(|| self.oldest_turn(true)).is_some()
    }

    /// The two that wait longest must be sent again at once: a probe was called for.
    pub(crate) fn hurry_two(&mut self) {
        for _ in 0..2 {
            if let Some(turn) = self.oldest_turn(true).or_else(|| self.oldest_turn(false)) {
                self.hurry(turn);
            }
        }
    }

    /// Takes the foremost entry that is not stale out of its queue.
    fn oldest_turn(&mut self, patient: bool) -> Option<Turn> {
        if self.repeats.is_empty(patient) {
            return None;
        }
        let Self { repeats, slab, .. } = self;
        let turns = if patient { &mut repeats.patient } else { &mut repeats.eager };
        loop {
            let turn = *turns.front()?;
            if current(slab, &turn).is_some() {
                return Some(turn);
            }
            turns.pop_front();
        }
    }

    fn hurry(&mut self, turn: Turn) {
        if current(&mut self.slab, &turn).is_some() {
            self.send_again(turn.slot);
        }
    }

    /// The message must be sent again at once.
    pub(super) fn send_again(&mut self, slot: u32) {
        let Some(message) = self.slab.get_mut(slot).filter(|message| !message.resending) else { return };
        message.resend.insert(0..message.bytes.len() as u64);
        message.resending = true;
        let id = message.id;
        self.resends.push_back((slot, id));
    }

    /// Before a packet is filled: what decides how often to repeat.
    pub(crate) fn set_pace(&mut self, now: Instant, sent: &SentPackets) {
        self.redundancy = sent.redundancy();
        let overdue = sent.overdue(now);
        let (gap, dark) = ((overdue / 8).max(LEAST_GAP), sent.is_dark(now));
        let patience = sent.is_lossy().then(|| sent.rtt.smoothed() / 4);
        self.repeats.pace = Some(Pace { now, gap, dark, overdue, patience, answered: sent.is_answered(now) });
    }

    /// How long after it left a message's copy should have been heard of. `None` where so much is lost that
    /// silence says little.
    pub(super) fn word_within(&self) -> Option<Duration> {
        self.repeats.pace.filter(|pace| pace.patience.is_none()).map(|pace| pace.overdue)
    }

    /// Lets overdue messages ride in the room that is left in a packet that leaves anyway.
    pub(super) fn pack_repeats(&mut self, packet: &mut Packet<'_, '_>) {
        let Some(pace) = self.repeats.pace.filter(|_| packet.packed.frames > 0) else { return };
        let end = packet.written() + if pace.dark { RIDING_BYTES_DARK } else { RIDING_BYTES };
        for patient in [false, true] {
            let mut at = 0;
            while at < LOOKED_AT {
                let Repeats { eager, patient: patients, .. } = &mut *self.repeats;
                let slab = &mut self.slab;
                let turns = if patient { &mut *patients } else { &mut *eager };
                let Some(&turn) = turns.get(at) else { break };
                let Some((message, repeat)) = current(slab, &turn) else {
                    turns.remove(at);
                    continue;
                };
                if !patient && repeat.since.is_some_and(|since| pace.now >= since + EAGER) {
                    turns.remove(at);
                    insert(patients, turn);
                    continue;
                }
                let wait = pace.wait(message, &repeat, patient);
                if pace.now < turn.last + wait {
                    // Those behind it were sent later, but they may be younger and wait less.
                    at += 1;
                    continue;
                }
                let total = message.bytes.len();
                if packet.written() + total > end || packet.put(turn.slot, message, (0, total)).is_none() {
                    return;
                }
                let twin = repeat.since.is_none()
                    && pace.patience.is_some()
                    && pace.answered
                    && message.extras.is_none();
                message.repeat = Some(repeat.again(pace.now));
                self.resent_parts = self.resent_parts.saturating_add(1);
                turns.remove(at);
                turns.push_back(Turn { last: pace.now, ..turn });
                if twin {
                    self.set_alarm(pace.now + TWIN, Alarm::Resend, turn.slot, turn.id);
                }
            }
        }
    }

    /// Packs parts to be sent again until there are none or the packet is full.
    pub(super) fn pack_resends(&mut self, packet: &mut Packet<'_, '_>) -> Next {
        while let Some(&(slot, id)) = self.resends.front() {
            let Some(message) = self.slab.named(slot, id) else {
                self.resends.pop_front();
                continue;
            };
            // An empty message has no bytes to stand in the ranges.
            let first = message.resend.iter().next();
            let Some(part) = first.or_else(|| message.bytes.is_empty().then_some(0..0)) else {
                message.resending = false;
                self.resends.pop_front();
                continue;
            };
            let (start, end) = (usize::try_from(part.start), usize::try_from(part.end));
            let range = (start.unwrap_or(usize::MAX), end.unwrap_or(usize::MAX));
            let Some((from, to)) = packet.put(slot, message, range) else { return Next::Full };
            self.resent_parts = self.resent_parts.saturating_add(1);
            message.resend.remove(u64::from(from)..u64::from(to));
            if message.resend.is_empty() {
                message.resending = false;
                self.resends.pop_front();
            }
            let whole = from == 0 && to as usize == message.bytes.len() && to <= SMALL;
            if let Some(now) = self.repeats.pace.map(|pace| pace.now).filter(|_| whole) {
                let before = message.repeat.unwrap_or(Repeat { last: now, since: None });
                message.repeat = Some(before.again(now));
                self.repeats.eager.push_back(Turn { slot, id, last: now });
            }
        }
        Next::Done
    }
}

impl Repeat {
    fn again(self, now: Instant) -> Self {
        Self { last: now, since: self.since.or(Some(now)) }
    }
}

impl Pace {
    /// How long after the latest copy the next one may ride.
    fn wait(&self, message: &Outgoing, repeat: &Repeat, patient: bool) -> Duration {
        let Some(since) = repeat.since else { return self.overdue + self.doubt(message) };
        let age = self.now.saturating_duration_since(since);
        if patient { (age / 2).max(PATIENT) } else { (age / 16).max(self.gap) }
    }

    /// How much longer than overdue a message may be before it is repeated for the first time.
    fn doubt(&self, message: &Outgoing) -> Duration {
        let patience = self.patience.unwrap_or_default();
        match &message.extras {
            None => patience,
            Some(extras) if extras.adaptive => patience * 2 / 3,
            // Who asked for copies pays for haste.
            Some(extras) if extras.packed_at.is_some() && !extras.spacing.is_zero() => Duration::ZERO,
            Some(_) => patience,
        }
    }
}
