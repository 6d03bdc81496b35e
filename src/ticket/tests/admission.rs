//! Who gets in with which ticket, where and when.

use std::cell::Cell;

use super::*;

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
