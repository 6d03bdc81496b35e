//! What is read before anybody's keys or state are asked: frames, envelopes, hellos, acknowledgements, numbers, tickets.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use chacha20::ChaCha8Rng;
use rand_core::SeedableRng;

use super::{
    script::{Script, pick},
    session::{negotiated, small},
    start,
};
use crate::{
    connection::Connection,
    crypto::{self, SecretKey},
    sealed::{CookieSecrets, Cookies},
    ticket::{Ticket, TicketAddress, TicketError, TicketKey, TicketKeys, TicketProfile, TicketScope},
    window::{Seen, Window},
    wire::{
        MAX_NUMBER, ack,
        codec::Writer,
        envelope::{Body, Kind},
        frame::{Frame, Frames, check, encode},
        header::{decode_number, decode_number_32, low_bits},
        hello::{Answer, Hello, Versions},
        message::Context,
    },
};

/// Reads `data` as the payload of a packet; what is accepted must be the one encoding of its frames.
///
/// # Panics
/// When an accepted payload is written differently from how it was read.
pub fn frames(data: &[u8]) {
    let accepted = check(data).is_ok();
    let mut again = vec![0; data.len()];
    let mut writer = Writer::new(&mut again);
    let mut context = Context::default();
    for frame in Frames::new(data) {
        match frame {
            Ok(frame) => assert_eq!(encode(&frame, &mut context, &mut writer), Ok(()), "{frame:?}"),
            Err(_) => assert!(!accepted, "an accepted payload decodes whole"),
        }
    }
    let written = writer.written();
    assert_eq!(data.get(..written), again.get(..written), "a prefix has one encoding");
    assert!(!accepted || written == data.len(), "an accepted payload is read to its end");
}

/// Reads `data` as a ticket, as the text of one, as an address, and as what a backend sealed: what is read has one
/// encoding, and who has no key cannot make a ticket that is accepted.
///
/// # Panics
/// When one of these breaks.
pub fn ticket(data: &[u8]) {
    let text = std::str::from_utf8(data).unwrap_or_default();
    for ticket in [Ticket::from_bytes(data), text.parse()].into_iter().flatten() {
        assert!(ticket.as_bytes().len() <= Ticket::MAX_BYTES && ticket.is_canonical(), "{ticket:?}");
        let copies = [Ticket::from_bytes(ticket.as_bytes()), ticket.to_string().parse()];
        assert!(copies.iter().all(|copy| copy.as_ref() == Ok(&ticket)), "{ticket:?}");
    }
    if let Ok(address) = text.parse::<TicketAddress>() {
        assert_eq!(address.to_string().parse().as_ref(), Ok(&address));
    }

    let server = SecretKey::from_bytes([1; 32]).public_key();
    let player = SecretKey::from_bytes([2; 32]).public_key();
    let here = TicketScope { app_id: b"", profile: TicketProfile::ClientAuth, server: &server, route: b"" };
    let keys = TicketKeys::new(TicketKey::from_bytes([7; 32]));
    let check = |ticket: &[u8]| keys.check(ticket, &here, Some(&player), 1 << 40, |_| false);
    assert!(check(data).is_err(), "a ticket that nobody sealed");

    let builder = Ticket::builder(here.profile, server).expires(1 << 41);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    match builder.seal_bytes(&mut rng, &TicketKey::from_bytes([7; 32]), data) {
        Ok(ticket) => {
            if let Ok(admission) = check(ticket.as_bytes()) {
                let named = admission.player.map(|_| player);
                let (flag, named): (u8, &[u8]) = named.as_ref().map_or((0, &[]), |key| (32, key.as_bytes()));
                let issued = admission.issued.to_le_bytes();
                let again = [&admission.id[..], &issued, &[flag], named, &admission.user_data].concat();
                assert_eq!(again, data, "a grant has one encoding");
            }
        }
        Err(error) => assert_eq!(error, TicketError::TooLong),
    }
}

/// Reads `data` as the body of an envelope: what is accepted has one encoding for its length, and no field that its kind
/// does not have.
///
/// # Panics
/// When one of these breaks.
pub fn envelope_body(data: &[u8]) {
    let Ok(body) = Body::decode(data) else { return };
    let mut again = vec![0xee; data.len()];
    assert_eq!(body.encode(&mut again), Ok(()), "{body:?}");
    assert_eq!(again, data, "a body has one encoding");
    let has_cookie = matches!(body.kind, Kind::Init | Kind::Cookie);
    assert!(has_cookie || body.cookie == [0; 16], "{body:?}");
    assert!(body.kind != Kind::Init || body.reference == [0; 16], "{body:?}");
    assert_eq!(body.noise.is_empty(), body.kind == Kind::Cookie, "{body:?}");
}

/// Takes `data` for the own handshake size (2 bytes) and what the peer says of itself, in each of the three layouts: what
/// is accepted has one encoding, and can be agreed on.
///
/// # Panics
/// When one of these breaks.
pub fn hello_params(data: &[u8]) {
    let mut script = Script::new(data);
    let handshake_bytes = script.u16().clamp(512, 65_507);
    let bytes = script.rest();
    if let Ok(versions) = Versions::from_bytes(bytes) {
        assert_eq!(versions.to_bytes(), bytes);
        assert!(versions.min == 1 && versions.max >= 1, "{versions:?}");
    }
    let mut hellos = Vec::new();
    if let Ok(hello) = Hello::from_bytes(bytes, handshake_bytes) {
        assert_eq!(hello.to_bytes(), bytes, "a hello has one encoding");
        hellos.push(hello);
    }
    if let Ok(answer) = Answer::from_bytes(bytes, handshake_bytes) {
        let mut again = vec![0; bytes.len()];
        assert_eq!(answer.write(&mut Writer::new(&mut again)), Ok(()));
        assert_eq!(again, bytes, "an answer has one encoding");
        hellos.push(answer.hello);
    }
    for hello in hellos {
        let agreed = Hello::new(&small()).agreed(&hello);
        assert!(agreed.max_datagram >= handshake_bytes.min(1_452) && agreed.max_fragments >= 1, "{agreed:?}");
        assert!((1_000..=600_000).contains(&agreed.idle_timeout_ms), "{agreed:?}");
        assert!((1..=1 << 24).contains(&agreed.max_message), "{agreed:?}");
        assert_eq!((agreed.versions.min, agreed.versions.max, agreed.flags), (1, 1, 0), "{agreed:?}");
    }
}

/// Takes `data` for an expected number (8 bytes), and the bits of another (4): what they decode to is what PROTOCOL.md,
/// "Numbers" says, computed with room to spare; and a number near enough is found again.
///
/// # Panics
/// When one of these breaks.
pub fn pn_decode(data: &[u8]) {
    let mut script = Script::new(data);
    let expected = script.u64() % (MAX_NUMBER + 2);
    let bits = u32::from_le_bytes(script.array());
    let formula = |bits: u32, b: u32| {
        let low = (i128::from(expected) + 1 - (1 << (b - 1))).max(0);
        let number = low + (i128::from(bits) - low).rem_euclid(1 << b);
        u64::try_from(number).ok().filter(|number| *number <= MAX_NUMBER)
    };
    let truncated = bits & ((1 << 30) - 1);
    assert_eq!(decode_number(truncated, expected), formula(truncated, 30));
    assert_eq!(decode_number_32(bits, expected), formula(bits, 32));
    let ahead = u64::from(script.u16()) << (script.byte() % 13);
    for number in [expected.saturating_sub(ahead), expected + ahead] {
        let near = number <= MAX_NUMBER && ahead < 1 << 29;
        assert!(!near || decode_number(low_bits::<30>(number), expected) == Some(number), "{number}");
    }
}

/// Takes `data` for packet numbers, as they are or as distances: a window takes each that a set of all numbers would, and
/// no other.
///
/// # Panics
/// When the two disagree.
pub fn replay_window(data: &[u8]) {
    replay::<17>(&mut Script::new(data));
    replay::<2>(&mut Script::new(data));
}

fn replay<const WORDS: usize>(script: &mut Script<'_>) {
    let span = (WORDS as u64 - 1) * 64;
    let (mut window, mut seen) = (Window::<WORDS>::new(), BTreeSet::<u64>::new());
    while let Some(op) = script.next() {
        let highest = seen.last().copied().unwrap_or_default();
        let number = match op >> 5 {
            0 => script.u64(),
            1 => highest.wrapping_sub(u64::from(script.u16()) % (span + 2)),
            2 => highest.saturating_add(script.u16().into()),
            3 => highest.saturating_add(1 << (op & 31)),
            4 => highest.saturating_sub((op & 31).into()),
            5 => span - 16 + u64::from(op & 31),
            6 => (MAX_NUMBER - 16).saturating_add((op & 31).into()),
            _ => highest + 1,
        };
        let is_old = number > MAX_NUMBER || (!seen.is_empty() && number + span <= highest);
        let expected = match (is_old, seen.contains(&number)) {
            (true, _) => Err(Seen::TooOld),
            (_, true) => Err(Seen::Duplicate),
            _ => Ok(()),
        };
        assert_eq!(window.check(number), expected, "{number} after {highest}");
        assert_eq!(window.check_and_set(number), expected, "{number} after {highest}");
        if expected.is_ok() {
            seen.insert(number);
        }
        assert_eq!(window.highest(), seen.last().copied());
    }
}

/// Takes `data` for how many packets are on their way, and for acknowledgements with any ranges: no more of them are looked
/// at than the frame has, and none costs more than what is remembered. A loop over numbers would not end here: ranges may
/// hold 2^62.
///
/// # Panics
/// When the ranges are not those that were said, or an acknowledgement of what was never sent is taken.
pub fn ack_ranges(data: &[u8]) {
    let (mut script, mut now) = (Script::new(data), start());
    let mut connection = Connection::new(&Arc::new(small()));
    connection.start(now, &negotiated(&small()), 0);
    let mut payload = [0; 1_200];
    let (mut next, mut number, mut violated) = (0, 0, false);
    for _ in 0..script.byte() {
        let (Ok(_) | Err(_)) = connection.send(0, crate::delivery::Guarantee::Delivery, &[7; 400]);
        connection.flush();
        next += u64::from(connection.transmit(now, next, &mut payload) > 0);
    }
    while let (Some(op), false) = (script.next(), violated) {
        now += Duration::from_millis((op >> 4).into());
        let (ranges, largest) = said(&mut script, next, op & 15);
        let mut writer = Writer::new(&mut payload);
        if ack::encode(&mut writer, 400, ranges.iter().cloned(), ack::MAX_RANGES).is_err() {
            continue;
        }
        let written = writer.written();
        let bytes = payload.get(..written).unwrap_or_default();
        let Some(Ok(Frame::Ack(ack))) = Frames::new(bytes).next() else { unreachable!("an ACK was written") };
        let heard: Vec<_> = ack.ranges().take(ack::MAX_RANGES + 1).collect();
        assert!(heard.len() <= ack::MAX_RANGES && ranges.starts_with(&heard), "{heard:?}");
        let taken = connection.receive(now, number, bytes, 4).is_ok();
        assert!(!taken || largest < next, "{largest} acknowledged, {next} not sent yet");
        number += 1;
        violated = !taken;
        connection.handle_timeout(now);
    }
}

/// Ranges that the script says, newest first, and the largest number in them.
fn said(script: &mut Script<'_>, next: u64, shape: u8) -> (Vec<std::ops::RangeInclusive<u64>>, u64) {
    let largest = match shape & 3 {
        0 => next.saturating_sub(1 + u64::from(script.byte())),
        1 => next.saturating_add(script.byte().into()),
        2 => script.u64() % (MAX_NUMBER + 1),
        _ => next.saturating_sub(1),
    };
    let mut ranges = Vec::new();
    let mut high = Some(largest);
    while let (Some(top), true) = (high, ranges.len() < 80) {
        let len = u64::from(script.byte()) << (shape >> 2 & 1).wrapping_mul(script.byte() % 54);
        let low = top.saturating_sub(len);
        ranges.push(low..=top);
        let gap = script.byte();
        high = low.checked_sub(2 + u64::from(gap)).filter(|_| gap != 0);
    }
    (ranges, largest)
}

/// Takes `data` for a script of cookies that a server makes and of those it is shown: it takes its own, for their address,
/// their port, their message and their time, and no others.
///
/// # Panics
/// When it takes another, or refuses one of these.
pub fn cookie(data: &[u8]) {
    let (mut script, began) = (Script::new(data), start());
    let seed = script.u64();
    let (Ok(secrets), Ok(master)) = (
        CookieSecrets::new(began, &mut ChaCha8Rng::seed_from_u64(seed)),
        crypto::random_secret::<32, _>(&mut ChaCha8Rng::seed_from_u64(seed)),
    ) else {
        unreachable!("a seeded generator does not fail")
    };
    let mut cookies = Cookies::new(Arc::new(secrets), began);
    let (mut baked, mut elapsed) = (vec![[0; 16]], 0_u64);
    while let Some(op) = script.next() {
        elapsed += u64::from(op >> 4) * 3;
        let now = began + Duration::from_secs(elapsed);
        let (from, id) = (place(&mut script), [script.byte() & 3; 32]);
        // PROTOCOL.md, "Server's cookies", once more.
        let own = |turn: u64| {
            let secret = crypto::hmac(master.as_bytes(), &[b"cookie", &turn.to_le_bytes(), &[1]]);
            let ip = match from.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            let parts: [&[u8]; 4] = [b"cookie", &ip.octets(), &from.port().to_le_bytes(), &id];
            crypto::keyed_hash(secret.as_bytes(), &parts)
        };
        let turn = elapsed / 30;
        if op & 1 == 0 {
            let cookie = cookies.bake(now, from, &id);
            assert_eq!(cookie, own(turn));
            baked.push(cookie);
            continue;
        }
        let mut given = match op & 2 {
            0 => script.array(),
            _ => pick(&baked, script.byte()).copied().unwrap_or_default(),
        };
        if op & 4 != 0 {
            let bit = script.byte() & 127;
            given.iter_mut().skip((bit / 8).into()).take(1).for_each(|byte| *byte ^= 1 << (bit & 7));
        }
        let is_own = given == own(turn) || turn.checked_sub(1).is_some_and(|turn| given == own(turn));
        assert_eq!(cookies.takes(now, from, &id, &given), is_own && given != [0; 16]);
    }
}

/// One of some addresses that are alike.
fn place(script: &mut Script<'_>) -> SocketAddr {
    let which = script.byte();
    let (ip, port) = (Ipv4Addr::new(192, 0, 2, which >> 2 & 3), 1_000 + u16::from(which & 1));
    match which >> 4 & 3 {
        0 => SocketAddr::new(IpAddr::V6(Ipv6Addr::from(script.array::<16>())), port),
        1 => SocketAddr::new(IpAddr::V6(ip.to_ipv6_mapped()), port),
        _ => SocketAddr::new(IpAddr::V4(ip), port),
    }
}
