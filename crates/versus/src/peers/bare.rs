//! The least that sealed messages can cost: packed into full datagrams, sealed, and sent and read in batches by the calls of
//! the system that the library uses too (`UDP_SEGMENT` and `UDP_GRO` between two, `sendmmsg` and `recvmmsg` for many). One
//! key, no masked header, no replay window, no frames, no acknowledgements, no timers; nothing is sent again.

use std::{
    collections::HashMap,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use sealgram::{AddressedUdp, RecvBatch, SendBatch, UdpLike};

use super::{LARGEST_DATAGRAM, players::Players, raw::Raw};
use crate::{
    cipher::{Cipher, TAG},
    end::{Demand, End, Hall, Outcome, Pair, Scene, Wire},
    machine::{connected, connected_to, now, socket, wait},
};

/// A number in clear, which is the nonce.
const FRONT: usize = 8;
/// Length of a message, in front of it.
const LENGTH: usize = 2;
const MOST_OF_A_RUN: usize = 64;
const RUN_BYTES: usize = 65_507;

pub type Make = fn() -> Outcome<Box<dyn Cipher>>;

struct Bare {
    socket: UdpSocket,
    cipher: Box<dyn Cipher>,
    number: u64,
    /// Datagrams that are sealed, and behind them the one that is being filled.
    run: Vec<u8>,
    start: usize,
    /// Length of a full datagram.
    size: usize,
    most: usize,
    incoming: Vec<u8>,
    wire: Wire,
}

impl Bare {
    fn new(mut socket: UdpSocket, cipher: Box<dyn Cipher>, demand: Demand) -> Self {
        let each = LENGTH + demand.bytes;
        let messages = ((LARGEST_DATAGRAM - FRONT - TAG) / each).max(1);
        let size = FRONT + messages * each + TAG;
        if !demand.alone {
            UdpLike::join_reads(&mut socket);
        }
        let (run, incoming) = (Vec::with_capacity(RUN_BYTES), vec![0; 65_535]);
        let most = (RUN_BYTES / size).min(MOST_OF_A_RUN);
        Self { socket, cipher, number: 0, run, start: 0, size, most, incoming, wire: Wire::default() }
    }

    /// Seals the datagram that was being filled.
    fn close(&mut self) {
        if self.start < self.run.len() {
            self.run.extend_from_slice(&[0; TAG]);
            self.cipher.seal(self.number, &mut self.run[self.start + FRONT..]);
            self.number += 1;
            self.start = self.run.len();
        }
    }

    /// Sends what is sealed; false: there is no room now.
    fn send(&mut self) -> Outcome<bool> {
        if self.start == 0 {
            return Ok(true);
        }
        let sealed = &self.run[..self.start];
        let one = sealed.len() <= self.size;
        let sent =
            if one { self.socket.send(sealed).map(|_| 1) } else { self.socket.send_run(sealed, self.size) };
        let Some(sent) = now(sent)? else { return Ok(false) };
        let gone = (sent * self.size).min(self.start);
        self.wire.datagrams += sent as u64;
        self.wire.bytes += gone as u64 + sent as u64 * crate::end::HEADERS;
        self.run.drain(..gone);
        self.start -= gone;
        Ok(self.start == 0)
    }

    fn take(cipher: &dyn Cipher, datagram: &mut [u8], to: &mut dyn FnMut(&[u8])) {
        let Some((front, packet)) = datagram.split_first_chunk_mut::<FRONT>() else { return };
        if !cipher.open(u64::from_le_bytes(*front), packet) {
            return;
        }
        let mut rest = packet.split_last_chunk::<TAG>().map_or(&[][..], |(text, _)| text);
        while let Some((len, after)) = rest.split_first_chunk::<LENGTH>() {
            let Some((message, after)) = after.split_at_checked(u16::from_le_bytes(*len).into()) else {
                return;
            };
            to(message);
            rest = after;
        }
    }
}

impl End for Bare {
    fn connected(&mut self) -> Outcome<bool> {
        Ok(true)
    }

    fn offer(&mut self, message: &[u8]) -> Outcome<bool> {
        let open = self.run.len() > self.start;
        if open && self.run.len() - self.start + LENGTH + message.len() + TAG > self.size {
            self.close();
        }
        if self.start >= self.most * self.size && !self.send()? {
            return Ok(false);
        }
        if self.run.len() == self.start {
            self.run.extend_from_slice(&self.number.to_le_bytes());
        }
        let len = u16::try_from(message.len())?;
        self.run.extend_from_slice(&len.to_le_bytes());
        self.run.extend_from_slice(message);
        Ok(true)
    }

    fn leave(&mut self) -> Outcome<()> {
        self.close();
        self.send().map(drop)
    }

    fn hear(&mut self, to: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        loop {
            let Some((len, each)) = now(self.socket.recv_run(&mut self.incoming))? else { return Ok(()) };
            for datagram in self.incoming[..len].chunks_mut(each.max(1)) {
                Self::take(self.cipher.as_ref(), datagram, to);
            }
        }
    }

    fn hear_one(&mut self, to: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        if let Some(len) = now(self.socket.recv(&mut self.incoming))? {
            Self::take(self.cipher.as_ref(), &mut self.incoming[..len], to);
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

pub fn pair(make: Make, demand: Demand) -> Outcome<Pair> {
    let [one, two] = connected()?;
    Ok(Pair::new(move || Ok(Bare::new(one, make()?, demand)), move || Ok(Bare::new(two, make()?, demand))))
}

struct BareHall {
    socket: UdpSocket,
    cipher: Box<dyn Cipher>,
    players: HashMap<SocketAddr, u64>,
    incoming: RecvBatch,
    outgoing: SendBatch,
    echoes: u64,
}

impl BareHall {
    fn echo_batch(&mut self) {
        while let Some(arrival) = self.incoming.take_next() {
            let (datagram, from) = (arrival.datagram, arrival.from);
            let Some((front, packet)) = datagram.split_first_chunk_mut::<FRONT>() else { continue };
            if !self.cipher.open(u64::from_le_bytes(*front), packet) {
                continue;
            }
            let number = self.players.entry(from).or_default();
            *number += 1;
            let (Some(room), len) = (self.outgoing.room(), datagram.len()) else { continue };
            let room = &mut room[..len];
            room.copy_from_slice(datagram);
            room[..FRONT].copy_from_slice(&number.to_le_bytes());
            self.cipher.seal(*number, &mut room[FRONT..]);
            self.outgoing.push(len, from);
            self.echoes += 1;
        }
    }
}

impl Hall for BareHall {
    fn serve(&mut self) -> Outcome<()> {
        while now(self.socket.recv_batch(&mut self.incoming))?.is_some() {
            self.echo_batch();
            self.outgoing.flush(&mut self.socket, drop);
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

pub fn scene(make: Make) -> Outcome<Scene> {
    let mut socket = socket()?;
    AddressedUdp::prepare(&mut socket)?;
    let address = socket.local_addr()?;
    let hall = move || {
        let (incoming, outgoing) = (RecvBatch::new(LARGEST_DATAGRAM), SendBatch::new(LARGEST_DATAGRAM));
        Ok(BareHall { socket, cipher: make()?, players: HashMap::new(), incoming, outgoing, echoes: 0 })
    };
    // What a player sends looks the same.
    Ok(Scene::new(hall, move || Players::new(move || Ok(Raw::new(connected_to(address)?, Some(make()?))))))
}
