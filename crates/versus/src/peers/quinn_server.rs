//! `quinn` as a server of many players: a task for each echoes datagrams when they come. All players share one client
//! endpoint, and so one socket.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use quinn::{Connecting, Connection, Endpoint};
use tokio::{
    runtime::Runtime,
    sync::Notify,
    time::{sleep, sleep_until, timeout},
};

use super::quinn::{Configs, NAME, Suite, configs, endpoint, let_run, runtime};
use crate::{
    end::{Crowd, Hall, Outcome, Scene},
    machine::socket,
};

struct QuinnHall {
    runtime: Runtime,
    _endpoint: Endpoint,
    echoes: Arc<AtomicU64>,
}

async fn echo(incoming: quinn::Incoming, echoes: Arc<AtomicU64>) {
    let Ok(connection) = incoming.await else { return };
    while let Ok(message) = connection.read_datagram().await {
        if connection.send_datagram(message).is_ok() {
            echoes.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl QuinnHall {
    fn new(runtime: Runtime, endpoint: Endpoint) -> Self {
        let (accepts, echoes) = (endpoint.clone(), Arc::<AtomicU64>::default());
        let counts = Arc::clone(&echoes);
        runtime.spawn(async move {
            while let Some(incoming) = accepts.accept().await {
                tokio::spawn(echo(incoming, Arc::clone(&counts)));
            }
        });
        Self { runtime, _endpoint: endpoint, echoes }
    }
}

impl Hall for QuinnHall {
    fn serve(&mut self) -> Outcome<()> {
        self.runtime.block_on(let_run(1));
        Ok(())
    }

    fn echoes(&self) -> u64 {
        self.echoes.load(Ordering::Relaxed)
    }

    /// Its tasks run meanwhile.
    fn rest(&mut self, most: Duration) -> Outcome<()> {
        self.runtime.block_on(async { sleep(most).await });
        Ok(())
    }

    fn pause(&mut self, until: Instant) -> Outcome<()> {
        self.runtime.block_on(async { sleep_until(until.into()).await });
        Ok(())
    }
}

struct QuinnCrowd {
    runtime: Runtime,
    endpoint: Endpoint,
    server: SocketAddr,
    players: Vec<Connection>,
    arrivals: Receiver<Outcome<Connection>>,
    arrived: Sender<Outcome<Connection>>,
    heard: Arc<AtomicU64>,
    news: Arc<Notify>,
}

impl QuinnCrowd {
    fn new(runtime: Runtime, endpoint: Endpoint, server: SocketAddr) -> Self {
        let ((arrived, arrivals), heard, news) = (channel(), Arc::default(), Arc::default());
        Self { runtime, endpoint, server, players: Vec::new(), arrivals, arrived, heard, news }
    }
}

/// Dials, shows the connection, and counts what comes.
async fn play(
    dialling: Connecting,
    arrived: Sender<Outcome<Connection>>,
    news: Arc<Notify>,
    heard: Arc<AtomicU64>,
) {
    let connection = match dialling.await {
        Ok(connection) => connection,
        Err(error) => return drop(arrived.send(Err(error.into()))),
    };
    let _ = arrived.send(Ok(connection.clone()));
    news.notify_one();
    while connection.read_datagram().await.is_ok() {
        heard.fetch_add(1, Ordering::Relaxed);
    }
}

impl Crowd for QuinnCrowd {
    fn dial(&mut self) -> Outcome<()> {
        let _inside = self.runtime.enter();
        let dialling = self.endpoint.connect(self.server, NAME)?;
        let (news, heard) = (Arc::clone(&self.news), Arc::clone(&self.heard));
        tokio::spawn(play(dialling, self.arrived.clone(), news, heard));
        Ok(())
    }

    fn joined(&self) -> usize {
        self.players.len()
    }

    fn say(&mut self, player: usize, message: &[u8]) -> Outcome<()> {
        if let Some(player) = self.players.get(player) {
            player.send_datagram(Bytes::copy_from_slice(message))?;
        }
        Ok(())
    }

    fn step(&mut self, most: Duration) -> Outcome<()> {
        // A player who joins ends the waiting.
        let Self { runtime, news, .. } = self;
        runtime.block_on(async {
            let_run(2).await;
            if !most.is_zero() {
                let _ = timeout(most, news.notified()).await;
            }
        });
        for arrival in self.arrivals.try_iter() {
            self.players.push(arrival?);
        }
        Ok(())
    }

    fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }
}

pub fn scene(suite: Suite) -> Outcome<Scene> {
    let Configs { client, server } = configs(suite)?;
    let [here, there] = [socket()?, socket()?];
    let address = here.local_addr()?;
    let hall = move || {
        let runtime = runtime()?;
        let endpoint = endpoint(&runtime, here, Some(server))?;
        Ok(QuinnHall::new(runtime, endpoint))
    };
    let crowd = move || {
        let runtime = runtime()?;
        let mut endpoint = endpoint(&runtime, there, None)?;
        endpoint.set_default_client_config(client);
        Ok(QuinnCrowd::new(runtime, endpoint, address))
    };
    Ok(Scene::new(hall, crowd))
}
