//! The players' process: many sealed endpoints over one socket, told by lines on its input what to do.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    error::Error,
    io::{self, BufRead},
    net::SocketAddrV4,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, TryRecvError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use sealgram::{Config, Credentials, Guarantee, PublicKey, SealedEndpoint, SecretKey};

use crate::{
    Args, Promise, bare,
    shared::{Inbox, PlayerSocket, SharedSocket, deliver},
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Handshakes under way at once.
const JOINING: usize = 64;
/// How often everything is looked at.
const STEP: Duration = Duration::from_millis(1);
/// Messages that are sent before the socket is read again, and datagrams that are read before anything else happens.
const AT_ONCE: u64 = 256;
const READ_AT_ONCE: usize = 4_096;
/// What a message costs in a datagram beyond its bytes: its frame's head, and an acknowledgement that rides along.
const HEADS: usize = 10;

struct Player {
    endpoint: SealedEndpoint<PlayerSocket>,
    inbox: Arc<Mutex<Inbox>>,
    /// In tenths of milliseconds.
    delays: Vec<u16>,
    due: Option<Instant>,
}

struct Crowd {
    bytes: usize,
    promise: Guarantee,
    tick: Duration,
    shared: Arc<SharedSocket>,
    server: SocketAddrV4,
    bare: SocketAddrV4,
    key: PublicKey,
    players: Vec<Player>,
    timers: BinaryHeap<Reverse<(Instant, u32)>>,
    origin: Instant,
    buffer: Vec<u8>,
    sent: u64,
    echoed: u64,
}

impl Crowd {
    fn new(args: &Args, at: &[String]) -> Outcome<Self> {
        let [server, bare, key] = at else { return Err("three arguments".into()) };
        let key: [u8; 32] = hex::decode(key)?.as_slice().try_into()?;
        Ok(Self {
            bytes: args.bytes.into(),
            promise: match args.promise {
                Promise::None => Guarantee::None,
                Promise::Order => Guarantee::Order,
                Promise::Delivery => Guarantee::Delivery,
            },
            tick: Duration::from_secs_f64(1.0 / args.rate()),
            shared: Arc::new(SharedSocket::new()?),
            server: server.parse()?,
            bare: bare.parse()?,
            key: PublicKey::from_bytes(key)?,
            players: Vec::new(),
            timers: BinaryHeap::new(),
            origin: Instant::now(),
            buffer: vec![0; 2_048],
            sent: 0,
            echoed: 0,
        })
    }

    fn dial(&mut self) -> Outcome<()> {
        let index = u32::try_from(self.players.len())?;
        let inbox = Arc::<Mutex<Inbox>>::default();
        let (shared, server) = (Arc::clone(&self.shared), self.server);
        let socket = PlayerSocket { shared, inbox: Arc::clone(&inbox), index, server };
        let credentials = Credentials::client_auth(&SecretKey::generate()?, self.key)?;
        let mut endpoint = SealedEndpoint::with_credentials(socket, credentials, Config::default())?;
        endpoint.connect()?;
        self.players.push(Player { endpoint, inbox, delays: Vec::new(), due: None });
        self.see_to(index);
        Ok(())
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Lets one player read, send and look at its clock.
    fn see_to(&mut self, index: u32) {
        let now = self.micros();
        let Some(player) = self.players.get_mut(index as usize) else { return };
        while let Ok(Some(message)) = player.endpoint.recv() {
            let Some(sent) = message.first_chunk().map(|first| u64::from_le_bytes(*first)) else { continue };
            let delay = now.saturating_sub(sent) / 100;
            player.delays.push(u16::try_from(delay).unwrap_or(u16::MAX));
            self.echoed += 1;
        }
        while let Some(event) = player.endpoint.poll_event() {
            if let sealgram::Event::Closed { reason, .. } = event {
                eprintln!("player {index} is out: {reason}");
            }
        }
        let due = player.endpoint.maintain().ok().flatten();
        if due != player.due {
            player.due = due;
            self.timers.extend(due.map(|due| Reverse((due, index))));
        }
    }

    /// Reads the socket and lets everybody run who has news or whose time has come.
    fn step(&mut self) -> Outcome<()> {
        // Who cannot keep up with what comes must send all the same.
        for _ in 0..READ_AT_ONCE {
            let mut buffer = std::mem::take(&mut self.buffer);
            let read = self.shared.recv(&mut buffer);
            let found = match read {
                Ok((index, len)) => {
                    if let Some(player) = self.players.get(index as usize) {
                        deliver(&player.inbox, &buffer[..len]);
                    }
                    Some(index)
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                Err(error) => return Err(error.into()),
            };
            self.buffer = buffer;
            match found {
                Some(index) => self.see_to(index),
                None => break,
            }
        }
        let now = Instant::now();
        while let Some(Reverse((due, index))) =
            self.timers.peek().copied().filter(|Reverse((due, _))| *due <= now)
        {
            self.timers.pop();
            let player = self.players.get_mut(index as usize);
            if let Some(player) = player.filter(|player| player.due == Some(due)) {
                player.due = None;
                self.see_to(index);
            }
        }
        Ok(())
    }

    fn join(&mut self, count: usize) -> Outcome<()> {
        let mut joining: Vec<usize> = Vec::new();
        while self.players.len() < count || !joining.is_empty() {
            while self.players.len() < count && joining.len() < JOINING {
                joining.push(self.players.len());
                self.dial()?;
            }
            self.step()?;
            let players = &self.players;
            joining.retain(|index| !players[*index].endpoint.is_connected());
            thread::sleep(STEP / 4);
        }
        Ok(())
    }

    fn idle(&mut self, time: Duration) -> Outcome<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.step()?;
            thread::sleep(STEP * 4);
        }
        Ok(())
    }

    /// How many messages of all players are due since `start`.
    fn due(&self, start: Instant) -> u64 {
        let due = start.elapsed().as_nanos() * self.players.len() as u128 / self.tick.as_nanos().max(1);
        u64::try_from(due).unwrap_or(u64::MAX)
    }

    /// Whose message this one is.
    fn turn(&self, number: u64) -> u32 {
        u32::try_from(number % self.players.len().max(1) as u64).unwrap_or_default()
    }

    /// Everybody says something every tick, each at a time of its own; `say` says it.
    fn play(&mut self, time: Duration, mut say: impl FnMut(&mut Self, u32)) -> Outcome<()> {
        let start = Instant::now();
        let mut said = 0;
        while start.elapsed() < time {
            // Who is late must read all the same.
            let due = self.due(start).min(said + AT_ONCE);
            for number in said..due {
                say(self, self.turn(number));
            }
            said = said.max(due);
            self.step()?;
            thread::sleep(STEP);
        }
        Ok(())
    }

    fn play_sealed(&mut self, time: Duration) -> Outcome<String> {
        (self.sent, self.echoed) = (0, 0);
        let mut message = vec![7; self.bytes];
        self.play(time, |crowd, index| {
            message[..8].copy_from_slice(&crowd.micros().to_le_bytes());
            let player = &mut crowd.players[index as usize];
            let _ = player.endpoint.send_payload(crowd.promise, &message);
            crowd.sent += 1;
            crowd.see_to(index);
        })?;
        // The last of them are on their way, and acknowledgements wait for up to 300 ms.
        self.idle(Duration::from_millis(400))?;
        Ok(format!("{} {}", self.sent, self.echoed))
    }

    fn play_bare(&mut self, time: Duration) -> Outcome<String> {
        let content = self.bytes + HEADS;
        let mut number = 0;
        let datagrams: Vec<_> = (0..64).map(|number| bare::datagram(number, content)).collect();
        let end = Instant::now() + time;
        let (mut sent, mut heard, start) = (0_u64, 0_u64, Instant::now());
        while Instant::now() < end {
            let due = self.due(start).min(sent + AT_ONCE);
            while sent < due {
                let _ = self.shared.send(self.turn(sent), self.bare, &datagrams[number % datagrams.len()]);
                number += 1;
                sent += 1;
            }
            while self.shared.recv(&mut self.buffer).is_ok() {
                heard += 1;
            }
            thread::sleep(STEP);
        }
        thread::sleep(Duration::from_millis(50));
        while self.shared.recv(&mut self.buffer).is_ok() {
            heard += 1;
        }
        Ok(format!("{sent} {heard}"))
    }

    /// The worst player's delay that 99 of 100 of its messages stay below, in ticks.
    fn worst_p99(&mut self) -> f64 {
        let worst = self.players.iter_mut().filter_map(|player| {
            player.delays.sort_unstable();
            let at = player.delays.len() * 99 / 100;
            player.delays.get(at.min(player.delays.len().saturating_sub(1))).copied()
        });
        f64::from(worst.max().unwrap_or_default()) / 10_000.0 / self.tick.as_secs_f64()
    }

    fn obey(&mut self, command: &str, number: u64) -> Outcome<String> {
        let time = Duration::from_millis(number);
        match command {
            "join" => self.join(usize::try_from(number)?)?,
            "idle" => self.idle(time)?,
            "play" => return self.play_sealed(time),
            "bare" => return self.play_bare(time),
            "reset" => self.players.iter_mut().for_each(|player| player.delays.clear()),
            "delay" => return Ok(self.worst_p99().to_string()),
            _ => return Err(format!("what is {command}?").into()),
        }
        Ok("done".to_owned())
    }
}

fn lines() -> Receiver<String> {
    let (say, hear) = channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if say.send(line).is_err() {
                return;
            }
        }
    });
    hear
}

pub(crate) fn run(args: &Args, at: &[String]) -> Outcome<()> {
    let mut crowd = Crowd::new(args, at)?;
    let lines = lines();
    loop {
        let line = match lines.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Disconnected) => return Ok(()),
            Err(TryRecvError::Empty) => {
                crowd.step()?;
                thread::sleep(STEP);
                continue;
            }
        };
        let mut words = line.split_whitespace();
        let command = words.next().unwrap_or_default();
        if command == "end" {
            return Ok(());
        }
        let number = words.next().and_then(|word| word.parse().ok()).unwrap_or_default();
        println!("{}", crowd.obey(command, number)?);
    }
}
