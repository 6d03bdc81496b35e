//! The reader of a handshake message in `snow`, an independent implementation, beside ours. Shared by the fuzz target and
//! the test of its corpus.

use sealgram::fuzzing::NoiseCase;

/// Takes the first byte for a message of a handshake, and the rest for changes to it: pairs of a place and what is put
/// there by exclusive or; 0xff in the first byte's high bits, and the rest is the message itself.
///
/// # Panics
/// When one takes the message and the other does not, or payload or hash differ. A shared secret of zeros is the one
/// thing that `snow` takes and we refuse: PROTOCOL.md, "Profiles".
pub(crate) fn diff_snow(data: &[u8]) {
    let Some((&which, rest)) = data.split_first() else { return };
    let cases = NoiseCase::all();
    let case = &cases[usize::from(which & 0x1f) % cases.len()];
    let mut message = case.message.clone();
    if which & 0x20 == 0 {
        for pair in rest.chunks(2) {
            let at = usize::from(pair[0]) % message.len();
            message[at] ^= pair.get(1).copied().unwrap_or(1);
        }
    } else {
        message = rest.to_vec();
    }
    message.truncate(700);
    let ours = case.read(&message);
    let theirs = read_by_snow(case, &message);
    if ours != theirs {
        assert!(ours.is_none(), "we read what snow refuses: {case:?}");
        assert!(agrees_on_zero(case, &message), "snow reads what we refuse: {case:?}, {message:02x?}");
    }
}

fn read_by_snow(case: &NoiseCase, message: &[u8]) -> Option<(Vec<u8>, [u8; 32])> {
    let (own, other) = case.keys();
    let psk = case.psk().unwrap_or_default();
    let ephemeral = case.reader_ephemeral();
    let mut builder = snow::Builder::new(case.name.parse().expect("snow knows the name"))
        .prologue(NoiseCase::PROLOGUE)
        .expect("once")
        .fixed_ephemeral_key_for_testing_only(&ephemeral);
    if let Some(own) = &own {
        builder = builder.local_private_key(own).expect("once");
    }
    if let Some(other) = &other {
        builder = builder.remote_public_key(other).expect("once");
    }
    if case.psk().is_some() {
        let place = case
            .name
            .find("psk")
            .and_then(|at| case.name.as_bytes().get(at + 3))
            .map_or(0, |digit| digit - b'0');
        builder = builder.psk(place, &psk).expect("once");
    }
    let built = if case.reader_is_initiator { builder.build_initiator() } else { builder.build_responder() };
    let mut theirs = built.expect("all keys are there");
    let mut out = [0; 1_024];
    for (at, earlier) in case.before.iter().enumerate() {
        if (at % 2 == 0) == case.reader_is_initiator {
            let len = theirs.write_message(NoiseCase::PAYLOAD, &mut out).expect("our turn");
            assert_eq!(&out[..len], earlier, "both write the same: {case:?}");
        } else {
            theirs.read_message(earlier, &mut out).expect("an honest message");
        }
    }
    let len = theirs.read_message(message, &mut out).ok()?;
    let hash = theirs.get_handshake_hash().try_into().expect("32 bytes");
    Some((out[..len].to_vec(), hash))
}

/// Whether a key in the message agrees with every other on zero: only such a message may be judged differently. Keys stand
/// first, and in XX's message 2 and IK's message 1 a static key follows under a cipher, which cannot be looked into; it
/// has no place here, because a forger cannot seal one.
fn agrees_on_zero(case: &NoiseCase, message: &[u8]) -> bool {
    let has_ephemeral = case.before.len() < 2;
    let Some(key) = message.first_chunk::<32>().filter(|_| has_ephemeral) else { return false };
    // The points of low order, with or without the highest bit, which X25519 ignores.
    let mut key = *key;
    key[31] &= 0x7f;
    let mut small = [0; 32];
    small[0] = key[0];
    let near_p =
        key[1..31].iter().all(|byte| *byte == 0xff) && key[31] == 0x7f && (0xec..=0xee).contains(&key[0]);
    let eighth = [
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ];
    let of_order_8 =
        eighth.iter().any(|text| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>() == **text);
    (key == small && key[0] < 2) || near_p || of_order_8
}
