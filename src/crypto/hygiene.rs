//! No secret type prints its bytes, in no base. Checked for every type that holds some.

use super::*;

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
