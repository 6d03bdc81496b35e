//! The public part of a ticket: bytes to values and back. Each value has one encoding, every count and length a bound.
//! PROTOCOL.md, "Tickets".

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
};

use super::{TicketAddress, TicketError, TicketProfile};
use crate::{
    crypto::{Prologue, PublicKey},
    wire::{
        Malformed, NoRoom,
        codec::{Reader, Writer},
    },
};

/// Longest ticket, in bytes.
pub(crate) const MAX_TICKET: usize = crate::wire::frame::MAX_TICKET;
pub(super) const MAX_KEYS: usize = 4;
pub(super) const MAX_ADDRESSES: usize = 8;
const FORMAT: u8 = 1;

const NAME: u8 = 1;
const IPV4: u8 = 4;
const IPV6: u8 = 6;

/// What everybody may read in a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Public {
    pub(super) profile: TicketProfile,
    /// Unix seconds; 0 for never.
    pub(super) expires: u64,
    pub(super) app_id: Vec<u8>,
    pub(super) route: Vec<u8>,
    pub(super) keys: Vec<PublicKey>,
    pub(super) addresses: Vec<TicketAddress>,
    pub(super) data: Vec<u8>,
}

fn malformed(part: &'static str) -> impl Fn(Malformed) -> TicketError {
    move |_| TicketError::Malformed(part)
}

/// A length byte and as many bytes.
fn read_short<'a>(reader: &mut Reader<'a>, max: usize) -> Result<&'a [u8], Malformed> {
    let len = usize::from(reader.u8()?);
    if len <= max { reader.bytes(len) } else { Err(Malformed) }
}

fn write_short(bytes: &[u8], writer: &mut Writer<'_>) -> Result<(), NoRoom> {
    writer.u8(u8::try_from(bytes.len()).map_err(|_| NoRoom)?)?;
    writer.bytes(bytes)
}

fn read_address(reader: &mut Reader<'_>) -> Result<TicketAddress, Malformed> {
    let address = match reader.u8()? {
        IPV4 => {
            let ip = Ipv4Addr::from(reader.array::<4>()?);
            TicketAddress::Ip(SocketAddr::from((ip, reader.u16()?)))
        }
        IPV6 => {
            let ip = Ipv6Addr::from(reader.array::<16>()?);
            TicketAddress::Ip(SocketAddr::from((ip, reader.u16()?)))
        }
        NAME => {
            let host =
                std::str::from_utf8(read_short(reader, usize::from(u8::MAX))?).map_err(|_| Malformed)?;
            TicketAddress::Name { host: host.to_owned(), port: reader.u16()? }
        }
        _ => return Err(Malformed),
    };
    if address.is_valid() { Ok(address) } else { Err(Malformed) }
}

fn write_address(address: &TicketAddress, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
    match address {
        TicketAddress::Ip(SocketAddr::V4(address)) => {
            writer.u8(IPV4)?;
            writer.bytes(&address.ip().octets())?;
            writer.u16(address.port())
        }
        TicketAddress::Ip(SocketAddr::V6(address)) => {
            writer.u8(IPV6)?;
            writer.bytes(&address.ip().octets())?;
            writer.u16(address.port())
        }
        TicketAddress::Name { host, port } => {
            writer.u8(NAME)?;
            write_short(host.as_bytes(), writer)?;
            writer.u16(*port)
        }
    }
}

/// As many different values as the count byte says.
fn read_list<'a, T: PartialEq>(
    reader: &mut Reader<'a>,
    counts: RangeInclusive<usize>,
    one: impl Fn(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = usize::from(reader.u8()?);
    if !counts.contains(&count) {
        return Err(Malformed);
    }
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        let value = one(reader)?;
        if list.contains(&value) {
            return Err(Malformed);
        }
        list.push(value);
    }
    Ok(list)
}

fn all_different<T: PartialEq>(list: &[T]) -> bool {
    list.iter().enumerate().all(|(at, value)| !list.iter().take(at).any(|earlier| earlier == value))
}

impl Public {
    /// Reads a public part and says whether a sealed part follows. The reader then stands behind it.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<(Self, bool), TicketError> {
        match reader.u8() {
            Ok(FORMAT) => {}
            Ok(format) => return Err(TicketError::UnknownFormat(format)),
            Err(Malformed) => return Err(TicketError::Malformed("format")),
        }
        let sealed = match reader.u8() {
            Ok(0) => false,
            Ok(1) => true,
            _ => return Err(TicketError::Malformed("sealed part")),
        };
        let profile = reader.u8().ok().and_then(TicketProfile::from_byte);
        let profile = profile.ok_or(TicketError::Malformed("profile"))?;
        let expires = reader.u64().map_err(malformed("expiry"))?;
        if sealed && expires == 0 {
            return Err(TicketError::Malformed("expiry"));
        }
        let app_id = read_short(reader, Prologue::MAX_APP_ID).map_err(malformed("app id"))?.to_vec();
        let route = read_short(reader, Prologue::MAX_ROUTE).map_err(malformed("route"))?.to_vec();
        let key = |reader: &mut Reader<'_>| PublicKey::from_bytes(reader.array()?).map_err(|_| Malformed);
        let keys = read_list(reader, 1..=MAX_KEYS, key).map_err(malformed("server key"))?;
        let addresses = read_list(reader, 0..=MAX_ADDRESSES, read_address).map_err(malformed("address"))?;
        let len = reader.varint_up_to(MAX_TICKET as u64).map_err(malformed("public data"))?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let data = reader.bytes(len).map_err(malformed("public data"))?.to_vec();
        Ok((Self { profile, expires, app_id, route, keys, addresses, data }, sealed))
    }

    /// Checks the values and appends the public part.
    pub(super) fn write(&self, sealed: bool, bytes: &mut Vec<u8>) -> Result<(), TicketError> {
        for (fits, part) in [
            (!sealed || self.expires != 0, "expiry"),
            (self.app_id.len() <= Prologue::MAX_APP_ID, "app id"),
            (self.route.len() <= Prologue::MAX_ROUTE, "route"),
            ((1..=MAX_KEYS).contains(&self.keys.len()) && all_different(&self.keys), "server key"),
            (self.addresses.len() <= MAX_ADDRESSES && all_different(&self.addresses), "address"),
            (self.addresses.iter().all(TicketAddress::is_valid), "address"),
        ] {
            if !fits {
                return Err(TicketError::Malformed(part));
            }
        }
        let mut buffer = [0; MAX_TICKET];
        let mut writer = Writer::new(&mut buffer);
        self.encode(sealed, &mut writer).map_err(|NoRoom| TicketError::TooLong)?;
        let written = writer.written();
        bytes.extend_from_slice(buffer.get(..written).unwrap_or_default());
        Ok(())
    }

    fn encode(&self, sealed: bool, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.bytes(&[FORMAT, u8::from(sealed), self.profile.byte()])?;
        writer.u64(self.expires)?;
        write_short(&self.app_id, writer)?;
        write_short(&self.route, writer)?;
        writer.u8(u8::try_from(self.keys.len()).map_err(|_| NoRoom)?)?;
        self.keys.iter().try_for_each(|key| writer.bytes(key.as_bytes()))?;
        writer.u8(u8::try_from(self.addresses.len()).map_err(|_| NoRoom)?)?;
        self.addresses.iter().try_for_each(|address| write_address(address, writer))?;
        writer.varint(self.data.len() as u64)?;
        writer.bytes(&self.data)
    }
}
