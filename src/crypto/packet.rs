//! Sealed packets: a masked word of epoch and number, the ciphertext, the tag. PROTOCOL.md, "Packets". Must not
//! know frames, addresses or clocks. No number is sealed twice, no packet is opened twice, and nothing changes by a
//! packet whose tag does not verify.

use std::time::{Duration, Instant};

use super::{
    Secret,
    aead::{TAG_LEN, block_mask, open_packet_in_place, seal_packet_in_place},
    schedule::{PacketKey, Traffic},
};
use crate::{
    error::Dropped,
    window::{Seen, Window1024},
    wire::{
        MAX_NUMBER,
        header::{WORD_LEN, decode_number, encode_word, split_word},
    },
};

/// Bytes that a packet is longer than its plaintext.
pub(crate) const OVERHEAD: usize = WORD_LEN + TAG_LEN;
/// Longest prefix (route and connection id), in bytes.
pub(crate) const MAX_PREFIX: usize = 28;
/// Least time between two ratchet steps of a peer.
const MIN_STEP_INTERVAL: Duration = Duration::from_secs(1);
/// Longest time that the previous epoch's key is kept.
const MAX_KEEP_PREVIOUS: Duration = Duration::from_secs(3);

/// Why a packet could not be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SealError {
    /// All packet numbers are used up. The session must end.
    Exhausted,
    /// The packet has no plaintext or the prefix is too long: a mistake of the caller. No number was used.
    Length,
}

/// The nonce of a packet: its number, in the last eight bytes, over the direction's base.
pub(super) fn nonce(iv: &Secret<12>, number: u64) -> [u8; 12] {
    let mut nonce = *iv.as_bytes();
    for (byte, number) in nonce.iter_mut().rev().zip(number.to_le_bytes()) {
        *byte ^= number;
    }
    nonce
}

fn masked(word: [u8; WORD_LEN], mask: [u8; WORD_LEN]) -> [u8; WORD_LEN] {
    (u32::from_ne_bytes(word) ^ u32::from_ne_bytes(mask)).to_ne_bytes()
}

/// What the tag covers beside the ciphertext: the prefix, which is in clear, then the word without its mask.
struct Associated {
    bytes: [u8; MAX_PREFIX + WORD_LEN],
    len: usize,
}

impl Associated {
    /// `None` if the prefix is too long.
    fn new(prefix: &[u8], word: [u8; WORD_LEN]) -> Option<Self> {
        let mut bytes = [0; MAX_PREFIX + WORD_LEN];
        let (front, rest) = bytes.split_at_mut_checked(prefix.len())?;
        front.copy_from_slice(prefix);
        *rest.first_chunk_mut()? = word;
        Some(Self { bytes, len: prefix.len().saturating_add(WORD_LEN) })
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Seals packets of one direction and hands out their numbers. Neither copied nor rewound, so that a number and a key
/// never meet twice.
pub(crate) struct SealKey {
    header: Secret<32>,
    traffic: Traffic,
    current: PacketKey,
    epoch: u32,
    next: u64,
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(..)")
    }
}

impl SealKey {
    pub(super) fn new(traffic: Traffic) -> Self {
        let (header, current) = traffic.first_keys();
        Self { header, traffic, current, epoch: 0, next: 0 }
    }

    /// The number that the next packet will have.
    pub(crate) const fn next_number(&self) -> u64 {
        self.next
    }

    /// Leaves one number out. PROTOCOL.md, "Blind acknowledgements".
    pub(crate) const fn skip_number(&mut self) {
        self.next = self.next.saturating_add(1);
    }

    pub(crate) const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Steps to the next epoch: forward only. The caller sees to the conditions. PROTOCOL.md, "Ratchet".
    pub(crate) fn ratchet(&mut self) {
        self.traffic = self.traffic.next();
        self.current = self.traffic.packet_key();
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Gives back what can be made again.
    pub(super) fn rest(&mut self) {
        self.current.prepared.forget();
    }

    /// Wipes the keys. Without a number left, nothing can be sealed under what stands in their place.
    pub(super) fn erase(&mut self) {
        let Self { header, traffic, current, epoch: _, next } = self;
        *header = Secret::zeroed();
        traffic.erase();
        current.erase();
        *next = MAX_NUMBER;
    }

    /// Seals in place: `packet` is 4 bytes of room, at least one byte of plaintext, 16 bytes of room. `prefix` is what
    /// stands before it in the datagram. Returns the packet's number.
    pub(crate) fn seal(&mut self, prefix: &[u8], packet: &mut [u8]) -> Result<u64, SealError> {
        let number = self.next;
        if number >= MAX_NUMBER {
            return Err(SealError::Exhausted);
        }
        let word = encode_word(self.epoch, number);
        let associated = Associated::new(prefix, word).ok_or(SealError::Length)?;
        let (word_out, rest) = packet.split_first_chunk_mut::<WORD_LEN>().ok_or(SealError::Length)?;
        let (text, tag_out) = rest.split_last_chunk_mut::<TAG_LEN>().ok_or(SealError::Length)?;
        if text.is_empty() {
            return Err(SealError::Length);
        }
        // The number is used from here on, whatever happens.
        self.next = number.saturating_add(1);
        let nonce = nonce(&self.current.iv, number);
        let tag = seal_packet_in_place(self.current.for_cipher(), &nonce, associated.as_bytes(), text)
            .ok_or(SealError::Length)?;
        *word_out = masked(word, block_mask(&self.header, &tag));
        *tag_out = tag;
        Ok(number)
    }

    /// Every secret inside.
    #[cfg(test)]
    pub(super) fn secrets(&self) -> Vec<&[u8]> {
        let PacketKey { key, iv, .. } = &self.current;
        vec![self.header.as_bytes(), self.traffic.as_bytes(), key.as_bytes(), iv.as_bytes()]
    }

    #[cfg(test)]
    pub(super) const fn set_next_number(&mut self, next: u64) {
        self.next = next;
    }
}

/// A packet that opened, and passed the replay window and the epoch rule. Made in this file only, so whoever holds one
/// may believe it.
pub(crate) struct Opened<'a> {
    pub(crate) number: u64,
    pub(crate) payload: &'a mut [u8],
    /// No higher number was opened before.
    pub(crate) newest: bool,
    _made_here: (),
}

impl std::fmt::Debug for Opened<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opened({}, {} bytes)", self.number, self.payload.len())
    }
}

/// Which epoch a packet belongs to, as its two epoch bits say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Previous,
    Current,
    Next,
    /// None that is live. Such a packet is tried with the current key and never accepted.
    Unknown,
}

struct Previous {
    key: PacketKey,
    until: Instant,
}

/// Opens packets of one direction, follows the peer's ratchet, and remembers what was opened.
pub(crate) struct OpenKeys {
    header: Secret<32>,
    /// Of the current epoch, until the key of the next one is made; then of that one.
    traffic: Traffic,
    /// There for three seconds after each step.
    previous: Option<Box<Previous>>,
    current: PacketKey,
    /// Made with the first packet that opens, and then ahead of each step: before, every genuine packet is of epoch 0.
    next: Option<PacketKey>,
    epoch: u32,
    window: Window1024,
    /// The lowest and the highest number opened in the current epoch.
    range: Option<(u64, u64)>,
    /// The highest number opened in an earlier epoch.
    floor: Option<u64>,
    last_step: Option<Instant>,
}

impl std::fmt::Debug for OpenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpenKeys(..)")
    }
}

impl OpenKeys {
    pub(super) fn new(traffic: Traffic) -> Self {
        let (header, current) = traffic.first_keys();
        Self {
            header,
            traffic,
            previous: None,
            current,
            next: None,
            epoch: 0,
            window: Window1024::new(),
            range: None,
            floor: None,
            last_step: None,
        }
    }

    /// Every secret inside but the previous epoch's.
    #[cfg(test)]
    pub(super) fn secrets(&self) -> Vec<&[u8]> {
        let next = self.next.as_ref();
        let keys = [&self.current].into_iter().chain(next);
        let keys = keys.flat_map(|PacketKey { key, iv, .. }| [&key.as_bytes()[..], iv.as_bytes()]);
        keys.chain([&self.traffic.as_bytes()[..], &self.header.as_bytes()[..]]).collect()
    }

    /// The highest number opened.
    #[cfg(test)]
    pub(crate) const fn highest(&self) -> Option<u64> {
        self.window.highest()
    }

    /// The peer's epoch, as far as it is known.
    pub(crate) const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Gives back what can be made again.
    pub(super) fn rest(&mut self) {
        let next = self.next.as_mut();
        let previous = self.previous.as_mut().map(|previous| &mut previous.key);
        [Some(&mut self.current), next, previous].into_iter().flatten().for_each(|key| key.prepared.forget());
    }

    /// Wipes the keys. A window that knows every number lets nothing pass under what stands in their place.
    pub(super) fn erase(&mut self) {
        let Self { header, traffic, previous, current, next, window, .. } = self;
        *header = Secret::zeroed();
        traffic.erase();
        *previous = None;
        current.erase();
        *next = None;
        *window = Window1024::full();
    }

    /// When the previous epoch's key is to be erased.
    pub(crate) fn previous_deadline(&self) -> Option<Instant> {
        self.previous.as_ref().map(|previous| previous.until)
    }

    /// Erases the previous epoch's key once its time is over.
    pub(crate) fn forget_previous(&mut self, now: Instant) {
        if self.previous.as_ref().is_some_and(|previous| now >= previous.until) {
            self.previous = None;
        }
    }

    /// Opens in place: `packet` is the word, the ciphertext and the tag; `prefix` is what stood before it in the
    /// datagram. `keep_previous` is how long, at most 3 s, the current key is kept if this packet steps to the next.
    ///
    /// The numbers are those of PROTOCOL.md, "Receiving"; what comes before and after them belongs to the session.
    /// A packet that is dropped as `Length` or `Unopened` is as it was, but for one that the peer itself built wrongly.
    pub(crate) fn open<'p>(
        &mut self,
        now: Instant,
        keep_previous: Duration,
        prefix: &[u8],
        packet: &'p mut [u8],
    ) -> Result<Opened<'p>, Dropped> {
        // 1. Length: a word, one byte, a tag.
        if packet.len() <= OVERHEAD {
            return Err(Dropped::Length);
        }
        let (word, rest) = packet.split_first_chunk_mut::<WORD_LEN>().ok_or(Dropped::Length)?;
        let (payload, tag) = rest.split_last_chunk_mut::<TAG_LEN>().ok_or(Dropped::Length)?;

        // 2. The sample is the tag; which session is tried was settled outside.
        let mask = block_mask(&self.header, tag);

        // 3. The word is unmasked into a local, the buffer stays as it came. The epoch bits choose a key and nothing
        //    else: until the tag has spoken, every packet takes the same way.
        let word = masked(*word, mask);
        let (epoch_bits, truncated) = split_word(word);
        let slot = self.slot(epoch_bits, now);
        let expected = self.window.highest().map_or(0, |highest| highest.saturating_add(1));
        let number = decode_number(truncated, expected).ok_or(Dropped::Unopened)?;
        let key = match (slot, &mut self.previous, &mut self.next) {
            (Slot::Previous, Some(previous), _) => &mut previous.key,
            (Slot::Next, _, Some(next)) => next,
            _ => &mut self.current,
        };

        // 4. Open in place, or leave everything as it was.
        let associated = Associated::new(prefix, word).ok_or(Dropped::Length)?;
        let nonce = nonce(&key.iv, number);
        let opened = open_packet_in_place(key.for_cipher(), &nonce, associated.as_bytes(), payload, tag);
        if !opened || slot == Slot::Unknown {
            return Err(Dropped::Unopened);
        }

        // 5. Replay window, then the epoch rule. After the tag, because before it their timing would tell a forger
        //    which numbers were seen.
        let newest = self.window.highest().is_none_or(|highest| number > highest);
        self.window.check_and_set(number).map_err(|seen| match seen {
            Seen::Duplicate => Dropped::Duplicate,
            Seen::TooOld => Dropped::TooOld,
        })?;
        if !self.follows_epoch_rule(slot, number, now) {
            return Err(Dropped::Epoch);
        }
        self.note(slot, number, now, keep_previous);
        if self.next.is_none() {
            self.traffic = self.traffic.next();
            self.next = Some(self.traffic.packet_key());
        }
        Ok(Opened { number, payload, newest, _made_here: () })
    }

    fn slot(&self, epoch_bits: u8, now: Instant) -> Slot {
        let bits = u32::from(epoch_bits);
        let previous_lives = self.previous.as_ref().is_some_and(|previous| now < previous.until);
        if bits == self.epoch & 3 {
            Slot::Current
        } else if bits == self.epoch.wrapping_add(1) & 3 && self.next.is_some() {
            Slot::Next
        } else if bits == self.epoch.wrapping_sub(1) & 3 && previous_lives {
            Slot::Previous
        } else {
            Slot::Unknown
        }
    }

    /// Numbers grow with epochs, and steps take their time. RFC 9001, 6.4.
    fn follows_epoch_rule(&self, slot: Slot, number: u64, now: Instant) -> bool {
        let above_floor = self.floor.is_none_or(|floor| number > floor);
        match slot {
            Slot::Previous => self.range.is_none_or(|(lowest, _)| number < lowest),
            Slot::Current => above_floor,
            Slot::Next => {
                let too_soon = |last: Instant| now.saturating_duration_since(last) < MIN_STEP_INTERVAL;
                above_floor
                    && self.range.is_none_or(|(_, highest)| number > highest)
                    && !self.last_step.is_some_and(too_soon)
            }
            Slot::Unknown => false,
        }
    }

    /// Remembers a packet that passed everything; the first of the next epoch makes it the current one.
    fn note(&mut self, slot: Slot, number: u64, now: Instant, keep_previous: Duration) {
        match slot {
            Slot::Previous => self.floor = self.floor.max(Some(number)),
            Slot::Current | Slot::Unknown => {
                let (lowest, highest) = self.range.unwrap_or((number, number));
                self.range = Some((lowest.min(number), highest.max(number)));
            }
            Slot::Next => {
                // It opened, so its keys are there.
                let Some(key) = self.next.take() else { return };
                let key = std::mem::replace(&mut self.current, key);
                let until = now.checked_add(keep_previous.min(MAX_KEEP_PREVIOUS));
                self.previous = until.map(|until| Box::new(Previous { key, until }));
                self.floor = self.floor.max(self.range.map(|(_, highest)| highest));
                self.range = Some((number, number));
                self.epoch = self.epoch.wrapping_add(1);
                self.last_step = Some(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::{Channel, Side, Split, aead::recorder, counter, testing::channels};

    const KEEP: Duration = Duration::from_secs(1);
    const CLIENT: &[u8] = b"";

    fn sealed(key: &mut SealKey, prefix: &[u8], text: &[u8]) -> Vec<u8> {
        let mut packet = [&[0; WORD_LEN], text, &[0; TAG_LEN]].concat();
        key.seal(prefix, &mut packet).unwrap();
        packet
    }

    fn opened(keys: &mut OpenKeys, now: Instant, packet: &[u8]) -> Result<(u64, Vec<u8>), Dropped> {
        let mut packet = packet.to_vec();
        keys.open(now, KEEP, CLIENT, &mut packet).map(|opened| (opened.number, opened.payload.to_vec()))
    }

    /// Two ends, and a second sealer with the same keys, for a peer that breaks the rules on purpose.
    struct Rig {
        seal: Box<SealKey>,
        evil: Box<SealKey>,
        open: Box<OpenKeys>,
        start: Instant,
    }

    impl Rig {
        #[expect(clippy::disallowed_methods, reason = "an arbitrary start; only differences count")]
        fn new() -> Self {
            let (initiator, responder) = channels();
            Self {
                seal: initiator.seal,
                evil: channels().0.seal,
                open: responder.open,
                start: Instant::now(),
            }
        }

        fn at(&self, millis: u64) -> Instant {
            self.start + Duration::from_millis(millis)
        }

        fn open_at(&mut self, millis: u64, packet: &[u8]) -> Result<(u64, Vec<u8>), Dropped> {
            let now = self.at(millis);
            opened(&mut self.open, now, packet)
        }

        /// Seals and opens one packet; returns its number.
        fn pass(&mut self, millis: u64) -> Result<u64, Dropped> {
            let packet = sealed(&mut self.seal, CLIENT, b"x");
            self.open_at(millis, &packet).map(|(number, _)| number)
        }

        /// A packet with this number, sealed in the epoch that the second sealer is in.
        fn forge(&mut self, number: u64) -> Vec<u8> {
            self.evil.set_next_number(number);
            sealed(&mut self.evil, CLIENT, b"evil")
        }
    }

    #[test]
    fn packets_open_on_the_other_side_and_nowhere_else() {
        let (mut initiator, mut responder) = channels();
        let now = Rig::new().start;
        for number in 0..5 {
            let packet = sealed(&mut initiator.seal, CLIENT, b"to the responder");
            assert_eq!(opened(&mut initiator.open, now, &packet), Err(Dropped::Unopened), "reflected");
            assert_eq!(opened(&mut responder.open, now, &packet), Ok((number, b"to the responder".to_vec())));
            let packet = sealed(&mut responder.seal, CLIENT, b"to the initiator");
            assert_eq!(opened(&mut initiator.open, now, &packet), Ok((number, b"to the initiator".to_vec())));
        }
        assert!(initiator.exporter.ct_eq(&responder.exporter));
        assert_eq!(initiator.hash, responder.hash);
    }

    #[test]
    fn the_prefix_is_bound() {
        let (mut initiator, mut responder) = channels();
        let now = Rig::new().start;
        let prefix = [7; MAX_PREFIX];
        let packet = sealed(&mut initiator.seal, &prefix, b"text");
        for wrong in [&[][..], &[7; MAX_PREFIX - 1], &[8; MAX_PREFIX]] {
            let verdict = responder.open.open(now, KEEP, wrong, &mut packet.clone()).map(|_| ());
            assert_eq!(verdict, Err(Dropped::Unopened));
        }
        assert_eq!(
            responder.open.open(now, KEEP, &[7; 29], &mut packet.clone()).map(|_| ()),
            Err(Dropped::Length)
        );
        assert!(responder.open.open(now, KEEP, &prefix, &mut packet.clone()).is_ok());
        let before = initiator.seal.next_number();
        assert_eq!(initiator.seal.seal(&[7; 29], &mut [0; 64]), Err(SealError::Length));
        assert_eq!(initiator.seal.next_number(), before);
    }

    #[test]
    fn a_forged_packet_changes_nothing() {
        let mut rig = Rig::new();
        (0..10).for_each(|number| assert_eq!(rig.pass(0), Ok(number)));
        let packet = sealed(&mut rig.seal, CLIENT, b"some text");
        let now = rig.start;
        for at in 0..packet.len() {
            for bit in 0..8 {
                let mut forged = packet.clone();
                forged[at] ^= 1 << bit;
                let before = forged.clone();
                assert_eq!(rig.open.open(now, KEEP, CLIENT, &mut forged).map(|_| ()), Err(Dropped::Unopened));
                assert_eq!(forged, before, "the buffer is as it was");
            }
            let expected = if at <= OVERHEAD { Dropped::Length } else { Dropped::Unopened };
            assert_eq!(opened(&mut rig.open, now, &packet[..at]), Err(expected));
        }
        assert_eq!((rig.open.highest(), rig.open.epoch()), (Some(9), 0));
        assert_eq!(opened(&mut rig.open, now, &[&packet[..], &[0]].concat()), Err(Dropped::Unopened));
        assert_eq!(opened(&mut rig.open, now, &packet), Ok((10, b"some text".to_vec())));
    }

    /// Longer than what every back end does in one step.
    const LONG: [u8; 1_000] = [7; 1_000];

    #[test]
    fn a_long_packet_that_one_session_refuses_still_opens_in_another() {
        let mut rig = Rig::new();
        let [i2r, r2i] = [0x71, 0x72].map(|byte| Secret::take(&mut [byte; 32]));
        let mut other = Channel::derive(&Split { i2r, r2i, hash: [0; 32] }, Side::Responder);
        let mut packet = sealed(&mut rig.seal, CLIENT, &LONG);
        let refused = other.open.open(rig.start, KEEP, CLIENT, &mut packet).map(|_| ());
        assert_eq!(refused, Err(Dropped::Unopened));
        let opened = rig.open.open(rig.start, KEEP, CLIENT, &mut packet).unwrap();
        assert_eq!(opened.payload, LONG);
    }

    #[test]
    fn long_packets_open_under_the_key_of_their_epoch_and_after_a_rest() {
        let mut rig = Rig::new();
        for epoch in 0..4 {
            let now = rig.at(2_000 * epoch);
            let [first, late] = [(); 2].map(|()| sealed(&mut rig.seal, CLIENT, &LONG));
            assert_eq!(opened(&mut rig.open, now, &first), Ok((4 * epoch, LONG.to_vec())));
            rig.seal.rest();
            rig.open.rest();
            rig.seal.ratchet();
            let [stepped, rested] = [(); 2].map(|()| sealed(&mut rig.seal, CLIENT, &LONG));
            assert_eq!(opened(&mut rig.open, now, &stepped), Ok((4 * epoch + 2, LONG.to_vec())));
            assert_eq!(opened(&mut rig.open, now, &late), Ok((4 * epoch + 1, LONG.to_vec())));
            rig.open.rest();
            assert_eq!(opened(&mut rig.open, now, &rested), Ok((4 * epoch + 3, LONG.to_vec())));
        }
    }

    #[test]
    fn a_packet_opens_once() {
        let mut rig = Rig::new();
        let now = rig.start;
        let packets: Vec<_> = (0..1026).map(|_| sealed(&mut rig.seal, CLIENT, b"x")).collect();
        assert!(opened(&mut rig.open, now, &packets[1]).is_ok());
        assert_eq!(opened(&mut rig.open, now, &packets[1]), Err(Dropped::Duplicate));
        assert!(opened(&mut rig.open, now, &packets[1025]).is_ok());
        assert_eq!(opened(&mut rig.open, now, &packets[1]), Err(Dropped::TooOld));
        assert_eq!(opened(&mut rig.open, now, &packets[0]), Err(Dropped::TooOld));
        assert!(opened(&mut rig.open, now, &packets[2]).is_ok());
        assert_eq!(opened(&mut rig.open, now, &packets[2]), Err(Dropped::Duplicate));
    }

    #[test]
    fn newest_is_said_of_the_highest_number_only() {
        let mut rig = Rig::new();
        let [first, second, third] = [(); 3].map(|()| sealed(&mut rig.seal, CLIENT, b"x"));
        let mut newest =
            |packet: &[u8]| rig.open.open(rig.start, KEEP, CLIENT, &mut packet.to_vec()).unwrap().newest;
        assert!(newest(&second) && !newest(&first) && newest(&third));
    }

    #[test]
    fn numbers_grow_are_skipped_and_run_out() {
        let mut rig = Rig::new();
        assert_eq!(rig.seal.seal(CLIENT, &mut [0; OVERHEAD]), Err(SealError::Length));
        assert_eq!(rig.seal.seal(CLIENT, &mut [0; 3]), Err(SealError::Length));
        assert_eq!(rig.pass(0), Ok(0));
        rig.seal.skip_number();
        assert_eq!(rig.pass(0), Ok(2));
        rig.seal.set_next_number(MAX_NUMBER - 1);
        let mut packet = [0; 32];
        assert_eq!(rig.seal.seal(CLIENT, &mut packet), Ok(MAX_NUMBER - 1));
        for _ in 0..3 {
            assert_eq!(rig.seal.seal(CLIENT, &mut packet), Err(SealError::Exhausted));
            rig.seal.skip_number();
        }
    }

    #[test]
    fn the_receiver_follows_the_ratchet_and_late_packets_still_open() {
        let mut rig = Rig::new();
        for epoch in 0..9_u32 {
            let millis = u64::from(epoch) * 1000;
            assert_eq!((rig.seal.epoch(), rig.open.epoch()), (epoch, epoch));
            rig.pass(millis).unwrap();
            let late = [(); 2].map(|()| sealed(&mut rig.seal, CLIENT, b"late"));
            rig.seal.ratchet();
            assert_eq!(rig.open_at(millis + 1000, &late[1]).map(|_| ()), Ok(()));
            rig.pass(millis + 1000).unwrap();
            assert_eq!(rig.open_at(millis + 1999, &late[0]).map(|_| ()), Ok(()));
            assert_eq!(rig.open_at(millis + 1999, &late[0]), Err(Dropped::Duplicate));
        }
    }

    #[test]
    fn the_previous_key_is_gone_when_its_time_is_over() {
        let mut rig = Rig::new();
        rig.pass(0).unwrap();
        let [first, second] = [(); 2].map(|()| sealed(&mut rig.seal, CLIENT, b"late"));
        rig.seal.ratchet();
        rig.pass(0).unwrap();
        assert_eq!(rig.open.previous_deadline(), Some(rig.at(1000)));
        assert!(rig.open_at(999, &first).is_ok());
        assert_eq!(rig.open_at(1000, &second), Err(Dropped::Unopened));
        rig.open.forget_previous(rig.at(999));
        assert!(rig.open.previous.is_some());
        rig.open.forget_previous(rig.at(1000));
        assert!(rig.open.previous.is_none());
        // However long the caller wants to keep it, 3 s is the most.
        rig.seal.ratchet();
        let mut packet = sealed(&mut rig.seal, CLIENT, b"x");
        rig.open.open(rig.at(2000), Duration::from_secs(99), CLIENT, &mut packet).unwrap();
        assert_eq!(rig.open.previous_deadline(), Some(rig.at(5000)));
    }

    #[test]
    fn a_jump_of_two_epochs_does_not_open() {
        let mut rig = Rig::new();
        rig.pass(0).unwrap();
        for _ in 0..3 {
            rig.seal.ratchet();
        }
        for _ in 0..8 {
            assert_eq!(rig.pass(9_999), Err(Dropped::Unopened));
            rig.seal.ratchet();
            if rig.seal.epoch() % 4 == 1 {
                rig.seal.ratchet();
            }
        }
        assert_eq!(rig.open.epoch(), 0);
    }

    #[test]
    fn two_steps_within_a_second_break_the_rule() {
        let mut rig = Rig::new();
        rig.pass(0).unwrap();
        rig.seal.ratchet();
        rig.pass(0).unwrap();
        rig.seal.ratchet();
        assert_eq!(rig.pass(999), Err(Dropped::Epoch));
        assert_eq!(rig.open.epoch(), 1, "not followed");
        assert_eq!(rig.pass(1000), Ok(3));
        assert_eq!(rig.open.epoch(), 2);
    }

    /// Forges packets until one claims the next epoch, which a quarter of them do.
    fn claims_next(rig: &mut Rig) -> Vec<u8> {
        let genuine = sealed(&mut rig.seal, CLIENT, b"x");
        (0..=255_u8)
            .map(|byte| {
                let mut forged = genuine.clone();
                *forged.last_mut().unwrap() ^= byte;
                let (word, rest) = forged.split_first_chunk().unwrap();
                let word = masked(*word, block_mask(&rig.open.header, rest.last_chunk().unwrap()));
                (split_word(word).0, forged)
            })
            .find_map(|(bits, forged)| (bits == 1).then_some(forged))
            .unwrap()
    }

    #[test]
    fn the_next_epochs_keys_are_made_with_the_first_packet_that_opens() {
        let mut rig = Rig::new();
        assert!(rig.open.next.is_none());
        let (passed, derived) = counter::of(|| rig.pass(0));
        assert!(passed.is_ok() && rig.open.next.is_some());
        assert_eq!(derived, 3, "a secret, a key and a nonce");
        assert_eq!(counter::of(|| rig.pass(0)), (Ok(1), 0));
        // A step makes those of the epoch after it, as it always did: two packets of one epoch cost the same.
        rig.seal.ratchet();
        assert_eq!(counter::of(|| rig.pass(1_000)), (Ok(2), 3));
        assert!(rig.open.next.is_some());
        assert_eq!(counter::of(|| rig.pass(1_000)), (Ok(3), 0));
    }

    #[test]
    fn who_claims_the_next_epoch_before_anything_opened_makes_no_keys() {
        let mut rig = Rig::new();
        let forged = claims_next(&mut rig);
        for opened_before in [false, true] {
            let tried = counter::of(|| opened(&mut rig.open, rig.start, &forged));
            assert_eq!(tried, (Err(Dropped::Unopened), 0));
            assert_eq!(rig.open.next.is_some(), opened_before);
            rig.pass(0).unwrap();
        }
        rig.seal.ratchet();
        assert_eq!(rig.pass(0), Ok(3));
    }

    #[test]
    fn numbers_that_do_not_fit_their_epoch_break_the_rule() {
        let mut rig = Rig::new();
        (0..10).for_each(|_| rig.seal.skip_number());
        assert_eq!(rig.pass(0), Ok(10));
        // The next epoch with a number that the current one has passed.
        rig.evil.ratchet();
        let packet = rig.forge(9);
        assert_eq!(opened(&mut rig.open, rig.start, &packet), Err(Dropped::Epoch));
        assert_eq!(rig.open.epoch(), 0);
        // The previous epoch with a number that the current one has passed.
        rig.evil = channels().0.seal;
        (0..9).for_each(|_| rig.seal.skip_number());
        rig.seal.ratchet();
        assert_eq!(rig.pass(0), Ok(20));
        let packet = rig.forge(21);
        assert_eq!(opened(&mut rig.open, rig.start, &packet), Err(Dropped::Epoch));
        let packet = rig.forge(12);
        assert!(opened(&mut rig.open, rig.start, &packet).is_ok(), "late is no offence");
        // The current epoch with a number that the previous one has passed, also when its key is gone.
        rig.evil.ratchet();
        let packet = rig.forge(11);
        rig.open.forget_previous(rig.at(1000));
        assert_eq!(rig.open_at(1000, &packet), Err(Dropped::Epoch));
        let packet = rig.forge(13);
        assert!(rig.open_at(1000, &packet).is_ok());
    }

    #[test]
    fn late_packets_widen_the_range_of_their_epoch_and_never_narrow_it() {
        let mut rig = Rig::new();
        let mut next = channels().0.seal;
        next.ratchet();
        let mut packet = |number: u64, stepped: bool| {
            let key = if stepped { &mut next } else { &mut rig.evil };
            key.set_next_number(number);
            sealed(key, CLIENT, b"x")
        };
        let steps = [
            (10, false, true),
            (5, false, true),
            // Below the highest of the current epoch, though above the latest.
            (9, true, false),
            (20, true, true),
            // Below what the epoch before it reached, which was noted when it ended.
            (8, true, false),
            (15, true, true),
            // Above the lowest of the current epoch, though below the first.
            (16, false, false),
            (14, false, true),
        ];
        for (number, stepped, fits) in steps {
            let packet = packet(number, stepped);
            let verdict = opened(&mut rig.open, rig.start, &packet).map(|(number, _)| number);
            assert_eq!(verdict, if fits { Ok(number) } else { Err(Dropped::Epoch) }, "{number}");
        }
    }

    #[test]
    fn epoch_bits_of_another_epoch_than_the_key_are_a_failed_open() {
        let mut rig = Rig::new();
        rig.pass(0).unwrap();
        for lie in [1, 2, 3] {
            rig.evil.epoch = lie;
            let packet = rig.forge(5);
            assert_eq!(
                opened(&mut rig.open, rig.start, &packet),
                Err(Dropped::Unopened),
                "claims epoch {lie}"
            );
        }
        assert_eq!(rig.open.highest(), Some(0));
    }

    #[test]
    fn thirty_bits_of_number_are_enough_across_their_wrap() {
        let mut rig = Rig::new();
        for number in [0, 1 << 29, (1 << 30) - 1, 1 << 30, 3 << 29, (1 << 31) - 1, 1 << 31] {
            rig.seal.set_next_number(number);
            assert_eq!(rig.pass(0), Ok(number));
        }
    }

    #[test]
    fn two_hundred_thousand_seals_repeat_no_nonce() {
        recorder::start();
        let (mut initiator, mut responder) = channels();
        let mut packet = [0; OVERHEAD + 1];
        for round in 0..100_000_u32 {
            for end in [&mut initiator.seal, &mut responder.seal] {
                end.seal(CLIENT, &mut packet).unwrap();
                if round % 1_000 == 0 {
                    end.skip_number();
                    end.ratchet();
                }
            }
        }
        assert_eq!(recorder::finish(), (200_000, 0));
    }

    #[test]
    fn the_keys_of_a_session_stay_small() {
        let size = size_of::<SealKey>() + size_of::<OpenKeys>();
        assert!(size < 700, "{size} bytes");
    }

    proptest! {
        /// Any order, loss and repetition of honest packets, over several epochs.
        #[test]
        fn honest_packets_open_at_most_once_and_never_break_a_rule(
            arrivals in prop::collection::vec(0..60_usize, 0..150),
        ) {
            let mut rig = Rig::new();
            let packets: Vec<_> = (0..60_u8)
                .map(|number| {
                    if number % 20 == 19 {
                        rig.seal.ratchet();
                    }
                    sealed(&mut rig.seal, CLIENT, &[number])
                })
                .collect();
            let mut seen = [false; 60];
            for (step, index) in arrivals.into_iter().enumerate() {
                let now = rig.at(1_000 * step as u64);
                let mut packet = packets[index].clone();
                match rig.open.open(now, MAX_KEEP_PREVIOUS, CLIENT, &mut packet) {
                    Ok(opened) => {
                        prop_assert_eq!(opened.number, index as u64);
                        prop_assert_eq!(usize::from(opened.payload[0]), index);
                        prop_assert!(!std::mem::replace(&mut seen[index], true));
                    }
                    Err(Dropped::Duplicate) => prop_assert!(seen[index]),
                    Err(dropped) => prop_assert_eq!(dropped, Dropped::Unopened),
                }
            }
        }
    }
}
