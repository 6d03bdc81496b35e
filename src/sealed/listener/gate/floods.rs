//! Floods against players who want to join, in virtual time: gate and table as they are, Noise left out, a path of 40 ms
//! between everybody and the server. Each run has a seed, which is printed when it fails.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    os::Environment,
    sealed::{
        listener::half_open::{Answer, HalfOpenTable},
        messages::NoiseBytes,
        tests::Chance,
    },
    wire::frame::CID_LEN,
};

const INIT_BYTES: u64 = 1_200;
const COOKIE_BYTES: u64 = 128;
const ONE_WAY: u64 = 20_000;
/// IK.
const COST: u32 = 5;

/// When INIT leaves again, in microseconds since the attempt began.
const RESENDS: [u64; 7] = [0, 250_000, 750_000, 1_750_000, 3_750_000, 7_750_000, 11_750_000];
const ATTEMPT: u64 = 12_000_000;

type Cid = [u8; CID_LEN];

#[derive(Clone, Copy, PartialEq)]
enum Who {
    Player,
    /// Receives at its address, brings cookies, never confirms.
    Attacker,
    /// Writes other people's addresses on its datagrams.
    Spoofer,
}

struct Dialler {
    who: Who,
    from: SocketAddr,
    id: [u8; 32],
    cookie: [u8; 16],
    started: u64,
    attempt: u64,
    sends: usize,
    response: Option<Cid>,
    joined: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Init { cookie: [u8; 16] },
    Confirm { cid: Cid },
    Cookie { cookie: [u8; 16] },
    Response { cid: Cid },
    Timer,
}

struct Server {
    gate: Gate,
    table: HalfOpenTable<()>,
    start: Instant,
    events: BinaryHeap<Reverse<(u64, u64, usize, What)>>,
    serial: u64,
    diallers: Vec<Dialler>,
    /// Bytes from and to each source.
    bytes: HashMap<SocketAddr, (u64, u64)>,
    chance: Chance,
    most_held: usize,
    diffie_hellmans: u64,
    /// Datagrams in a millisecond that no key opens.
    garbage: u64,
    garbage_until: u64,
}

impl Server {
    fn new(flood: &Flood, seed: u64) -> Self {
        flood.check().unwrap();
        let start = Environment::os().now();
        let mut chance = Chance(seed);
        let secrets = Arc::new(CookieSecrets::new(start, &mut chance).unwrap());
        Self {
            gate: Gate::new(flood, secrets, start, &mut chance).unwrap(),
            table: HalfOpenTable::new(flood.half_open, start),
            start,
            events: BinaryHeap::new(),
            serial: 0,
            diallers: Vec::new(),
            bytes: HashMap::new(),
            chance,
            most_held: 0,
            diffie_hellmans: 0,
            garbage: 0,
            garbage_until: 0,
        }
    }

    fn random<const N: usize>(&mut self) -> [u8; N] {
        crypto::random(&mut self.chance).unwrap()
    }

    fn push(&mut self, at: u64, dialler: usize, what: What) {
        self.serial += 1;
        self.events.push(Reverse((at, self.serial, dialler, what)));
    }

    fn dial(&mut self, at: u64, who: Who, from: SocketAddr) {
        let id = self.random();
        self.diallers.push(Dialler {
            who,
            from,
            id,
            cookie: [0; 16],
            started: at,
            attempt: at,
            sends: 0,
            response: None,
            joined: None,
        });
        self.push(at, self.diallers.len() - 1, What::Timer);
    }

    /// `per_second` dials from `first` to `last` second, from addresses that `from` names.
    fn dials(
        &mut self,
        who: Who,
        per_second: u64,
        seconds: std::ops::Range<u64>,
        mut from: impl FnMut(&mut Chance, u64) -> SocketAddr,
    ) {
        for number in 0..per_second * (seconds.end - seconds.start) {
            let at = seconds.start * 1_000_000
                + number * 1_000_000 / per_second
                + self.chance.below(1_000_000 / per_second);
            let from = from(&mut self.chance, number);
            self.dial(at, who, from);
        }
    }

    fn run(&mut self, seconds: u64) {
        while let Some(Reverse((at, _, index, what))) = self.events.pop() {
            if at > seconds * 1_000_000 {
                break;
            }
            let now = self.start + Duration::from_micros(at);
            match what {
                What::Timer => self.timer(at, index),
                What::Init { cookie } => self.receive_init(at, now, index, cookie),
                What::Confirm { cid } => {
                    self.table.handle_timeout(now);
                    if self.table.take(&cid).is_some() && self.diallers[index].joined.is_none() {
                        let share = self.gate.session_opened(self.diallers[index].from);
                        self.diallers[index].joined = share.map(|_| at);
                    }
                }
                What::Cookie { cookie } => {
                    let dialler = &mut self.diallers[index];
                    if dialler.cookie != cookie && dialler.response.is_none() {
                        dialler.cookie = cookie;
                        self.send_init(at, index);
                    }
                }
                What::Response { cid } => {
                    let dialler = &mut self.diallers[index];
                    if dialler.who == Who::Player && dialler.response.replace(cid).is_none() {
                        self.push(at, index, What::Timer);
                    }
                }
            }
        }
    }

    /// One datagram in a hundred is lost.
    fn send(&mut self, at: u64, index: usize, what: What) {
        if self.chance.below(100) != 0 {
            let arrives = at + ONE_WAY + self.chance.below(2_000);
            self.push(arrives, index, what);
        }
    }

    fn send_init(&mut self, at: u64, index: usize) {
        let cookie = self.diallers[index].cookie;
        self.send(at, index, What::Init { cookie });
    }

    fn timer(&mut self, at: u64, index: usize) {
        let fresh = self.random();
        let dialler = &mut self.diallers[index];
        // Whoever attacks dials once, and again when he gets a cookie.
        if dialler.who != Who::Player {
            return self.send_init(at, index);
        }
        if dialler.joined.is_some() {
            return;
        }
        if at >= dialler.attempt + ATTEMPT {
            (dialler.id, dialler.cookie, dialler.response) = (fresh, [0; 16], None);
            (dialler.attempt, dialler.sends) = (at, 0);
        }
        if let Some(cid) = dialler.response {
            self.send(at, index, What::Confirm { cid });
            return self.push(at + 250_000, index, What::Timer);
        }
        dialler.sends += 1;
        let next = RESENDS.get(dialler.sends).map_or(ATTEMPT, |next| {
            let distance = next - RESENDS[dialler.sends - 1];
            at - dialler.attempt + distance * 3 / 4 + self.chance.below(distance / 2)
        });
        let next = self.diallers[index].attempt + next;
        self.send_init(at, index);
        self.push(next, index, What::Timer);
    }

    fn receive_init(&mut self, at: u64, now: Instant, index: usize, cookie: [u8; 16]) {
        let Dialler { from, id, who, .. } = self.diallers[index];
        self.bytes.entry(from).or_default().0 += INIT_BYTES;
        self.table.handle_timeout(now);
        while self.garbage_until < at {
            self.garbage_until += 1_000;
            for _ in 0..self.garbage {
                self.gate.take_envelope(now);
            }
        }
        if !self.gate.take_envelope(now) {
            return;
        }
        let init = Init { from, id: &id, cookie: &cookie, cost: COST };
        let reply = match self.gate.judge(now, &mut self.table, &init) {
            Verdict::AskCookie(cookie) => What::Cookie { cookie },
            Verdict::Again => What::Response { cid: self.table.find(&id).unwrap().cid },
            Verdict::Read(admitted) => {
                self.diffie_hellmans += u64::from(COST);
                let cid = self.random();
                let answer =
                    Answer { id, cid, response: NoiseBytes::written(|_| Ok(97)).unwrap(), stage: () };
                assert!(self.table.insert(now, admitted, answer), "room was promised");
                What::Response { cid }
            }
            Verdict::Drop => return,
        };
        self.most_held = self.most_held.max(self.table.len());
        let (bytes_in, bytes_out) = self.bytes.get_mut(&from).unwrap();
        *bytes_out += if matches!(reply, What::Cookie { .. }) { COOKIE_BYTES } else { INIT_BYTES };
        assert!(bytes_out <= bytes_in);
        if who != Who::Spoofer {
            self.send(at, index, reply);
        }
    }

    fn players(&self) -> impl Iterator<Item = &Dialler> {
        self.diallers.iter().filter(|dialler| dialler.who == Who::Player)
    }

    /// How many of a thousand players joined within so many seconds.
    fn joined_within(&self, seconds: u64) -> usize {
        let within = |player: &&Dialler| {
            player.joined.is_some_and(|joined| joined - player.started <= seconds * 1_000_000)
        };
        self.players().filter(within).count() * 1_000 / self.players().count()
    }

    /// When the last player was in, in seconds.
    fn all_in(&self) -> Option<u64> {
        self.players()
            .map(|player| player.joined)
            .try_fold(0, |last, joined| Some(last.max(joined?)))
            .map(|last| last / 1_000_000 + 1)
    }

    fn show(&self, what: &str, seed: u64) {
        println!(
            "{what}, seed {seed}: {} of 1,000 within 3 s, {} DH, most {} half-open, {:?}",
            self.joined_within(3),
            self.diffie_hellmans,
            self.most_held,
            self.gate.stats(&self.table),
        );
    }
}

/// Some address of this /24.
fn of_net(net: u64, chance: &mut Chance) -> SocketAddr {
    let [.., b, c, d] = (net << 8 | chance.below(256)).to_be_bytes();
    SocketAddr::from(([100, b, c, d], port(chance.below(60_000))))
}

fn port(number: u64) -> u16 {
    u16::try_from(1_024 + number).unwrap()
}

/// 300 players of as many networks join from the third second to the thirteenth.
fn players_join(server: &mut Server) {
    server.dials(Who::Player, 30, 3..13, |chance, number| of_net(10_000 + number, chance));
}

/// Networks that own their addresses send INITs with cookies and confirm none.
fn networks_attack(server: &mut Server, count: u64, per_second: u64, seconds: u64) {
    server.dials(Who::Attacker, per_second, 0..seconds, |chance, number| of_net(number % count, chance));
}

/// INITs under any addresses, among them those of the players' networks.
fn spoofers_attack(server: &mut Server) {
    server.dials(Who::Spoofer, 5_000, 0..18, |chance, _| {
        let net = 10_000 + chance.below(300);
        of_net(net, chance)
    });
}

const SEEDS: std::ops::Range<u64> = 1..4;

fn flooded(what: &str, flood: &Flood, attack: impl Fn(&mut Server)) -> u64 {
    let mut most = 0;
    for seed in SEEDS {
        let mut server = Server::new(flood, seed);
        players_join(&mut server);
        attack(&mut server);
        server.run(18);
        server.show(what, seed);
        assert!(server.joined_within(3) >= 990, "{what}, seed {seed}: {}", server.joined_within(3));
        assert!(server.diffie_hellmans <= 19_000, "{what}, seed {seed}");
        most = most.max(server.diffie_hellmans);
    }
    most
}

#[test]
fn without_a_flood_nobody_is_asked_for_a_cookie_or_kept_waiting() {
    let mut server = Server::new(&Flood::default(), 1);
    players_join(&mut server);
    server.run(18);
    assert!(server.joined_within(1) >= 990);
    assert_eq!(server.gate.stats(&server.table), FloodStats::default(), "nothing was refused");
}

#[test]
fn players_join_while_four_networks_send_300_inits_a_second_each() {
    flooded("four networks", &Flood::default(), |server| networks_attack(server, 4, 1_200, 18));
}

#[test]
fn players_join_while_64_networks_send_2_000_inits_a_second() {
    flooded("64 networks", &Flood::default(), |server| networks_attack(server, 64, 2_000, 18));
}

#[test]
fn players_join_while_spoofed_addresses_send_5_000_inits_a_second() {
    let dh = flooded("spoofed addresses", &Flood::default(), spoofers_attack);
    // Half a second's worth before cookies are asked, and the players.
    assert!(dh <= 600 + 300 * u64::from(COST), "{dh}");
}

#[test]
fn players_join_while_everything_comes_at_once() {
    flooded("all", &Flood::default(), |server| {
        server.garbage = 20;
        networks_attack(server, 64, 2_000, 18);
        spoofers_attack(server);
    });
}

#[test]
fn with_cookies_for_all_a_spoofed_flood_costs_no_diffie_hellman() {
    let flood = Flood { require_cookie: true, ..Flood::default() };
    let dh = flooded("spoofed addresses, cookies for all", &flood, spoofers_attack);
    assert_eq!(dh, 300 * u64::from(COST));
}

#[test]
fn players_of_an_attacked_network_still_join() {
    for seed in SEEDS {
        let mut server = Server::new(&Flood::default(), seed);
        // The attacker is the players' neighbour.
        server.dials(Who::Player, 1, 3..23, |chance, _| of_net(3, chance));
        networks_attack(&mut server, 4, 1_200, 53);
        server.run(53);
        server.show("neighbours", seed);
        println!(
            "{:?} of 1,000 within 12, 20, 30 s",
            [12, 20, 30].map(|seconds| server.joined_within(seconds))
        );
        assert!(server.joined_within(30) >= 600, "seed {seed}");
    }
}

/// A thousand players whose datagrams all come from one address, within a second. When the last of them was in.
fn behind_one_address(known: bool, attacked: bool, seed: u64) -> Option<u64> {
    let proxy: IpAddr = [10, 0, 0, 1].into();
    let proxies = if known { vec![proxy] } else { Vec::new() };
    let mut server = Server::new(&Flood { proxies, ..Flood::default() }, seed);
    server.dials(Who::Player, 1_000, 3..4, |_, number| SocketAddr::new(proxy, port(number)));
    if attacked {
        networks_attack(&mut server, 4, 1_200, 60);
    }
    server.run(60);
    let last = server.all_in().map(|last| last - 3);
    println!("known {known}, attacked {attacked}: all in after {last:?} s");
    server.show("proxy", seed);
    last
}

#[test]
fn a_thousand_players_behind_a_configured_proxy_all_join() {
    for seed in SEEDS {
        for attacked in [false, true] {
            let last = behind_one_address(true, attacked, seed);
            assert!(last.is_some_and(|last| last <= 20), "seed {seed}, attacked {attacked}: {last:?}");
        }
    }
}

#[test]
fn a_thousand_players_behind_an_unknown_proxy_all_join_too() {
    for seed in SEEDS {
        for (attacked, most) in [(false, 20), (true, 57)] {
            let last = behind_one_address(false, attacked, seed);
            assert!(last.is_some_and(|last| last <= most), "seed {seed}, attacked {attacked}: {last:?}");
        }
    }
}
