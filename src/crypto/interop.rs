//! Our handshakes against those of `snow`, an independent implementation: same messages, same hash, same keys, same
//! verdicts.

use super::{
    Handshake, NoiseError, Pattern, Side,
    testing::{FixedRng, Parties, write},
};

const PROLOGUE: &[u8] = b"both must agree on this";

fn psk_position(pattern: Pattern) -> u8 {
    match pattern {
        Pattern::NnPsk0 => 0,
        Pattern::XxPsk3 => 3,
        _ => 2,
    }
}

/// The other implementation's end, with the keys that ours would have on that side.
fn snow_end(parties: &Parties, pattern: Pattern, side: Side) -> snow::HandshakeState {
    let (initiator, responder) = (parties.initiator.expose_bytes(), parties.responder.expose_bytes());
    let (initiator_public, responder_public) =
        (parties.initiator.public_key(), parties.responder.public_key());
    let (has_local, local, knows_remote, remote) = match side {
        Side::Initiator => {
            (pattern.initiator_has_static(), &initiator, pattern.knows_responder(), responder_public)
        }
        Side::Responder => {
            (pattern.responder_has_static(), &responder, pattern.knows_initiator(), initiator_public)
        }
    };
    let mut builder = snow::Builder::new(pattern.name().parse().unwrap()).prologue(PROLOGUE).unwrap();
    if has_local {
        builder = builder.local_private_key(&**local).unwrap();
    }
    if knows_remote {
        builder = builder.remote_public_key(remote.as_bytes()).unwrap();
    }
    if pattern.has_psk() {
        builder = builder.psk(psk_position(pattern), parties.psk.as_bytes()).unwrap();
    }
    match side {
        Side::Initiator => builder.build_initiator().unwrap(),
        Side::Responder => builder.build_responder().unwrap(),
    }
}

/// Runs `messages` messages between our end on `side` and the other implementation's.
fn run(pattern: Pattern, side: Side, messages: usize) -> (Handshake, snow::HandshakeState) {
    let parties = Parties::new();
    let mut ours = parties.end(pattern, side, PROLOGUE);
    let mut theirs = snow_end(&parties, pattern, side.other());
    for turn in 0..messages {
        let payload = format!("payload {turn}");
        let mut out = [0; 512];
        if (turn % 2 == 0) == (side == Side::Initiator) {
            let message = write(&mut ours, side, payload.as_bytes());
            let len = theirs.read_message(&message, &mut out).unwrap();
            assert_eq!(&out[..len], payload.as_bytes());
        } else {
            let len = theirs.write_message(payload.as_bytes(), &mut out).unwrap();
            let mut read = [0; 512];
            let (next, len) = ours.read(&out[..len], &mut read).unwrap();
            ours = next;
            assert_eq!(&read[..len], payload.as_bytes());
        }
    }
    (ours, theirs)
}

#[test]
fn all_eight_handshakes_agree_with_snow_in_both_roles() {
    for pattern in Pattern::ALL {
        for side in [Side::Initiator, Side::Responder] {
            let (ours, mut theirs) = run(pattern, side, pattern.messages().len());
            assert!(ours.is_finished() && theirs.is_handshake_finished());
            let remote = ours.remote_static().map(|key| *key.as_bytes());
            let parties = Parties::new();
            let expected = match side {
                Side::Initiator => pattern.responder_has_static().then(|| parties.responder.public_key()),
                Side::Responder => pattern.initiator_has_static().then(|| parties.initiator.public_key()),
            };
            assert_eq!(remote, expected.map(|key| *key.as_bytes()), "{pattern:?} {side:?}");
            assert_eq!(ours.hash(), theirs.get_handshake_hash(), "{pattern:?} {side:?}");
            let split = ours.split().unwrap();
            let (i2r, r2i) = theirs.dangerously_get_raw_split();
            assert_eq!((split.i2r.as_bytes(), split.r2i.as_bytes()), (&i2r, &r2i), "{pattern:?} {side:?}");
        }
    }
}

#[test]
fn a_changed_first_message_gets_the_same_verdict_from_snow() {
    let parties = Parties::new();
    for pattern in Pattern::ALL {
        let message = write(&mut parties.end(pattern, Side::Initiator, PROLOGUE), Side::Initiator, b"text");
        let ours = parties.end(pattern, Side::Responder, PROLOGUE);
        for at in 0..message.len() {
            let mut changed = message.clone();
            changed[at] ^= 1;
            for forged in [&changed[..], &message[..at]] {
                let mut read = [[0; 64]; 2];
                let [our_read, their_read] = &mut read;
                let verdict = ours.read(forged, our_read).map(|(next, len)| (next.hash().to_vec(), len)).ok();
                let mut theirs = snow_end(&parties, pattern, Side::Responder);
                let their_len = theirs.read_message(forged, their_read).ok();
                let their_verdict = their_len.map(|len| (theirs.get_handshake_hash().to_vec(), len));
                assert_eq!(verdict, their_verdict, "{pattern:?}, byte {at}");
                if let Some((_, len)) = verdict {
                    assert_eq!(our_read[..len], their_read[..len]);
                }
            }
        }
    }
}

#[test]
fn a_forced_shared_secret_is_the_one_thing_that_snow_takes_and_we_refuse() {
    let parties = Parties::new();
    let zero = [0; 32];
    let mut theirs = snow_end(&parties, Pattern::Xx, Side::Responder);
    theirs.read_message(&zero, &mut [0; 64]).unwrap();
    assert!(theirs.write_message(&[], &mut [0; 512]).is_ok());

    let ours = parties.end(Pattern::Xx, Side::Responder, PROLOGUE);
    let (mut ours, _) = ours.read(&zero, &mut [0; 64]).unwrap();
    let before = ours.hash();
    let mut rng = FixedRng::new(&[0x55; 32]);
    assert_eq!(ours.write(&mut rng, &[], &mut [0; 512]), Err(NoiseError::Refused));
    assert_eq!(ours.hash(), before);
}
