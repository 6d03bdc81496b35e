//! What two endpoints tell each other about themselves in the handshake, and the range checks on it. PROTOCOL.md,
//! "Hello". Knows nothing of keys; a value that passed the checks here is safe to compute with.

use super::{
    Malformed, NoRoom,
    codec::{Reader, Writer},
    frame::{CID_LEN, read_cid, write_cid},
    message::MAX_TOTAL,
};
use crate::config::Config;

/// Length of a `Hello`, in bytes.
pub(crate) const HELLO_LEN: usize = 24;
/// Longest payload that goes with a `Hello`: the id by which the responder wants to be addressed.
pub(crate) const ANSWER_LEN: usize = HELLO_LEN + 1 + CID_LEN;
/// The wire version spoken here.
pub(crate) const WIRE_VERSION: u8 = 1;

const PARAMS_VERSION: u16 = 1;
const MIN_IDLE_TIMEOUT_MS: u32 = 1_000;
const MAX_IDLE_TIMEOUT_MS: u32 = 600_000;
const RESERVED: [u8; 6] = [0; 6];

/// The range of wire versions that a peer speaks. Alone the payload of the first message of the XX patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) min: u8,
    pub(crate) max: u8,
}

impl Versions {
    /// Length of the encoding, in bytes.
    pub(crate) const LEN: usize = 2;

    /// What this implementation speaks.
    pub(crate) const OWN: Self = Self { min: WIRE_VERSION, max: WIRE_VERSION };

    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        [self.min, self.max]
    }

    /// Checks that the range is one and that version 1, which carried it, is in it.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        match *bytes {
            [min, max] if (1..=WIRE_VERSION).contains(&min) && max >= WIRE_VERSION => Ok(Self { min, max }),
            _ => Err(Malformed),
        }
    }
}

/// The limits of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) versions: Versions,
    /// No bit has a meaning yet; unknown ones are ignored.
    pub(crate) flags: u16,
    /// Largest datagram that it sends or accepts, in bytes.
    pub(crate) max_datagram: u16,
    /// 1,000 to 600,000.
    pub(crate) idle_timeout_ms: u32,
    /// 1 to 65,535.
    pub(crate) max_fragments: u16,
    /// Largest message, in bytes. 1 to 16 MiB.
    pub(crate) max_message: u32,
}

impl Hello {
    /// What an endpoint with this configuration, which was checked, says of itself.
    pub(crate) fn new(config: &Config) -> Self {
        let idle_timeout = u32::try_from(config.idle_timeout.as_millis()).unwrap_or(MAX_IDLE_TIMEOUT_MS);
        Self {
            versions: Versions::OWN,
            flags: 0,
            max_datagram: config.max_datagram_bytes,
            idle_timeout_ms: idle_timeout.clamp(MIN_IDLE_TIMEOUT_MS, MAX_IDLE_TIMEOUT_MS),
            max_fragments: config.max_fragments,
            max_message: config.max_message_bytes,
        }
    }

    /// What holds between two sides: the smaller of each limit, and the flags that both set.
    pub(crate) fn agreed(&self, peer: &Self) -> Self {
        Self {
            versions: Versions {
                min: self.versions.min.max(peer.versions.min),
                max: self.versions.max.min(peer.versions.max),
            },
            flags: self.flags & peer.flags,
            max_datagram: self.max_datagram.min(peer.max_datagram),
            idle_timeout_ms: self.idle_timeout_ms.min(peer.idle_timeout_ms),
            max_fragments: self.max_fragments.min(peer.max_fragments),
            max_message: self.max_message.min(peer.max_message),
        }
    }

    pub(crate) fn write(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.u16(PARAMS_VERSION)?;
        writer.bytes(&self.versions.to_bytes())?;
        writer.u16(self.flags)?;
        writer.u16(self.max_datagram)?;
        writer.u32(self.idle_timeout_ms)?;
        writer.u16(self.max_fragments)?;
        writer.u32(self.max_message)?;
        writer.bytes(&RESERVED)
    }

    /// Reads and checks all ranges; `handshake_bytes` is the own configured size of first handshake datagrams.
    pub(crate) fn read(reader: &mut Reader<'_>, handshake_bytes: u16) -> Result<Self, Malformed> {
        let params = reader.u16()?;
        let hello = Self {
            versions: Versions::from_bytes(reader.bytes(Versions::LEN)?)?,
            flags: reader.u16()?,
            max_datagram: reader.u16()?,
            idle_timeout_ms: reader.u32()?,
            max_fragments: reader.u16()?,
            max_message: reader.u32()?,
        };
        let in_range = params == PARAMS_VERSION
            && reader.array()? == RESERVED
            && hello.max_datagram >= handshake_bytes
            && (MIN_IDLE_TIMEOUT_MS..=MAX_IDLE_TIMEOUT_MS).contains(&hello.idle_timeout_ms)
            && hello.max_fragments >= 1
            && (1..=MAX_TOTAL).contains(&hello.max_message);
        if in_range { Ok(hello) } else { Err(Malformed) }
    }

    /// The bytes of an initiator's payload.
    pub(crate) fn to_bytes(self) -> [u8; HELLO_LEN] {
        let mut bytes = [0; HELLO_LEN];
        let written = self.write(&mut Writer::new(&mut bytes));
        debug_assert_eq!(written, Ok(()));
        bytes
    }

    /// Reads an initiator's payload: a `Hello` and nothing after it.
    pub(crate) fn from_bytes(bytes: &[u8], handshake_bytes: u16) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let hello = Self::read(&mut reader, handshake_bytes)?;
        reader.end()?;
        Ok(hello)
    }
}

/// A responder's payload: its `Hello`, and the id by which it wants to be addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) hello: Hello,
    pub(crate) cid: Option<[u8; CID_LEN]>,
}

impl Answer {
    pub(crate) fn write(&self, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        self.hello.write(writer)?;
        write_cid(self.cid, writer)
    }

    /// Reads the payload, after which nothing may follow.
    pub(crate) fn from_bytes(bytes: &[u8], handshake_bytes: u16) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let hello = Hello::read(&mut reader, handshake_bytes)?;
        let cid = read_cid(&mut reader)?;
        reader.end()?;
        Ok(Self { hello, cid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_has_the_layout_of_the_specification() {
        let hello = Hello::new(&Config::default());
        let bytes = hello.to_bytes();
        assert_eq!(
            hex::encode(bytes),
            "0100010100 00ac05 30750000 ffff 00001000 000000000000".replace(' ', "")
        );
        assert_eq!(Hello::from_bytes(&bytes, 1_200), Ok(hello));
        for len in 0..HELLO_LEN {
            assert_eq!(Hello::from_bytes(&bytes[..len], 1_200), Err(Malformed));
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert_eq!(Hello::from_bytes(&longer, 1_200), Err(Malformed));
    }

    #[test]
    fn a_hello_out_of_range_is_refused() {
        let good = Hello::new(&Config::default());
        let versions = |min, max| Versions { min, max };
        let bad = [
            Hello { versions: versions(0, 1), ..good },
            Hello { versions: versions(2, 2), ..good },
            Hello { versions: versions(1, 0), ..good },
            Hello { max_datagram: 1_199, ..good },
            Hello { idle_timeout_ms: 999, ..good },
            Hello { idle_timeout_ms: 600_001, ..good },
            Hello { max_fragments: 0, ..good },
            Hello { max_message: 0, ..good },
            Hello { max_message: MAX_TOTAL + 1, ..good },
        ];
        for hello in bad {
            assert_eq!(Hello::from_bytes(&hello.to_bytes(), 1_200), Err(Malformed), "{hello:?}");
        }
        for at in [0, 1, 18, 19, 20, 21, 22, 23] {
            let mut bytes = good.to_bytes();
            bytes[at] ^= 2;
            assert_eq!(Hello::from_bytes(&bytes, 1_200), Err(Malformed), "byte {at}");
        }
        let later = Hello { versions: versions(1, 9), flags: 0xffff, ..good };
        assert_eq!(
            Hello::from_bytes(&later.to_bytes(), 1_200),
            Ok(later),
            "later versions and flags are welcome"
        );
    }

    #[test]
    fn the_smaller_limit_holds_for_both() {
        let own =
            Hello { max_datagram: 1_400, idle_timeout_ms: 5_000, flags: 3, ..Hello::new(&Config::default()) };
        let peer = Hello { max_message: 9, max_fragments: 2, flags: 6, ..Hello::new(&Config::default()) };
        let agreed = own.agreed(&peer);
        assert_eq!(agreed, peer.agreed(&own));
        assert_eq!(
            (
                agreed.max_datagram,
                agreed.idle_timeout_ms,
                agreed.max_message,
                agreed.max_fragments,
                agreed.flags
            ),
            (1_400, 5_000, 9, 2, 2)
        );
    }

    #[test]
    fn an_answer_ends_with_an_id_or_none() {
        for cid in [None, Some(*b"12345678")] {
            let answer = Answer { hello: Hello::new(&Config::default()), cid };
            let mut bytes = [0; ANSWER_LEN];
            let mut writer = Writer::new(&mut bytes);
            answer.write(&mut writer).unwrap();
            let len = writer.written();
            assert_eq!(Answer::from_bytes(&bytes[..len], 1_200), Ok(answer));
            for cut in 0..len {
                assert_eq!(Answer::from_bytes(&bytes[..cut], 1_200), Err(Malformed));
            }
            bytes[HELLO_LEN] = 7;
            assert_eq!(Answer::from_bytes(&bytes, 1_200), Err(Malformed));
        }
    }
}
