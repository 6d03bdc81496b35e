//! Tickets as a whole: what is read back, what is refused, and who gets in with which.

use std::cell::Cell;

use proptest::prelude::*;

use super::*;
use crate::crypto::{
    SecretKey,
    testing::{BrokenRng, FixedRng},
};

const NONCE: [u8; 24] = [0x5a; 24];
const NOW: u64 = 2_000_000_000;
const ID: [u8; 16] = *b"0123456789abcdef";

fn key(byte: u8) -> PublicKey {
    SecretKey::from_bytes([byte; 32]).public_key()
}

fn seal_key(byte: u8) -> TicketKey {
    TicketKey::from_bytes([byte; 32])
}

fn builder() -> TicketBuilder {
    let address = |text: &str| text.parse::<TicketAddress>().unwrap();
    Ticket::builder(TicketProfile::ClientAuth, key(1))
        .app_id(b"game")
        .route(b"r7")
        .expires(NOW + 60)
        .address(address("203.0.113.5:7777"))
        .address(address("[2001:db8::5]:7777"))
        .address(address("play.example.org:7777"))
        .public_data("Lobby 7".as_bytes())
}

fn grant() -> TicketGrant<'static> {
    TicketGrant { id: ID, player: Some(key(9)), issued: NOW - 60, user_data: b"team blue" }
}

fn sealed(builder: &TicketBuilder, grant: &TicketGrant<'_>) -> Ticket {
    builder.seal_with(&mut FixedRng::new(&NONCE), &seal_key(7), grant).unwrap()
}

/// A check at which everything fits `sealed(&builder(), &grant())`, to be changed field by field.
struct Door {
    keys: TicketKeys,
    app_id: &'static [u8],
    profile: TicketProfile,
    server: PublicKey,
    route: &'static [u8],
    player: Option<PublicKey>,
    now: u64,
    revoked: bool,
}

impl Door {
    fn new() -> Self {
        Self {
            keys: TicketKeys::new(seal_key(7)),
            app_id: b"game",
            profile: TicketProfile::ClientAuth,
            server: key(1),
            route: b"r7",
            player: Some(key(9)),
            now: NOW,
            revoked: false,
        }
    }

    fn check(&self, ticket: &[u8]) -> Result<Admission, TicketError> {
        let Self { app_id, profile, server, route, .. } = self;
        let here = TicketScope { app_id, profile: *profile, server, route };
        self.keys.check(ticket, &here, self.player.as_ref(), self.now, |_| self.revoked)
    }
}

#[test]
fn a_ticket_survives_bytes_and_text_and_shows_what_was_put_in() {
    for ticket in [builder().build().unwrap(), sealed(&builder(), &grant())] {
        for copy in [
            Ticket::from_bytes(ticket.as_bytes()).unwrap(),
            ticket.to_string().parse().unwrap(),
            format!("\n {} ", ticket.to_string().to_uppercase()).parse().unwrap(),
        ] {
            assert_eq!(copy, ticket);
            assert_eq!(copy.profile(), TicketProfile::ClientAuth);
            assert_eq!((copy.app_id(), copy.route()), (&b"game"[..], &b"r7"[..]));
            assert_eq!(copy.server_keys(), [key(1)]);
            assert_eq!(copy.expires(), Some(NOW + 60));
            assert_eq!(copy.public_data(), b"Lobby 7");
            let addresses: Vec<_> = copy.addresses().iter().map(ToString::to_string).collect();
            assert_eq!(addresses, ["203.0.113.5:7777", "[2001:db8::5]:7777", "play.example.org:7777"]);
        }
    }
    assert!(!builder().build().unwrap().is_sealed());
    assert!(sealed(&builder(), &grant()).is_sealed());
    let least = Ticket::builder(TicketProfile::Client, key(1)).build().unwrap();
    assert_eq!((least.as_bytes().len(), least.to_string().len()), (48, 87));
    assert_eq!(least.expires(), None);
    assert!(!least.has_expired(u64::MAX));
}

#[test]
fn every_bound_of_the_public_part_holds_in_both_ways() {
    let many = |count: u8| (2..=count).fold(builder(), |builder, byte| builder.server(key(byte)));
    let places = |count: u16| {
        let first = Ticket::builder(TicketProfile::Client, key(1));
        (1..=count)
            .fold(first, |builder, port| builder.address(TicketAddress::Ip(([203, 0, 113, 5], port).into())))
    };
    let name = |host: &str, port| builder().address(TicketAddress::Name { host: host.to_owned(), port });
    for (good, bad, part) in [
        (builder().app_id(&[1; 32]), builder().app_id(&[1; 33]), "app id"),
        (builder().route(&[1; 20]), builder().route(&[1; 21]), "route"),
        (many(4), many(5), "server key"),
        (many(2), builder().server(key(1)), "server key"),
        (places(8), places(9), "address"),
        (name("A.example", 1), name("a.example", 0), "address"),
        (name("a1.example", 1), name("127.1", 1), "address"),
    ] {
        let ticket = good.build().unwrap();
        assert_eq!(Ticket::from_bytes(ticket.as_bytes()).unwrap(), ticket);
        assert_eq!(bad.build(), Err(TicketError::Malformed(part)));
    }
    assert_eq!(places(3).address(TicketAddress::Ip(([203, 0, 113, 5], 2).into())).build(), places(3).build());

    let room =
        Ticket::MAX_BYTES - Ticket::builder(TicketProfile::Client, key(1)).build().unwrap().bytes.len();
    let filled = |len| Ticket::builder(TicketProfile::Client, key(1)).public_data(&vec![7; len]);
    // A length of 128 and more takes a second byte.
    let longest = filled(room - 1).build().unwrap();
    assert_eq!(longest.as_bytes().len(), Ticket::MAX_BYTES);
    assert_eq!(longest.to_string().parse(), Ok(longest.clone()));
    assert_eq!(filled(room).build(), Err(TicketError::TooLong));
    assert_eq!(Ticket::from_bytes(&[longest.as_bytes(), &[0]].concat()), Err(TicketError::TooLong));

    let with_data = |len| {
        let data = vec![7; len];
        let grant = TicketGrant { user_data: &data, ..grant() };
        builder().seal_with(&mut FixedRng::new(&NONCE), &seal_key(7), &grant)
    };
    let room = Ticket::MAX_BYTES - with_data(0).unwrap().bytes.len();
    let longest = with_data(room).unwrap();
    assert_eq!(longest.as_bytes().len(), Ticket::MAX_BYTES);
    assert_eq!(Door::new().check(longest.as_bytes()).unwrap().user_data.len(), room);
    assert_eq!(with_data(room + 1), Err(TicketError::TooLong));
    assert_eq!(with_data(usize::from(u16::MAX)), Err(TicketError::TooLong));
}

/// The part at fault in a ticket after one change.
fn fault(change: impl Fn(&mut Vec<u8>)) -> Result<Ticket, TicketError> {
    let mut bytes = builder().build().unwrap().as_bytes().to_vec();
    change(&mut bytes);
    Ticket::from_bytes(&bytes)
}

#[test]
fn each_part_of_a_public_part_has_one_form() {
    // format 0, sealed 1, profile 2, expiry 3, app id 11, route 16, keys 19, addresses 52, public data 99.
    let malformed = |part| Err(TicketError::Malformed(part));
    assert_eq!(fault(|bytes| bytes[0] = 2), Err(TicketError::UnknownFormat(2)));
    assert_eq!(fault(|bytes| bytes[1] = 2), malformed("sealed part"));
    assert_eq!(fault(|bytes| bytes[1] = 1), malformed("sealed part"), "nothing follows");
    for byte in [0x00, 0x02, 0x06, 0x12, 0xff] {
        assert_eq!(fault(|bytes| bytes[2] = byte), malformed("profile"), "{byte:#x}");
    }
    let expiry_of_sealed = |bytes: &mut Vec<u8>| {
        bytes[1] = 1;
        bytes[3..11].fill(0);
        bytes.extend([0; 65]);
    };
    assert_eq!(fault(expiry_of_sealed), malformed("expiry"));
    assert_eq!(fault(|bytes| bytes[11] = 33), malformed("app id"));
    assert_eq!(fault(|bytes| bytes[16] = 21), malformed("route"));
    for count in [0, 5, 255] {
        assert_eq!(fault(|bytes| bytes[19] = count), malformed("server key"), "{count}");
    }
    assert_eq!(fault(|bytes| bytes[51] |= 0x80), malformed("server key"), "not canonical");
    assert_eq!(fault(|bytes| bytes[20..52].fill(0)), malformed("server key"), "zero");
    let twice = |bytes: &mut Vec<u8>| {
        bytes[19] = 2;
        let again = bytes[20..52].to_vec();
        bytes.splice(52..52, again);
    };
    assert_eq!(fault(twice), malformed("server key"));
    for count in [9, 255] {
        assert_eq!(fault(|bytes| bytes[52] = count), malformed("address"), "{count}");
    }
    for kind in [0, 2, 5, 255] {
        assert_eq!(fault(|bytes| bytes[53] = kind), malformed("address"), "{kind}");
    }
    assert_eq!(fault(|bytes| bytes[58..60].fill(0)), malformed("address"), "port 0");
    assert_eq!(fault(|bytes| bytes[61..73].copy_from_slice(&[0; 12])), Ok(fault_free_v6()));
    let mapped =
        |bytes: &mut Vec<u8>| bytes[61..73].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255]);
    assert_eq!(fault(mapped), malformed("address"), "IPv4 as IPv6");
    assert_eq!(fault(|bytes| bytes[81] = b'P'), malformed("address"), "upper case");
    assert_eq!(fault(|bytes| bytes[81] = 0xff), malformed("address"), "not UTF-8");
    let longer = |bytes: &mut Vec<u8>| {
        bytes[99] |= 0x80;
        bytes.insert(100, 0);
    };
    assert_eq!(fault(longer), malformed("public data"), "not the shortest");
    assert_eq!(fault(|bytes| bytes[99] += 1), malformed("public data"));
    assert_eq!(fault(|bytes| bytes.push(0)), malformed("sealed part"), "something follows");
    // A sealed part that has no room for all that stands in each.
    let sealed = sealed(&builder(), &grant());
    let public = builder().build().unwrap().as_bytes().len();
    for len in 0..24 + 16 + 8 + 1 + 16 {
        let cut = Ticket::from_bytes(&sealed.as_bytes()[..public + len]);
        assert_eq!(cut, malformed("sealed part"), "{len}");
    }
    let whole = builder().build().unwrap();
    for cut in 0..whole.as_bytes().len() {
        assert!(
            matches!(Ticket::from_bytes(&whole.as_bytes()[..cut]), Err(TicketError::Malformed(_))),
            "{cut}"
        );
    }
}

fn fault_free_v6() -> Ticket {
    let mut bytes = builder().build().unwrap().as_bytes().to_vec();
    bytes[61..73].fill(0);
    let ticket = Ticket::from_bytes(&bytes).unwrap();
    assert_eq!(ticket.addresses()[1].to_string(), "[::5]:7777");
    ticket
}

#[test]
fn a_player_gets_in_with_his_own_ticket_at_each_server_that_it_names() {
    let admission = Door::new().check(sealed(&builder(), &grant()).as_bytes()).unwrap();
    assert_eq!(
        admission,
        Admission {
            id: ID,
            player: Some(key(9)),
            issued: NOW - 60,
            expires: NOW + 60,
            user_data: b"team blue".to_vec()
        }
    );
    let several = sealed(&builder().server(key(2)).server(key(3)), &grant());
    for server in [1, 2, 3] {
        assert!(Door { server: key(server), ..Door::new() }.check(several.as_bytes()).is_ok());
    }
}

#[test]
fn a_ticket_for_somebody_somewhere_or_sometime_else_is_refused_with_its_reason() {
    let ticket = sealed(&builder(), &grant());
    let at = |door: Door| door.check(ticket.as_bytes()).map(|_| ());
    let door = Door::new;
    assert_eq!(at(Door { keys: TicketKeys::new(seal_key(8)), ..door() }), Err(TicketError::WrongSeal));
    assert_eq!(at(Door { app_id: b"gamf", ..door() }), Err(TicketError::WrongApp));
    assert_eq!(at(Door { app_id: b"", ..door() }), Err(TicketError::WrongApp));
    for profile in [TicketProfile::Client, TicketProfile::ClientAuthPsk, TicketProfile::Paired] {
        assert_eq!(at(Door { profile, ..door() }), Err(TicketError::WrongProfile));
    }
    assert_eq!(at(Door { server: key(2), ..door() }), Err(TicketError::WrongServer));
    assert_eq!(at(Door { route: b"r8", ..door() }), Err(TicketError::WrongRoute));
    assert_eq!(at(Door { route: b"", ..door() }), Err(TicketError::WrongRoute));
    assert_eq!(at(Door { player: Some(key(8)), ..door() }), Err(TicketError::WrongPlayer));
    assert_eq!(at(Door { player: None, ..door() }), Err(TicketError::WrongPlayer));
    assert_eq!(at(Door { revoked: true, ..door() }), Err(TicketError::Revoked));
    let open = builder().build().unwrap();
    assert_eq!(door().check(open.as_bytes()), Err(TicketError::NotSealed));
}

#[test]
fn clocks_may_differ_by_thirty_seconds_and_no_more() {
    let ticket = sealed(&builder(), &grant());
    let at = |now| Door { now, ..Door::new() }.check(ticket.as_bytes()).map(|_| ());
    assert_eq!(at(NOW - 60 - 31), Err(TicketError::NotYetValid));
    assert_eq!(at(NOW - 60 - 30), Ok(()));
    assert_eq!(at(NOW + 60 + 29), Ok(()));
    assert_eq!(at(NOW + 60 + 30), Err(TicketError::Expired));
    assert!(!ticket.has_expired(NOW + 60 + 29) && ticket.has_expired(NOW + 60 + 30));
    assert_eq!(at(0), Err(TicketError::NotYetValid));
    assert_eq!(at(u64::MAX), Err(TicketError::Expired));
    let forever = sealed(&builder().expires(u64::MAX), &TicketGrant { issued: u64::MAX, ..grant() });
    assert_eq!(Door::new().check(forever.as_bytes()), Err(TicketError::NotYetValid));
    assert!(Door { now: u64::MAX, ..Door::new() }.check(forever.as_bytes()).is_ok(), "no overflow");
}

/// Puts one thing right.
type Mend = fn(&mut Door);

#[test]
fn the_checks_come_in_the_order_of_the_specification() {
    // Everything is wrong; each step puts one thing right.
    let ticket = sealed(&builder().server(key(2)), &TicketGrant { issued: NOW + 40, ..grant() });
    let mut door = Door {
        keys: TicketKeys::new(seal_key(8)),
        app_id: b"",
        profile: TicketProfile::Tofu,
        server: key(5),
        route: b"",
        player: None,
        now: NOW,
        revoked: true,
    };
    let steps: [(TicketError, Mend); 8] = [
        (TicketError::WrongSeal, |door| door.keys = TicketKeys::new(seal_key(7))),
        (TicketError::WrongApp, |door| door.app_id = b"game"),
        (TicketError::WrongProfile, |door| door.profile = TicketProfile::ClientAuth),
        (TicketError::WrongServer, |door| door.server = key(2)),
        (TicketError::WrongRoute, |door| door.route = b"r7"),
        (TicketError::WrongPlayer, |door| door.player = Some(key(9))),
        (TicketError::NotYetValid, |door| door.now = NOW + 40),
        (TicketError::Revoked, |door| door.revoked = false),
    ];
    for (error, mend) in steps {
        assert_eq!(door.check(ticket.as_bytes()), Err(error));
        mend(&mut door);
    }
    assert!(door.check(ticket.as_bytes()).is_ok());
}

#[test]
fn the_game_is_asked_about_the_id_of_a_good_ticket_only() {
    let asked = Cell::new(None);
    let ticket = sealed(&builder(), &grant());
    let check = |now| {
        let here = TicketScope {
            app_id: b"game",
            profile: TicketProfile::ClientAuth,
            server: &key(1),
            route: b"r7",
        };
        TicketKeys::new(seal_key(7)).check(ticket.as_bytes(), &here, Some(&key(9)), now, |id| {
            asked.set(Some(*id));
            false
        })
    };
    assert!(check(0).is_err());
    assert_eq!(asked.get(), None);
    assert!(check(NOW).is_ok());
    assert_eq!(asked.get(), Some(ID));
}

#[test]
fn no_byte_of_a_sealed_ticket_can_be_changed_and_none_left_out() {
    let ticket = sealed(&builder(), &grant());
    let good = ticket.as_bytes();
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut changed = good.to_vec();
            changed[at] ^= 1 << bit;
            assert!(Door::new().check(&changed).is_err(), "byte {at}, bit {bit}");
        }
        assert!(Door::new().check(&good[..at]).is_err(), "cut at {at}");
    }
    assert!(Door::new().check(&[good, &[0]].concat()).is_err());
    // The open ticket of the same public part, with the sealed part behind it or without.
    let mut open = good.to_vec();
    open[1] = 0;
    assert_eq!(Door::new().check(&open), Err(TicketError::Malformed("sealed part")));
    assert_eq!(Door::new().check(builder().build().unwrap().as_bytes()), Err(TicketError::NotSealed));
    // Another ticket's sealed part.
    let other = sealed(&builder().public_data(b"Lobby 8"), &grant());
    let public = good.len() - (other.as_bytes().len() - builder().build().unwrap().as_bytes().len());
    let spliced = [&good[..public], &other.as_bytes()[public..]].concat();
    assert_eq!(Door::new().check(&spliced), Err(TicketError::WrongSeal));
}

#[test]
fn while_the_key_changes_both_are_accepted_and_later_only_the_new_one() {
    let old = sealed(&builder(), &grant());
    let new = builder().seal_with(&mut FixedRng::new(&NONCE), &seal_key(8), &grant()).unwrap();
    let accepts = |keys: TicketKeys| {
        let door = Door { keys, ..Door::new() };
        (door.check(old.as_bytes()).is_ok(), door.check(new.as_bytes()).is_ok())
    };
    assert_eq!(accepts(TicketKeys::new(seal_key(7))), (true, false));
    assert_eq!(accepts(TicketKeys::new(seal_key(8)).with_other(seal_key(7))), (true, true));
    assert_eq!(accepts(TicketKeys::new(seal_key(7)).with_other(seal_key(8))), (true, true));
    assert_eq!(accepts(TicketKeys::new(seal_key(8))), (false, true));
    let third = TicketKeys::new(seal_key(8)).with_other(seal_key(7)).with_other(seal_key(6));
    assert_eq!(accepts(third), (false, true), "two at most");
}

#[test]
fn a_bearer_ticket_names_one_server_and_admits_whoever_holds_it_there() {
    let bearer = TicketGrant { player: None, ..grant() };
    let ticket = sealed(&builder(), &bearer);
    for player in [Some(key(8)), None] {
        let door = Door { player, ..Door::new() };
        assert_eq!(door.check(ticket.as_bytes()).unwrap().player, None);
    }
    assert_eq!(
        Door { server: key(2), ..Door::new() }.check(ticket.as_bytes()),
        Err(TicketError::WrongServer)
    );
    let shared = builder().server(key(2));
    let refused = shared.seal_with(&mut FixedRng::new(&NONCE), &seal_key(7), &bearer);
    assert_eq!(refused, Err(TicketError::SharedBearer));
    // A backend that seals one all the same.
    let mut inner = [&ID[..], &(NOW - 60).to_le_bytes(), &[0]].concat();
    let ticket = shared.seal_bytes(&mut FixedRng::new(&NONCE), &seal_key(7), &inner).unwrap();
    for server in [1, 2] {
        let door = Door { server: key(server), player: None, ..Door::new() };
        assert_eq!(door.check(ticket.as_bytes()), Err(TicketError::SharedBearer));
    }
    inner.push(7);
    let ticket = builder().seal_bytes(&mut FixedRng::new(&NONCE), &seal_key(7), &inner).unwrap();
    assert_eq!(Door::new().check(ticket.as_bytes()).unwrap().user_data, [7]);
}

#[test]
fn a_backend_cannot_seal_what_no_server_would_accept() {
    let seal = |builder: TicketBuilder, grant| {
        builder.seal_with(&mut FixedRng::new(&NONCE), &seal_key(7), &grant).map(|_| ())
    };
    assert_eq!(seal(builder().expires(0), grant()), Err(TicketError::Malformed("expiry")));
    assert_eq!(seal(builder().expires(NOW - 61), grant()), Err(TicketError::Malformed("expiry")));
    let anonymous = Ticket::builder(TicketProfile::Client, key(1)).expires(NOW);
    assert_eq!(seal(anonymous.clone(), grant()), Err(TicketError::Malformed("player")));
    assert_eq!(seal(anonymous, TicketGrant { player: None, ..grant() }), Ok(()));
    let broken = builder().seal_with(&mut BrokenRng, &seal_key(7), &grant());
    assert_eq!(broken, Err(TicketError::Entropy(crate::EntropyError)));
}

#[test]
fn what_is_malformed_behind_the_seal_is_refused_too() {
    let check = |inner: &[u8]| {
        let ticket = builder().seal_bytes(&mut FixedRng::new(&NONCE), &seal_key(7), inner).unwrap();
        Door::new().check(ticket.as_bytes()).map(|_| ())
    };
    let head = [&ID[..], &NOW.to_le_bytes()].concat();
    let with = |rest: &[u8]| [&head[..], rest].concat();
    let player = key(9);
    let good = with(&[&[32], &player.as_bytes()[..]].concat());
    assert_eq!(check(&good), Ok(()));
    for cut in 0..good.len() {
        assert!(matches!(check(&good[..cut]), Err(TicketError::Malformed(_))), "{cut}");
    }
    for len in [1, 31, 33, 255] {
        let mut bad = good.clone();
        bad[24] = len;
        assert_eq!(check(&bad), Err(TicketError::Malformed("player")), "{len}");
    }
    for bad in [[0; 32], [0xff; 32]] {
        assert_eq!(check(&with(&[&[32], &bad[..]].concat())), Err(TicketError::Malformed("player")));
    }
}

#[test]
fn neither_a_key_nor_a_sealed_part_is_printed() {
    let secret: [u8; 32] = std::array::from_fn(|at| 0xa3_u8.wrapping_add(u8::try_from(at * 7).unwrap()));
    let key = TicketKey::from_bytes(secret);
    assert_eq!(*key.expose_bytes(), secret);
    assert_eq!(format!("{key:?}"), "TicketKey(..)");
    assert_eq!(format!("{:?}", TicketKeys::new(key)), "TicketKeys(..)");
    let ticket = sealed(&builder(), &grant());
    let shown = format!("{ticket:?} {ticket:#?} {ticket:x?}");
    let public = builder().build().unwrap().as_bytes().len();
    for pair in ticket.as_bytes()[public..].windows(3) {
        let &[a, b, c] = pair else { unreachable!() };
        assert!(
            !shown.contains(&format!("{a}, {b}, {c}")) && !shown.contains(&format!("{a:02x}{b:02x}{c:02x}"))
        );
    }
    assert!(TicketKey::from_rng(&mut BrokenRng).is_err());
    let made = TicketKey::from_rng(&mut FixedRng::new(&[9; 32])).unwrap();
    assert_eq!(*made.expose_bytes(), [9; 32]);
}

/// Compiles only while a key can be neither copied nor compared byte by byte.
#[test]
fn the_key_of_the_seal_is_neither_cloned_nor_compared() {
    trait Unless<Which> {
        fn check() {}
    }
    impl<T> Unless<()> for T {}
    impl<T: Clone> Unless<u8> for T {}
    impl<T: PartialEq> Unless<u16> for T {}
    <TicketKey as Unless<_>>::check();
    <TicketKeys as Unless<_>>::check();
}

fn any_address() -> impl Strategy<Value = TicketAddress> {
    prop_oneof![
        (any::<[u8; 4]>(), 1..=u16::MAX).prop_map(|(ip, port)| TicketAddress::Ip((ip, port).into())),
        (any::<[u8; 16]>(), 1..=u16::MAX).prop_map(|(ip, port)| TicketAddress::Ip((ip, port).into())),
        ("[a-zA-Z]([a-z0-9-]{0,9}[a-z0-9])?(\\.[a-z]{1,9}){0,3}", 1..=u16::MAX)
            .prop_map(|(host, port)| TicketAddress::Name { host, port }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_ticket_that_can_be_built_is_read_back_and_opens(
        profile in prop::sample::select(&[0x01, 0x11, 0x03, 0x05, 0x15][..]),
        app_id in prop::collection::vec(any::<u8>(), 0..=32),
        route in prop::collection::vec(any::<u8>(), 0..=20),
        keys in prop::collection::btree_set(1_u8..50, 1..=4),
        addresses in prop::collection::vec(any_address(), 0..=8),
        expires in 1..=u64::MAX,
        data in prop::collection::vec(any::<u8>(), 0..=200),
        user_data in prop::collection::vec(any::<u8>(), 0..=200),
    ) {
        let profile = TicketProfile::from_byte(profile).unwrap();
        let keys: Vec<PublicKey> = keys.into_iter().map(key).collect();
        let first = Ticket::builder(profile, keys[0]).app_id(&app_id).route(&route).expires(expires);
        let builder = keys[1..].iter().fold(first.public_data(&data), |builder, key| builder.server(*key));
        let builder = addresses.into_iter().fold(builder, TicketBuilder::address);
        let open = builder.build().unwrap();
        prop_assert_eq!(&Ticket::from_bytes(open.as_bytes()).unwrap(), &open);
        let grant = TicketGrant { user_data: &user_data, issued: 0, ..grant() };
        let ticket = sealed(&builder, &grant);
        prop_assert_eq!(&ticket.to_string().parse::<Ticket>().unwrap(), &ticket);
        let here = TicketScope { app_id: &app_id, profile, server: keys.last().unwrap(), route: &route };
        let keys = TicketKeys::new(seal_key(7));
        let admission = keys.check(ticket.as_bytes(), &here, Some(&key(9)), expires - 1, |_| false).unwrap();
        prop_assert_eq!(admission.user_data, user_data);
    }
}
