//! Frames, bodies and limits as PROTOCOL.md writes them, byte by byte: what an attacker says need not be what the library
//! would write.

/// PROTOCOL.md, "Numbers".
pub(crate) fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn frame(kind: u8, numbers: &[u64], rest: &[u8]) -> Vec<u8> {
    let numbers = numbers.iter().flat_map(|&number| varint(number));
    [kind].into_iter().chain(numbers).chain(rest.iter().copied()).collect()
}

pub(crate) const PING: [u8; 1] = [0x01];
/// Without an id and without a ticket.
pub(crate) const CONFIRM: [u8; 3] = [0x04, 0, 0];

/// Ranges from the newest on, each with how many numbers are missing before the next.
pub(crate) fn ack(largest: u64, first: u64, more: &[(u64, u64)]) -> Vec<u8> {
    let mut numbers = vec![largest, 0, more.len() as u64, first - 1];
    numbers.extend(more.iter().flat_map(|&(gap, len)| [gap - 1, len - 1]));
    frame(0x02, &numbers, &[])
}

pub(crate) fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    let len = u8::try_from(reason.len()).unwrap();
    [&[0x03][..], &code.to_le_bytes(), &[len], reason].concat()
}

pub(crate) fn window(scope: u64, limit: u64) -> Vec<u8> {
    frame(0x05, &[scope, limit], &[])
}

pub(crate) fn skip(lane: u8, index: u64, charge: u64) -> Vec<u8> {
    [&[0x06, lane][..], &varint(index), &varint(charge)].concat()
}

pub(crate) fn challenge(bytes: [u8; 8]) -> Vec<u8> {
    [&[0x09][..], &bytes].concat()
}

pub(crate) fn new_cid(sequence: u64, retire_below: u64, cid: [u8; 8]) -> Vec<u8> {
    frame(0x0b, &[sequence, retire_below], &cid)
}

pub(crate) fn redirect(ticket: &[u8]) -> Vec<u8> {
    frame(0x0c, &[ticket.len() as u64], ticket)
}

pub(crate) fn none(bytes: &[u8]) -> Vec<u8> {
    frame(0x80, &[bytes.len() as u64], bytes)
}

/// A set of its own after as many others.
pub(crate) fn delivery(index: u64, bytes: &[u8]) -> Vec<u8> {
    frame(0xc0, &[index, 0, 0, bytes.len() as u64], bytes)
}

/// A part of such a message.
pub(crate) fn delivery_part(index: u64, offset: u64, total: u64, bytes: &[u8]) -> Vec<u8> {
    frame(0xd0, &[index, 0, 0, offset, total, bytes.len() as u64], bytes)
}

pub(crate) fn none_part(id: u64, offset: u64, total: u64, bytes: &[u8]) -> Vec<u8> {
    frame(0x91, &[1, id, offset, total, bytes.len() as u64], bytes)
}

/// The limits that an endpoint says by default. PROTOCOL.md, "Hello".
pub(crate) fn hello() -> [u8; 24] {
    let mut hello = [0; 24];
    let said = [0x01, 0x00, 1, 1, 0, 0, 0xb0, 0x04, 0x30, 0x75, 0, 0, 0xff, 0xff, 0, 0, 0x10, 0];
    hello[..said.len()].copy_from_slice(&said);
    hello
}

pub(crate) const INIT: u8 = 1;
pub(crate) const RESP: u8 = 2;
pub(crate) const FIN: u8 = 3;
pub(crate) const COOKIE: u8 = 4;
/// Of an INIT and a RESP.
pub(crate) const HANDSHAKE_BYTES: usize = 1_200;

/// The body of an envelope that is `datagram` bytes long in all.
pub(crate) fn body(
    kind: u8,
    cookie: [u8; 16],
    reference: [u8; 16],
    noise: &[u8],
    datagram: usize,
) -> Vec<u8> {
    let len = u16::try_from(noise.len()).unwrap().to_le_bytes();
    let mut body = [&[kind, 1][..], &cookie, &reference, &len, noise].concat();
    body.resize(datagram - 40, 0);
    body
}

pub(crate) fn init(noise: &[u8]) -> Vec<u8> {
    body(INIT, [0; 16], [0; 16], noise, HANDSHAKE_BYTES)
}

/// The Noise message in a body.
pub(crate) fn noise_of(body: &[u8]) -> &[u8] {
    let len = usize::from(u16::from_le_bytes([body[34], body[35]]));
    &body[36..36 + len]
}
