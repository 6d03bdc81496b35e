//! Properties P1 to P10 that hold for whatever chance brings (README.md lists all of them, with those that stand
//! elsewhere). A case that fails is kept in `properties.regressions` and runs first from then on:
//! `cargo test --all-features --test hostile properties`; `PROPTEST_CASES` sets how many there are.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use proptest::{prelude::*, test_runner::FileFailurePersistence};
use sealgram::sim::{Link, Net, Verdict};
use sealgram::{
    CloseReason, Config, Credentials, Event, Guarantee, Invite, Psk, Sealed, ServerConfig, Trust,
};

use crate::bytes::{HANDSHAKE_BYTES, INIT, PING, body, challenge, delivery, hello, noise_of, none};
use crate::common::{Pair, here, keys, sealed_end, there};
use crate::server::{
    evil_player,
    host::{Scene, home, port},
    raider,
};
use crate::victim::{Attack, evil_init};

fn cases(cases: u32) -> ProptestConfig {
    let kept = FileFailurePersistence::Direct("tests/hostile/properties.regressions");
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(cases);
    ProptestConfig { cases, failure_persistence: Some(Box::new(kept)), ..ProptestConfig::default() }
}

fn symmetric(profile: usize, seed: u64) -> [Credentials; 2] {
    let keys = keys(seed);
    let psk = Psk::from_bytes([3; 32]);
    let invite = Invite::from_bytes([5; 32]);
    [0, 1].map(|own| {
        let peer = keys[1 - own].public_key();
        match profile {
            0 => Credentials::paired(&keys[own], peer).unwrap(),
            1 => Credentials::paired_psk(&keys[own], peer, &psk).unwrap(),
            2 => Credentials::invite(&invite),
            3 => Credentials::invite_tofu(&keys[own], &invite, Trust::Only(vec![peer])),
            _ => Credentials::tofu(&keys[own], Trust::Only(vec![peer])),
        }
    })
}

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Arrives,
    Lost,
    Late(u16),
    Twice(u16),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Arrives),
        3 => Just(Fate::Lost),
        2 => (0..3_000_u16).prop_map(Fate::Late),
        2 => (0..3_000_u16).prop_map(Fate::Twice),
    ]
}

/// Deals out the fates in the order in which datagrams are sent; then all arrive.
fn deal(net: &Net, fates: Vec<Fate>) {
    let mut link = Link::default();
    link.delay = Duration::from_millis(15);
    net.set_default(link);
    let (mut fates, network) = (VecDeque::from(fates), net.clone());
    net.tap(move |datagram| match fates.pop_front().unwrap_or(Fate::Arrives) {
        Fate::Arrives => Verdict::Pass,
        Fate::Lost => Verdict::Drop,
        Fate::Late(ms) => Verdict::Delay(Duration::from_millis(ms.into())),
        Fate::Twice(ms) => {
            network.inject(datagram.from, datagram.to, &datagram.bytes);
            Verdict::Delay(Duration::from_millis(ms.into()))
        }
    });
}

/// How many sessions an end was told of.
fn sessions(events: &[Event]) -> usize {
    let begun = |event: &&Event| matches!(event, Event::Connected { .. } | Event::PeerReconnected { .. });
    events.iter().filter(begun).count()
}

proptest! {
    #![proptest_config(cases(64))]

    /// P1: whatever is lost, late, repeated and overtaken before there is a session, whoever dials and when, there is one in
    /// the end, the same on both sides, and it stays and carries messages both ways whatever is still under way. (A live
    /// session that loses all for a second or two may be renewed.)
    #[test]
    fn any_beginning_leads_to_one_session(
        seed in 0..u64::MAX,
        profile in 0..5_usize,
        dials in 0..3_u8,
        apart in 0..4_000_u64,
        fates in prop::collection::vec(fate(), 0..40),
    ) {
        let config = Config::default();
        let mut pair = Pair::with_credentials(seed, Link::default(), &config, symmetric(profile, seed));
        deal(&pair.net, fates);
        if dials != 1 {
            pair.a.endpoint.connect().unwrap();
        }
        let agreed = |a: &mut crate::common::End<Sealed>, b: &mut crate::common::End<Sealed>| {
            a.endpoint.is_connected() && a.endpoint.handshake_hash() == b.endpoint.handshake_hash()
        };
        if pair.run_until(Duration::from_millis(apart), agreed) {
            deal(&pair.net, Vec::new());
        }
        if dials != 0 {
            pair.b.endpoint.connect().unwrap();
        }
        prop_assert!(pair.run_until(Duration::from_secs(30), agreed), "no session");
        deal(&pair.net, Vec::new());
        let hash = pair.a.endpoint.handshake_hash();
        pair.run(Duration::from_secs(8));
        prop_assert_eq!(pair.a.endpoint.handshake_hash(), hash, "it stays");
        prop_assert_eq!(pair.b.endpoint.handshake_hash(), hash);
        prop_assert_eq!((sessions(&pair.a.events), sessions(&pair.b.events)), (1, 1));
        let keys = [&pair.a, &pair.b].map(|end| end.endpoint.export_key(b"p1").unwrap());
        prop_assert_eq!(&keys[0][..], &keys[1][..]);
        pair.a.endpoint.send_payload(Guarantee::Delivery, b"to b").unwrap();
        pair.b.endpoint.send_payload(Guarantee::Delivery, b"to a").unwrap();
        pair.run(Duration::from_secs(5));
        prop_assert_eq!(&pair.a.heard, &[(Guarantee::Delivery, b"to a".to_vec())]);
        prop_assert_eq!(&pair.b.heard, &[(Guarantee::Delivery, b"to b".to_vec())]);
    }

    /// P4: no message is yielded twice, whatever its guarantee, and none in a later session than its own, although either
    /// side restarts and all that was ever sent comes again.
    #[test]
    fn no_message_comes_twice_or_in_another_session(
        seed in 0..u64::MAX,
        fates in prop::collection::vec(fate(), 0..200),
        restarts in prop::collection::vec((0..2_usize, 0..1_500_u64), 1..4),
    ) {
        let config = Config::default();
        let mut pair = Pair::with_credentials(seed, Link::default(), &config, symmetric(0, seed));
        pair.net.record(true);
        deal(&pair.net, fates);
        let mut heard: BTreeMap<(usize, Vec<u8>), usize> = BTreeMap::new();
        let mut number = 0_u32;
        pair.a.endpoint.connect().unwrap();
        for (which, after) in restarts {
            for _ in 0..20 {
                for end in [&mut pair.a, &mut pair.b] {
                    let guarantee = [Guarantee::None, Guarantee::Order, Guarantee::Delivery][number as usize % 3];
                    number += 1;
                    let _ = end.endpoint.send_payload(guarantee, &number.to_le_bytes());
                }
                pair.run(Duration::from_millis(after / 20 + 1));
            }
            // Everything that was ever said, again; and then one side forgets all.
            for datagram in pair.net.captured() {
                pair.net.inject(datagram.from, datagram.to, &datagram.bytes);
            }
            pair.run(Duration::from_millis(200));
            let [credentials, other] = symmetric(0, seed);
            let (end, [at, to], own) = match which {
                0 => (&mut pair.a, [here(), there()], credentials),
                _ => (&mut pair.b, [there(), here()], other),
            };
            let old = std::mem::replace(end, sealed_end(&pair.net, at, to, own, &config));
            for (_, bytes) in old.heard {
                *heard.entry((which, bytes)).or_default() += 1;
            }
            pair.a.endpoint.connect().unwrap();
            pair.run(Duration::from_secs(2));
        }
        for (which, end) in [&pair.a, &pair.b].into_iter().enumerate() {
            for (_, bytes) in &end.heard {
                *heard.entry((which, bytes.clone())).or_default() += 1;
            }
        }
        prop_assert!(heard.values().all(|&times| times == 1), "{:?}", heard);
    }
}

/// What a stranger does to a server.
#[derive(Clone, Debug)]
enum Raid {
    /// A first message of his own, from one of his addresses.
    Init {
        from: u8,
        which: u8,
    },
    /// The same with the last cookie that any of his addresses was given.
    WithCookie {
        from: u8,
        which: u8,
    },
    /// Cut or extended.
    Bent {
        from: u8,
        which: u8,
        len: u16,
    },
    Garbage {
        from: u8,
        len: u16,
    },
    /// A packet that would confirm, from another address than that of the handshake.
    Confirms {
        from: u8,
        which: u8,
    },
    Wait(u16),
}

fn raid() -> impl Strategy<Value = Raid> {
    let (from, which) = (0..6_u8, 0..6_u8);
    prop_oneof![
        4 => (from.clone(), which.clone()).prop_map(|(from, which)| Raid::Init { from, which }),
        3 => (from.clone(), which.clone()).prop_map(|(from, which)| Raid::WithCookie { from, which }),
        2 => (from.clone(), which.clone(), 0..1_500_u16).prop_map(|(from, which, len)| Raid::Bent { from, which, len }),
        2 => (from.clone(), 1..1_500_u16).prop_map(|(from, len)| Raid::Garbage { from, len }),
        2 => (from, which).prop_map(|(from, which)| Raid::Confirms { from, which }),
        1 => (1..4_000_u16).prop_map(Raid::Wait),
    ]
}

/// The raiders with what they were told.
struct Raiders {
    begun: Vec<(sealgram::fuzzing::EvilHandshake, Vec<u8>)>,
    cookie: [u8; 16],
    /// Bytes from each address, and to it.
    bytes: HashMap<SocketAddr, (usize, usize)>,
}

fn camp(from: u8) -> SocketAddr {
    // Two in each network.
    ([6, 6, from / 2, from], 600).into()
}

impl Raiders {
    fn new(scene: &Scene) -> Self {
        let begin = |seed: u64| {
            let (evil, datagram) = evil_init(&scene.credentials(900), &hello(), seed);
            let noise = noise_of(&evil.body(true, 0, &datagram).unwrap()).to_vec();
            (evil, noise)
        };
        Self { begun: (0..6).map(begin).collect(), cookie: [0; 16], bytes: HashMap::new() }
    }

    fn init(&mut self, which: u8, cookie: [u8; 16]) -> Vec<u8> {
        let (evil, noise) = &mut self.begun[usize::from(which)];
        evil.envelope(true, &[], &body(INIT, cookie, [0; 16], noise, HANDSHAKE_BYTES))
    }

    fn say(&mut self, scene: &mut Scene, from: u8, datagram: &[u8]) {
        scene.net.inject(camp(from), port(), datagram);
        self.bytes.entry(camp(from)).or_default().0 += datagram.len();
        scene.host.step();
    }

    /// Everything that the server has said is in the books.
    fn account(&mut self, scene: &Scene) -> Result<(), TestCaseError> {
        for datagram in scene.net.captured().into_iter().filter(|datagram| datagram.from == port()) {
            let Some((came, went)) = self.bytes.get_mut(&datagram.to) else { continue };
            *went += datagram.bytes.len();
            prop_assert!(*went <= *came, "{} sent {came} bytes and got {went}", datagram.to);
            for (evil, _) in &self.begun {
                if let Some(body) =
                    evil.body(false, 0, &datagram.bytes).filter(|_| datagram.bytes.len() == 128)
                {
                    self.cookie.copy_from_slice(&body[2..18]);
                }
            }
        }
        Ok(())
    }

    fn act(&mut self, scene: &mut Scene, raid: &Raid) {
        match *raid {
            Raid::Init { from, which } => {
                let datagram = self.init(which, [0; 16]);
                self.say(scene, from, &datagram);
            }
            Raid::WithCookie { from, which } => {
                let datagram = self.init(which, self.cookie);
                self.say(scene, from, &datagram);
            }
            Raid::Bent { from, which, len } => {
                let mut datagram = self.init(which, [0; 16]);
                datagram.resize(len.into(), 0);
                self.say(scene, from, &datagram);
            }
            Raid::Garbage { from, len } => self.say(scene, from, &vec![0x5a; len.into()]),
            Raid::Confirms { from, which } => {
                // Not its keys: nobody has read the answer. What matters is that it reaches an entry, if it names one.
                let datagram = [&[which; 8][..], &[7; 40]].concat();
                self.say(scene, from, &datagram);
            }
            Raid::Wait(ms) => scene.run(Duration::from_millis(ms.into())),
        }
    }
}

proptest! {
    #![proptest_config(cases(48))]

    /// P6: at no moment has an address that proved nothing got more bytes than came from it. P10: when all fall silent,
    /// sessions and half-open handshakes come to an end, and no timer is left.
    #[test]
    fn strangers_get_no_more_than_they_send_and_nothing_of_them_stays(
        seed in 0..u64::MAX,
        require_cookie: bool,
        raids in prop::collection::vec(raid(), 1..60),
    ) {
        let mut config = ServerConfig::default();
        config.flood.require_cookie = require_cookie;
        (config.flood.half_open, config.flood.handshake_dh_per_second) = (8, 40);
        config.session.idle_timeout = Duration::from_secs(5);
        let mut scene = Scene::new(seed, Link::default(), &config);
        scene.net.record(true);
        scene.host.echoes = true;
        scene.join(&Config::default());
        scene.all_join();
        let mut raiders = Raiders::new(&scene);
        for raid in &raids {
            raiders.act(&mut scene, raid);
            raiders.account(&scene)?;
        }
        prop_assert_eq!(scene.host.counts(), (1, 0), "only the player has a session");
        scene.players[0].endpoint.send_payload(Guarantee::Delivery, b"still there").unwrap();
        scene.run(Duration::from_secs(2));
        prop_assert_eq!(scene.players[0].heard_as(Guarantee::Delivery), [b"still there"]);
        scene.net.block(home(0), port());
        scene.net.block(port(), home(0));
        scene.run(Duration::from_secs(20));
        raiders.account(&scene)?;
        prop_assert_eq!(scene.host.server.len(), 0);
        prop_assert_eq!(scene.host.step(), None, "a timer is left");
    }

    /// P2, for a server: an honest datagram that was changed, cut or extended anywhere changes nothing that shows. (For
    /// endpoints `forged` does it with every bit of every kind of datagram.)
    #[test]
    fn a_changed_datagram_changes_nothing_at_a_server(
        seed in 0..u64::MAX,
        changes in prop::collection::vec((0..1_000_usize, 0..12_000_usize, 0..4_u8, 1..=255_u8), 1..100),
    ) {
        let mut scene = Scene::new(seed, Link::default(), &ServerConfig::default());
        scene.net.record(true);
        for _ in 0..2 {
            scene.join(&Config::default());
        }
        scene.all_join();
        for player in &mut scene.players {
            player.endpoint.send_payload(Guarantee::Delivery, &[7; 600]).unwrap();
        }
        scene.run(Duration::from_secs(1));
        let log: Vec<_> = scene.net.captured().into_iter().filter(|each| each.to == port()).collect();
        let sight = |scene: &Scene| {
            let mut stats = scene.host.server.stats();
            stats.drops = sealgram::Drops::default();
            (stats.datagrams_received, stats.bytes_received) = (0, 0);
            let host = &scene.host;
            (stats, host.server.len(), host.events.len(), host.heard.len())
        };
        let before = sight(&scene);
        for (pick, place, kind, byte) in changes {
            let honest = &log[pick % log.len()];
            let mut bytes = honest.bytes.clone();
            let len = bytes.len();
            match kind {
                0 => bytes[place % len] ^= byte,
                1 => bytes.truncate(1.max(place % len)),
                2 => bytes.resize(len + 1 + place % 64, byte),
                _ => bytes.rotate_left(1 + place % (len - 1)),
            }
            if bytes == honest.bytes {
                continue;
            }
            scene.net.inject(honest.from, port(), &bytes);
            scene.host.step();
            prop_assert_eq!(sight(&scene), before.clone(), "{} of {}, kind {}", place, len, kind);
        }
        prop_assert!(scene.net.captured().iter().all(|each| each.from != port()), "answered");
    }
}

proptest! {
    #![proptest_config(cases(48))]

    /// P6, for a player who is in and writes other people's addresses on his packets: they get no more bytes than he sent
    /// in their names, and the path stays where he is.
    #[test]
    fn a_player_cannot_aim_the_server_at_somebody(
        seed in 0..u64::MAX,
        says in prop::collection::vec((0..8_u8, 0..8_u8, 0..3_u8, prop_oneof![Just(0_u16), 1..400_u16]), 1..80),
    ) {
        let mut scene = Scene::new(seed, Link::default(), &ServerConfig::default());
        scene.net.record(true);
        scene.host.echoes = true;
        let own = raider(1);
        let (session, cid) = evil_player(&mut scene, own);
        prop_assert_eq!(scene.host.counts(), (1, 0));
        let id = scene.host.server.peers().next().unwrap();
        drop(scene.net.captured());
        let mut bytes: HashMap<SocketAddr, (usize, usize)> = HashMap::new();
        let mut number = 1;
        for (from, what, leap, ms) in says {
            let from = if from == 0 { own } else { camp(from) };
            let payload = match what {
                0 => PING.to_vec(),
                1 => challenge([7; 8]),
                2 => challenge([8; 8]).repeat(50),
                3 => none(&[9; 300]),
                4 => [&PING[..], &[0; 900]].concat(),
                5 => [&[0x0a][..], &[1; 8]].concat(),
                6 => [&PING[..], &challenge([9; 8])].concat(),
                _ => delivery(0, b"once"),
            };
            number += u64::from(leap);
            let datagram = session.packet(&cid, 0, number, &payload);
            number += 1;
            scene.net.inject(from, port(), &datagram);
            bytes.entry(from).or_default().0 += datagram.len();
            // Without time between them several are read in one go.
            if ms > 0 {
                scene.run(Duration::from_millis(ms.into()));
            }
            for datagram in scene.net.captured().into_iter().filter(|each| each.from == port()) {
                let (came, went) = bytes.entry(datagram.to).or_default();
                *went += datagram.bytes.len();
                prop_assert!(datagram.to == own || *went <= *came, "{} of {} to {}", went, came, datagram.to);
            }
            prop_assert_eq!(scene.host.server.address(id), Some(own));
        }
    }
}

/// PROTOCOL.md, "Receiving", rule 5, and "Ratchet", written a second time: which epochs and numbers a receiver takes.
#[derive(Debug, Default)]
struct Epochs {
    current: u64,
    seen: Vec<(u64, u64)>,
    stepped: Option<u64>,
    /// Until when the keys of the epoch before are kept.
    previous: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
enum Taken {
    Yes,
    Violation,
    /// It does not open, or was seen, or is too old.
    No,
}

impl Epochs {
    fn of(&self, epoch: u64) -> impl Iterator<Item = u64> + '_ {
        self.seen.iter().filter(move |(seen, _)| *seen == epoch).map(|(_, number)| *number)
    }

    fn take(&mut self, now: u64, keep: u64, used: &mut Vec<u64>, epoch: u64, number: u64) -> Taken {
        let alive = epoch == self.current
            || epoch == self.current + 1
            || (epoch + 1 == self.current && self.previous.is_some_and(|until| now < until));
        if !alive || used.contains(&number) {
            return Taken::No;
        }
        used.push(number);
        let earlier = self.seen.iter().filter(|(seen, _)| *seen < epoch).map(|(_, number)| *number).max();
        let later = self.seen.iter().filter(|(seen, _)| *seen > epoch).map(|(_, number)| *number).min();
        // Of the previous epoch only the end is known: what was before it is over.
        let above = epoch < self.current || earlier.is_none_or(|earlier| number > earlier);
        let fits = above && later.is_none_or(|later| number < later);
        let steps = epoch > self.current;
        let fits = fits && (!steps || self.of(self.current).all(|seen| number > seen));
        if !fits || (steps && self.stepped.is_some_and(|at| now < at + 1_000)) {
            return Taken::Violation;
        }
        if steps {
            (self.current, self.stepped, self.previous) = (epoch, Some(now), Some(now + keep));
        }
        self.seen.push((epoch, number));
        Taken::Yes
    }
}

proptest! {
    #![proptest_config(cases(64))]

    /// P9: which packets of the old, the current and the next epoch are taken is what the model says.
    #[test]
    fn epochs_are_taken_as_the_model_says(
        steps in prop::collection::vec((0..5_u64, 0..40_u64, 0..4_u8), 1..60),
    ) {
        let mut attack = Attack::begin(&Config::default());
        let base = attack.next + 50;
        let mut model = Epochs { seen: (0..attack.next).map(|number| (0, number)).collect(), ..Epochs::default() };
        let mut used: Vec<u64> = (0..attack.next).collect();
        let (mut now, mut violations, mut heard) = (0, 0, 0);
        for (epoch, number, wait) in steps {
            // Mostly near to where the epochs are; the time from nothing to more than the second and the three.
            let epoch = (model.current + epoch).saturating_sub(2);
            let number = base + model.current * 10 + number;
            let millis = [0, 1, 700, 3_100][usize::from(wait)];
            attack.victim.wait(millis);
            attack.victim.said();
            now += u64::from(millis);
            if attack.victim.closed == Some(CloseReason::TimedOut) {
                return Ok(());
            }
            let expected = model.take(now, 1_000, &mut used, epoch, number - 20);
            let packet = attack.session.packet(&[], epoch.try_into().unwrap(), number - 20, &none(b"x"));
            attack.victim.hear(&packet);
            violations += u64::from(expected == Taken::Violation);
            heard += usize::from(expected == Taken::Yes);
            if violations == 8 {
                prop_assert!(attack.victim.closed.is_some());
                return Ok(());
            }
            prop_assert_eq!(attack.violations(), violations, "epoch {} number {}", epoch, number);
            prop_assert_eq!(attack.victim.heard.len(), heard, "epoch {} number {}", epoch, number);
        }
    }
}
