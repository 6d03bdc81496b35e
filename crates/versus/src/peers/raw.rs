//! A connected socket with one `send` and one `recv` for each message, by itself or with a cipher: no packing, no batches,
//! nothing is sent again. With `chacha20poly1305` it is the ruler of most loads.

use std::{
    collections::HashMap,
    net::{SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use super::players::{Player, Players};
use crate::{
    cipher::{Cipher, TAG},
    end::{End, Hall, Outcome, Pair, Scene, Wire},
    machine::{connected, connected_to, now, socket, wait},
};

/// A number in clear, which is the nonce.
const FRONT: usize = 8;
/// No datagram is longer.
const LARGEST: usize = 2_048;

pub type Make = fn() -> Outcome<Option<Box<dyn Cipher>>>;

pub struct Raw {
    socket: UdpSocket,
    cipher: Option<Box<dyn Cipher>>,
    number: u64,
    out: Vec<u8>,
    incoming: Vec<u8>,
    wire: Wire,
}

/// The message as a datagram.
fn wrap<'a>(cipher: Option<&dyn Cipher>, number: u64, out: &'a mut Vec<u8>, message: &'a [u8]) -> &'a [u8] {
    let Some(cipher) = cipher else { return message };
    out.clear();
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(message);
    out.extend_from_slice(&[0; TAG]);
    cipher.seal(number, &mut out[FRONT..]);
    out
}

/// The message in a datagram, if it opens.
fn unwrap<'a>(cipher: Option<&dyn Cipher>, datagram: &'a mut [u8]) -> Option<&'a [u8]> {
    let Some(cipher) = cipher else { return Some(datagram) };
    let (front, packet) = datagram.split_first_chunk_mut::<FRONT>()?;
    cipher.open(u64::from_le_bytes(*front), packet).then_some(())?;
    packet.split_last_chunk::<TAG>().map(|(text, _)| text)
}

impl Raw {
    pub fn new(socket: UdpSocket, cipher: Option<Box<dyn Cipher>>) -> Self {
        let (out, incoming) = (Vec::with_capacity(LARGEST), vec![0; LARGEST]);
        Self { socket, cipher, number: 0, out, incoming, wire: Wire::default() }
    }
}

impl End for Raw {
    fn connected(&mut self) -> Outcome<bool> {
        Ok(true)
    }

    fn offer(&mut self, message: &[u8]) -> Outcome<bool> {
        let datagram = wrap(self.cipher.as_deref(), self.number, &mut self.out, message);
        let Some(sent) = now(self.socket.send(datagram))? else { return Ok(false) };
        self.number += 1;
        self.wire.count(sent);
        Ok(true)
    }

    fn leave(&mut self) -> Outcome<()> {
        Ok(())
    }

    fn hear(&mut self, to: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        while let Some(len) = now(self.socket.recv(&mut self.incoming))? {
            if let Some(message) = unwrap(self.cipher.as_deref(), &mut self.incoming[..len]) {
                to(message);
            }
        }
        Ok(())
    }

    fn hear_one(&mut self, to: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        if let Some(len) = now(self.socket.recv(&mut self.incoming))? {
            unwrap(self.cipher.as_deref(), &mut self.incoming[..len]).into_iter().for_each(to);
        }
        Ok(())
    }

    fn rest(&mut self, most: Duration) -> Outcome<()> {
        wait(&self.socket, most)
    }

    fn wire(&self) -> Option<Wire> {
        Some(self.wire)
    }
}

pub fn pair(make: Make) -> Outcome<Pair> {
    let [one, two] = connected()?;
    Ok(Pair::new(move || Ok(Raw::new(one, make()?)), move || Ok(Raw::new(two, make()?))))
}

/// Knows its players by their addresses, and counts for each, as whoever holds keys for each has to.
struct RawHall {
    socket: UdpSocket,
    cipher: Option<Box<dyn Cipher>>,
    players: HashMap<SocketAddr, u64>,
    out: Vec<u8>,
    incoming: Vec<u8>,
    echoes: u64,
}

impl Hall for RawHall {
    fn serve(&mut self) -> Outcome<()> {
        while let Some((len, from)) = now(self.socket.recv_from(&mut self.incoming))? {
            let cipher = self.cipher.as_deref();
            let Some(message) = unwrap(cipher, &mut self.incoming[..len]) else { continue };
            let number = self.players.entry(from).or_default();
            *number += 1;
            let datagram = wrap(cipher, *number, &mut self.out, message);
            now(self.socket.send_to(datagram, from))?;
            self.echoes += 1;
        }
        Ok(())
    }

    fn echoes(&self) -> u64 {
        self.echoes
    }

    fn rest(&mut self, most: Duration) -> Outcome<()> {
        wait(&self.socket, most)
    }
}

impl AsFd for Raw {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Player for Raw {
    fn joined(&self) -> bool {
        true
    }

    fn say(&mut self, message: &[u8]) -> Outcome<()> {
        self.offer(message).map(drop)
    }

    fn hear(&mut self) -> Outcome<u64> {
        let mut heard = 0;
        End::hear(self, &mut |_| heard += 1)?;
        Ok(heard)
    }

    fn turn(&mut self) -> Outcome<Option<Instant>> {
        Ok(None)
    }
}

pub fn scene(make: Make) -> Outcome<Scene> {
    let socket = socket()?;
    let address = socket.local_addr()?;
    let hall = move || {
        let (out, incoming) = (Vec::with_capacity(LARGEST), vec![0; LARGEST]);
        Ok(RawHall { socket, cipher: make()?, players: HashMap::new(), out, incoming, echoes: 0 })
    };
    Ok(Scene::new(hall, move || Players::new(move || Ok(Raw::new(connected_to(address)?, make()?)))))
}
