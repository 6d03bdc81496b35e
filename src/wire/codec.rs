//! The two cursors that all codecs are written with, and the variable-length number. PROTOCOL.md, "Numbers".
//!
//! A varint is little-endian base 128: seven bits a byte, the high bit set on all bytes but the last. The shortest
//! form is the only one; 2^62 - 1 is the largest value (nine bytes).

use super::{MAX_NUMBER, Malformed, NoRoom};

/// Whether padding is what it must be. All of it is looked at, many bytes at a time: a look at each costs more than the rest
/// of an INIT's reading.
pub(super) fn is_zero(padding: &[u8]) -> bool {
    padding.iter().fold(0, |all, byte| all | byte) == 0
}

/// Reads from the front of a byte slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What was not read yet.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        Ok(head)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        let (&head, rest) = self.rest.split_first().ok_or(Malformed)?;
        self.rest = rest;
        Ok(head)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        match self.rest.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    /// Out of line, so that the one-byte case stays small where it is inlined.
    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for position in 0..9_u32 {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << (7 * position);
            if byte & 0x80 == 0 {
                let shortest = byte != 0 || position == 0;
                return if shortest && value <= MAX_NUMBER { Ok(value) } else { Err(Malformed) };
            }
        }
        Err(Malformed)
    }

    /// Takes everything that is left.
    #[inline]
    pub(crate) fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed) }
    }

    /// A varint that must not exceed `max`.
    #[inline]
    pub(crate) fn varint_up_to(&mut self, max: u64) -> Result<u64, Malformed> {
        self.varint().and_then(|value| if value <= max { Ok(value) } else { Err(Malformed) })
    }
}

/// Writes to the front of a byte slice. A failed write leaves what was written before it.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    buffer: &'a mut [u8],
    written: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, written: 0 }
    }

    /// Bytes written so far.
    pub(crate) fn written(&self) -> usize {
        self.written
    }

    /// Bytes that still fit.
    pub(crate) fn room(&self) -> usize {
        self.buffer.len().saturating_sub(self.written)
    }

    /// Forgets what was written after `mark`, an earlier value of [`written`](Self::written).
    pub(crate) fn rewind(&mut self, mark: usize) {
        self.written = self.written.min(mark);
    }

    /// Overwrites one byte that was written before.
    pub(crate) fn patch(&mut self, at: usize, value: u8) {
        if let Some(byte) = self.buffer.get_mut(..self.written).and_then(|written| written.get_mut(at)) {
            *byte = value;
        }
    }

    /// Changes the bytes from `at` on, which were written before, by exclusive or with `mask`.
    pub(crate) fn mix(&mut self, at: usize, mask: &[u8]) {
        let written = self.buffer.get_mut(..self.written).and_then(|written| written.get_mut(at..));
        for (byte, mask) in written.unwrap_or_default().iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }

    #[inline]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        let end = self.written.checked_add(bytes.len()).ok_or(NoRoom)?;
        self.buffer.get_mut(self.written..end).ok_or(NoRoom)?.copy_from_slice(bytes);
        self.written = end;
        Ok(())
    }

    pub(crate) fn zeros(&mut self, len: usize) -> Result<(), NoRoom> {
        let end = self.written.checked_add(len).ok_or(NoRoom)?;
        self.buffer.get_mut(self.written..end).ok_or(NoRoom)?.fill(0);
        self.written = end;
        Ok(())
    }

    #[inline]
    pub(crate) fn u8(&mut self, value: u8) -> Result<(), NoRoom> {
        *self.buffer.get_mut(self.written).ok_or(NoRoom)? = value;
        self.written += 1;
        Ok(())
    }

    #[inline]
    pub(crate) fn u16(&mut self, value: u16) -> Result<(), NoRoom> {
        self.bytes(&value.to_le_bytes())
    }

    #[inline]
    pub(crate) fn u32(&mut self, value: u32) -> Result<(), NoRoom> {
        self.bytes(&value.to_le_bytes())
    }

    #[inline]
    pub(crate) fn u64(&mut self, value: u64) -> Result<(), NoRoom> {
        self.bytes(&value.to_le_bytes())
    }

    /// Writes the shortest form of `value`, which must not exceed `MAX_NUMBER` (larger ones are `NoRoom`).
    #[inline]
    pub(crate) fn varint(&mut self, value: u64) -> Result<(), NoRoom> {
        if value < 0x80 { self.u8((value & 0x7f) as u8) } else { self.long_varint(value) }
    }

    #[inline(never)]
    fn long_varint(&mut self, mut value: u64) -> Result<(), NoRoom> {
        if value > MAX_NUMBER {
            return Err(NoRoom);
        }
        while value >= 0x80 {
            self.u8((value & 0x7f) as u8 | 0x80)?;
            value >>= 7;
        }
        self.u8((value & 0x7f) as u8)
    }
}

/// Bytes that the varint of `value` takes, 1 to 9.
#[inline]
pub(crate) const fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_varint_has_one_encoding() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 1 << 32, MAX_NUMBER] {
            let mut buffer = [0; 9];
            let mut writer = Writer::new(&mut buffer);
            writer.varint(value).unwrap();
            let len = writer.written();
            assert_eq!(len, varint_len(value));
            let mut reader = Reader::new(&buffer[..len]);
            assert_eq!(reader.varint(), Ok(value));
            assert!(reader.is_empty());
        }
        assert_eq!(Reader::new(&[0x80, 0x00]).varint(), Err(Malformed));
        assert_eq!(Reader::new(&[0xff; 9]).varint(), Err(Malformed));
        assert_eq!(Reader::new(&[0x80; 10]).varint(), Err(Malformed));
        assert_eq!(Writer::new(&mut [0; 9]).varint(MAX_NUMBER + 1), Err(NoRoom));
    }
}
