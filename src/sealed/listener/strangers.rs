//! A listener and those who come to it, whole handshakes on both sides and no network: what strangers cost before and
//! just after they have confirmed.

use std::net::SocketAddr;

use rand_core::TryRng;

use super::*;
use crate::{
    config::Flood,
    event::Event,
    sealed::{
        Sealed, Trust,
        tests::{Chance, credentials, key, ms, public, start},
    },
};

pub(super) struct Player {
    pub(super) end: Sealed,
    pub(super) at: SocketAddr,
    /// Everything that it sent.
    pub(super) sent: Vec<Vec<u8>>,
    /// Longest datagram that it hears: who hears COOKIE and no RESP never finishes.
    pub(super) hears: usize,
}

pub(super) struct Rig {
    pub(super) now: Instant,
    pub(super) listener: Listener,
    pub(super) chance: Chance,
    pub(super) players: Vec<Player>,
    pub(super) events: Vec<(PeerId, Event)>,
    /// What the listener holds in the heap.
    heap: i64,
}

/// An address in the network of this number.
pub(super) fn of_net(net: u16, host: u8) -> SocketAddr {
    let [high, low] = net.to_be_bytes();
    SocketAddr::from(([100, high, low, host], 1_000))
}

/// A listener for clients without keys.
pub(super) fn anonymous(config: ServerConfig) -> Rig {
    Rig::new(Credentials::server(&key(11)), config)
}

impl Rig {
    fn new(credentials: Credentials, config: ServerConfig) -> Self {
        let (now, mut chance) = (start(), Chance(1));
        let mut listener = None;
        let taken = allocation_counter::measure(|| {
            listener = Some(Listener::new(credentials, config, None, now, &mut chance).unwrap());
        });
        let listener = listener.unwrap();
        Self { now, listener, chance, players: Vec::new(), events: Vec::new(), heap: taken.bytes_current }
    }

    fn dial(&mut self, credentials: Credentials, at: SocketAddr) -> usize {
        self.dial_with(Config::default(), credentials, at)
    }

    pub(super) fn dial_with(&mut self, config: Config, credentials: Credentials, at: SocketAddr) -> usize {
        let mut end = Sealed::new(credentials, config, self.now).unwrap();
        end.connect(self.now, &mut self.chance).unwrap();
        self.players.push(Player { end, at, sent: Vec::new(), hears: usize::MAX });
        self.players.len() - 1
    }

    /// A datagram reaches the listener. Whoever it is answers at once.
    fn deliver(&mut self, from: SocketAddr, datagram: &[u8]) {
        let Self { now, listener, chance, heap, .. } = self;
        let mut datagram = datagram.to_vec();
        let taken = allocation_counter::measure(|| {
            let _ = listener.handle_datagram(*now, chance, from, &mut datagram);
        });
        *heap += taken.bytes_current;
        self.answer();
    }

    /// The listener says what it has to say.
    pub(super) fn answer(&mut self) {
        let Self { now, listener, chance, heap, players, events, .. } = self;
        let (mut out, mut sent) = ([0; 1_500], None);
        listener.peers.flush_all();
        loop {
            let taken = allocation_counter::measure(|| sent = listener.poll_transmit(*now, chance, &mut out));
            *heap += taken.bytes_current;
            let Some((len, to)) = sent else { break };
            for player in players.iter_mut().filter(|player| player.at == to && len <= player.hears) {
                player.end.handle_datagram(*now, chance, &mut out[..len].to_vec());
            }
        }
        events.extend(std::iter::from_fn(|| listener.peers.poll_event()));
    }

    /// What this player has to send now.
    pub(super) fn takes(&mut self, index: usize) -> Vec<Vec<u8>> {
        let player = &mut self.players[index];
        if player.end.deadline().is_some_and(|at| at <= self.now) {
            player.end.handle_timeout(self.now, &mut self.chance);
        }
        player.end.connection_mut().flush();
        let (mut out, mut sent) = ([0; 1_500], Vec::new());
        loop {
            let len = player.end.poll_transmit(self.now, &mut self.chance, &mut out);
            if len == 0 {
                break;
            }
            sent.push(out[..len].to_vec());
        }
        player.sent.extend(sent.iter().cloned());
        sent
    }

    /// Everybody speaks until nobody has anything more to say.
    fn talk(&mut self) {
        loop {
            let mut silent = true;
            for index in 0..self.players.len() {
                for datagram in self.takes(index) {
                    silent = false;
                    self.deliver(self.players[index].at, &datagram);
                }
            }
            if silent {
                return;
            }
        }
    }

    fn pass(&mut self, millis: u64) {
        for _ in 0..millis / 10 {
            self.now += ms(10);
            if self.listener.deadline().is_some_and(|at| at <= self.now) {
                self.listener.handle_timeout(self.now, &mut self.chance);
            }
            self.answer();
            self.talk();
        }
    }

    /// Who asks, and has not been told yet.
    fn asking(&mut self) -> Vec<(PeerId, SocketAddr)> {
        let join = |(id, event)| match event {
            Event::Join { address, .. } => Some((id, address)),
            _ => None,
        };
        std::mem::take(&mut self.events).into_iter().filter_map(join).collect()
    }

    fn dh(&self) -> u64 {
        self.listener.flood_stats().dh_operations
    }
}

#[test]
fn while_one_prefix_fills_the_places_to_ask_others_still_get_theirs() {
    let mut rig = anonymous(ServerConfig { max_asking: 8, ..ServerConfig::default() });
    for net in [1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4] {
        let host = u8::try_from(rig.players.len()).unwrap();
        rig.dial(Credentials::client(public(11)), of_net(net, host));
        rig.talk();
    }
    let asking = rig.asking();
    let of = |net: u16| {
        asking.iter().filter(|(_, at)| at.ip().to_string().starts_with(&format!("100.0.{net}."))).count()
    };
    assert_eq!([1, 2, 3, 4].map(of), [5, 1, 1, 1], "at the bound of eight");
    assert!(rig.listener.flood_stats().waits_refused >= 3);
    assert_eq!((rig.listener.peers.len(), rig.listener.inits.len(), rig.listener.owners.len()), (8, 8, 8));
    for (id, _) in asking {
        assert!(rig.listener.accept(rig.now, &mut rig.chance, id));
    }
    // Whoever found no place repeats CONFIRM.
    for _ in 0..3 {
        rig.pass(1_000);
        for (id, _) in rig.asking() {
            assert!(rig.listener.accept(rig.now, &mut rig.chance, id));
        }
    }
    rig.pass(500);
    assert!(rig.players.iter().all(|player| player.end.is_connected()));
}

#[test]
fn farewells_that_nobody_fetches_have_a_bound() {
    let mut rig = anonymous(ServerConfig::default());
    for _ in 0..MAX_CLOSES + 10 {
        rig.listener.push_close(of_net(1, 1), vec![0; 40]);
    }
    assert_eq!(rig.listener.closes.len(), MAX_CLOSES);
}

#[test]
fn a_fin_is_tried_out_of_the_budget_of_envelopes() {
    let flood = Flood { envelopes_per_second: 1_000, ..Flood::default() };
    let mut rig = Rig::new(credentials("tofu", 1), ServerConfig { flood, ..ServerConfig::default() });
    let player = rig.dial(credentials("tofu", 0), of_net(1, 1));
    let init = rig.takes(player).remove(0);
    rig.deliver(of_net(1, 1), &init);
    let fin = rig.takes(player).remove(0);
    // Whoever has seen the id of the entry sends what looks like FIN.
    for _ in 0..1_500 {
        let mut forged = fin.clone();
        rig.chance.try_fill_bytes(&mut forged[CID_LEN..]).unwrap();
        rig.deliver(of_net(2, 1), &forged);
    }
    let stats = rig.listener.flood_stats();
    assert_eq!((stats.envelopes_refused, stats.dh_operations), (501, 3), "one was the INIT's");
    rig.now += ms(100);
    rig.deliver(of_net(1, 1), &fin);
    assert_eq!(rig.dh(), 4);
    rig.pass(1_000);
    assert_eq!(rig.asking().len(), 1, "the true one is heard all the same");
}

/// Tries that the budget of envelopes has left in this moment.
fn envelopes_left(rig: &mut Rig) -> usize {
    (0..).take_while(|_| rig.listener.gate.take_envelope(rig.now)).count()
}

#[test]
fn who_has_seen_the_id_of_a_handshake_does_not_keep_its_player_from_joining() {
    let flood = Flood { envelopes_per_second: 1_000, ..Flood::default() };
    let at = of_net(1, 1);
    // Who sends garbage under the id and how much of it is tried, and whence the player's own packet comes afterwards and
    // whether that is tried.
    for (strangers, tries, own, joins) in [
        (vec![of_net(2, 1), of_net(3, 1)], 8, at, true),
        (vec![at], 16, at, false),
        (vec![at], 16, of_net(4, 1), true),
        (vec![of_net(2, 1)], 8, of_net(4, 1), false),
    ] {
        let mut rig = anonymous(ServerConfig { flood: flood.clone(), ..ServerConfig::default() });
        let player = rig.dial(Credentials::client(public(11)), at);
        let init = rig.takes(player).remove(0);
        rig.deliver(at, &init);
        let confirm = rig.takes(player).remove(0);
        for number in 0..100 {
            let mut forged = confirm.clone();
            rig.chance.try_fill_bytes(&mut forged[CID_LEN..]).unwrap();
            rig.deliver(strangers[number % strangers.len()], &forged);
        }
        rig.deliver(own, &confirm);
        assert_eq!(rig.asking().len(), usize::from(joins), "{strangers:?}, {own}");
        assert_eq!(envelopes_left(&mut rig), 999 - tries - usize::from(joins), "INIT was the first");
        rig.now += ms(1_000);
        rig.listener.handle_timeout(rig.now, &mut rig.chance);
        rig.deliver(own, &confirm);
        assert_eq!(rig.asking().len(), usize::from(!joins), "after a second");
    }
}

#[test]
fn a_fin_is_read_sixteen_times_a_second_and_eight_times_for_all_who_send_it_from_elsewhere() {
    let nobody = Credentials::tofu(&key(11), Trust::Only(Vec::new()));
    let mut rig = Rig::new(nobody, ServerConfig::default());
    let at = of_net(1, 1);
    let player = rig.dial(credentials("tofu", 0), at);
    let init = rig.takes(player).remove(0);
    rig.deliver(at, &init);
    // It is genuine, and refused each time.
    let fin = rig.takes(player).remove(0);
    let mut before = rig.dh();
    for second in 0..3 {
        for from in [of_net(2, 1), of_net(3, 1), at] {
            (0..40).for_each(|_| rig.deliver(from, &fin));
        }
        assert_eq!(rig.dh() - before, 24, "second {second}");
        before = rig.dh();
        rig.now += ms(1_000);
    }
}

#[test]
fn what_others_send_under_an_id_is_none_of_the_share_of_whose_it_is() {
    let nobody = Credentials::tofu(&key(11), Trust::Only(Vec::new()));
    let flood = Flood { require_cookie: true, ..Flood::default() };
    let mut rig = Rig::new(nobody, ServerConfig { flood, ..ServerConfig::default() });
    let at = of_net(1, 1);
    let player = rig.dial(credentials("tofu", 0), at);
    for _ in 0..2 {
        let init = rig.takes(player).remove(0);
        rig.deliver(at, &init);
    }
    let fin = rig.takes(player).remove(0);
    // What everybody may use of the budget is gone; the rest is for those who keep within their share.
    while rig.listener.gate.charge(rig.now, of_net(9, 1), 1, false) {}
    let reads = |rig: &mut Rig, from| {
        let before = rig.dh();
        (0..5).for_each(|_| rig.deliver(from, &fin));
        rig.dh() - before
    };
    assert_eq!(reads(&mut rig, of_net(2, 1)), 1, "one was paid with the INIT");
    assert_eq!(reads(&mut rig, at), 5);
}

#[test]
fn an_init_that_comes_late_costs_nothing_while_its_session_is_there() {
    let credentials_of_server = Credentials::server_auth(&key(11), Trust::Anyone);
    let mut rig = Rig::new(credentials_of_server, ServerConfig::default());
    let player = rig.dial(Credentials::client_auth(&key(10), public(11)).unwrap(), of_net(1, 1));
    rig.talk();
    let init = rig.players[player].sent[0].clone();
    let late = |rig: &mut Rig| {
        let before = rig.dh();
        for host in 0..50 {
            rig.deliver(of_net(1, 1), &init);
            rig.deliver(of_net(2, host), &init);
        }
        (rig.dh() - before, rig.listener.half_open.len())
    };
    assert_eq!(late(&mut rig), (0, 0), "while it waits for the application");
    let [(id, _)] = rig.asking()[..] else { panic!("nobody asks") };
    assert!(rig.listener.accept(rig.now, &mut rig.chance, id));
    rig.pass(100);
    assert!(rig.players[player].end.is_connected());
    assert_eq!(late(&mut rig), (0, 0), "while it lives");
    assert_eq!(rig.listener.inits.len(), 1);
    assert!(rig.listener.close(rig.now, id, 1, b""));
    assert!(rig.listener.inits.is_empty(), "nothing is kept of a session that ended");
}

#[test]
fn a_table_full_of_finished_handshakes_stays_within_512_kib() {
    let credentials_of_server = Credentials::server_auth(&key(11), Trust::Anyone);
    let mut rig = Rig::new(credentials_of_server, ServerConfig::default());
    let most = Flood::default().half_open;
    let (mut full, mut highest) = (0, 0);
    // 300 a second, each of a network of its own, which bring their cookies and confirm nothing.
    for number in 0..1_200_u16 {
        let index = rig.dial(Credentials::client_auth(&key(10), public(11)).unwrap(), of_net(number, 1));
        rig.players[index].hears = 128;
        rig.talk();
        rig.players.clear();
        rig.now += Duration::from_micros(3_333);
        full += usize::from(rig.listener.half_open.len() == most);
        highest = highest.max(rig.heap);
    }
    println!(
        "full after {} INITs, {} evictions, {highest} bytes",
        1_200 - full,
        rig.listener.flood_stats().evictions
    );
    assert!(full > 100, "{full}");
    assert!(highest <= 512 << 10, "{highest}");
}
