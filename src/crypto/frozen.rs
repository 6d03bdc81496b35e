//! The crate's own vectors, frozen: whole handshakes of every profile in their envelopes, and packets over two
//! ratchets. What this code makes must be what `vectors/*.json` hold; `vectors/check.py` makes the same from the text
//! of the protocol alone. `SEALGRAM_BLESS=1` writes the files anew, which is a change of the wire format.

use serde_json::{Value, json};

use super::{
    Channel, EnvelopeKeys, Handshake, Invite, InviteKeys, Keys, Pattern, Prologue, SealKey, Secret,
    SecretKey, Side, Split, derive_invite, dh, envelope, hash, packet, paired_env_base, testing::FixedRng,
};

const APP_ID: &[u8] = b"frozen-1";
const INITIATOR_STATIC: [u8; 32] = counted(0x10);
const RESPONDER_STATIC: [u8; 32] = counted(0x30);
const INITIATOR_EPHEMERAL: [u8; 32] = counted(0x50);
const RESPONDER_EPHEMERAL: [u8; 32] = counted(0x70);
const PSK: [u8; 32] = counted(0x90);
const INVITE: [u8; 32] = counted(0xb0);

/// What a server of many peers adds: its route, and the id that it gives.
#[derive(Clone, Copy)]
struct Served {
    route: &'static [u8],
    cid: [u8; 8],
}

const BETWEEN_TWO: Option<Served> = None;
const SERVED: Option<Served> = Some(Served { route: b"route-7", cid: *b"\xc0\xc1\xc2\xc3\xc4\xc5\xc6\xc7" });

impl Served {
    /// What stands in clear before the initiator's packets, and before its FIN.
    fn prefix(&self) -> Vec<u8> {
        [self.route, &self.cid].concat()
    }
}

/// 32 bytes that count up from `first`.
const fn counted(first: u8) -> [u8; 32] {
    let mut bytes = [first; 32];
    let mut at = 1;
    while at < 32 {
        bytes[at] = bytes[at - 1].wrapping_add(1);
        at += 1;
    }
    bytes
}

/// Where a profile's envelope keys come from. PROTOCOL.md, "Profiles".
#[derive(Clone, Copy, PartialEq, Eq)]
enum Base {
    Statics,
    Invite,
    Zero,
    ZeroAndResponder,
}

const PROFILES: [(&str, u8, Pattern, Base); 8] = [
    ("Paired", 0x01, Pattern::Kk, Base::Statics),
    ("PairedPsk", 0x11, Pattern::KkPsk2, Base::Statics),
    ("Invite", 0x02, Pattern::NnPsk0, Base::Invite),
    ("InviteTofu", 0x12, Pattern::XxPsk3, Base::Invite),
    ("Tofu", 0x03, Pattern::Xx, Base::Zero),
    ("Client", 0x04, Pattern::Nk, Base::ZeroAndResponder),
    ("ClientAuth", 0x05, Pattern::Ik, Base::ZeroAndResponder),
    ("ClientAuthPsk", 0x15, Pattern::IkPsk2, Base::ZeroAndResponder),
];

fn hello(responder: bool, served: Option<Served>) -> Vec<u8> {
    let mut hello = [&[1, 0, 1, 1, 0, 0][..], &1200_u16.to_le_bytes(), &30_000_u32.to_le_bytes()].concat();
    hello.extend([&[0xff, 0xff][..], &(1_u32 << 20).to_le_bytes(), &[0; 6]].concat());
    if responder {
        let cid = served.as_ref().map_or(&[][..], |served| &served.cid);
        hello.push(u8::try_from(cid.len()).unwrap());
        hello.extend(cid);
    }
    hello
}

/// The payload of message `turn`. PROTOCOL.md, "Hello".
fn payload(pattern: Pattern, turn: usize, served: Option<Served>) -> Vec<u8> {
    match (pattern.messages().len(), turn) {
        (3, 0) => vec![1, 1],
        (_, turn) => hello(turn == 1, served),
    }
}

/// A handshake datagram before it is sealed: head, Noise message, zeros. PROTOCOL.md, "Envelope".
fn body(turn: usize, answered: Option<&[u8]>, noise: &[u8]) -> Vec<u8> {
    let kind = u8::try_from(turn + 1).unwrap();
    let reference = answered.map_or([0; 16], |message| *hash(&[message]).first_chunk().unwrap());
    let size = if turn == 2 { 256 } else { 512 } - envelope::OVERHEAD;
    let len = u16::try_from(noise.len()).unwrap().to_le_bytes();
    let mut body = [&[kind, 1][..], &[0; 16], &reference, &len, noise].concat();
    body.resize(size, 0);
    body
}

struct Ends {
    handshakes: [Handshake; 2],
    envelope: EnvelopeKeys,
    base: Secret<32>,
    prologue: Prologue,
}

fn ends(profile: u8, pattern: Pattern, base: Base, route: &[u8]) -> Ends {
    let initiator = SecretKey::from_bytes(INITIATOR_STATIC);
    let responder = SecretKey::from_bytes(RESPONDER_STATIC);
    let (initiator_public, responder_public) = (initiator.public_key(), responder.public_key());
    let InviteKeys { psk: invite_psk, env_base: invite_base } = derive_invite(&Invite::from_bytes(INVITE));
    let psk = if base == Base::Invite { invite_psk } else { Secret::take(&mut { PSK }) };
    let psk = pattern.has_psk().then_some(&psk);
    let base_key = match base {
        Base::Statics => paired_env_base(&dh(&initiator, &responder_public).unwrap()),
        Base::Invite => invite_base,
        Base::Zero | Base::ZeroAndResponder => Secret::zeroed(),
    };
    let named = (base == Base::ZeroAndResponder).then_some(&responder_public);
    let prologue = Prologue::new(profile, APP_ID, route).unwrap();
    let initiator_keys = Keys {
        local: pattern.initiator_has_static().then_some(&initiator),
        remote: pattern.knows_responder().then_some(&responder_public),
        psk,
        static_static: None,
    };
    let responder_keys = Keys {
        local: pattern.responder_has_static().then_some(&responder),
        remote: pattern.knows_initiator().then_some(&initiator_public),
        psk,
        static_static: None,
    };
    let end = |side, keys| Handshake::new(pattern, side, prologue.as_bytes(), keys).unwrap();
    Ends {
        handshakes: [end(Side::Initiator, initiator_keys), end(Side::Responder, responder_keys)],
        envelope: EnvelopeKeys::new(base_key.as_bytes(), profile, APP_ID, named),
        base: base_key,
        prologue,
    }
}

fn handshake(
    (name, profile, pattern, base): (&str, u8, Pattern, Base),
    served: Option<Served>,
) -> (Value, [Split; 2]) {
    let route = served.map_or(&[][..], |served| served.route);
    let Ends { handshakes: [initiator, responder], envelope, base: base_key, prologue } =
        ends(profile, pattern, base, route);
    let mut writer = (Side::Initiator, initiator);
    let mut reader = (Side::Responder, responder);
    let mut answered: Option<Vec<u8>> = None;
    let mut messages = Vec::new();
    for turn in 0..pattern.messages().len() {
        let payload = payload(pattern, turn, served);
        let ephemeral = [INITIATOR_EPHEMERAL, RESPONDER_EPHEMERAL];
        let mut out = [0; 512];
        let mut rng = FixedRng::new(ephemeral.get(turn).map_or(&[], |bytes| bytes));
        let len = writer.1.write(&mut rng, &payload, &mut out).unwrap();
        let noise = out[..len].to_vec();
        let (next, len) = reader.1.read(&noise, &mut out).unwrap();
        assert_eq!(out[..len], payload);
        reader.1 = next;

        let body = body(turn, answered.as_deref(), &noise);
        let nonce = [0xe0 + u8::try_from(turn).unwrap(); envelope::NONCE_LEN];
        // PROTOCOL.md, "Envelope": the route before INIT, the id too before FIN, nothing before an answer.
        let clear = match (turn, served) {
            (2, Some(served)) => served.prefix(),
            (0, _) => route.to_vec(),
            _ => Vec::new(),
        };
        let mut sealed = [&nonce[..], &body, &[0; 16]].concat();
        envelope.seal(&mut FixedRng::new(&nonce), writer.0, &clear, &mut sealed).unwrap();
        assert_eq!(envelope.open(writer.0, &clear, &mut sealed.clone()).unwrap(), body);
        let datagram = [clear, sealed].concat();
        messages.push(json!({
            "from": format!("{:?}", writer.0).to_lowercase(),
            "payload": hex::encode(payload),
            "noise_message": hex::encode(&noise),
            "envelope_nonce": hex::encode(nonce),
            "envelope_size": envelope::OVERHEAD + body.len(),
            "datagram": hex::encode(datagram),
        }));
        answered = Some(noise);
        std::mem::swap(&mut writer, &mut reader);
    }
    let splits = [writer.1, reader.1].map(|end| end.split().unwrap());
    let [split, _] = &splits;
    let value = json!({
        "profile": name,
        "profile_byte": profile,
        "noise_name": pattern.name(),
        "prologue": hex::encode(prologue.as_bytes()),
        "envelope_base": hex::encode(base_key.as_bytes()),
        "envelope_key_initiator_to_responder": hex::encode(envelope.key(Side::Initiator).as_bytes()),
        "envelope_key_responder_to_initiator": hex::encode(envelope.key(Side::Responder).as_bytes()),
        "messages": messages,
        "handshake_hash": hex::encode(split.hash),
        "split_initiator_to_responder": hex::encode(split.i2r.as_bytes()),
        "split_responder_to_initiator": hex::encode(split.r2i.as_bytes()),
    });
    (value, splits)
}

fn handshakes() -> Value {
    let entries: Vec<_> = PROFILES.map(|profile| handshake(profile, BETWEEN_TWO).0).to_vec();
    let mut file = with_secrets(entries);
    file["about"] = "Whole handshakes of every profile, with fixed keys. All values are hexadecimal.".into();
    file["route"] = "".into();
    file
}

/// The handshakes of a client with a server of many peers, and the first packet of each: CONFIRM with a ticket.
fn served() -> Value {
    let with_packet = |profile| {
        let (mut value, [split, other]) = handshake(profile, SERVED);
        let (mut client, mut server) =
            (Channel::derive(&split, Side::Initiator), Channel::derive(&other, Side::Responder));
        let prefix = SERVED.unwrap().prefix();
        let ticket = b"a ticket";
        let frames = [&[0x04, 0, 8], &ticket[..]].concat();
        let mut packet = [&[0; 4], &frames[..], &[0; 16]].concat();
        client.seal.seal(&prefix, &mut packet).unwrap();
        #[expect(clippy::disallowed_methods, reason = "any time will do")]
        let now = std::time::Instant::now();
        let opened = server
            .open
            .open(now, std::time::Duration::ZERO, &prefix, &mut packet.clone())
            .unwrap()
            .payload
            .to_vec();
        assert_eq!(opened, frames);
        value["confirm"] = hex::encode([prefix, packet].concat()).into();
        value["ticket"] = hex::encode(ticket).into();
        value
    };
    let profiles =
        PROFILES.into_iter().filter(|(_, profile, ..)| matches!(profile, 0x03 | 0x04 | 0x05 | 0x12 | 0x15));
    let mut file = with_secrets(profiles.map(with_packet).collect());
    let Served { route, cid } = SERVED.unwrap();
    file["about"] = "Whole handshakes of clients with a server of many peers: behind a route, and with a connection id \
                     in the answer. Then packet 0 of the client, as a whole datagram: CONFIRM with a ticket. All \
                     values are hexadecimal."
        .into();
    file["route"] = hex::encode(route).into();
    file["cid"] = hex::encode(cid).into();
    file
}

fn with_secrets(entries: Vec<Value>) -> Value {
    json!({
        "app_id": hex::encode(APP_ID),
        "initiator_static_secret": hex::encode(INITIATOR_STATIC),
        "responder_static_secret": hex::encode(RESPONDER_STATIC),
        "initiator_ephemeral_secret": hex::encode(INITIATOR_EPHEMERAL),
        "responder_ephemeral_secret": hex::encode(RESPONDER_EPHEMERAL),
        "psk": hex::encode(PSK),
        "invite": hex::encode(INVITE),
        "profiles": entries,
    })
}

/// 20 packets in each of three epochs, of one direction.
fn direction(seal: &mut SealKey, side: Side, prefix: &[u8], open: &mut super::OpenKeys) -> Value {
    let [header_key, ..] = seal.secrets()[..] else { unreachable!("the header key comes first") };
    let header_key = hex::encode(header_key);
    #[expect(clippy::disallowed_methods, reason = "an arbitrary start; only differences count")]
    let start = std::time::Instant::now();
    let mut epochs = Vec::new();
    for epoch in 0..3_u64 {
        let now = start + std::time::Duration::from_secs(epoch);
        let [_, traffic, key, iv] = seal.secrets()[..] else { unreachable!("four secrets") };
        let [traffic, key, iv] = [traffic, key, iv].map(hex::encode);
        let mut packets = Vec::new();
        for index in 0..20_usize {
            if index == 7 {
                seal.skip_number();
            }
            let text: Vec<u8> = (0..=index * 3).map(|at| u8::try_from(at + 1).unwrap()).collect();
            let mut sealed = vec![0; text.len() + packet::OVERHEAD];
            sealed[4..4 + text.len()].copy_from_slice(&text);
            let number = seal.seal(prefix, &mut sealed).unwrap();
            let copy = &mut sealed.clone();
            let opened = open.open(now, std::time::Duration::from_secs(1), prefix, copy).unwrap();
            assert_eq!((opened.number, &*opened.payload), (number, &text[..]));
            packets.push(json!({
                "number": number,
                "plaintext": hex::encode(text),
                "packet": hex::encode(sealed),
            }));
        }
        epochs.push(json!({
            "epoch": epoch,
            "traffic_secret": traffic,
            "key": key,
            "iv": iv,
            "packets": packets,
        }));
        seal.ratchet();
    }
    json!({
        "from": format!("{side:?}").to_lowercase(),
        "prefix": hex::encode(prefix),
        "header_key": header_key,
        "epochs": epochs,
    })
}

fn packets() -> Value {
    let (_, [split, other]) = handshake(PROFILES[0], BETWEEN_TWO);
    let from = json!({
        "split_initiator_to_responder": hex::encode(split.i2r.as_bytes()),
        "split_responder_to_initiator": hex::encode(split.r2i.as_bytes()),
        "handshake_hash": hex::encode(split.hash),
    });
    let mut initiator = Channel::derive(&split, Side::Initiator);
    let mut responder = Channel::derive(&other, Side::Responder);
    assert!(initiator.exporter.ct_eq(&responder.exporter));
    json!({
        "about": "Packets of both directions over two ratchets, after the handshake of profile Paired. The prefix \
                  (route and connection id) stands before the packet in the datagram and is not part of it here. \
                  All values but numbers are hexadecimal.",
        "session": from,
        "exporter": hex::encode(initiator.exporter.as_bytes()),
        "directions": [
            direction(&mut initiator.seal, Side::Initiator, b"route-and-connectid", &mut responder.open),
            direction(&mut responder.seal, Side::Responder, b"", &mut initiator.open),
        ],
    })
}

fn compare(name: &str, frozen: &str, value: &Value) {
    if std::env::var_os("SEALGRAM_BLESS").is_some_and(|bless| bless == "1") {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
        std::fs::write(path, serde_json::to_string_pretty(value).unwrap() + "\n").unwrap();
        return;
    }
    let frozen: Value = serde_json::from_str(frozen).unwrap();
    assert!(frozen == *value, "{name} differs: either the wire format changed or the code is wrong");
}

#[test]
fn handshakes_are_those_that_were_frozen() {
    compare("handshakes.json", include_str!("../../vectors/handshakes.json"), &handshakes());
}

#[test]
fn handshakes_with_a_server_are_those_that_were_frozen() {
    compare("served.json", include_str!("../../vectors/served.json"), &served());
}

#[test]
fn packets_are_those_that_were_frozen() {
    compare("packets.json", include_str!("../../vectors/packets.json"), &packets());
}
