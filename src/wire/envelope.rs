//! The body of a handshake envelope, as it is before sealing and after opening. PROTOCOL.md, "Envelope". Knows no
//! keys; unused fields and the padding are zero, so that a body has one encoding for its length.

use super::{
    Malformed, NoRoom,
    codec::{Reader, Writer, is_zero},
    hello::WIRE_VERSION,
};

/// Bytes of a body before the Noise message.
#[cfg(test)]
pub(crate) const BODY_HEAD: usize = 36;
/// Bytes that sealing puts in front of the body (the nonce).
pub(crate) const ENVELOPE_HEADROOM: usize = 24;
/// Bytes that sealing puts behind the body (the tag).
pub(crate) const ENVELOPE_TAIL: usize = 16;
/// Size of a FIN datagram, in bytes, without route and connection id.
pub(crate) const FIN_DATAGRAM: usize = 256;
/// Length of a cookie and of a reference, in bytes.
pub(crate) const FIELD_LEN: usize = 16;

const ZERO: [u8; FIELD_LEN] = [0; FIELD_LEN];

/// What a handshake datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Noise message 1.
    Init = 1,
    /// Noise message 2.
    Resp = 2,
    /// Noise message 3 (the XX patterns).
    Fin = 3,
    /// Asks the initiator to show that it receives at its address.
    Cookie = 4,
}

/// The plaintext of an envelope, without its padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Body<'a> {
    pub(crate) kind: Kind,
    /// The cookie in COOKIE, and in the INIT that gives it back; else zero.
    pub(crate) cookie: [u8; FIELD_LEN],
    /// Names the Noise message that is answered (1 for RESP and COOKIE, 2 for FIN) by its hash; zero in INIT.
    pub(crate) reference: [u8; FIELD_LEN],
    /// Empty in COOKIE only.
    pub(crate) noise: &'a [u8],
}

impl Body<'_> {
    fn is_valid(&self) -> bool {
        let has_cookie = matches!(self.kind, Kind::Init | Kind::Cookie);
        (has_cookie || self.cookie == ZERO)
            && (self.kind != Kind::Init || self.reference == ZERO)
            && (self.kind == Kind::Cookie) == self.noise.is_empty()
    }

    /// Fills `out` with the body and zero padding.
    ///
    /// `NoRoom`: `out` is too short, or the body breaks a rule of its kind.
    pub(crate) fn encode(&self, out: &mut [u8]) -> Result<(), NoRoom> {
        if !self.is_valid() {
            return Err(NoRoom);
        }
        let mut writer = Writer::new(out);
        writer.u8(self.kind as u8)?;
        writer.u8(WIRE_VERSION)?;
        writer.bytes(&self.cookie)?;
        writer.bytes(&self.reference)?;
        writer.u16(u16::try_from(self.noise.len()).map_err(|_| NoRoom)?)?;
        writer.bytes(self.noise)?;
        writer.zeros(writer.room())
    }
}

impl<'a> Body<'a> {
    /// Reads an opened body with its padding.
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let kind = match reader.u8()? {
            1 => Kind::Init,
            2 => Kind::Resp,
            3 => Kind::Fin,
            4 => Kind::Cookie,
            _ => return Err(Malformed),
        };
        if reader.u8()? != WIRE_VERSION {
            return Err(Malformed);
        }
        let cookie = reader.array()?;
        let reference = reader.array()?;
        let len = reader.u16()?;
        let body = Self { kind, cookie, reference, noise: reader.bytes(len.into())? };
        let padded = is_zero(reader.rest());
        if padded && body.is_valid() { Ok(body) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOISE: [u8; 48] = [7; 48];

    fn bodies() -> [Body<'static>; 5] {
        let init = Body { kind: Kind::Init, cookie: ZERO, reference: ZERO, noise: &NOISE };
        [
            init,
            Body { cookie: [1; 16], ..init },
            Body { kind: Kind::Resp, reference: [2; 16], ..init },
            Body { kind: Kind::Fin, reference: [3; 16], ..init },
            Body { kind: Kind::Cookie, cookie: [4; 16], reference: [5; 16], noise: &[] },
        ]
    }

    #[test]
    fn a_body_is_read_back_from_any_padded_length() {
        for body in bodies() {
            let len = BODY_HEAD + body.noise.len();
            for padding in [0, 1, 500] {
                let mut out = vec![0xee; len + padding];
                body.encode(&mut out).unwrap();
                assert_eq!(Body::decode(&out), Ok(body));
            }
            assert_eq!(body.encode(&mut vec![0; len - 1]), Err(NoRoom));
        }
    }

    #[test]
    fn a_body_has_the_layout_of_the_specification() {
        let mut out = [0xee; 90];
        let body = Body { kind: Kind::Resp, cookie: ZERO, reference: [2; 16], noise: &NOISE };
        body.encode(&mut out).unwrap();
        let expected = [&[2, 1][..], &[0; 16], &[2; 16], &[48, 0], &NOISE, &[0; 6]].concat();
        assert_eq!(out.as_slice(), expected);
    }

    #[test]
    fn every_bit_of_the_unused_bytes_is_checked() {
        for body in bodies() {
            let mut out = [0; 100];
            body.encode(&mut out).unwrap();
            for bit in 0..8 * out.len() {
                let mut changed = out;
                changed[bit / 8] ^= 1 << (bit % 8);
                if let Ok(read) = Body::decode(&changed) {
                    let mut again = [0; 100];
                    read.encode(&mut again).unwrap();
                    assert_eq!(again, changed);
                    assert_ne!(read, body);
                }
            }
            for len in 0..BODY_HEAD + body.noise.len() {
                assert_eq!(Body::decode(&out[..len]), Err(Malformed));
            }
        }
    }

    #[test]
    fn a_field_that_its_kind_does_not_have_is_refused() {
        let [init, _, resp, fin, cookie] = bodies();
        let bad = [
            Body { reference: [1; 16], ..init },
            Body { noise: &[], ..init },
            Body { cookie: [1; 16], ..resp },
            Body { noise: &[], ..resp },
            Body { cookie: [1; 16], ..fin },
            Body { noise: &[], ..fin },
            Body { noise: &NOISE, ..cookie },
        ];
        for body in bad {
            assert_eq!(body.encode(&mut [0; 200]), Err(NoRoom), "{body:?}");
        }
        let mut out = [0; 100];
        resp.encode(&mut out).unwrap();
        for (at, value) in [
            (0, 0),
            (0, 1),
            (0, 4),
            (0, 5),
            (1, 0),
            (1, 2),
            (2, 1),
            (17, 1),
            (34, 0),
            (34, 47),
            (34, 65),
            (99, 1),
        ] {
            let mut bad = out;
            bad[at] = value;
            assert_eq!(Body::decode(&bad), Err(Malformed), "byte {at} = {value}");
        }
    }
}
