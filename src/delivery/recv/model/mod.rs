//! The rules of the contract once more, as plainly as they can be written, and random sessions in which the queue and
//! this model must agree. The model knows no ranges, no heaps, no budgets and no recycling: it keeps every byte and
//! looks at everything after each step.

mod hostile;
mod sessions;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{
    tests::{Rig, limits},
    *,
};
use crate::{
    contract::{self, End, Promise, Sent, Yielded},
    delivery::Guarantee,
};

/// How the model tells messages of a lane apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Index(u64),
    Id(u64),
    Alone(u64),
}

#[derive(Clone, Debug)]
struct Message {
    numbers: Numbers,
    bytes: Vec<Option<u8>>,
    began: Instant,
    /// Place in the order of completion; `None` while bytes are missing.
    arrived: Option<u64>,
    late_after: Option<Instant>,
}

#[derive(Debug, Default)]
struct ModelLane {
    settled: BTreeSet<u64>,
    skipped: BTreeSet<u64>,
    first_open: u64,
    highest_set: Option<u64>,
    messages: BTreeMap<Key, Message>,
    over: BTreeSet<u64>,
}

/// The executable specification.
#[derive(Debug, Default)]
struct Model {
    lanes: BTreeMap<u8, ModelLane>,
    arrivals: u64,
    yields: Vec<(u8, Guarantee, Vec<u8>)>,
}

impl Model {
    fn insert(&mut self, now: Instant, frame: &MessageFrame<'_>) {
        self.arrivals += 1;
        let lane = self.lanes.entry(frame.lane).or_default();
        let key = match (frame.numbers, frame.id) {
            (Numbers::Delivery { index, .. }, _) => Key::Index(index),
            (_, Some(id)) => Key::Id(id),
            (_, None) => Key::Alone(self.arrivals),
        };
        let refused = match key {
            Key::Index(index) => lane.settled.contains(&index),
            Key::Id(id) => lane.is_over(id),
            Key::Alone(_) => false,
        };
        if refused || lane.is_stale(frame.numbers) {
            return;
        }
        let (offset, total) = match frame.part {
            Part::Whole => (0, frame.bytes.len()),
            Part::Fragment { offset, total } => (offset as usize, total as usize),
        };
        let message = lane.messages.entry(key).or_insert_with(|| Message {
            numbers: frame.numbers,
            bytes: vec![None; total],
            began: now,
            arrived: None,
            late_after: None,
        });
        if message.arrived.is_some() {
            return;
        }
        for (place, &byte) in message.bytes[offset..].iter_mut().zip(frame.bytes) {
            place.get_or_insert(byte);
        }
        let end = frame.life.map(|ms| now + Duration::from_millis(ms.into()));
        message.late_after = [message.late_after, end].into_iter().flatten().min();
        if message.bytes.iter().all(Option::is_some) {
            message.arrived = Some(self.arrivals);
            if let Key::Id(id) = key {
                lane.over.insert(id);
            }
        }
        self.settle(now, frame.lane);
    }

    fn skip(&mut self, now: Instant, lane_number: u8, index: u64) -> Answer {
        let lane = self.lanes.entry(lane_number).or_default();
        if lane.skipped.contains(&index) {
            return Answer::Skipped;
        }
        let complete = lane.messages.get(&Key::Index(index)).is_some_and(|message| message.arrived.is_some());
        if complete || lane.settled.contains(&index) {
            return Answer::Have;
        }
        lane.messages.remove(&Key::Index(index));
        lane.skipped.insert(index);
        lane.settled.insert(index);
        self.settle(now, lane_number);
        Answer::Skipped
    }

    fn expire(&mut self, now: Instant) {
        for lane in self.lanes.values_mut() {
            lane.give_up(|message| {
                message.arrived.is_none() && message.began + Duration::from_secs(2) <= now
            });
        }
    }

    /// Yields while there is something to yield.
    fn settle(&mut self, now: Instant, lane_number: u8) {
        let lane = self.lanes.entry(lane_number).or_default();
        loop {
            while lane.settled.contains(&lane.first_open) {
                lane.first_open += 1;
            }
            let first_open = lane.first_open;
            let ready = lane.messages.iter().filter_map(|(key, message)| {
                let (set, base) = match message.numbers {
                    Numbers::None => (0, 0),
                    Numbers::Order { set, base } | Numbers::Delivery { set, base, .. } => (set, base),
                };
                message.arrived.filter(|_| base <= first_open).map(|arrived| (set, arrived, *key))
            });
            let Some((set, _, key)) = ready.min() else { break };
            let message = lane.messages.remove(&key).unwrap();
            if let Key::Index(index) = key {
                lane.settled.insert(index);
            }
            let late = message.late_after.is_some_and(|end| now > end);
            if late || lane.is_stale(message.numbers) {
                continue;
            }
            let guarantee = match message.numbers {
                Numbers::None => Guarantee::None,
                Numbers::Order { .. } => Guarantee::Order,
                Numbers::Delivery { .. } => Guarantee::Delivery,
            };
            if guarantee != Guarantee::None {
                lane.highest_set = lane.highest_set.max(Some(set));
            }
            self.yields.push((lane_number, guarantee, message.bytes.into_iter().flatten().collect()));
        }
        let highest_set = lane.highest_set;
        lane.give_up(
            |message| matches!(message.numbers, Numbers::Order { set, .. } if Some(set) < highest_set),
        );
    }
}

impl ModelLane {
    fn is_stale(&self, numbers: Numbers) -> bool {
        matches!(numbers, Numbers::Order { set, .. } if Some(set) < self.highest_set)
    }

    fn is_over(&self, id: u64) -> bool {
        self.over.contains(&id) || self.over.last().is_some_and(|&newest| id + 1_024 <= newest)
    }

    /// Drops messages, never a `Delivery`, and lets their ids be over.
    fn give_up(&mut self, gone: impl Fn(&Message) -> bool) {
        let over = &mut self.over;
        self.messages.retain(|key, message| {
            let gone = !matches!(key, Key::Index(_)) && gone(message);
            if let (Key::Id(id), true) = (key, gone) {
                over.insert(*id);
            }
            !gone
        });
    }
}

/// A seeded source of choices.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % most.max(1)
    }

    fn size(&mut self, most: usize) -> usize {
        usize::try_from(self.below(most as u64)).unwrap()
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}
