//! The cipher of packets, and an established session before it.

use super::{PacketPair, start};
use crate::crypto::{
    Secret,
    aead::{Prepared, open_in_place, open_packet_in_place, seal_in_place, seal_packet_in_place},
};

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
    let mut prepared = Prepared::default();
    let tag = seal_packet_in_place((&key, &mut prepared), &nonce, aad, &mut sealed);
    assert_eq!(seal_in_place(&key, &nonce, aad, &mut theirs), tag);
    assert_eq!(sealed, theirs, "both seal the same");
    let tag = tag.unwrap_or_default();
    assert!(
        open_packet_in_place((&key, &mut prepared), &nonce, aad, &mut theirs, &tag),
        "what the reference sealed opens"
    );
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
        !open_packet_in_place((&key, &mut prepared), &nonce, aad, text, tag)
            && !open_in_place(&key, &nonce, aad, text, tag)
    );
    assert_eq!(before, text, "what does not open stays as it came");
}
