//! What the seal holds together, which keys open it, and what is never shown.

use super::*;

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
