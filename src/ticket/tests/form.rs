//! Bytes and text: what is read back, the bounds of each part, and the one form that it has.

use proptest::prelude::*;

use super::*;

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
