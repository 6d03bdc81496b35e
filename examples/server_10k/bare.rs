//! The least that an echo of sealed datagrams can cost: receive many, open each, seal each again, send many.
//!
//! The same as the server's: the cipher and its back end, the calls of the system and the size of their batches, the length
//! of the datagrams (that of a player's with an acknowledgement riding along). Left out is everything else: one key for
//! all, no look-up of a session, no masked header, no replay window, no frames, no acknowledgements, no timers.

use std::{io, net::SocketAddr};

use sealgram::{AddressedUdp, RecvBatch, SendBatch, fuzzing::PacketCipher};

/// Bytes in front of the ciphertext, as a packet's prefix and word are.
const FRONT: usize = 12;
const TAG: usize = 16;

pub(crate) struct Bare {
    cipher: PacketCipher,
    incoming: RecvBatch,
    outgoing: SendBatch,
    pub(crate) echoes: u64,
}

fn cipher() -> PacketCipher {
    PacketCipher::new([7; 32])
}

/// A datagram with this many bytes of content, as a player sends it.
pub(crate) fn datagram(number: u64, content: usize) -> Vec<u8> {
    let mut datagram = vec![1; FRONT + content + TAG];
    datagram[..8].copy_from_slice(&number.to_le_bytes());
    datagram[8..FRONT].fill(0);
    seal(&cipher(), &mut datagram);
    datagram
}

fn seal(cipher: &PacketCipher, datagram: &mut [u8]) {
    let Some((front, rest)) = datagram.split_first_chunk_mut::<FRONT>() else { return };
    let Some((text, tag)) = rest.split_last_chunk_mut::<TAG>() else { return };
    if let Some(made) = cipher.seal(front, front, text) {
        *tag = made;
    }
}

fn open(cipher: &PacketCipher, datagram: &mut [u8]) -> bool {
    let Some((front, rest)) = datagram.split_first_chunk_mut::<FRONT>() else { return false };
    let Some((text, tag)) = rest.split_last_chunk_mut::<TAG>() else { return false };
    cipher.open(front, front, text, tag)
}

impl Bare {
    pub(crate) fn new() -> Self {
        Self { cipher: cipher(), incoming: RecvBatch::new(1_472), outgoing: SendBatch::new(1_472), echoes: 0 }
    }

    /// Echoes everything that waits.
    pub(crate) fn work<A: AddressedUdp>(&mut self, socket: &mut A) -> io::Result<()> {
        loop {
            match socket.recv_batch(&mut self.incoming) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            while let Some(arrival) = self.incoming.take_next() {
                let (datagram, from): (_, SocketAddr) = (arrival.datagram, arrival.from);
                if !open(&self.cipher, datagram) {
                    continue;
                }
                let Some(room) = self.outgoing.room() else { continue };
                let len = datagram.len();
                room[..len].copy_from_slice(datagram);
                // A number that the player did not use: the other direction.
                room[8] = 1;
                seal(&self.cipher, &mut room[..len]);
                self.outgoing.push(len, from);
                self.echoes += 1;
            }
            self.outgoing.flush(socket, |_| {});
        }
    }
}
