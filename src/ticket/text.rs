//! The pasteable form of a ticket: `sg1` and base 32 in an alphabet without lookalikes, over the bytes and a checksum.
//! PROTOCOL.md, "Ticket text". Letters of either case and digits only, because chat programs take `_` and `*` for
//! markup, and a double click must select all of it.

use std::fmt::{self, Write as _};

use super::{TicketError, public::MAX_TICKET};
use crate::crypto::hash;

const PREFIX: &str = "sg1";
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const CHECKSUM: usize = 4;
/// Longest text that is looked at, in bytes: a ticket of 1,024 bytes takes 1,648 characters, the rest is for white
/// space, which mail programs put into long lines.
const MAX_TEXT: usize = 4_096;

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let [a, b, c, d, ..] = hash(&[b"sealgram/1 ticket text", bytes]);
    [a, b, c, d]
}

/// Writes the text of a ticket.
pub(super) fn write(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(PREFIX)?;
    let (mut bits, mut held) = (0_u32, 0_u32);
    let mut put = |value: u32| {
        let at = usize::try_from(value & 31).unwrap_or_default();
        f.write_char(ALPHABET.get(at).copied().map_or('0', char::from))
    };
    for byte in bytes.iter().chain(&checksum(bytes)) {
        // At most 4 bits were held.
        bits = (bits << 8 | u32::from(*byte)) & 0xfff;
        held += 8;
        while held >= 5 {
            held -= 5;
            put(bits >> held)?;
        }
    }
    if held > 0 { put(bits << (5 - held)) } else { Ok(()) }
}

/// The value of a character, with what people type for it.
fn digit(character: char) -> Option<u8> {
    let character = match character.to_ascii_lowercase() {
        'o' => '0',
        'i' | 'l' => '1',
        other => other,
    };
    let at = ALPHABET.iter().position(|known| char::from(*known) == character)?;
    u8::try_from(at).ok()
}

/// Reads the text of a ticket and checks that none of it is missing. White space is passed over wherever it stands.
pub(super) fn read(text: &str) -> Result<Vec<u8>, TicketError> {
    if text.len() > MAX_TEXT {
        return Err(TicketError::TooLong);
    }
    let mut digits = text.chars().filter(|character| !character.is_whitespace()).map(digit);
    for expected in PREFIX.chars() {
        if digits.next().flatten().is_none_or(|got| Some(got) != digit(expected)) {
            return Err(TicketError::Text);
        }
    }
    let mut bytes = Vec::with_capacity(text.len().min(MAX_TICKET * 2) * 5 / 8);
    let (mut bits, mut held) = (0_u16, 0_u32);
    for value in digits {
        bits = (bits & 0xff) << 5 | u16::from(value.ok_or(TicketError::Text)?);
        held += 5;
        if held >= 8 {
            held -= 8;
            let [_, byte] = (bits >> held).to_be_bytes();
            bytes.push(byte);
            bits &= (1 << held) - 1;
        }
    }
    // Fewer than five bits are left over in the one form, and they are zero.
    if held >= 5 || bits != 0 {
        return Err(TicketError::Checksum);
    }
    let Some((ticket, sum)) = bytes.split_last_chunk::<CHECKSUM>() else { return Err(TicketError::Checksum) };
    if *sum != checksum(ticket) {
        return Err(TicketError::Checksum);
    }
    let len = ticket.len();
    bytes.truncate(len);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Text<'a>(&'a [u8]);

    impl fmt::Display for Text<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write(self.0, f)
        }
    }

    fn counted(len: usize) -> Vec<u8> {
        (0..=u8::MAX).cycle().map(|byte| byte.wrapping_mul(37)).take(len).collect()
    }

    #[test]
    fn every_length_has_one_text_of_letters_and_digits() {
        for len in (0..70).chain([1_023, 1_024]) {
            let bytes = counted(len);
            let text = Text(&bytes).to_string();
            assert_eq!(text.len(), 3 + ((len + 4) * 8).div_ceil(5));
            assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
            assert_eq!(read(&text).as_deref(), Ok(&bytes[..]));
        }
    }

    #[test]
    fn what_people_and_programs_do_to_a_text_is_forgiven() {
        let bytes = counted(40);
        let text = Text(&bytes).to_string();
        let wrapped: String =
            text.as_bytes().chunks(20).map(|line| format!(" {}\r\n", line.escape_ascii())).collect();
        let typed = text.replace('0', "O").replace('1', "l");
        for copy in
            [format!(" \t{text}\r\n"), format!("\u{a0}{text}\u{2003}"), text.to_uppercase(), wrapped, typed]
        {
            assert_eq!(read(&copy).as_deref(), Ok(&bytes[..]), "{copy}");
        }
    }

    #[test]
    fn a_text_that_was_cut_or_changed_is_told_from_a_ticket() {
        let text = Text(&counted(60)).to_string();
        for cut in 3..text.len() {
            assert_eq!(read(&text[..cut]), Err(TicketError::Checksum), "{cut}");
        }
        for at in 3..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'7' { b'8' } else { b'7' };
            assert_eq!(read(std::str::from_utf8(&changed).unwrap()), Err(TicketError::Checksum), "{at}");
        }
        assert_eq!(read(&format!("{text}0")), Err(TicketError::Checksum));
    }

    #[test]
    fn bits_that_say_nothing_are_zero() {
        // 64 bytes end in the middle of a character, 65 at the end of one.
        let mut text = Text(&counted(60)).to_string();
        let last = digit(text.pop().unwrap()).unwrap();
        for bit in 0..3 {
            let other = char::from(ALPHABET[usize::from(last | 1 << bit)]);
            assert_eq!(read(&format!("{text}{other}")), Err(TicketError::Checksum));
        }
        assert_eq!(read(&format!("{}0", Text(&counted(61)))), Err(TicketError::Checksum));
    }

    #[test]
    fn other_texts_are_refused() {
        for other in ["", "s", "sg", "sg2abc", "http://x", "é", "sg1abc-def", "sg1u"] {
            assert_eq!(read(other), Err(TicketError::Text), "{other}");
        }
        assert_eq!(read("sg1"), Err(TicketError::Checksum));
        assert_eq!(read(&format!("sg1{}", "0".repeat(MAX_TEXT))), Err(TicketError::TooLong));
        let spaces = " ".repeat(MAX_TEXT - 3);
        assert_eq!(read(&format!("sg1{spaces}")), Err(TicketError::Checksum), "at the bound");
    }
}
