//! The main job, to be seen: two peers over two real UDP sockets, through a relay that loses, delays, duplicates and
//! reorders, play a session at 60 Hz, and a table tells what became of every message.
//!
//! Inputs go as `Order`, positions as `None`, chat and game events as `Delivery`, and a map of 200 KiB as `Delivery`
//! in a set. Exit code 1 means that a promise was broken, 2 that there was no session to judge.

mod game;
#[path = "../common/relay.rs"]
mod relay;
mod report;

use std::error::Error;
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use game::{Clock, Kind, Player, RATE};
use relay::{Conditions, Relay};
use report::Summary;
use sealgram::{
    Config, Credentials, Endpoint, Invite, Psk, SealedEndpoint, SecretKey, Session, Stats, Trust, UdpLike,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Longest wait for what is still on its way after the game.
const DRAIN: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(30);
/// IPv4 and UDP headers.
const HEADERS: u64 = 28;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// Both know each other's key (Paired).
    Kk,
    /// The same, and a secret more.
    Kkpsk2,
    /// The second knows nobody, the first knows the second's key and shows its own (ClientAuth).
    Ik,
    /// The same, and a secret more.
    Ikpsk2,
    /// The first is anonymous and knows the second's key (Client).
    Nk,
    /// Neither knows the other; keys are exchanged (Tofu).
    Xx,
    /// Both hold an invite; keys are exchanged (InviteTofu).
    Xxpsk3,
    /// Both hold an invite (Invite).
    Nnpsk0,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Kk => "KK",
            Self::Kkpsk2 => "KKpsk2",
            Self::Ik => "IK",
            Self::Ikpsk2 => "IKpsk2",
            Self::Nk => "NK",
            Self::Xx => "XX",
            Self::Xxpsk3 => "XXpsk3",
            Self::Nnpsk0 => "NNpsk0",
        }
    }

    /// Fresh credentials for two ends, of which the first dials.
    fn credentials(self) -> Outcome<[Credentials; 2]> {
        let (mine, yours) = (SecretKey::generate()?, SecretKey::generate()?);
        let (me, you) = (mine.public_key(), yours.public_key());
        let (psk, invite) = (Psk::generate()?, Invite::generate()?);
        let only = |key| Trust::Only(vec![key]);
        Ok(match self {
            Self::Kk => [Credentials::paired(&mine, you)?, Credentials::paired(&yours, me)?],
            Self::Kkpsk2 => {
                [Credentials::paired_psk(&mine, you, &psk)?, Credentials::paired_psk(&yours, me, &psk)?]
            }
            Self::Ik => [Credentials::client_auth(&mine, you)?, Credentials::server_auth(&yours, only(me))],
            Self::Ikpsk2 => [
                Credentials::client_auth_psk(&mine, you, &psk)?,
                Credentials::server_auth_psk(&yours, &psk, only(me)),
            ],
            Self::Nk => [Credentials::client(you), Credentials::server(&yours)],
            Self::Xx => [Credentials::tofu(&mine, only(you)), Credentials::tofu(&yours, only(me))],
            Self::Xxpsk3 => [
                Credentials::invite_tofu(&mine, &invite, only(you)),
                Credentials::invite_tofu(&yours, &invite, only(me)),
            ],
            Self::Nnpsk0 => [Credentials::invite(&invite), Credentials::invite(&invite)],
        })
    }
}

/// Two peers play a session over real UDP, and every message is accounted for.
#[derive(Debug, Parser)]
struct Args {
    /// Plain endpoints: the same promises, nothing sealed.
    #[arg(long)]
    plain: bool,
    /// Who knows which key beforehand. Default: kk; between two processes nnpsk0.
    #[arg(long, value_enum)]
    profile: Option<Profile>,
    /// Share of datagrams that the relay loses.
    #[arg(long, default_value_t = 0.05)]
    loss: f64,
    /// One-way delay of the relay in milliseconds.
    #[arg(long, default_value_t = 25)]
    delay_ms: u64,
    /// How much that delay varies in both directions, in milliseconds.
    #[arg(long, default_value_t = 5)]
    jitter_ms: u64,
    /// Share of datagrams that the relay sends on twice.
    #[arg(long, default_value_t = 0.02)]
    duplicate: f64,
    /// Share of datagrams that the relay holds back behind later ones.
    #[arg(long, default_value_t = 0.02)]
    reorder: f64,
    /// Share of datagrams with which the relay sends an old one once more.
    #[arg(long, default_value_t = 0.0)]
    replay: f64,
    /// Share of datagrams in which the relay flips bits.
    #[arg(long, default_value_t = 0.0)]
    corrupt: f64,
    /// How long the game lasts.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// All chances of the relay follow from it; keys do not.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Wait here for a peer in another process, without a relay; prints the invite it needs.
    #[arg(long, conflicts_with = "connect")]
    listen: Option<SocketAddr>,
    /// Play against a listening peer, without a relay.
    #[arg(long)]
    connect: Option<SocketAddr>,
    /// The invite that the listening peer printed.
    #[arg(long)]
    invite: Option<String>,
    /// One JSON object instead of the table.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(summary) => {
            if args.json {
                println!("{}", summary.json());
            } else {
                summary.print();
            }
            ExitCode::from(u8::from(!summary.broken().is_empty()))
        }
        Err(error) => {
            eprintln!("duel: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Outcome<Summary> {
    let mut summary = Summary { sealed: !args.plain, seed: args.seed, ..Summary::default() };
    let remote = args.listen.is_some() || args.connect.is_some();
    let profile = args.profile.unwrap_or(if remote { Profile::Nnpsk0 } else { Profile::Kk });
    profile.name().clone_into(&mut summary.profile);
    if args.plain {
        "plain".clone_into(&mut summary.profile);
    }
    let config = || {
        let mut config = Config::default();
        config.app_id = b"duel/1".to_vec();
        config
    };
    if remote {
        let invite = if args.plain { None } else { Some(invite(args)?) };
        let socket = socket(args)?;
        match invite {
            None => alone(args, summary, Endpoint::plain(socket, config())?),
            Some(invite) => {
                let credentials = match profile {
                    Profile::Nnpsk0 => Credentials::invite(&invite),
                    Profile::Xxpsk3 => {
                        Credentials::invite_tofu(&SecretKey::generate()?, &invite, Trust::Anyone)
                    }
                    _ => return Err("between two processes: --profile nnpsk0 or xxpsk3".into()),
                };
                alone(args, summary, SealedEndpoint::with_credentials(socket, credentials, config())?)
            }
        }
    } else {
        let sockets = [UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?];
        let relay = Relay::between([sockets[0].local_addr()?, sockets[1].local_addr()?], conditions(args))?;
        for (socket, address) in sockets.iter().zip(relay.addresses()) {
            socket.connect(address)?;
        }
        let [a, b] = sockets;
        if args.plain {
            both(args, summary, &relay, Endpoint::plain(a, config())?, Endpoint::plain(b, config())?)
        } else {
            let [mine, yours] = profile.credentials()?;
            let a = SealedEndpoint::with_credentials(a, mine, config())?;
            let b = SealedEndpoint::with_credentials(b, yours, config())?;
            both(args, summary, &relay, a, b)
        }
    }
}

fn conditions(args: &Args) -> Conditions {
    Conditions {
        seed: args.seed,
        loss: args.loss,
        delay: Duration::from_millis(args.delay_ms),
        jitter: Duration::from_millis(args.jitter_ms),
        duplicate: args.duplicate,
        reorder: args.reorder,
        replay: args.replay,
        corrupt: args.corrupt,
        ..Conditions::default()
    }
}

fn ticks(args: &Args) -> u32 {
    let ticks =
        Duration::try_from_secs_f64(args.seconds).unwrap_or_default().as_millis() * u128::from(RATE) / 1_000;
    u32::try_from(ticks).unwrap_or(u32::MAX).max(1)
}

/// The tick at which the map is sent: after a second, or early in a shorter game.
fn map_tick(args: &Args) -> u32 {
    RATE.min(ticks(args) / 4)
}

/// Plays both sides in this process.
fn both<U: UdpLike, S: Session>(
    args: &Args,
    mut summary: Summary,
    relay: &Relay,
    a: Endpoint<U, S>,
    b: Endpoint<U, S>,
) -> Outcome<Summary> {
    let clock = Clock::new(false);
    let mut players = [Player::new(a, clock), Player::new(b, clock)];
    players[0].endpoint.connect()?;
    wait(clock, CONNECT, &mut players, |players| players.iter().all(|player| player.connected))?;
    if !players.iter().all(|player| player.connected) {
        return Err("no session came about".into());
    }
    let start = clock.now();
    if let Err(error) = play(args, clock, start, &mut players) {
        summary.troubles.push(format!("the game ended early: {error}"));
    }
    let settled = |players: &[Player<U, S>]| {
        let arrived = |from: usize| players[1 - from].book.tallies[2].delivered >= players[from].sent()[2];
        arrived(0) && arrived(1) && players.iter().all(Player::is_idle)
    };
    if let Err(error) = wait(clock, DRAIN, &mut players, settled) {
        summary.troubles.push(format!("the session ended early: {error}"));
    }
    for (side, player) in players.iter_mut().enumerate() {
        account(&mut summary, player);
        summary.hashes[side] = player.endpoint.handshake_hash().or(player.hash);
        player.endpoint.close(0, b"");
    }
    summary.relay = relay.counts();
    Ok(summary)
}

/// Plays one side; the other one is another process, and tells its numbers at the end.
fn alone<U: UdpLike, S: Session>(
    args: &Args,
    mut summary: Summary,
    endpoint: Endpoint<U, S>,
) -> Outcome<Summary> {
    let clock = Clock::new(true);
    let mut players = [Player::new(endpoint, clock)];
    if args.connect.is_some() {
        players[0].endpoint.connect()?;
    }
    wait(clock, CONNECT, &mut players, |players| players[0].connected)?;
    if !players[0].connected {
        return Err("no session came about".into());
    }
    play(args, clock, clock.now(), &mut players)?;
    let mut sent = players[0].sent();
    sent[2] += 1;
    players[0].tell(Kind::End, &sent)?;
    wait(clock, CONNECT, &mut players, |players| players[0].book.peer_sent.is_some())?;
    let all_here = |players: &[Player<U, S>]| {
        let due = players[0].book.peer_sent.as_ref().and_then(|sent| sent.get(2).copied());
        due.is_some_and(|due| players[0].book.tallies[2].delivered >= due) && players[0].is_idle()
    };
    wait(clock, DRAIN, &mut players, all_here)?;
    let own: Vec<_> = players[0]
        .book
        .tallies
        .iter()
        .flat_map(|tally| [tally.delivered, tally.duplicates, tally.order_violations])
        .collect();
    let stats = players[0].endpoint.stats();
    let costs = [players[0].book.damaged, stats.datagrams_sent, stats.bytes_sent, players[0].payload_bytes()];
    players[0].tell(Kind::Report, &[own, costs.to_vec()].concat())?;
    // The peer may close as soon as it has our report: the end of the session is no trouble any more.
    let told = |players: &[Player<U, S>]| players[0].book.peer_report.is_some() && players[0].is_idle();
    let _ = wait(clock, DRAIN, &mut players, told);
    let player = &mut players[0];
    account(&mut summary, player);
    // What follows is the peer's word.
    for (sum, sent) in summary.sent.iter_mut().zip(player.book.peer_sent.iter().flatten()) {
        *sum += sent;
    }
    match player.book.peer_report.as_deref() {
        Some([counts @ .., damaged, datagrams, bytes, payload]) => {
            for (tally, counts) in summary.tallies.iter_mut().zip(counts.chunks_exact(3)) {
                tally.delivered += counts[0];
                tally.duplicates += counts[1];
                tally.order_violations += counts[2];
            }
            summary.damaged += damaged;
            summary.datagrams += datagrams;
            summary.wire_bytes += bytes + HEADERS * datagrams;
            summary.payload_bytes += payload;
        }
        _ => summary.troubles.push("the peer did not say what it received".to_owned()),
    }
    // Each process knows its own end only; compare the two outputs by eye.
    summary.hashes = [player.endpoint.handshake_hash().or(player.hash); 2];
    player.endpoint.close(0, b"");
    Ok(summary)
}

/// Adds what one side measured.
fn account<U: UdpLike, S: Session>(summary: &mut Summary, player: &Player<U, S>) {
    for at in 0..3 {
        summary.sent[at] += player.sent()[at];
        let (sum, one) = (&mut summary.tallies[at], &player.book.tallies[at]);
        sum.delivered += one.delivered;
        sum.duplicates += one.duplicates;
        sum.order_violations += one.order_violations;
        sum.delays.extend(&one.delays);
    }
    let stats = player.endpoint.stats();
    summary.damaged += player.book.damaged;
    summary.reconnects += player.reconnects;
    summary.datagrams += stats.datagrams_sent;
    summary.wire_bytes += stats.bytes_sent + HEADERS * stats.datagrams_sent;
    summary.payload_bytes += player.payload_bytes();
    let drops = drops(&stats);
    if summary.drops.is_empty() {
        summary.drops = drops.map(|(why, _)| (why, 0)).to_vec();
    }
    for (sum, (_, count)) in summary.drops.iter_mut().zip(drops) {
        sum.1 += count;
    }
}

fn drops(stats: &Stats) -> [(&'static str, u64); 7] {
    let drops = &stats.drops;
    [
        ("length", drops.length),
        ("unopened", drops.unopened),
        ("duplicate", drops.duplicate),
        ("too_old", drops.too_old),
        ("epoch", drops.epoch),
        ("handshake", drops.handshake),
        ("reflected", drops.reflected),
    ]
}

/// Plays all ticks, each at its time.
fn play<U: UdpLike, S: Session>(
    args: &Args,
    clock: Clock,
    start: Duration,
    players: &mut [Player<U, S>],
) -> Outcome<()> {
    for tick in 0..ticks(args) {
        let due = start + Duration::from_secs(1) * tick / RATE;
        while clock.now() < due {
            step(players)?;
        }
        for (side, player) in players.iter_mut().enumerate() {
            player.play(tick, side == 0 && tick == map_tick(args))?;
        }
    }
    Ok(())
}

/// Goes on until `done`, or for `limit`.
fn wait<U: UdpLike, S: Session>(
    clock: Clock,
    limit: Duration,
    players: &mut [Player<U, S>],
    done: impl Fn(&[Player<U, S>]) -> bool,
) -> Outcome<()> {
    let end = clock.now() + limit;
    while clock.now() < end && !done(players) {
        for player in players.iter_mut() {
            player.send_waiting()?;
        }
        step(players)?;
    }
    Ok(())
}

/// One look at all sockets and timers, and a short rest.
#[expect(clippy::disallowed_methods, reason = "a game that has nothing to do rests")]
fn step<U: UdpLike, S: Session>(players: &mut [Player<U, S>]) -> Outcome<()> {
    for player in players {
        player.step()?;
    }
    std::thread::sleep(Duration::from_micros(500));
    Ok(())
}

/// The invite given, or a new one, which is shown.
fn invite(args: &Args) -> Outcome<Invite> {
    match (&args.invite, args.listen) {
        (Some(hex), _) => Ok(hex.parse()?),
        (None, None) => Err("--connect needs the --invite that the listening side printed".into()),
        (None, Some(address)) => {
            let invite = Invite::generate()?;
            eprintln!(
                "on the other side: duel --connect {address} --invite {}",
                invite.expose_hex().as_str()
            );
            Ok(invite)
        }
    }
}

/// A connected socket. Who listens takes the first address that sends anything for its peer.
fn socket(args: &Args) -> Outcome<UdpSocket> {
    if let Some(address) = args.connect {
        let any: SocketAddr = if address.is_ipv4() { "0.0.0.0:0".parse()? } else { "[::]:0".parse()? };
        let socket = UdpSocket::bind(any)?;
        socket.connect(address)?;
        return Ok(socket);
    }
    let address = args.listen.ok_or("neither --listen nor --connect")?;
    let socket = UdpSocket::bind(address)?;
    let (_, peer) = socket.peek_from(&mut [0; 65_536])?;
    socket.connect(peer)?;
    Ok(socket)
}
