//! The keys of one direction and their steps, against the rules of PROTOCOL.md, "Receiving".

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{
    script::{Script, pick},
    start,
    world::channel,
};
use crate::{
    crypto::{Channel, Side},
    error::Dropped,
};

/// A packet that was sealed, and what its receiver may know of it.
struct Sealed {
    epoch: u32,
    number: u64,
    bytes: Vec<u8>,
}

/// Takes `data` for a script of one direction: packets are sealed, keys step forward, and what was sealed arrives in any
/// order, once or twice, at any time. The receiver takes what PROTOCOL.md, "Receiving" lets it, and nothing else.
///
/// # Panics
/// When the two disagree, or both ends do not end up in the same epoch.
pub fn key_schedule(data: &[u8]) {
    let (mut script, mut now) = (Script::new(data), start());
    let keep = Duration::from_millis(u64::from(script.byte()) * 8);
    // The second one has the same keys and keeps its own count: a peer that breaks the rules.
    let mut senders = [Side::Initiator; 2].map(channel);
    let mut receiver = channel(Side::Responder);
    let (mut sealed, mut model) = (Vec::<Sealed>::new(), EpochModel::new(keep));
    while let Some(op) = script.next() {
        let [sender, other] = &mut senders;
        let sender = if op & 16 == 0 { sender } else { other };
        match op >> 5 {
            0 => (0..=op & 15).for_each(|_| sealed.extend(seal(sender))),
            1 => (0..1_u32 << (op & 15)).for_each(|_| sender.seal.skip_number()),
            2 => sender.seal.ratchet(),
            3 => now += Duration::from_millis(1 << (op & 15)),
            4 => receiver.open.forget_previous(now),
            5 => {
                sealed.extend(seal(sender));
                arrive(&mut receiver, &mut model, now, sealed.last());
            }
            _ => {
                let which = usize::from(script.byte()) + usize::from(op & 31);
                arrive(&mut receiver, &mut model, now, pick(&sealed, which));
            }
        }
        sealed.truncate(512);
    }
    assert_eq!(receiver.open.epoch(), model.epoch);
}

fn seal(sender: &mut Channel) -> Option<Sealed> {
    let mut bytes = *b"....what is said................";
    let epoch = sender.seal.epoch();
    let number = sender.seal.seal(&[], &mut bytes).ok()?;
    Some(Sealed { epoch, number, bytes: bytes.to_vec() })
}

fn arrive(receiver: &mut Channel, model: &mut EpochModel, now: Instant, packet: Option<&Sealed>) {
    let Some(Sealed { epoch, number, bytes }) = packet else { return };
    let mut bytes = bytes.clone();
    let opened = receiver.open.open(now, model.keep, &[], &mut bytes);
    let opened = opened.map(|opened| {
        assert_eq!((opened.number, &*opened.payload), (*number, &b"what is said"[..]));
    });
    assert_eq!(opened, model.receive(now, *epoch, *number), "epoch {epoch}, number {number}");
}

/// The rules of receiving, by themselves.
struct EpochModel {
    keep: Duration,
    epoch: u32,
    seen: BTreeSet<u64>,
    /// Numbers accepted in the current epoch, and the highest of earlier ones.
    current: BTreeSet<u64>,
    earlier: Option<u64>,
    stepped: Option<Instant>,
}

impl EpochModel {
    fn new(keep: Duration) -> Self {
        let keep = keep.min(Duration::from_secs(3));
        Self { keep, epoch: 0, seen: BTreeSet::new(), current: BTreeSet::new(), earlier: None, stepped: None }
    }

    fn receive(&mut self, now: Instant, epoch: u32, number: u64) -> Result<(), Dropped> {
        let step = i64::from(epoch) - i64::from(self.epoch);
        let kept = self.stepped.is_some_and(|at| now < at + self.keep);
        // The full number is found only near the highest one.
        let highest = self.seen.last().copied();
        let far = number > highest.map_or(0, |highest| highest + 1) + (1 << 29);
        // Before anything was opened every packet is of epoch 0.
        let ahead = step == 1 && highest.is_none();
        if far || ahead || !(-1..=1).contains(&step) || (step == -1 && !kept) {
            return Err(Dropped::Unopened);
        }
        if self.seen.contains(&number) && highest.is_none_or(|highest| number + 1_024 > highest) {
            return Err(Dropped::Duplicate);
        }
        if highest.is_some_and(|highest| number + 1_024 <= highest) {
            return Err(Dropped::TooOld);
        }
        self.seen.insert(number);
        let above = self.earlier.is_none_or(|earlier| number > earlier);
        let fits = match step {
            -1 => self.current.first().is_none_or(|lowest| number < *lowest),
            0 => above,
            _ => {
                let rested = self.stepped.is_none_or(|at| now >= at + Duration::from_secs(1));
                above && rested && self.current.last().is_none_or(|last| number > *last)
            }
        };
        match (fits, step) {
            (false, _) => return Err(Dropped::Epoch),
            (true, -1) => self.earlier = self.earlier.max(Some(number)),
            (true, 0) => drop(self.current.insert(number)),
            (true, _) => {
                self.earlier = self.earlier.max(self.current.last().copied());
                self.current = BTreeSet::from([number]);
                self.epoch += 1;
                self.stepped = Some(now);
            }
        }
        Ok(())
    }
}
