//! Addresses that others name (in tickets, redirects, as candidates), and which of them may be dialled. Resolves no
//! names and asks no interface: the caller says what is local. PROTOCOL.md, "Addresses named by others".

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use super::TicketError;

const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// Where a server can be reached. The library never resolves names: that is for the application, and what it finds goes
/// through [`AddressRules`] as all others do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TicketAddress {
    /// An IPv4 or IPv6 address with its port, which is not 0. A ticket carries no scope of an IPv6 address.
    Ip(SocketAddr),
    /// A name of the domain name system with a port, which is not 0.
    Name {
        /// 1 to 253 letters, digits, hyphens and dots, without a dot at the end; international names in their ASCII
        /// form. The last label is no number: `127.1` is an address in disguise.
        host: String,
        /// The port.
        port: u16,
    },
}

impl TicketAddress {
    /// The address, if it is not a name.
    #[must_use]
    pub const fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Name { .. } => None,
        }
    }

    /// The same place in the one form that a ticket has for it.
    pub(super) fn canonical(self) -> Self {
        match self {
            // Without flow label and scope, and never as an IPv4 address inside an IPv6 one.
            Self::Ip(address) => Self::Ip(SocketAddr::new(address.ip().to_canonical(), address.port())),
            Self::Name { mut host, port } => {
                host.make_ascii_lowercase();
                Self::Name { host, port }
            }
        }
    }

    /// Whether it is in the one form of a ticket.
    pub(super) fn is_valid(&self) -> bool {
        match self {
            Self::Ip(SocketAddr::V4(address)) => address.port() != 0,
            Self::Ip(SocketAddr::V6(address)) => {
                address.port() != 0
                    && address.flowinfo() == 0
                    && address.scope_id() == 0
                    && address.ip().to_ipv4_mapped().is_none()
            }
            Self::Name { host, port } => *port != 0 && is_host(host),
        }
    }
}

fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    // Resolvers take a name that ends in a number, also a hexadecimal one, for an IPv4 address.
    let number = |label: &str| {
        let hexadecimal = label.strip_prefix("0x").is_some_and(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        hexadecimal || label.bytes().all(|byte| byte.is_ascii_digit())
    };
    host.len() <= MAX_NAME && host.split('.').all(label) && !host.rsplit('.').next().is_some_and(number)
}

impl From<SocketAddr> for TicketAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for TicketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl FromStr for TicketAddress {
    type Err = TicketError;

    /// Reads `203.0.113.5:7777`, `[2001:db8::5]:7777` or `play.example.org:7777`.
    fn from_str(text: &str) -> Result<Self, TicketError> {
        let address = match (text.parse::<SocketAddr>(), text.rsplit_once(':')) {
            (Ok(address), _) => Self::Ip(address),
            (Err(_), Some((host, port))) => {
                let port = port.parse().map_err(|_| TicketError::Malformed("address"))?;
                Self::Name { host: host.to_owned(), port }
            }
            (Err(_), None) => return Err(TicketError::Malformed("address")),
        };
        let address = address.canonical();
        if address.is_valid() { Ok(address) } else { Err(TicketError::Malformed("address")) }
    }
}

/// Why an address that somebody else named is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// It names no host, or its port is 0.
    Unspecified,
    /// It names this machine, which was not dialled on purpose.
    Loopback,
    /// It names many hosts at once: multicast or broadcast.
    Many,
    /// It is in a private range, and not on a local network.
    Private,
    /// It is in a range that nobody has.
    Reserved,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "the address names no host or no port",
            Self::Loopback => "the address is this machine",
            Self::Many => "the address names many hosts",
            Self::Private => "the address is private and not on a local network",
            Self::Reserved => "the address is in a reserved range",
        })
    }
}

impl std::error::Error for AddressError {}

/// Which addresses named by others may be dialled: who writes a ticket must not be able to send its reader's datagrams
/// to the reader's own machine, to a whole network, or into networks that only the reader can reach.
pub struct AddressRules<'a> {
    /// Whether this machine may be dialled, because the user dialled it himself. Default: no.
    pub loopback: bool,
    /// Whether an address in a private range (RFC 1918, RFC 6598, link-local, unique local) is on a network that this
    /// machine is on. It must also say no to the broadcast addresses of these networks. Default: none is.
    pub is_local: &'a dyn Fn(IpAddr) -> bool,
}

impl Default for AddressRules<'_> {
    fn default() -> Self {
        Self { loopback: false, is_local: &|_| false }
    }
}

impl fmt::Debug for AddressRules<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddressRules").field("loopback", &self.loopback).finish_non_exhaustive()
    }
}

/// What an address is good for, before anybody says what is local.
enum Range {
    Global,
    Refused(AddressError),
}

impl AddressRules<'_> {
    /// Most addresses that one attempt dials.
    pub const MAX_ADDRESSES: usize = 8;

    /// Whether `address` may be dialled. An IPv6 address that carries an IPv4 address inside (mapped, NAT64, 6to4) is
    /// judged by that one too.
    ///
    /// # Errors
    /// [`AddressError`] says which rule forbids it.
    pub fn check(&self, address: SocketAddr) -> Result<(), AddressError> {
        if address.port() == 0 {
            return Err(AddressError::Unspecified);
        }
        let ip = address.ip().to_canonical();
        let range = match ip {
            IpAddr::V4(ip) => range_v4(ip),
            IpAddr::V6(ip) => range_v6(ip),
        };
        match range {
            Range::Global => Ok(()),
            Range::Refused(AddressError::Loopback) if self.loopback => Ok(()),
            Range::Refused(AddressError::Private) if (self.is_local)(ip) => Ok(()),
            Range::Refused(error) => Err(error),
        }
    }

    /// The first eight different addresses that may be dialled, in their order.
    #[must_use]
    pub fn select(&self, named: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
        let mut selected: Vec<SocketAddr> = Vec::with_capacity(Self::MAX_ADDRESSES);
        for address in named {
            if selected.len() == Self::MAX_ADDRESSES {
                break;
            }
            if self.check(address).is_ok() && !selected.contains(&address) {
                selected.push(address);
            }
        }
        selected
    }
}

fn range_v4(ip: Ipv4Addr) -> Range {
    let [first, second, ..] = ip.octets();
    Range::Refused(match first {
        0 => AddressError::Unspecified,
        127 => AddressError::Loopback,
        224..=239 => AddressError::Many,
        _ if ip.is_broadcast() => AddressError::Many,
        240.. => AddressError::Reserved,
        // Carriers share 100.64.0.0/10 among their customers (RFC 6598).
        100 if second & 0xc0 == 64 => AddressError::Private,
        _ if ip.is_private() || ip.is_link_local() => AddressError::Private,
        _ => return Range::Global,
    })
}

fn range_v6(ip: Ipv6Addr) -> Range {
    // Gateways hand these on to the IPv4 address inside: 64:ff9b::/96 (RFC 6052) and 2002::/16 (RFC 3056).
    let inside = match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    };
    if let Some(inside) = inside {
        // What would be fine for the IPv4 address with a local network is not behind a gateway.
        return match range_v4(inside) {
            Range::Global => Range::Global,
            Range::Refused(_) => Range::Refused(AddressError::Reserved),
        };
    }
    Range::Refused(match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => AddressError::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressError::Loopback,
        // Among them ::/96, the dead "IPv4-compatible" form.
        [0, 0, 0, 0, ..] => AddressError::Reserved,
        [0xff00..=0xffff, ..] => AddressError::Many,
        // Unique local, link-local, and the old site-local addresses.
        [0xfc00..=0xfdff | 0xfe80..=0xfeff, ..] => AddressError::Private,
        _ => return Range::Global,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &AddressRules<'_>, ip: &str) -> Result<(), AddressError> {
        rules.check(SocketAddr::new(ip.parse().unwrap(), 7_777))
    }

    const RANGES: &[(AddressError, &[&str])] = &[
        (AddressError::Unspecified, &["0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0"]),
        (AddressError::Loopback, &["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1"]),
        (
            AddressError::Many,
            &["224.0.0.1", "239.255.255.255", "255.255.255.255", "ff00::1", "ff02::1", "::ffff:224.0.0.1"],
        ),
        (
            AddressError::Private,
            &[
                "10.0.0.1",
                "172.16.0.1",
                "172.31.255.255",
                "192.168.1.1",
                "169.254.1.1",
                "100.64.0.1",
                "100.127.255.255",
                "fc00::1",
                "fdff::1",
                "fe80::1",
                "fec0::1",
                "::ffff:10.0.0.1",
            ],
        ),
        (
            AddressError::Reserved,
            &[
                "240.0.0.1",
                "255.255.255.254",
                "::2",
                "::7f00:1",
                "64:ff9b::7f00:1",
                "64:ff9b::a00:1",
                "64:ff9b::e000:1",
                "2002:7f00:1::",
                "2002:c0a8:101::1",
            ],
        ),
    ];

    const GLOBAL: &[&str] = &[
        "1.1.1.1",
        "126.255.255.255",
        "128.0.0.1",
        "172.15.255.255",
        "172.32.0.1",
        "100.63.255.255",
        "100.128.0.1",
        "223.255.255.255",
        "2001:db8::1",
        "2606:4700::1",
        "64:ff9b::101:101",
        "2002:101:101::1",
        "::ffff:1.1.1.1",
    ];

    #[test]
    fn an_address_named_by_others_never_leads_to_oneself_to_many_or_into_a_strange_network() {
        for (error, ips) in RANGES {
            for ip in *ips {
                assert_eq!(check(&AddressRules::default(), ip), Err(*error), "{ip}");
            }
        }
        for ip in GLOBAL {
            assert_eq!(check(&AddressRules::default(), ip), Ok(()), "{ip}");
        }
        let no_port = AddressRules::default().check("1.1.1.1:0".parse().unwrap());
        assert_eq!(no_port, Err(AddressError::Unspecified));
    }

    #[test]
    fn the_caller_opens_loopback_and_local_networks_and_nothing_else() {
        let rules = AddressRules { loopback: true, is_local: &|_| true };
        for (error, ips) in RANGES {
            let open = matches!(error, AddressError::Loopback | AddressError::Private);
            for ip in *ips {
                assert_eq!(check(&rules, ip), if open { Ok(()) } else { Err(*error) }, "{ip}");
            }
        }
        let local = |ip: IpAddr| matches!(ip, IpAddr::V4(ip) if ip.octets().starts_with(&[192, 168, 1]));
        let rules = AddressRules { is_local: &local, ..AddressRules::default() };
        assert_eq!(check(&rules, "192.168.1.9"), Ok(()));
        assert_eq!(check(&rules, "::ffff:192.168.1.9"), Ok(()), "the same address");
        assert_eq!(check(&rules, "192.168.2.9"), Err(AddressError::Private));
        assert_eq!(check(&rules, "127.0.0.1"), Err(AddressError::Loopback));
    }

    #[test]
    fn at_most_eight_different_addresses_are_dialled_in_their_order() {
        let named = |ip: u8| SocketAddr::from(([127 - (ip % 2), 0, 0, ip], 7));
        let selected = AddressRules::default().select((0..100).flat_map(|ip| [named(ip), named(ip)]));
        assert_eq!(selected, [1, 3, 5, 7, 9, 11, 13, 15].map(named));
        assert!(AddressRules::default().select([named(0)]).is_empty());
    }

    #[test]
    fn an_address_has_one_form() {
        for (text, canonical) in [
            ("203.0.113.5:7777", "203.0.113.5:7777"),
            ("[2001:db8::5]:7777", "[2001:db8::5]:7777"),
            ("[fe80::1%3]:7777", "[fe80::1]:7777"),
            ("[::ffff:1.2.3.4]:7", "1.2.3.4:7"),
            ("Play.Example.ORG:65535", "play.example.org:65535"),
            ("xn--bcher-kva.example:1", "xn--bcher-kva.example:1"),
            ("4.example:1", "4.example:1"),
        ] {
            assert_eq!(text.parse::<TicketAddress>().unwrap().to_string(), canonical);
        }
        let long = format!("{}.com:1", ["a"; 126].join("."));
        let longest = format!("{}:1", ["a"; 127].join("."));
        assert!(longest.parse::<TicketAddress>().is_ok(), "253 characters");
        for text in [
            "",
            "host",
            "host:",
            "host:0",
            "1.2.3.4:0",
            "host:65536",
            ":1",
            "a..b:1",
            "a.:1",
            "-a.b:1",
            "a-.b:1",
            "a_b:1",
            "bücher.example:1",
            "a b:1",
            "127.1:1",
            "2130706433:1",
            "0x7f.1:1",
            "a.0x7f:1",
            "a.0x:1",
            "1.2.3.4.5:1",
            &format!("{}:1", "a".repeat(64)),
            &long,
        ] {
            assert_eq!(text.parse::<TicketAddress>(), Err(TicketError::Malformed("address")), "{text}");
        }
    }
}
