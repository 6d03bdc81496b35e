//! The server's process: lets everybody in, echoes what it hears, and measures itself.

use std::{
    error::Error,
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, TryRecvError, channel},
    thread,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::UdpSocket};
use nix::sys::socket::{setsockopt, sockopt};
use sealgram::{Credentials, Event, SealedServer, SecretKey, ServerConfig, Trust};

use crate::{
    Args,
    bare::Bare,
    figures::{resident, thread_time},
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How long nothing happens before memory is read: as long as a session takes to rest, and some.
const IDLE: Duration = Duration::from_secs(12);
/// The bare loop and the server take turns, so that both meet the same machine.
const TURN: u32 = 2;

struct Host {
    server: SealedServer<UdpSocket>,
    bare: Bare,
    bare_socket: UdpSocket,
    polls: [Poll; 2],
    events: Events,
    echo: Vec<u8>,
    connected: usize,
    closed: usize,
    echoes: u64,
    /// Between two looks at a socket; zero: until something comes.
    tick: Duration,
    next_tick: Instant,
    /// Looks of the server and of the bare loop that found something.
    rounds: [u64; 2],
}

/// The other process and what it says.
struct Players {
    process: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
}

fn socket(poll: &Poll) -> io::Result<UdpSocket> {
    let mut socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let _ = setsockopt(&socket, sockopt::RcvBuf, &(4 << 20));
    poll.registry().register(&mut socket, Token(0), Interest::READABLE)?;
    Ok(socket)
}

impl Host {
    fn new(args: &Args, key: &SecretKey) -> Outcome<Self> {
        let polls = [Poll::new()?, Poll::new()?];
        let mut config = ServerConfig::default();
        config.flood.max_sessions = args.peers as usize;
        config.flood.sessions_per_prefix = Some(256.min(args.peers as usize));
        config.flood.half_open = 1_024;
        // Everybody comes from this machine, and all at once.
        config.flood.handshake_dh_per_second = 1_000_000;
        let credentials = Credentials::server_auth(key, Trust::Anyone);
        let server = SealedServer::new(socket(&polls[0])?, credentials, config)?;
        let bare_socket = socket(&polls[1])?;
        Ok(Self {
            server,
            bare: Bare::new(),
            bare_socket,
            polls,
            events: Events::with_capacity(8),
            echo: Vec::new(),
            connected: 0,
            closed: 0,
            echoes: 0,
            tick: Duration::from_secs(1).checked_div(args.tick_hz).unwrap_or_default(),
            next_tick: Instant::now(),
            rounds: [0; 2],
        })
    }

    /// One round of a game server: hear everybody, answer, see to the events, send.
    fn step(&mut self) -> Option<Instant> {
        let before = self.echoes;
        while let Some((id, message)) = self.server.recv() {
            let guarantee = message.guarantee();
            self.echo.clear();
            self.echo.extend_from_slice(&message);
            self.echoes += 1;
            if let Some(mut peer) = self.server.peer(id) {
                let _ = peer.send_payload(guarantee, &self.echo);
            }
        }
        while let Some((id, event)) = self.server.poll_event() {
            match event {
                Event::Join { .. } => drop(self.server.accept(id)),
                Event::Connected { .. } => self.connected += 1,
                Event::Closed { reason, .. } => {
                    self.closed += 1;
                    eprintln!("a player left: {reason}");
                }
                _ => {}
            }
        }
        self.rounds[0] += u64::from(self.echoes > before);
        self.server.maintain()
    }

    fn wait(&mut self, which: usize, limit: Duration) -> io::Result<()> {
        if !self.tick.is_zero() {
            let now = Instant::now();
            self.next_tick = (self.next_tick + self.tick).max(now);
            thread::sleep(self.next_tick - now);
            return Ok(());
        }
        match self.polls[which].poll(&mut self.events, Some(limit)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// Serves until the players have done what they were told, and gives their answer.
    fn serve(&mut self, players: &mut Players, command: &str) -> Outcome<String> {
        writeln!(players.commands, "{command}")?;
        self.step();
        loop {
            let next = self.step();
            match players.answers.try_recv() {
                Ok(answer) => return Ok(answer),
                Err(TryRecvError::Disconnected) => return Err("the players are gone".into()),
                Err(TryRecvError::Empty) => {}
            }
            let limit = Duration::from_millis(20);
            let limit = next.map_or(limit, |next| next.saturating_duration_since(Instant::now()).min(limit));
            self.wait(0, limit)?;
        }
    }

    fn serve_bare(&mut self, players: &mut Players, command: &str) -> Outcome<String> {
        writeln!(players.commands, "{command}")?;
        loop {
            let before = self.bare.echoes;
            self.bare.work(&mut self.bare_socket)?;
            self.rounds[1] += u64::from(self.bare.echoes > before);
            match players.answers.try_recv() {
                Ok(answer) => return Ok(answer),
                Err(TryRecvError::Disconnected) => return Err("the players are gone".into()),
                Err(TryRecvError::Empty) => {}
            }
            self.wait(1, Duration::from_millis(20))?;
        }
    }
}

impl Players {
    fn start(args: &Args, host: &Host, key: &SecretKey) -> Outcome<Self> {
        let at = |socket: &UdpSocket| -> io::Result<SocketAddr> { socket.local_addr() };
        let mut process = Command::new(std::env::current_exe()?)
            .args(["--peers", &args.peers.to_string(), "--bytes", &args.bytes.to_string()])
            .args(["--rate", &args.rate().to_string(), "--promise", &args.promise.name(), "--play"])
            .arg(at(host.server.socket())?.to_string())
            .arg(at(&host.bare_socket)?.to_string())
            .arg(hex::encode(key.public_key().as_bytes()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let commands = process.stdin.take().ok_or("no pipe")?;
        let output = process.stdout.take().ok_or("no pipe")?;
        let (say, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { process, commands, answers })
    }
}

/// The numbers of an answer.
fn numbers(answer: &str) -> Vec<f64> {
    answer.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

pub(crate) fn run(args: &Args) -> Outcome<()> {
    let key = SecretKey::generate()?;
    let mut host = Host::new(args, &key)?;
    let mut players = Players::start(args, &host, &key)?;
    // A few first, so that buffers and code are there before memory is read.
    let few = 16.min(args.peers);
    host.serve(&mut players, &format!("join {few}"))?;
    host.serve(&mut players, "idle 1000")?;
    let before = resident()?;
    let begun = Instant::now();
    host.serve(&mut players, &format!("join {}", args.peers))?;
    let joined = begun.elapsed();
    host.serve(&mut players, &format!("idle {}", IDLE.as_millis()))?;
    let idle_bytes = (resident()?.saturating_sub(before)) as f64 / f64::from((args.peers - few).max(1));

    // One turn of each to warm up.
    host.serve(&mut players, "play 1000")?;
    host.serve_bare(&mut players, "bare 1000")?;
    let (mut cpu, mut bare_cpu, mut sent, mut echoed) = (0, 0, 0.0, 0.0);
    let (echoes_before, bare_before, rounds_before) = (host.echoes, host.bare.echoes, host.rounds);
    let mut left = args.seconds;
    let mut datagrams = [0; 2];
    host.serve(&mut players, "reset")?;
    while left > 0 {
        let turn = left.min(TURN) * 1_000;
        let (start, before) = (thread_time()?, host.server.stats());
        let answer = numbers(&host.serve(&mut players, &format!("play {turn}"))?);
        cpu += thread_time()? - start;
        let stats = host.server.stats();
        datagrams[0] += stats.datagrams_received - before.datagrams_received;
        datagrams[1] += stats.datagrams_sent - before.datagrams_sent;
        sent += answer.first().copied().unwrap_or_default();
        echoed += answer.get(1).copied().unwrap_or_default();
        let start = thread_time()?;
        host.serve_bare(&mut players, &format!("bare {turn}"))?;
        bare_cpu += thread_time()? - start;
        left -= left.min(TURN);
    }
    let (echoes, bare_echoes) = (host.echoes - echoes_before, host.bare.echoes - bare_before);
    let delay = numbers(&host.serve(&mut players, "delay")?).first().copied().unwrap_or_default();
    writeln!(players.commands, "end")?;
    players.process.wait()?;
    let per_echo = |all: u64, echoes: u64| all as f64 / echoes.max(1) as f64;
    let figures = [
        ("peers", host.connected as f64),
        ("left", host.closed as f64),
        ("join_seconds", joined.as_secs_f64()),
        ("idle_bytes_per_peer", idle_bytes.round()),
        ("rate", args.rate()),
        ("echoes", echoes as f64),
        ("echoed_pct", 100.0 * echoed / f64::max(sent, 1.0)),
        ("server_cpu_ns_per_echo", per_echo(cpu, echoes).round()),
        ("bare_cpu_ns_per_echo", per_echo(bare_cpu, bare_echoes).round()),
        ("bare_echoes", bare_echoes as f64),
        ("echoes_per_look", per_echo(echoes, host.rounds[0] - rounds_before[0])),
        ("bare_echoes_per_look", per_echo(bare_echoes, host.rounds[1] - rounds_before[1])),
        ("datagrams_in_per_echo", datagrams[0] as f64 / echoes.max(1) as f64),
        ("datagrams_out_per_echo", datagrams[1] as f64 / echoes.max(1) as f64),
        ("delay_ticks_p99", delay),
    ];
    if args.json {
        let object: serde_json::Map<_, _> =
            figures.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        println!("{}", serde_json::Value::from(object));
    } else {
        figures.iter().for_each(|(name, value)| println!("{name:>24} {value:.2}"));
    }
    Ok(())
}
