//! The bodies of the fuzz targets, as plain functions: each takes the fuzzer's bytes and panics when a promise breaks.
//! A stable test runs them on seeded inputs; the fuzz folder wraps them. No part of the stable interface.

use std::{
    fmt,
    time::{Duration, Instant},
};

use chacha20::ChaCha8Rng;
use rand_core::SeedableRng;

use crate::{
    config::Config,
    connection::{Connection, Negotiated},
    crypto::{
        Channel, Secret, SecretKey, Side, Split,
        aead::{block_mask, open_in_place, open_packet_in_place, seal_in_place, seal_packet_in_place},
    },
    delivery::{Guarantee, recv::Place},
    ticket::{Ticket, TicketAddress, TicketError, TicketKey, TicketKeys, TicketProfile, TicketScope},
    window::Window1024,
    wire::{
        ack,
        codec::Writer,
        frame::{Checked, Frame, Frames, check, encode},
        message::{Context, MessageFrame, Numbers, Part},
    },
};

/// Reads `data` as the payload of a packet; what is accepted must be the one encoding of its frames.
///
/// # Panics
/// When an accepted payload is written differently from how it was read.
pub fn frames(data: &[u8]) {
    let accepted = check(data).is_ok();
    let mut again = vec![0; data.len()];
    let mut writer = Writer::new(&mut again);
    let mut context = Context::default();
    for frame in Frames::new(data) {
        match frame {
            Ok(frame) => assert_eq!(encode(&frame, &mut context, &mut writer), Ok(()), "{frame:?}"),
            Err(_) => assert!(!accepted, "an accepted payload decodes whole"),
        }
    }
    let written = writer.written();
    assert_eq!(data.get(..written), again.get(..written), "a prefix has one encoding");
    assert!(!accepted || written == data.len(), "an accepted payload is read to its end");
}

/// Takes `data` for a script of packets that a malicious peer seals with the real keys: behind the cipher nothing may
/// panic and nothing may grow beyond its bound.
///
/// Each step is `op u8`: below 0xe0 a packet whose payload are the next bytes (count: `op`, times 4 from 0x80 on), 0xe0
/// and up time, messages of our own and acknowledged packets.
///
/// # Panics
/// When memory passes its bound.
pub fn sealed_frames(data: &[u8]) {
    let mut now = start();
    let config = Config { receive_window_bytes: 64 << 10, unreliable_memory_bytes: 16 << 10, ..small() };
    let (mut evil, mut honest) = PacketPair::two(now);
    let mut connection = Connection::new(&std::sync::Arc::new(config.clone()));
    connection.start(now, &negotiated(&config), 0);
    let (mut rest, mut violations) = (data, 0);
    let mut outgoing = [0; 1_200];
    while let Some((&op, after)) = rest.split_first() {
        rest = after;
        match op {
            0..0xe0 => {
                let len = if op < 0x80 { usize::from(op) } else { usize::from(op - 0x7f) * 4 };
                let (payload, after) = rest.split_at(len.min(rest.len()));
                rest = after;
                violations += u32::from(!deliver(&mut evil, &mut honest, &mut connection, now, payload));
            }
            0xe0..0xf0 => {
                now += Duration::from_millis(1 << (op - 0xe0));
                connection.handle_timeout(now);
            }
            0xf0..0xf8 => {
                let guarantee = [Guarantee::None, Guarantee::Order, Guarantee::Delivery]
                    .get(usize::from(op % 3))
                    .copied()
                    .unwrap_or(Guarantee::Delivery);
                // A full queue is an answer, not a fault.
                let bytes = data.get(..usize::from(op) * 8).unwrap_or(data);
                let (Ok(_) | Err(_)) = connection.send(0, guarantee, bytes);
            }
            _ => {
                connection.flush();
                for _ in 0..4 {
                    let number = honest.channel.seal.next_number();
                    let (_, room) = outgoing.split_at_mut(4);
                    let len = connection.transmit(now, number, room.get_mut(..1_180).unwrap_or_default());
                    if len == 0 {
                        break;
                    }
                    assert!(honest.seal(outgoing.get_mut(..len + 20).unwrap_or_default()));
                }
            }
        }
        assert!(
            connection.held_bytes() <= (64 << 10) + (16 << 10) + 4_096,
            "{} bytes held",
            connection.held_bytes()
        );
        if violations >= 8 {
            break;
        }
    }
}

/// Seals a payload as the peer, opens it here and lets the connection have it. False for a violation.
fn deliver(
    evil: &mut PacketPair,
    honest: &mut PacketPair,
    connection: &mut Connection,
    now: Instant,
    payload: &[u8],
) -> bool {
    let mut packet = [&[0; 4], payload, &[0; 16]].concat();
    if payload.is_empty() || !evil.seal(&mut packet) {
        return true;
    }
    let opened = honest.channel.open.open(now, Duration::from_secs(1), &[], &mut packet);
    let Ok(opened) = opened else { unreachable!("what the peer sealed opens") };
    let (number, payload) = (opened.number, opened.payload.to_vec());
    let taken = connection.receive(now, number, &payload, 4).is_ok();
    while let Some(ready) = connection.pop() {
        match ready.place {
            Place::Datagram { start, len } => assert!(start + len <= payload.len() + 4),
            Place::Stored(handle) => {
                assert!(connection.stored(handle).len() <= 1 << 20);
                connection.release(handle);
            }
        }
    }
    taken
}

/// Hands `data` as a datagram to an established session: it must not open, must stay as it came, and must not keep the
/// honest packets before and after it from being accepted.
///
/// # Panics
/// When one of these breaks.
pub fn datagram_open(data: &[u8]) {
    let (mut peer, mut own) = PacketPair::two(start());
    let mut honest = |own: &mut PacketPair| {
        let mut packet = *b"....an honest payload................";
        assert!(peer.seal(&mut packet));
        assert!(own.open(&mut packet), "an honest packet opens");
    };
    honest(&mut own);
    let mut forged = data.to_vec();
    assert!(!own.open(&mut forged), "what the peer did not seal does not open");
    assert_eq!(forged, data, "a datagram that fails stays as it came");
    honest(&mut own);
}

/// Takes `data` for a key (32 bytes), a nonce (12), how many bytes are associated data, a bit to change (2), and the
/// bytes themselves: the back end of packets and the reference make the same of them, and neither opens what was changed.
///
/// # Panics
/// When one of these breaks, and when a buffer that does not open is written to.
pub fn cipher(data: &[u8]) {
    let mut rest = data;
    let (mut key, mut nonce, mut head) = ([0; 32], [0; 12], [0; 3]);
    for part in [&mut key[..], &mut nonce, &mut head] {
        let (front, after) = rest.split_at(part.len().min(rest.len()));
        part.iter_mut().zip(front).for_each(|(to, from)| *to = *from);
        rest = after;
    }
    let (key, [aad_len, bit @ ..]) = (Secret::take(&mut key), head);
    let (aad, text) = rest.split_at(usize::from(aad_len).min(rest.len()));

    let (mut sealed, mut theirs) = (text.to_vec(), text.to_vec());
    let tag = seal_packet_in_place(&key, &nonce, aad, &mut sealed);
    assert_eq!(seal_in_place(&key, &nonce, aad, &mut theirs), tag);
    assert_eq!(sealed, theirs, "both seal the same");
    let tag = tag.unwrap_or_default();
    assert!(open_packet_in_place(&key, &nonce, aad, &mut theirs, &tag), "what the reference sealed opens");
    assert_eq!(theirs, text, "the text is back");

    let mut forged = [aad, &sealed, &tag].concat();
    let bit = usize::from(u16::from_le_bytes(bit)) % (forged.len() * 8);
    if let Some(byte) = forged.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
    let (aad, rest) = forged.split_at_mut(aad.len());
    let Some((text, tag)) = rest.split_last_chunk_mut() else { unreachable!("a tag was put behind it") };
    let before = text.to_vec();
    assert!(
        !open_packet_in_place(&key, &nonce, aad, text, tag) && !open_in_place(&key, &nonce, aad, text, tag)
    );
    assert_eq!(before, text, "what does not open stays as it came");
}

/// Reads `data` as a ticket, as the text of one, as an address, and as what a backend sealed: what is read has one
/// encoding, and who has no key cannot make a ticket that is accepted.
///
/// # Panics
/// When one of these breaks.
pub fn ticket(data: &[u8]) {
    let text = std::str::from_utf8(data).unwrap_or_default();
    for ticket in [Ticket::from_bytes(data), text.parse()].into_iter().flatten() {
        assert!(ticket.as_bytes().len() <= Ticket::MAX_BYTES && ticket.is_canonical(), "{ticket:?}");
        let copies = [Ticket::from_bytes(ticket.as_bytes()), ticket.to_string().parse()];
        assert!(copies.iter().all(|copy| copy.as_ref() == Ok(&ticket)), "{ticket:?}");
    }
    if let Ok(address) = text.parse::<TicketAddress>() {
        assert_eq!(address.to_string().parse().as_ref(), Ok(&address));
    }

    let server = SecretKey::from_bytes([1; 32]).public_key();
    let player = SecretKey::from_bytes([2; 32]).public_key();
    let here = TicketScope { app_id: b"", profile: TicketProfile::ClientAuth, server: &server, route: b"" };
    let keys = TicketKeys::new(TicketKey::from_bytes([7; 32]));
    let check = |ticket: &[u8]| keys.check(ticket, &here, Some(&player), 1 << 40, |_| false);
    assert!(check(data).is_err(), "a ticket that nobody sealed");

    let builder = Ticket::builder(here.profile, server).expires(1 << 41);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    match builder.seal_bytes(&mut rng, &TicketKey::from_bytes([7; 32]), data) {
        Ok(ticket) => {
            if let Ok(admission) = check(ticket.as_bytes()) {
                let named = admission.player.map(|_| player);
                let (flag, named): (u8, &[u8]) = named.as_ref().map_or((0, &[]), |key| (32, key.as_bytes()));
                let issued = admission.issued.to_le_bytes();
                let again = [&admission.id[..], &issued, &[flag], named, &admission.user_data].concat();
                assert_eq!(again, data, "a grant has one encoding");
            }
        }
        Err(error) => assert_eq!(error, TicketError::TooLong),
    }
}

/// Any fixed moment does: only differences count.
#[expect(clippy::disallowed_methods, reason = "no session's time, only a starting point for one")]
fn start() -> Instant {
    Instant::now()
}

fn small() -> Config {
    Config {
        max_message_bytes: 32 << 10,
        max_unreliable_bytes: 8 << 10,
        send_queue_bytes: 256 << 10,
        send_queue_messages: 1_024,
        ..Config::default()
    }
}

fn negotiated(config: &Config) -> Negotiated {
    Negotiated {
        idle_timeout: config.idle_timeout,
        max_datagram: config.max_datagram_bytes,
        max_fragments: config.max_fragments,
        max_message: config.max_message_bytes,
        overhead: 20,
    }
}

/// One end of a session's packet protection under fixed keys, for benchmarks.
pub struct PacketPair {
    channel: Channel,
    now: Instant,
}

impl fmt::Debug for PacketPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PacketPair(..)")
    }
}

impl PacketPair {
    /// The two ends of one session.
    #[must_use]
    pub fn two(now: Instant) -> (Self, Self) {
        let end = |side| {
            let split =
                Split { i2r: Secret::take(&mut [1; 32]), r2i: Secret::take(&mut [2; 32]), hash: [3; 32] };
            Self { channel: Channel::derive(&split, side), now }
        };
        (end(Side::Initiator), end(Side::Responder))
    }

    /// Seals `packet` in place: 4 bytes of room, plaintext, 16 bytes of room. False when that cannot be.
    #[must_use]
    pub fn seal(&mut self, packet: &mut [u8]) -> bool {
        self.channel.seal.seal(&[], packet).is_ok()
    }

    /// Opens `packet` in place. False when it is dropped.
    #[must_use]
    pub fn open(&mut self, packet: &mut [u8]) -> bool {
        self.channel.open.open(self.now, Duration::from_secs(1), &[], packet).is_ok()
    }
}

/// The cipher of packets by itself, for benchmarks, and for a loop that is to pay for it what a session pays.
pub struct PacketCipher(Secret<32>);

impl fmt::Debug for PacketCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PacketCipher(..)")
    }
}

impl PacketCipher {
    /// Under this key.
    #[must_use]
    pub fn new(mut key: [u8; 32]) -> Self {
        Self(Secret::take(&mut key))
    }

    /// Encrypts in place and returns the tag.
    #[must_use]
    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> Option<[u8; 16]> {
        seal_packet_in_place(&self.0, nonce, aad, text)
    }

    /// Verifies, then decrypts in place. False, and nothing written, when the tag is another.
    #[must_use]
    pub fn open(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], tag: &[u8; 16]) -> bool {
        open_packet_in_place(&self.0, nonce, aad, text, tag)
    }

    /// The mask that a header with this tag has, were this the key of headers.
    #[must_use]
    pub fn mask(&self, sample: &[u8; 16]) -> [u8; 4] {
        block_mask(&self.0, sample)
    }
}

/// The payload of a usual packet, for benchmarks: an acknowledgement and one message of each guarantee.
#[derive(Debug)]
pub struct UsualPayload(Vec<u8>);

impl UsualPayload {
    /// With messages of so many bytes.
    ///
    /// # Panics
    /// When the bytes pass 1,000 in all.
    #[must_use]
    pub fn new(message_bytes: usize) -> Self {
        let (mut payload, bytes) = (vec![0; 1_160], vec![7; message_bytes]);
        let (mut writer, mut context) = (Writer::new(&mut payload), Context::default());
        let ranges = [9_990..=10_000, 9_900..=9_980].into_iter();
        assert_eq!(ack::encode(&mut writer, 400, ranges, ack::MAX_RANGES), Ok(()));
        let (set, base, part) = (4_000, 3_000, Part::Whole);
        let delivery = Numbers::Delivery { set, base, index: base + 1 };
        for numbers in [Numbers::None, Numbers::Order { set, base }, delivery] {
            let frame = MessageFrame { lane: 0, numbers, id: None, life: None, part, bytes: &bytes };
            assert_eq!(encode(&Frame::Message(frame), &mut context, &mut writer), Ok(()));
        }
        let written = writer.written();
        payload.truncate(written);
        Self(payload)
    }

    /// Checks the payload as a whole and looks at each frame, as for a packet that was opened. Bytes of messages.
    #[must_use]
    pub fn read(&self) -> usize {
        let Ok(frames) = Checked::new(&self.0) else { return 0 };
        frames
            .map(|(frame, _)| if let Frame::Message(message) = frame { message.bytes.len() } else { 0 })
            .sum()
    }

    /// Its frames, to be written again.
    #[must_use]
    pub fn frames(&self) -> UsualFrames<'_> {
        UsualFrames(Frames::new(&self.0).flatten().collect())
    }
}

/// Those of a [`UsualPayload`].
#[derive(Debug)]
pub struct UsualFrames<'a>(Vec<Frame<'a>>);

impl UsualFrames<'_> {
    /// Writes all of them. How many bytes that took; 0 when there is no room.
    #[must_use]
    pub fn write(&self, into: &mut [u8]) -> usize {
        let (mut writer, mut context) = (Writer::new(into), Context::default());
        let all = self.0.iter().all(|frame| encode(frame, &mut context, &mut writer).is_ok());
        if all { writer.written() } else { 0 }
    }
}

/// The replay window of packet numbers, for benchmarks.
#[derive(Debug, Default)]
pub struct ReplayWindow(Window1024);

impl ReplayWindow {
    /// Whether the number is new; it is not from then on.
    pub fn take(&mut self, number: u64) -> bool {
        self.0.check_and_set(number).is_ok()
    }
}
