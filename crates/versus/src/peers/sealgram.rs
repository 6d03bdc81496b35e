//! Ours, in its default configuration: two endpoints over sockets of the system, sealed or plain; with runs, or over the
//! same socket that does not say that it carries several datagrams by one call.

use std::{
    io,
    net::UdpSocket,
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use sealgram::{Config, Endpoint, Guarantee, SealedEndpoint, SecretKey, SendError, Session, UdpLike};

use crate::{
    end::{Demand, End, Outcome, Pair, Wire},
    machine::{connected, wait},
};

/// A socket that says nothing of runs.
pub struct OneByOne(pub UdpSocket);

impl UdpLike for OneByOne {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.0.send(datagram)
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer)
    }

    fn prepare(&mut self) -> io::Result<()> {
        UdpLike::prepare(&mut self.0)
    }

    fn may_fragment(&self) -> bool {
        UdpLike::may_fragment(&self.0)
    }
}

impl AsFd for OneByOne {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

pub struct Own<U, S> {
    endpoint: Endpoint<U, S>,
    guarantee: Guarantee,
    due: Option<Instant>,
}

impl<U: UdpLike + AsFd, S: Session> End for Own<U, S> {
    fn connected(&mut self) -> Outcome<bool> {
        Ok(self.endpoint.is_connected())
    }

    fn offer(&mut self, message: &[u8]) -> Outcome<bool> {
        match self.endpoint.send_payload(self.guarantee, message) {
            Ok(_) => Ok(true),
            Err(SendError::Full { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn leave(&mut self) -> Outcome<()> {
        Ok(self.endpoint.flush()?)
    }

    fn hear(&mut self, to: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        while let Some(message) = self.endpoint.recv()? {
            to(&message);
        }
        Ok(())
    }

    fn hear_one(&mut self, to: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        if let Some(message) = self.endpoint.recv()? {
            to(&message);
        }
        Ok(())
    }

    fn turn(&mut self) -> Outcome<()> {
        self.due = self.endpoint.maintain()?;
        Ok(())
    }

    fn rest(&mut self, most: Duration) -> Outcome<()> {
        let most = self.due.map_or(most, |due| due.saturating_duration_since(Instant::now()).min(most));
        wait(self.endpoint.socket(), most)
    }

    fn wire(&self) -> Option<Wire> {
        let stats = self.endpoint.stats();
        Some(Wire::with_headers(stats.datagrams_sent, stats.bytes_sent))
    }
}

fn own<U: UdpLike, S: Session>(
    mut endpoint: Endpoint<U, S>,
    demand: Demand,
    dials: bool,
) -> Outcome<Own<U, S>> {
    if dials {
        endpoint.connect()?;
    }
    let guarantee = if demand.reliable { Guarantee::Delivery } else { Guarantee::None };
    Ok(Own { endpoint, guarantee, due: None })
}

/// Both know each other's key.
pub fn sealed<U>(demand: Demand, socket: fn(UdpSocket) -> U) -> Outcome<Pair>
where
    U: UdpLike + AsFd + 'static,
{
    let [one, two] = connected()?;
    let keys = [SecretKey::generate()?, SecretKey::generate()?];
    let public = [keys[0].public_key(), keys[1].public_key()];
    let [first, second] = keys;
    let end = move |from: UdpSocket, key: SecretKey, peer, dials| {
        own(SealedEndpoint::paired(socket(from), &key, peer, Config::default())?, demand, dials)
    };
    let [one_key, two_key] = public;
    Ok(Pair::new(move || end(one, first, two_key, true), move || end(two, second, one_key, false)))
}

pub fn plain<U>(demand: Demand, socket: fn(UdpSocket) -> U) -> Outcome<Pair>
where
    U: UdpLike + AsFd + 'static,
{
    let [one, two] = connected()?;
    let end = move |from, dials| own(Endpoint::plain(socket(from), Config::default())?, demand, dials);
    Ok(Pair::new(move || end(one, true), move || end(two, false)))
}
