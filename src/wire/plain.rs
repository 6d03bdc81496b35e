//! The datagrams of the plain endpoint: a checksum that keeps strays and corruption out, and the opening. PROTOCOL.md,
//! "Plain endpoint". Protects against nobody; knows no session, only the bytes.

use crc::{CRC_32_ISCSI, Crc, Digest, Table};

use super::{
    Malformed, NoRoom,
    codec::{Reader, Writer},
    header::low_bits,
    hello::{HELLO_LEN, Hello, WIRE_VERSION},
};

/// Bytes before the frames: checksum, session id, packet number.
pub(crate) const HEADROOM: usize = 16;
/// Length of a datagram of the opening, in bytes.
pub(crate) const OPENING_LEN: usize = 4 + 8 + 1 + 1 + 8 + 8 + HELLO_LEN;

const LABEL: &[u8] = b"sealgram/1 plain";
const HELLO: u8 = 1;
const ANSWER: u8 = 2;
const CONFIRM: u8 = 3;

static CASTAGNOLI: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// CRC-32C that has already seen the label and the app id.
#[derive(Clone)]
pub(crate) struct Checksum(Digest<'static, u32, Table<16>>);

impl std::fmt::Debug for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Checksum")
    }
}

/// A datagram whose checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Datagram<'a> {
    Opening(Opening),
    Packet {
        /// The receiver's session id; never 0.
        session: u64,
        /// The low 32 bits of the packet number; see [`decode_number_32`](super::header::decode_number_32).
        truncated: u32,
        /// Never empty; begins at [`HEADROOM`].
        payload: &'a [u8],
    },
}

/// One of the flights that exchange session ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    /// The sender's session id; never 0.
    pub(crate) own: u64,
    pub(crate) step: Step,
    pub(crate) hello: Hello,
}

/// Which flight, and the receiver's id that it echoes; an echo is never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Dials.
    Hello,
    /// Answers a hello.
    Answer(u64),
    /// Says that an answer, or a hello that crossed our own, was heard; repeated until a packet comes.
    Confirm(u64),
}

impl Checksum {
    /// `app_id` is at most 32 bytes.
    pub(crate) fn new(app_id: &[u8]) -> Self {
        let mut digest = CASTAGNOLI.digest();
        digest.update(LABEL);
        digest.update(&[u8::try_from(app_id.len()).unwrap_or(u8::MAX)]);
        digest.update(app_id);
        Self(digest)
    }

    fn of(&self, bytes: &[u8]) -> [u8; 4] {
        let mut digest = self.0.clone();
        digest.update(bytes);
        digest.finalize().to_le_bytes()
    }

    /// Writes the header of a packet into the first [`HEADROOM`] bytes of `datagram`, whose frames are in place.
    ///
    /// `NoRoom`: no frames, or `session` is 0.
    pub(crate) fn seal(&self, session: u64, number: u64, datagram: &mut [u8]) -> Result<(), NoRoom> {
        if session == 0 || datagram.len() <= HEADROOM {
            return Err(NoRoom);
        }
        let (checksum, rest) = datagram.split_first_chunk_mut::<4>().ok_or(NoRoom)?;
        let mut writer = Writer::new(rest);
        writer.u64(session)?;
        writer.u32(low_bits::<32>(number))?;
        *checksum = self.of(rest);
        Ok(())
    }

    /// Builds a datagram of the opening.
    pub(crate) fn seal_opening(&self, opening: &Opening) -> Result<[u8; OPENING_LEN], NoRoom> {
        let mut datagram = [0; OPENING_LEN];
        let (checksum, rest) = datagram.split_first_chunk_mut::<4>().ok_or(NoRoom)?;
        let (kind, echo) = match opening.step {
            Step::Hello => (HELLO, 0),
            Step::Answer(id) => (ANSWER, id),
            Step::Confirm(id) => (CONFIRM, id),
        };
        if opening.own == 0 || (kind != HELLO && echo == 0) {
            return Err(NoRoom);
        }
        let mut writer = Writer::new(rest);
        writer.u64(0)?;
        writer.u8(kind)?;
        writer.u8(WIRE_VERSION)?;
        writer.u64(opening.own)?;
        writer.u64(echo)?;
        opening.hello.write(&mut writer)?;
        *checksum = self.of(rest);
        Ok(datagram)
    }

    /// Reads a datagram. `handshake_bytes` as in [`Hello::read`].
    pub(crate) fn open<'a>(
        &self,
        datagram: &'a [u8],
        handshake_bytes: u16,
    ) -> Result<Datagram<'a>, Malformed> {
        let (checksum, rest) = datagram.split_first_chunk::<4>().ok_or(Malformed)?;
        if self.of(rest) != *checksum {
            return Err(Malformed);
        }
        let mut reader = Reader::new(rest);
        match reader.u64()? {
            0 => Opening::read(reader, handshake_bytes).map(Datagram::Opening),
            session => {
                let truncated = reader.u32()?;
                let payload = reader.rest();
                if payload.is_empty() {
                    Err(Malformed)
                } else {
                    Ok(Datagram::Packet { session, truncated, payload })
                }
            }
        }
    }
}

impl Opening {
    fn read(mut reader: Reader<'_>, handshake_bytes: u16) -> Result<Self, Malformed> {
        let kind = reader.u8()?;
        if reader.u8()? != WIRE_VERSION {
            return Err(Malformed);
        }
        let own = reader.u64()?;
        let step = match (kind, reader.u64()?) {
            (HELLO, 0) => Step::Hello,
            (ANSWER, id) if id != 0 => Step::Answer(id),
            (CONFIRM, id) if id != 0 => Step::Confirm(id),
            _ => return Err(Malformed),
        };
        let hello = Hello::read(&mut reader, handshake_bytes)?;
        reader.end()?;
        if own == 0 { Err(Malformed) } else { Ok(Self { own, step, hello }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// CRC-32C by its definition, a bit at a time.
    fn crc32c(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
        })
    }

    #[test]
    fn the_checksum_is_crc_32c_over_label_app_id_and_datagram() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        let mut datagram = [0xee; HEADROOM + 33];
        Checksum::new(b"game").seal(0x0102_0304_0506_0708, 0x1_0000_0009, &mut datagram).unwrap();
        assert_eq!(datagram[4..16], [8, 7, 6, 5, 4, 3, 2, 1, 9, 0, 0, 0]);
        let all = [&b"sealgram/1 plain\x04game"[..], &datagram[4..]].concat();
        assert_eq!(datagram[..4], crc32c(&all).to_le_bytes());
    }

    /// PROTOCOL.md, "Plain endpoint", the examples; computed by an independent program.
    #[test]
    fn the_examples_of_the_specification_hold() {
        let checksum = Checksum::new(b"game");
        let hello = Hello { max_datagram: 1_200, ..Hello::new(&Config::default()) };
        let (own, peer) = (0x1112_1314_1516_1718, 0x2122_2324_2526_2728);
        let opening = |own, step| checksum.seal_opening(&Opening { own, step, hello }).unwrap();
        assert_eq!(
            hex::encode(opening(own, Step::Hello)),
            "a44dffe80000000000000000010118171615141312110000000000000000\
             010001010000b00430750000ffff00001000000000000000"
        );
        assert_eq!(
            hex::encode(opening(peer, Step::Answer(own))),
            "f76d1f160000000000000000020128272625242322211817161514131211\
             010001010000b00430750000ffff00001000000000000000"
        );
        let mut packet = [1; HEADROOM + 1];
        checksum.seal(peer, 7, &mut packet).unwrap();
        assert_eq!(hex::encode(packet), "3651df4228272625242322210700000001");
    }

    #[test]
    fn a_packet_is_read_back_by_the_same_application_only() {
        let checksum = Checksum::new(b"game");
        let mut datagram = [1; HEADROOM + 5];
        checksum.seal(77, (9 << 32) + 5, &mut datagram).unwrap();
        let packet = Datagram::Packet { session: 77, truncated: 5, payload: &[1; 5] };
        assert_eq!(checksum.open(&datagram, 1_200), Ok(packet));
        for other in [&b""[..], b"gam", b"game2"] {
            assert_eq!(Checksum::new(other).open(&datagram, 1_200), Err(Malformed));
        }
        assert_eq!(checksum.seal(0, 5, &mut datagram), Err(NoRoom));
        assert_eq!(checksum.seal(77, 5, &mut [0; HEADROOM]), Err(NoRoom));
    }

    #[test]
    fn a_flipped_bit_or_a_cut_is_noticed() {
        let checksum = Checksum::new(b"");
        let mut packet = [1; HEADROOM + 20];
        checksum.seal(77, 5, &mut packet).unwrap();
        let hello = Hello::new(&Config::default());
        let opening = checksum.seal_opening(&Opening { own: 5, step: Step::Answer(6), hello }).unwrap();
        for datagram in [&packet[..], &opening] {
            for bit in 0..8 * datagram.len() {
                let mut changed = datagram.to_vec();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(checksum.open(&changed, 1_200), Err(Malformed));
            }
            for len in 0..datagram.len() {
                assert_eq!(checksum.open(&datagram[..len], 1_200), Err(Malformed));
            }
        }
    }

    #[test]
    fn an_opening_is_read_back_and_checked() {
        let checksum = Checksum::new(b"game");
        let hello = Hello::new(&Config::default());
        for step in [Step::Hello, Step::Answer(u64::MAX), Step::Confirm(1)] {
            let opening = Opening { own: 1 << 63, step, hello };
            let datagram = checksum.seal_opening(&opening).unwrap();
            assert_eq!(checksum.open(&datagram, 1_200), Ok(Datagram::Opening(opening)));
            // (offset, value) pairs that break a rule even under a right checksum.
            let wrong_peer = if step == Step::Hello { 2 } else { 1 };
            for (at, value) in
                [(12, 0), (12, 4), (12, wrong_peer), (13, 0), (13, 2), (30, 2), (48, 1), (53, 1)]
            {
                let mut bad = datagram;
                bad[at] = value;
                let sum = checksum.of(&bad[4..]);
                bad[..4].copy_from_slice(&sum);
                assert_eq!(checksum.open(&bad, 1_200), Err(Malformed), "byte {at} = {value}");
            }
            let mut longer = datagram.to_vec();
            longer.push(0);
            let sum = checksum.of(&longer[4..]);
            longer[..4].copy_from_slice(&sum);
            assert_eq!(checksum.open(&longer, 1_200), Err(Malformed));
        }
        assert!(checksum.seal_opening(&Opening { own: 0, step: Step::Hello, hello }).is_err());
        assert!(checksum.seal_opening(&Opening { own: 1, step: Step::Answer(0), hello }).is_err());
    }
}
