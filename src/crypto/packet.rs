//! Sealed packets: a masked word of epoch and number, the ciphertext, the tag. PROTOCOL.md, "Sealed packets". Must not
//! know frames, addresses or clocks. No number is sealed twice, no packet is opened twice, and nothing changes by a
//! packet whose tag does not verify.

use std::time::{Duration, Instant};

use super::{
    Secret,
    aead::{TAG_LEN, block_mask, open_in_place, seal_in_place},
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
        Self { header: traffic.header_key(), current: traffic.packet_key(), traffic, epoch: 0, next: 0 }
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
        let tag =
            seal_in_place(&self.current.key, &nonce, associated.as_bytes(), text).ok_or(SealError::Length)?;
        *word_out = masked(word, block_mask(&self.header, &tag));
        *tag_out = tag;
        Ok(number)
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
    /// Of the next epoch; its key is made ahead, so that a step takes no longer than any other packet.
    next_traffic: Traffic,
    previous: Option<Previous>,
    current: PacketKey,
    next: PacketKey,
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
    pub(super) fn new(traffic: &Traffic) -> Self {
        let next_traffic = traffic.next();
        Self {
            header: traffic.header_key(),
            previous: None,
            current: traffic.packet_key(),
            next: next_traffic.packet_key(),
            next_traffic,
            epoch: 0,
            window: Window1024::new(),
            range: None,
            floor: None,
            last_step: None,
        }
    }

    /// The highest number opened.
    pub(crate) const fn highest(&self) -> Option<u64> {
        self.window.highest()
    }

    /// The peer's epoch, as far as it is known.
    pub(crate) const fn epoch(&self) -> u32 {
        self.epoch
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
        let key = match (slot, &self.previous) {
            (Slot::Previous, Some(previous)) => &previous.key,
            (Slot::Next, _) => &self.next,
            (Slot::Previous | Slot::Current | Slot::Unknown, _) => &self.current,
        };

        // 4. Open in place, or leave everything as it was.
        let associated = Associated::new(prefix, word).ok_or(Dropped::Length)?;
        let opened = open_in_place(&key.key, &nonce(&key.iv, number), associated.as_bytes(), payload, tag);
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
        Ok(Opened { number, payload, newest, _made_here: () })
    }

    fn slot(&self, epoch_bits: u8, now: Instant) -> Slot {
        let bits = u32::from(epoch_bits);
        let previous_lives = self.previous.as_ref().is_some_and(|previous| now < previous.until);
        if bits == self.epoch & 3 {
            Slot::Current
        } else if bits == self.epoch.wrapping_add(1) & 3 {
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
                let after_next = self.next_traffic.next();
                let next = std::mem::replace(&mut self.next, after_next.packet_key());
                let key = std::mem::replace(&mut self.current, next);
                self.next_traffic = after_next;
                let until = now.checked_add(keep_previous.min(MAX_KEEP_PREVIOUS));
                self.previous = until.map(|until| Previous { key, until });
                self.floor = self.floor.max(self.range.map(|(_, highest)| highest));
                self.range = Some((number, number));
                self.epoch = self.epoch.wrapping_add(1);
                self.last_step = Some(now);
            }
        }
    }
}
