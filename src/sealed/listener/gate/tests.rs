//! Each rule of the gate alone.

use std::time::Duration;

use super::*;
use crate::{
    os::Environment,
    sealed::{listener::half_open::Answer, messages::NoiseBytes, tests::Chance},
    wire::frame::CID_LEN,
};

const NO_COOKIE: [u8; COOKIE_LEN] = [0; COOKIE_LEN];

struct World {
    gate: Gate,
    table: HalfOpenTable<()>,
    now: Instant,
    ids: u64,
}

fn world(flood: &Flood) -> World {
    let now = Environment::os().now();
    let mut chance = Chance(1);
    let secrets = Arc::new(CookieSecrets::new(now, &mut chance).unwrap());
    let gate = Gate::new(flood, secrets, now, &mut chance).unwrap();
    World { gate, table: HalfOpenTable::new(flood.half_open, now), now, ids: 0 }
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// An address in the network of this number.
fn of_net(net: u16) -> SocketAddr {
    let [high, low] = net.to_be_bytes();
    SocketAddr::from(([100, high, low, 1], 1_000))
}

impl World {
    fn judge(&mut self, from: SocketAddr, id: &[u8; 32], cookie: &[u8; COOKIE_LEN], cost: u32) -> Verdict {
        self.gate.judge(self.now, &mut self.table, &Init { from, id, cookie, cost })
    }

    fn new_id(&mut self) -> [u8; 32] {
        self.ids += 1;
        crypto::hash(&[&self.ids.to_le_bytes()])
    }

    /// A new INIT with a good cookie.
    fn with_cookie(&mut self, from: SocketAddr, cost: u32) -> Verdict {
        let id = self.new_id();
        let cookie = self.gate.cookies.bake(self.now, from, &id);
        self.judge(from, &id, &cookie, cost)
    }

    fn without_cookie(&mut self, from: SocketAddr) -> Verdict {
        let id = self.new_id();
        self.judge(from, &id, &NO_COOKIE, 5)
    }

    fn keep(&mut self, verdict: Verdict) -> bool {
        let Verdict::Read(admitted) = verdict else { return false };
        let id = self.new_id();
        let mut cid = [0; CID_LEN];
        cid.copy_from_slice(&id[..CID_LEN]);
        let response = NoiseBytes::written(|_| Ok(97)).unwrap();
        self.table.insert(self.now, admitted, Answer { id, cid, response, stage: () })
    }

    fn asks_for_cookie(&mut self, from: SocketAddr) -> bool {
        matches!(self.without_cookie(from), Verdict::AskCookie(_))
    }

    /// The budget's level is kept, the time is not.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.table.handle_timeout(self.now);
    }
}

#[test]
fn a_cookie_that_was_asked_for_lets_the_same_init_in() {
    let mut world = world(&Flood { require_cookie: true, ..Flood::default() });
    let (from, id) = (at("192.0.2.1:7"), [3; 32]);
    let Verdict::AskCookie(cookie) = world.judge(from, &id, &NO_COOKIE, 5) else { panic!("no cookie") };
    assert_eq!(world.judge(from, &id, &[1; COOKIE_LEN], 5), Verdict::AskCookie(cookie), "none that fits");
    assert_eq!(world.judge(at("192.0.2.1:8"), &id, &cookie, 5).clone(), {
        let other = world.gate.cookies.bake(world.now, at("192.0.2.1:8"), &id);
        Verdict::AskCookie(other)
    });
    let verdict = world.judge(from, &id, &cookie, 5);
    assert!(matches!(verdict, Verdict::Read(Admitted { validated: true, .. })), "{verdict:?}");
    let stats = world.gate.stats(&world.table);
    assert_eq!((stats.cookies_sent, stats.cookies_taken), (3, 1));
}

#[test]
fn a_repeated_init_is_answered_again_and_costs_nothing() {
    let mut world = world(&Flood::default());
    let (from, id) = (of_net(1), [3; 32]);
    let Verdict::Read(admitted) = world.judge(from, &id, &NO_COOKIE, 5) else { panic!("not admitted") };
    let response = NoiseBytes::written(|_| Ok(97)).unwrap();
    assert!(world.table.insert(world.now, admitted, Answer { id, cid: [1; CID_LEN], response, stage: () }));
    let used = world.gate.dh.used(world.gate.nanos(world.now));
    for _ in 0..1_000 {
        assert_eq!(world.judge(from, &id, &NO_COOKIE, 5), Verdict::Again);
    }
    assert_eq!(world.gate.dh.used(world.gate.nanos(world.now)), used);
}

#[test]
fn cookies_are_asked_once_half_of_the_budget_is_used() {
    let mut world = world(&Flood::default());
    for net in 0..100 {
        assert!(matches!(world.without_cookie(of_net(net)), Verdict::Read(_)), "{net}");
    }
    assert!(world.asks_for_cookie(of_net(100)));
    // Time for the last one read, and for the one that was not.
    world.pass(Duration::from_millis(10));
    assert!(!world.asks_for_cookie(of_net(101)));
    assert!(world.asks_for_cookie(of_net(102)));
}

#[test]
fn cookies_are_asked_once_half_of_the_table_is_used() {
    let mut world = world(&Flood { handshake_dh_per_second: 1_000_000, ..Flood::default() });
    for net in 0..257 {
        let verdict = world.without_cookie(of_net(net));
        assert!(world.keep(verdict), "{net}");
    }
    assert!(world.asks_for_cookie(of_net(300)));
    world.pass(Duration::from_secs(5));
    assert!(!world.asks_for_cookie(of_net(300)));
}

#[test]
fn cookies_are_asked_of_a_prefix_that_used_half_of_its_share() {
    // Of the table: a share is 64 entries.
    let mut world = world(&Flood { handshake_dh_per_second: 1_000_000, ..Flood::default() });
    for _ in 0..33 {
        assert!(!world.asks_for_cookie(of_net(1)));
        let verdict = world.with_cookie(of_net(1), 5);
        assert!(world.keep(verdict));
    }
    assert!(world.asks_for_cookie(of_net(1)));
    assert!(!world.asks_for_cookie(of_net(2)));
}

#[test]
fn cookies_are_asked_of_a_prefix_that_used_half_of_its_part_of_the_budget() {
    // A share is 125 operations.
    let mut world = world(&Flood::default());
    for _ in 0..12 {
        assert!(matches!(world.with_cookie(of_net(1), 5), Verdict::Read(_)));
    }
    assert!(!world.asks_for_cookie(of_net(1)));
    assert!(matches!(world.with_cookie(of_net(1), 5), Verdict::Read(_)));
    assert!(world.asks_for_cookie(of_net(1)));
    assert!(!world.asks_for_cookie(of_net(2)));
}

#[test]
fn spoofed_inits_use_up_no_share() {
    let mut world = world(&Flood::default());
    let victim = of_net(1);
    for _ in 0..10_000 {
        let verdict = world.without_cookie(victim);
        world.keep(verdict);
    }
    let share = world.gate.shares.share(&Origin::of(victim, &[]));
    let now = world.gate.nanos(world.now);
    assert_eq!(world.gate.shares.claim(now, &share, 5_000_000, 5_000_000), Claim::First);
    assert!(!world.table.is_share_half_used(&Origin::of(victim, &[])));
    assert!(matches!(world.with_cookie(victim, 5), Verdict::Read(_)));
}

#[test]
fn a_prefix_beyond_its_share_leaves_half_of_the_budget_and_many_prefixes_leave_a_quarter() {
    let mut world = world(&Flood::default());
    let admitted = (0..1_000).filter(|_| matches!(world.with_cookie(of_net(1), 5), Verdict::Read(_)));
    assert_eq!(admitted.count(), 100);
    assert!(world.gate.stats.refused_by_share > 0);
    // Eight others, each within its share, go on to three quarters...
    let mut second = 0;
    for net in 2..10 {
        // what every prefix may have first was had before.
        let share = world.gate.shares.share(&Origin::of(of_net(net), &[]));
        let now = world.gate.nanos(world.now);
        world.gate.shares.take(now, &share, 31_000_000 / 8, 5_000_000);
        let spent =
            (0..7).filter(|_| world.gate.shares.claim(now, &share, 5_000_000, 5_000_000) == Claim::First);
        assert!(spent.count() > 0);
        for _ in 0..7 {
            world.gate.shares.take(now, &share, 4_500_000, 5_000_000);
        }
        second += (0..100).filter(|_| matches!(world.with_cookie(of_net(net), 5), Verdict::Read(_))).count();
    }
    assert_eq!(second, 50);
    assert!(world.gate.stats.refused_by_budget > 0);
    // and who comes new has the rest.
    let fresh = (20..200).filter(|&net| matches!(world.with_cookie(of_net(net), 5), Verdict::Read(_)));
    assert_eq!(fresh.count(), 50);
}

#[test]
fn the_smallest_budget_still_lets_a_handshake_in() {
    let mut world = world(&Flood { handshake_dh_per_second: 40, ..Flood::default() });
    assert!(matches!(world.without_cookie(of_net(1)), Verdict::Read(_)));
    world.pass(Duration::from_secs(60));
    // The whole bucket is eight handshakes of as many newcomers.
    for net in 1..9 {
        assert!(matches!(world.with_cookie(of_net(net), MAX_INIT_COST), Verdict::Read(_)), "{net}");
    }
    assert_eq!(world.with_cookie(of_net(9), MAX_INIT_COST), Verdict::Drop);
}

#[test]
fn what_costs_more_later_is_charged_like_an_init() {
    let mut world = world(&Flood::default());
    let paid = (0..2_000).filter(|_| world.gate.charge(world.now, of_net(1), 1, true)).count();
    assert_eq!(paid, 500);
    assert!(!world.gate.charge(world.now, of_net(2), 1, false));
    assert!(world.gate.charge(world.now, of_net(2), 1, true));
}

#[test]
fn envelopes_of_strangers_have_a_budget() {
    let mut world = world(&Flood { envelopes_per_second: 1_000, ..Flood::default() });
    let opened = (0..5_000).filter(|_| world.gate.take_envelope(world.now)).count();
    assert_eq!((opened, world.gate.stats.envelopes_refused), (1_000, 4_000));
    world.pass(Duration::from_millis(100));
    assert_eq!((0..5_000).filter(|_| world.gate.take_envelope(world.now)).count(), 100);
}

#[test]
fn sessions_are_bounded_in_all_and_for_each_prefix_and_give_their_places_back() {
    let mut world = world(&Flood { max_sessions: 800, ..Flood::default() });
    let mut open = Vec::new();
    for net in 0..10 {
        open.extend((0..200).map_while(|_| world.gate.session_opened(of_net(net))));
        assert_eq!(open.len(), (usize::from(net) + 1).min(8) * 100);
    }
    assert_eq!(world.gate.stats.sessions_refused, 10);
    world.gate.session_closed(open.pop().unwrap());
    // The place was of network 7, which has the one that is free.
    assert!(world.gate.session_opened(of_net(0)).is_none());
    open.extend(world.gate.session_opened(of_net(7)));
    assert_eq!(open.len(), 800);
    for share in open {
        world.gate.session_closed(share);
    }
    assert_eq!((world.gate.sessions.all(), world.gate.sessions.origins()), (0, 0));
    assert_eq!((0..200).map_while(|_| world.gate.session_opened(of_net(3))).count(), 100);
}

#[test]
fn whoever_else_holds_sessions_a_prefix_may_hold_its_own() {
    let flood = Flood { max_sessions: 8_000, sessions_per_prefix: Some(1), ..Flood::default() };
    let mut world = world(&flood);
    let refused = (0..8_000).filter(|&net| world.gate.session_opened(of_net(net)).is_none()).count();
    assert_eq!((refused, world.gate.sessions.origins()), (0, 8_000), "each in a prefix of its own");
    assert!(world.gate.session_opened(of_net(8_000)).is_none(), "that were all");
    assert_eq!(world.gate.sessions.origins(), 8_000, "who is refused is not remembered");
}

#[test]
fn a_flood_without_cookies_is_read_for_half_a_second_and_then_no_more_while_it_lasts() {
    let mut world = world(&Flood::default());
    let mut read = 0;
    for number in 0..50_000_u16 {
        read += usize::from(matches!(world.without_cookie(of_net(number)), Verdict::Read(_)));
        world.pass(Duration::from_micros(200));
    }
    // Half of the budget, and what came back meanwhile.
    assert!((100..=105).contains(&read), "{read}");
    world.pass(Duration::from_millis(400));
    assert!(world.asks_for_cookie(of_net(1)));
    world.pass(Duration::from_millis(110));
    assert!(!world.asks_for_cookie(of_net(1)), "half a second after its end nobody is asked any more");
}

#[test]
fn players_behind_a_proxy_are_counted_one_by_one() {
    let proxy = at("[::ffff:10.0.0.1]:1").ip();
    let mut world = world(&Flood { max_sessions: 8_000, proxies: vec![proxy], ..Flood::default() });
    let from = |port| SocketAddr::from(([10, 0, 0, 1], port));
    assert!((0..5_000).all(|port| world.gate.session_opened(from(port)).is_some()));
    // They take nothing from anybody else.
    assert_eq!((0..5_000).filter(|_| world.gate.session_opened(of_net(1)).is_some()).count(), 1_000);
}

#[test]
fn without_randomness_there_is_no_gate() {
    let now = Environment::os().now();
    let mut broken = crypto::testing::BrokenRng;
    assert!(CookieSecrets::new(now, &mut broken).is_err());
    let secrets = Arc::new(CookieSecrets::new(now, &mut Chance(1)).unwrap());
    assert!(Gate::new(&Flood::default(), secrets, now, &mut broken).is_err());
}
