//! Judges a session by its two logs: what was sent and what was yielded. Uses plain data only, so that any driver
//! can fill the logs; knows neither the wire nor the queues, and shares no code with them. It holds every promise of
//! the table of guarantees: who arrives, who may come twice (nobody), who waits for whom, who is too late.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::{BTreeMap, BTreeSet};

/// What a message was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    None,
    Order,
    Delivery,
}

/// One line of the send log of one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) promise: Promise,
    pub(crate) lane: u8,
    /// Counts up along the lane with every set; a message sent alone is a set. Not looked at for `None`.
    pub(crate) set: u64,
    /// Names the bytes. Unique in the log.
    pub(crate) id: u64,
}

/// One line of the yield log at the other end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Yielded {
    pub(crate) promise: Promise,
    pub(crate) lane: u8,
    pub(crate) id: u64,
}

/// How the session ended, which says what must have arrived. `skipped` names each `Delivery` that the sender skipped
/// or that expired on its way: nobody waits for these.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// It still runs, or was cut: nothing need have arrived.
    Cut { skipped: Vec<u64> },
    /// It ran dry: every `Delivery` that was not skipped arrived.
    Dry { skipped: Vec<u64> },
    /// The network lost and reordered nothing: everything arrived.
    Lossless,
}

/// What the logs say, when no promise was broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Sent, by promise in the order of the enum.
    pub(crate) sent: [usize; 3],
    /// Yielded, likewise.
    pub(crate) yielded: [usize; 3],
}

/// Checks both logs of one direction.
///
/// # Errors
/// Every broken promise, as a line of text.
pub(crate) fn check(sent: &[Sent], yielded: &[Yielded], end: &End) -> Result<Summary, Vec<String>> {
    let mut broken = Vec::new();
    let mut summary = Summary::default();
    let mut by_id = BTreeMap::new();
    for message in sent {
        summary.sent[message.promise as usize] += 1;
        if by_id.insert(message.id, message).is_some() {
            broken.push(format!("the send log names {} twice: no check is possible", message.id));
        }
    }
    let skipped: BTreeSet<u64> = match end {
        End::Cut { skipped } | End::Dry { skipped } => skipped.iter().copied().collect(),
        End::Lossless => BTreeSet::new(),
    };
    let mut lanes = open_lanes(sent, &skipped);
    let mut seen = BTreeSet::new();
    for (position, line) in yielded.iter().enumerate() {
        let Some(message) = by_id.get(&line.id) else {
            broken.push(format!("yield {position}: {line:?} was never sent"));
            continue;
        };
        summary.yielded[message.promise as usize] += 1;
        if (message.lane, message.promise) != (line.lane, line.promise) {
            broken.push(format!("yield {position}: {line:?} was sent as {message:?}"));
        }
        if !seen.insert(line.id) {
            broken.push(format!("yield {position}: {message:?} came twice"));
            continue;
        }
        if skipped.contains(&line.id) {
            broken.push(format!("yield {position}: {message:?} came although it was skipped"));
        }
        if message.promise != Promise::None {
            let lane = lanes.entry(message.lane).or_default();
            lane.step(position, message, &mut broken);
        }
    }
    let must = |message: &&Sent| match end {
        End::Cut { .. } => false,
        End::Dry { .. } => message.promise == Promise::Delivery && !skipped.contains(&message.id),
        End::Lossless => true,
    };
    for missing in sent.iter().filter(must).filter(|message| !seen.contains(&message.id)) {
        broken.push(format!("{missing:?} never came"));
    }
    if broken.is_empty() { Ok(summary) } else { Err(broken) }
}

/// As `check`, for tests: fails with the first broken promises and whatever `context` says, such as the seed.
pub(crate) fn assert_kept(sent: &[Sent], yielded: &[Yielded], end: &End, context: &str) -> Summary {
    match check(sent, yielded, end) {
        Ok(summary) => summary,
        Err(broken) => {
            let first = broken.iter().take(10).map(String::as_str).collect::<Vec<_>>().join("\n  ");
            panic!("{} promises broken ({context}):\n  {first}", broken.len());
        }
    }
}

/// Bytes that carry their own id and are otherwise hard to mistake for those of another message. At least 8 bytes.
pub(crate) fn payload(id: u64, len: usize) -> Vec<u8> {
    let mut bytes = id.to_le_bytes().to_vec();
    let mut state = id ^ (len as u64) << 40;
    while bytes.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_be_bytes()[..5]);
    }
    bytes.truncate(len.max(8));
    bytes
}

/// The id of bytes that `payload` made; `None` when a single bit of them is another.
pub(crate) fn identify(bytes: &[u8]) -> Option<u64> {
    let id = u64::from_le_bytes(*bytes.first_chunk()?);
    (payload(id, bytes.len()) == bytes).then_some(id)
}

/// What a lane has seen.
#[derive(Debug, Default)]
struct Lane {
    /// Sets with a `Delivery` that was neither yielded nor skipped, and how many each.
    owed: BTreeMap<u64, usize>,
    /// The highest set of which an `Order` or `Delivery` was yielded.
    highest: Option<u64>,
}

fn open_lanes(sent: &[Sent], skipped: &BTreeSet<u64>) -> BTreeMap<u8, Lane> {
    let mut lanes = BTreeMap::<u8, Lane>::new();
    for message in sent.iter().filter(|message| message.promise == Promise::Delivery) {
        if !skipped.contains(&message.id) {
            *lanes.entry(message.lane).or_default().owed.entry(message.set).or_default() += 1;
        }
    }
    lanes
}

impl Lane {
    fn step(&mut self, position: usize, message: &Sent, broken: &mut Vec<String>) {
        if let Some((earlier, count)) = self.owed.first_key_value().filter(|(set, _)| **set < message.set) {
            broken.push(format!(
                "yield {position}: {message:?} did not wait for {count} Delivery of set {earlier}"
            ));
        }
        if let Some(highest) = self.highest.filter(|&highest| highest > message.set) {
            broken.push(format!("yield {position}: {message:?} came after something of set {highest}"));
        }
        self.highest = self.highest.max(Some(message.set));
        if message.promise == Promise::Delivery {
            if let Some(count) = self.owed.get_mut(&message.set) {
                *count -= 1;
                if *count == 0 {
                    self.owed.remove(&message.set);
                }
            }
        }
    }
}

#[cfg(test)]
mod contract_tests {
    use super::{Promise::*, *};

    fn sent() -> Vec<Sent> {
        let message = |(id, (promise, set))| Sent { promise, lane: 0, set, id };
        let promises =
            [(Delivery, 0), (None, 0), (Order, 0), (Delivery, 0), (Order, 1), (Delivery, 2), (Order, 3)];
        (0..).zip(promises).map(message).collect()
    }

    fn judge(ids: &[u64], end: &End) -> Result<Summary, Vec<String>> {
        let sent = sent();
        let line = |&id: &u64| {
            let known = sent.iter().find(|message| message.id == id);
            Yielded { promise: known.map_or(None, |message| message.promise), lane: 0, id }
        };
        check(&sent, &ids.iter().map(line).collect::<Vec<_>>(), end)
    }

    #[test]
    fn the_judge_accepts_what_the_contract_allows() {
        let dry = End::Dry { skipped: vec![] };
        for ids in [&[0, 1, 2, 3, 4, 5, 6][..], &[3, 2, 0, 4, 5, 1, 6], &[0, 3, 5], &[3, 0, 5, 6, 1]] {
            judge(ids, &dry).unwrap();
        }
        judge(&[0], &End::Cut { skipped: vec![] }).unwrap();
        judge(&[3, 5, 6], &End::Dry { skipped: vec![0] }).unwrap();
        assert_eq!(judge(&[0, 1, 2, 3, 4, 5, 6], &End::Lossless).unwrap().yielded, [1, 3, 3]);
    }

    #[test]
    fn the_judge_finds_every_broken_promise() {
        let dry = End::Dry { skipped: vec![] };
        let cases: [(&[u64], &End, &str); 9] = [
            (&[0, 3, 5, 5], &dry, "twice"),
            (&[0, 1, 1, 3, 5], &dry, "twice"),
            (&[0, 3, 4, 4, 5], &dry, "twice"),
            (&[0, 5, 3], &dry, "did not wait"),
            (&[0, 4, 3, 5], &dry, "did not wait"),
            (&[0, 3, 5, 4], &dry, "came after"),
            (&[0, 3], &dry, "never came"),
            (&[0, 3, 5, 99], &dry, "never sent"),
            (&[0, 3, 5], &End::Dry { skipped: vec![0] }, "skipped"),
        ];
        for (ids, end, text) in cases {
            let broken = judge(ids, end).unwrap_err();
            assert!(broken.iter().any(|line| line.contains(text)), "{ids:?}: {broken:?}");
        }
        assert!(judge(&[0, 1, 3, 4, 5, 6], &End::Lossless).is_err());
    }

    #[test]
    fn a_payload_names_itself() {
        for (id, len) in [(0, 8), (7, 9), (u64::MAX, 5_000)] {
            let mut bytes = payload(id, len);
            assert_eq!((identify(&bytes), bytes.len()), (Some(id), len));
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            assert_ne!(identify(&bytes), Some(id));
        }
        assert_eq!(identify(b"short"), Option::None);
    }
}
