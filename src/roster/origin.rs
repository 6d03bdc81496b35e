//! Whom the limits of a server take for one: addresses that one owner has at will, but not the many behind a proxy.
//! PROTOCOL.md, "Flood defence".

use std::net::{IpAddr, SocketAddr};

/// The bytes of an address, an IPv4 address as its form in IPv6.
pub(crate) fn ip16(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// Who counts as one: an IPv4 /24, an IPv6 /48, or one address and port of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    ip: [u8; 16],
    port: Option<u16>,
}

impl Origin {
    /// `proxies` are sorted, and in the form of `IpAddr::to_canonical`.
    pub(crate) fn of(from: SocketAddr, proxies: &[IpAddr]) -> Self {
        let ip = from.ip().to_canonical();
        if proxies.binary_search(&ip).is_ok() {
            return Self { ip: ip16(ip), port: Some(from.port()) };
        }
        let keep = if ip.is_ipv4() { 15 } else { 6 };
        let mut ip = ip16(ip);
        for byte in ip.iter_mut().skip(keep) {
            *byte = 0;
        }
        Self { ip, port: None }
    }

    pub(crate) fn ip(&self) -> &[u8; 16] {
        &self.ip
    }

    pub(crate) fn port(&self) -> Option<u16> {
        self.port
    }
}
