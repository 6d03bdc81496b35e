//! STAND-IN, to be replaced by the wire room's.
use super::{Malformed, codec::{Reader, Writer}};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) min_version: u8, pub(crate) max_version: u8, pub(crate) flags: u16, pub(crate) max_datagram: u16,
    pub(crate) idle_timeout_ms: u32, pub(crate) max_fragments: u16, pub(crate) max_message: u32,
}

impl Hello {
    pub(crate) fn encode(&self) -> [u8; 24] {
        let mut b = [0; 24];
        let mut w = Writer::new(&mut b);
        let _ = w.u16(1).and_then(|()| w.u8(self.min_version)).and_then(|()| w.u8(self.max_version)).and_then(|()| w.u16(self.flags))
            .and_then(|()| w.u16(self.max_datagram)).and_then(|()| w.u32(self.idle_timeout_ms)).and_then(|()| w.u16(self.max_fragments)).and_then(|()| w.u32(self.max_message));
        b
    }
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        r.u16()?;
        Ok(Self { min_version: r.u8()?, max_version: r.u8()?, flags: r.u16()?, max_datagram: r.u16()?, idle_timeout_ms: r.u32()?, max_fragments: r.u16()?, max_message: r.u32()? })
    }
}
