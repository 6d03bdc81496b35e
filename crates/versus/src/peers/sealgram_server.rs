//! Ours, as a server of many players: sealed, with and without keys of the players, or plain. Messages and echoes are
//! `Order`, as positions are.

use std::{
    net::{SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use sealgram::{
    Config, Credentials, Endpoint, Event, Guarantee, PlainServer, PublicKey, SealedEndpoint, SealedServer,
    SecretKey, SendError, Server, ServerConfig, ServerSession, Session, Trust,
};

use super::{
    players::{Player, Players},
    sealgram::OneByOne,
};
use crate::{
    end::{Hall, Outcome, Scene},
    machine::{connected_to, socket, wait},
};

struct OwnHall<L> {
    server: Server<UdpSocket, L>,
    echo: Vec<u8>,
    due: Option<Instant>,
    echoes: u64,
}

impl<L: ServerSession> Hall for OwnHall<L> {
    fn serve(&mut self) -> Outcome<()> {
        while let Some((id, message)) = self.server.recv() {
            self.echo.clear();
            self.echo.extend_from_slice(&message);
            if let Some(mut peer) = self.server.peer(id) {
                match peer.send_payload(Guarantee::Order, &self.echo) {
                    Ok(_) => self.echoes += 1,
                    Err(SendError::Full { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        while let Some((id, event)) = self.server.poll_event() {
            match event {
                Event::Join { .. } => drop(self.server.accept(id)),
                Event::Closed { reason, .. } => return Err(format!("a player left: {reason}").into()),
                _ => {}
            }
        }
        self.due = self.server.maintain();
        Ok(())
    }

    fn echoes(&self) -> u64 {
        self.echoes
    }

    fn rest(&mut self, most: Duration) -> Outcome<()> {
        let most = self.due.map_or(most, |due| due.saturating_duration_since(Instant::now()).min(most));
        wait(self.server.socket(), most)
    }
}

/// Everybody comes from this machine, and all at once.
fn config(players: usize) -> ServerConfig {
    let mut config = ServerConfig::default();
    config.flood.max_sessions = players;
    config.flood.sessions_per_prefix = Some(players);
    config.flood.half_open = 1_024;
    config.flood.handshake_dh_per_second = 1_000_000;
    config
}

struct OwnPlayer<S> {
    endpoint: Endpoint<OneByOne, S>,
}

impl<S> AsFd for OwnPlayer<S>
where
    S: Session,
{
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.endpoint.socket().as_fd()
    }
}

impl<S: Session> Player for OwnPlayer<S> {
    fn joined(&self) -> bool {
        self.endpoint.is_connected()
    }

    fn say(&mut self, message: &[u8]) -> Outcome<()> {
        match self.endpoint.send_payload(Guarantee::Order, message) {
            Ok(_) | Err(SendError::Full { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn hear(&mut self) -> Outcome<u64> {
        let mut heard = 0;
        while self.endpoint.recv()?.is_some() {
            heard += 1;
        }
        Ok(heard)
    }

    fn turn(&mut self) -> Outcome<Option<Instant>> {
        Ok(self.endpoint.maintain()?)
    }
}

fn player<S: Session>(mut endpoint: Endpoint<OneByOne, S>) -> Outcome<OwnPlayer<S>> {
    endpoint.connect()?;
    Ok(OwnPlayer { endpoint })
}

fn hall<L: ServerSession>(server: Server<UdpSocket, L>) -> OwnHall<L> {
    OwnHall { server, echo: Vec::new(), due: None, echoes: 0 }
}

fn sealed_player(
    address: SocketAddr,
    server: PublicKey,
    keyed: bool,
) -> Outcome<OwnPlayer<sealgram::Sealed>> {
    let credentials = if keyed {
        Credentials::client_auth(&SecretKey::generate()?, server)?
    } else {
        Credentials::client(server)
    };
    let socket = OneByOne(connected_to(address)?);
    player(SealedEndpoint::with_credentials(socket, credentials, Config::default())?)
}

/// `keyed`: players prove a key of their own (Noise IK), else only the server does (NK).
pub fn sealed(players: usize, keyed: bool) -> Outcome<Scene> {
    let socket = socket()?;
    let (address, key) = (socket.local_addr()?, SecretKey::generate()?);
    let public = key.public_key();
    let make = move || {
        let credentials =
            if keyed { Credentials::server_auth(&key, Trust::Anyone) } else { Credentials::server(&key) };
        Ok(hall(SealedServer::new(socket, credentials, config(players))?))
    };
    Ok(Scene::new(make, move || Players::new(move || sealed_player(address, public, keyed))))
}

pub fn plain(players: usize) -> Outcome<Scene> {
    let socket = socket()?;
    let address = socket.local_addr()?;
    let make = move || Ok(hall(PlainServer::plain(socket, config(players))?));
    Ok(Scene::new(make, move || {
        Players::new(move || player(Endpoint::plain(OneByOne(connected_to(address)?), Config::default())?))
    }))
}
