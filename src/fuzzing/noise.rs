//! Handshake messages: each of each pattern, as it was written, changed, and invented.

use std::sync::OnceLock;

use chacha20::ChaCha8Rng;
use rand_core::SeedableRng;

use super::script::{Script, pick};
use crate::crypto::{Handshake, Keys, Pattern, Secret, SecretKey, Side};

/// What both ends of a test handshake agree on.
const PROLOGUE: &[u8] = b"both must agree on this";
const PSK: [u8; 32] = [0x33; 32];

/// One message of one handshake, and the end that is about to read it.
#[derive(Debug)]
pub struct NoiseCase {
    /// The name of the pattern.
    pub name: &'static str,
    /// Whether the initiator reads.
    pub reader_is_initiator: bool,
    /// The messages before it.
    pub before: Vec<Vec<u8>>,
    /// The message itself, as an honest end wrote it.
    pub message: Vec<u8>,
    /// What comes of reading it.
    honest: Option<(Vec<u8>, [u8; 32])>,
    reader: Handshake,
    pattern: Pattern,
}

impl NoiseCase {
    /// Each message of each pattern.
    pub fn all() -> &'static [Self] {
        static ALL: OnceLock<Vec<NoiseCase>> = OnceLock::new();
        ALL.get_or_init(|| Pattern::ALL.iter().flat_map(|pattern| Self::of(*pattern)).collect())
    }

    fn of(pattern: Pattern) -> Vec<Self> {
        (0..pattern.messages().len()).map(|index| Self::at(pattern, index)).collect()
    }

    fn at(pattern: Pattern, index: usize) -> Self {
        let [mut initiator, mut responder] =
            [Side::Initiator, Side::Responder].map(|side| end(pattern, side));
        let mut before = Vec::new();
        loop {
            let from_initiator = before.len() % 2 == 0;
            let (writer, reader) = if from_initiator {
                (&mut initiator, &mut responder)
            } else {
                (&mut responder, &mut initiator)
            };
            let mut out = [0; 256];
            let mut rng = ChaCha8Rng::from_seed(Self::ephemeral(from_initiator));
            let written = writer.write(&mut rng, Self::PAYLOAD, &mut out);
            let message = written.ok().and_then(|len| out.get(..len)).unwrap_or_default().to_vec();
            if before.len() == index {
                let reader = if from_initiator { responder } else { initiator };
                let name = pattern.name();
                let reader_is_initiator = !from_initiator;
                let honest = None;
                let mut case = Self { name, reader_is_initiator, before, message, honest, reader, pattern };
                case.honest = case.read(&case.message);
                let payload = case.honest.as_ref().map(|(payload, _)| &payload[..]);
                assert_eq!(payload, Some(Self::PAYLOAD), "{case:?}");
                return case;
            }
            let Ok((next, _)) = reader.read(&message, &mut [0; 256]) else { unreachable!("{pattern:?}") };
            *reader = next;
            before.push(message);
        }
    }

    /// The payload of every message.
    pub const PAYLOAD: &'static [u8] = b"an honest payload";

    /// The prologue of every handshake.
    pub const PROLOGUE: &'static [u8] = PROLOGUE;

    /// The psk, where the pattern has one.
    #[must_use]
    pub fn psk(&self) -> Option<[u8; 32]> {
        self.pattern.has_psk().then_some(PSK)
    }

    /// The secret static key of the reader, and the public one of the other side, where the pattern has them beforehand.
    #[must_use]
    pub fn keys(&self) -> (Option<[u8; 32]>, Option<[u8; 32]>) {
        let side = if self.reader_is_initiator { Side::Initiator } else { Side::Responder };
        let [own, other] = statics(side);
        let (has, knows) = has(self.pattern, side);
        (has.then(|| *own.expose_bytes()), knows.then(|| *other.public_key().as_bytes()))
    }

    /// The seed of the generator that a side's ephemeral key is drawn from.
    #[must_use]
    pub fn ephemeral(of_initiator: bool) -> [u8; 32] {
        [if of_initiator { 0x44 } else { 0x55 }; 32]
    }

    /// The reader's ephemeral secret key.
    #[must_use]
    pub fn reader_ephemeral(&self) -> [u8; 32] {
        let mut rng = ChaCha8Rng::from_seed(Self::ephemeral(self.reader_is_initiator));
        SecretKey::from_rng(&mut rng).map_or([0; 32], |key| *key.expose_bytes())
    }

    /// Reads `message`: the payload and the hash of all so far, if it is accepted.
    #[must_use]
    pub fn read(&self, message: &[u8]) -> Option<(Vec<u8>, [u8; 32])> {
        let mut payload = [0; 1_024];
        let (next, len) = self.reader.read(message, &mut payload).ok()?;
        Some((payload.get(..len)?.to_vec(), next.hash()))
    }

    /// Whether nothing in the message is authenticated: message 1 of XX.
    fn is_open(&self) -> bool {
        self.pattern == Pattern::Xx && self.before.is_empty()
    }
}

/// The own key and that of the other side.
fn statics(side: Side) -> [SecretKey; 2] {
    let [initiator, responder] = [0x11, 0x22].map(|byte| SecretKey::from_bytes([byte; 32]));
    if side == Side::Initiator { [initiator, responder] } else { [responder, initiator] }
}

/// Whether this side has a static key, and whether it knows that of the other.
fn has(pattern: Pattern, side: Side) -> (bool, bool) {
    match side {
        Side::Initiator => (pattern.initiator_has_static(), pattern.knows_responder()),
        Side::Responder => (pattern.responder_has_static(), pattern.knows_initiator()),
    }
}

fn end(pattern: Pattern, side: Side) -> Handshake {
    let [own, other] = statics(side);
    let (has, knows) = has(pattern, side);
    let (public, psk) = (other.public_key(), Secret::take(&mut PSK.clone()));
    let keys = Keys {
        local: has.then_some(&own),
        remote: knows.then_some(&public),
        psk: pattern.has_psk().then_some(&psk),
        static_static: None,
    };
    Handshake::new(pattern, side, PROLOGUE, keys).unwrap_or_else(|error| unreachable!("{error:?}"))
}

/// Takes the first byte for a message of a handshake and the rest for the message itself, raw. Whatever it is, the honest
/// one is read afterwards, with the same result.
///
/// # Panics
/// When that breaks, or something else is read that only a holder of keys can write.
pub fn noise_read(data: &[u8]) {
    let mut script = Script::new(data);
    let Some(case) = pick(NoiseCase::all(), script.byte()) else { return };
    judge(case, script.rest());
}

/// Takes the first byte for a message of a handshake and the rest for a script of changes to it. Reading is judged as in
/// [`noise_read`].
///
/// # Panics
/// As [`noise_read`].
pub fn noise_read_structured(data: &[u8]) {
    let mut script = Script::new(data);
    let Some(case) = pick(NoiseCase::all(), script.byte()) else { return };
    let mut message = case.message.clone();
    while let Some(op) = script.next() {
        let at = usize::from(script.byte()).checked_rem(message.len()).unwrap_or_default();
        match op >> 5 {
            0 | 1 => message.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (op & 7)),
            2 => message.truncate(at),
            3 => message.extend_from_slice(script.take((op & 31).into())),
            // Points of low order, as an ephemeral key or in place of a static one.
            4 => message.iter_mut().skip(at / 32 * 32).take(32).for_each(|byte| *byte = 0),
            5 => message
                .iter_mut()
                .skip(at / 32 * 32)
                .take(32)
                .zip(low_order(op & 7))
                .for_each(|(to, from)| *to = from),
            // A part of another message.
            6 => {
                let other = pick(NoiseCase::all(), op & 31).map_or(&[][..], |other| &other.message);
                message.iter_mut().zip(other).skip(at).for_each(|(to, from)| *to = *from);
            }
            _ => message.rotate_left(at),
        }
        message.truncate(2_048);
    }
    judge(case, &message);
}

/// Values of X25519 with which every agreement is zero, and one that is no canonical value.
fn low_order(which: u8) -> [u8; 32] {
    let mut value = [0; 32];
    match which {
        0 => {}
        1 => value[0] = 1,
        _ => {
            // p - 1, p, p + 1, and so on.
            value = [0xff; 32];
            value[0] = 0xea + which;
            value[31] = 0x7f;
        }
    }
    value
}

/// Whether X25519 gives zero with this value, whatever the other key is: 0, 1, and p - 1 to p + 1. (The two of order
/// eight have no such short form.)
fn is_small(key: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = key;
    let (zero, full) = (middle.iter().all(|byte| *byte == 0), middle.iter().all(|byte| *byte == 0xff));
    match last & 0x7f {
        0 => zero && *first < 2,
        0x7f => full && (0xec..=0xee).contains(first),
        _ => false,
    }
}

fn judge(case: &NoiseCase, message: &[u8]) {
    let read = case.read(message);
    assert!(
        case.is_open() || message == case.message || read.is_none(),
        "{case:?}: a forged message was read"
    );
    if let (true, Some((payload, _))) = (case.is_open(), read) {
        assert_eq!(message.get(32..), Some(&payload[..]), "{case:?}");
        // A key that agrees with every other on zero gets no answer: the first agreement fails.
        let answer = case.reader.read(message, &mut [0; 1_024]).ok().and_then(|(mut next, _)| {
            let key = message.first_chunk().filter(|key| is_small(key))?;
            next.write(&mut ChaCha8Rng::from_seed(*key), &[], &mut [0; 256]).ok()
        });
        assert_eq!(answer, None, "{case:?}: {message:02x?}");
    }
    assert_eq!(case.read(&case.message), case.honest, "a read changed the state");
}
