//! STAND-IN, to be replaced by the wire room's.
use super::{Malformed, hello::Hello};

const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
pub(crate) const HEADER: usize = 16;
pub(crate) const HELLO_LEN: usize = HEADER + 1 + 8 + 8 + 24 - 4;

pub(crate) fn checksum(app_id: &[u8], rest: &[u8]) -> [u8; 4] {
    let mut digest = CRC.digest();
    digest.update(b"sealgram/1 plain");
    digest.update(&[app_id.len() as u8]);
    digest.update(app_id);
    digest.update(rest);
    digest.finalize().to_le_bytes()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind { Hello, Answer }

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Greeting { pub(crate) kind: Kind, pub(crate) own: u64, pub(crate) peer: u64, pub(crate) hello: Hello }

pub(crate) enum Opened<'a> { Greeting(Greeting), Packet { session: u64, number: u32, payload: &'a [u8] } }

pub(crate) fn open<'a>(app_id: &[u8], datagram: &'a [u8]) -> Option<Opened<'a>> {
    let (sum, rest) = datagram.split_first_chunk::<4>()?;
    if checksum(app_id, rest) != *sum { return None; }
    let (session, rest) = rest.split_first_chunk::<8>()?;
    let session = u64::from_le_bytes(*session);
    if session == 0 { return greeting(rest).ok().map(Opened::Greeting); }
    let (number, payload) = rest.split_first_chunk::<4>()?;
    Some(Opened::Packet { session, number: u32::from_le_bytes(*number), payload })
}

fn greeting(bytes: &[u8]) -> Result<Greeting, Malformed> {
    let mut r = super::codec::Reader::new(bytes);
    let kind = match r.u8()? { 1 => Kind::Hello, 2 => Kind::Answer, _ => return Err(Malformed) };
    let (own, peer) = (u64::from_le_bytes(r.array()?), u64::from_le_bytes(r.array()?));
    let hello = Hello::decode(r.rest())?;
    Ok(Greeting { kind, own, peer, hello })
}

pub(crate) fn seal(app_id: &[u8], session: u64, number: u64, datagram: &mut [u8]) -> Option<()> {
    let (_, rest) = datagram.split_first_chunk_mut::<4>()?;
    let (s, rest) = rest.split_first_chunk_mut::<8>()?;
    *s = session.to_le_bytes();
    let (n, _) = rest.split_first_chunk_mut::<4>()?;
    *n = (number as u32).to_le_bytes();
    let (sum, rest) = datagram.split_first_chunk_mut::<4>()?;
    *sum = checksum(app_id, rest);
    Some(())
}

pub(crate) fn seal_greeting(app_id: &[u8], g: &Greeting, datagram: &mut [u8]) -> Option<usize> {
    let out = datagram.get_mut(..HELLO_LEN)?;
    let (sum, rest) = out.split_first_chunk_mut::<4>()?;
    let mut w = super::codec::Writer::new(rest);
    w.bytes(&[0; 8]).ok()?;
    w.u8(match g.kind { Kind::Hello => 1, Kind::Answer => 2 }).ok()?;
    w.bytes(&g.own.to_le_bytes()).ok()?;
    w.bytes(&g.peer.to_le_bytes()).ok()?;
    w.bytes(&g.hello.encode()).ok()?;
    *sum = checksum(app_id, rest);
    Some(HELLO_LEN)
}
