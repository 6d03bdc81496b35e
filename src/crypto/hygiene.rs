//! No secret type prints its bytes, in no base. Checked for every type that holds some.

#[cfg(target_pointer_width = "64")]
use chacha20::cipher::{StreamCipherBackend, consts::U64};

use super::{
    testing::{Parties, write},
    *,
};

/// Panics if `debugged` holds two neighbours of `secret` in hexadecimal or decimal.
fn prints_nothing_of(secret: &[u8], value: &dyn std::fmt::Debug) {
    for debugged in [format!("{value:?}"), format!("{value:#?}"), format!("{value:x?}")] {
        for pair in secret.windows(2) {
            let &[a, b] = pair else { unreachable!("windows of two") };
            for shown in [
                format!("{a:02x}{b:02x}"),
                format!("{a:02X}{b:02X}"),
                format!("{a}, {b}"),
                format!("{a:x}, {b:x}"),
                format!("{a},\n    {b}"),
            ] {
                assert!(!debugged.contains(&shown), "{debugged} shows {shown}");
            }
        }
    }
}

fn secret_bytes() -> [u8; 32] {
    std::array::from_fn(|i| 0xa3_u8.wrapping_add(u8::try_from(i * 7).unwrap()))
}

#[test]
fn no_key_prints_its_bytes() {
    let bytes = secret_bytes();
    prints_nothing_of(&bytes, &Secret::take(&mut bytes.clone()));
    prints_nothing_of(&bytes, &SecretKey::from_bytes(bytes));
    prints_nothing_of(&bytes, &Psk::from_bytes(bytes));
    prints_nothing_of(&bytes, &Invite::from_bytes(bytes));
    let keys = derive_invite(&Invite::from_bytes(bytes));
    prints_nothing_of(keys.psk.as_bytes(), &keys);
    prints_nothing_of(keys.env_base.as_bytes(), &keys);
}

#[test]
fn no_session_key_prints_its_bytes() {
    let secret = secret_bytes();
    let split = || Split {
        i2r: Secret::take(&mut secret.clone()),
        r2i: Secret::take(&mut secret.clone()),
        hash: [0; 32],
    };
    prints_nothing_of(&secret, &split());
    let channel = Channel::derive(&split(), Side::Initiator);
    prints_nothing_of(channel.exporter.as_bytes(), &channel);
    for key in channel.seal.secrets() {
        prints_nothing_of(key, &channel);
        prints_nothing_of(key, &channel.seal);
    }
    for key in channel.open.secrets() {
        prints_nothing_of(key, &channel);
        prints_nothing_of(key, &channel.open);
    }
    let envelope = EnvelopeKeys::new(&secret, 1, b"", None);
    for side in [Side::Initiator, Side::Responder] {
        prints_nothing_of(envelope.key(side).as_bytes(), &envelope);
    }
}

#[test]
fn an_erased_channel_holds_no_key_seals_nothing_and_opens_nothing() {
    // Short and long: a back end may treat them differently.
    [60, 1_000].into_iter().for_each(erased_with_packets_of);
}

fn erased_with_packets_of(len: usize) {
    let (mut initiator, mut responder) = testing::channels();
    let seal = |channel: &mut Channel| {
        let mut packet = vec![7; len];
        channel.seal.seal(b"", &mut packet).map(|_| packet)
    };
    let keep = std::time::Duration::from_secs(1);
    let now = crate::os::Environment::os().now();
    let mut first = seal(&mut initiator).unwrap();
    assert!(responder.open.open(now, keep, b"", &mut first).is_ok());
    let mut genuine = seal(&mut initiator).unwrap();
    responder.erase();
    initiator.erase();
    for channel in [&initiator, &responder] {
        let exporter = channel.exporter.as_bytes().as_slice();
        let keys = channel.seal.secrets().into_iter().chain(channel.open.secrets()).chain([exporter]);
        assert!(keys.flatten().all(|&byte| byte == 0));
    }
    assert!(seal(&mut initiator).is_err());
    // Whoever seals under keys of zeros is not let in either.
    initiator.seal.set_next_number(2);
    let mut forged = seal(&mut initiator).unwrap();
    for packet in [&mut genuine, &mut forged] {
        assert!(responder.open.open(now, keep, b"", packet).is_err());
    }
}

#[test]
fn no_handshake_prints_its_keys() {
    let secret = secret_bytes();
    let mut parties = Parties::new();
    parties.initiator = SecretKey::from_bytes(secret);
    parties.psk = Secret::take(&mut secret.clone());
    let mut handshake = parties.end(Pattern::KkPsk2, Side::Initiator, b"");
    write(&mut handshake, Side::Initiator, b"");
    prints_nothing_of(&secret, &handshake);
    prints_nothing_of(&testing::ephemeral(Side::Initiator), &handshake);
    let keys = Keys { local: Some(&parties.initiator), psk: Some(&parties.psk), ..Keys::default() };
    prints_nothing_of(&secret, &keys);
}

#[test]
fn the_check_itself_finds_bytes() {
    let leaks = |value: &(dyn std::fmt::Debug + std::panic::RefUnwindSafe)| {
        std::panic::catch_unwind(|| prints_nothing_of(&[0xa3, 0x07], value)).is_err()
    };
    assert!(leaks(&[0xa3_u8, 0x07]) && leaks(&"a307") && leaks(&"A307") && !leaks(&"a3 07"));
}

/// Compiles only while none of these can be copied or compared byte by byte: `check` would be ambiguous otherwise.
#[test]
fn secrets_are_neither_cloned_nor_compared() {
    trait UnlessClone<Which> {
        fn check() {}
    }
    trait UnlessCompared<Which> {
        fn check() {}
    }
    impl<T> UnlessClone<()> for T {}
    impl<T: Clone> UnlessClone<u8> for T {}
    impl<T> UnlessCompared<()> for T {}
    impl<T: PartialEq> UnlessCompared<u8> for T {}
    macro_rules! check {
        ($($secret:ty),*) => {$(
            <$secret as UnlessClone<_>>::check();
            <$secret as UnlessCompared<_>>::check();
        )*};
    }
    check!(
        Secret<32>,
        SecretKey,
        Psk,
        Invite,
        InviteKeys,
        Handshake,
        Split,
        EnvelopeKeys,
        SealKey,
        OpenKeys,
        Channel
    );
    check!(aead::Prepared);
    #[cfg(target_pointer_width = "64")]
    check!(poly1305::Poly1305);
    #[cfg(target_pointer_width = "64")]
    #[expect(dead_code, reason = "that it compiles is the check")]
    fn check_stream<B: StreamCipherBackend<BlockSize = U64>>() {
        check!(one_pass::KeyStream<'_, B>);
    }
}

#[test]
fn secrets_are_wiped_on_drop() {
    fn check<T: zeroize::ZeroizeOnDrop>() {}
    check::<Secret<32>>();
    #[cfg(feature = "ring")]
    check::<aead::Prepared>();
    #[cfg(target_pointer_width = "64")]
    check::<poly1305::Poly1305>();
    #[cfg(target_pointer_width = "64")]
    #[expect(dead_code, reason = "that it compiles is the check")]
    fn check_stream<B: StreamCipherBackend<BlockSize = U64>>() {
        check::<one_pass::KeyStream<'_, B>>();
    }
}
