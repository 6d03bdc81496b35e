//! What strangers may cost a server, with unit, range and default. PROTOCOL.md, "Flood defence".

use std::net::IpAddr;

use crate::error::ConfigError;

/// Most addresses that `proxies` may hold.
const MAX_PROXIES: usize = 1_024;

/// What strangers may cost a server: every limit that stands between a flood and the joins of players.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flood {
    /// Whether every first message has to come with a cookie, which costs each join a round trip. Without it a cookie
    /// is asked only under load. Default `false`.
    pub require_cookie: bool,
    /// Datagrams of strangers that are tried with the envelope key in a second; what comes beyond is dropped unread.
    /// 1,000 to 10,000,000. Each costs a few microseconds, and a figure too small lets garbage keep players out. Default
    /// 100,000.
    pub envelopes_per_second: u32,
    /// Diffie-Hellman operations per second that strangers may cause; a join costs 2 to 6, each some 0.1 ms of a core.
    /// 40 to 1,000,000. Default 1,000.
    pub handshake_dh_per_second: u32,
    /// Half-open handshakes held at once, with less than 1 KiB each. 8 to 4,096. Default 512.
    pub half_open: usize,
    /// Sessions held at once. 1 to 1,000,000. Default 16,384.
    pub max_sessions: usize,
    /// Sessions of one prefix (an IPv4 /24 or an IPv6 /48) held at once; `None` derives it: an eighth of `max_sessions`, at
    /// least 64. 1 to `max_sessions`. Default `None`.
    pub sessions_per_prefix: Option<usize>,
    /// Addresses behind which many players stand, such as the load balancer's. Their players are told apart by their
    /// ports, where elsewhere a prefix shares a limit. Up to 1,024 addresses. Default empty.
    pub proxies: Vec<IpAddr>,
}

impl Default for Flood {
    fn default() -> Self {
        Self {
            require_cookie: false,
            envelopes_per_second: 100_000,
            handshake_dh_per_second: 1_000,
            half_open: 512,
            max_sessions: 16_384,
            sessions_per_prefix: None,
            proxies: Vec::new(),
        }
    }
}

impl Flood {
    /// Checks every field.
    ///
    /// # Errors
    /// [`ConfigError`] names the first field that is out of range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let range = |field: &'static str, given: u64, min: u64, max: u64| {
            if (min..=max).contains(&given) { Ok(()) } else { Err(ConfigError { field, given, min, max }) }
        };
        range("envelopes_per_second", self.envelopes_per_second.into(), 1_000, 10_000_000)?;
        range("handshake_dh_per_second", self.handshake_dh_per_second.into(), 40, 1_000_000)?;
        range("half_open", self.half_open as u64, 8, 4_096)?;
        range("max_sessions", self.max_sessions as u64, 1, 1_000_000)?;
        if let Some(sessions) = self.sessions_per_prefix {
            range("sessions_per_prefix", sessions as u64, 1, self.max_sessions as u64)?;
        }
        range("proxies", self.proxies.len() as u64, 0, MAX_PROXIES as u64)
    }

    /// Sessions that one prefix may hold.
    pub(crate) fn prefix_sessions(&self) -> usize {
        self.sessions_per_prefix.unwrap_or((self.max_sessions / 8).max(64)).min(self.max_sessions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_its_range() {
        let good = Flood::default();
        assert_eq!(good.check(), Ok(()));
        let bad = [
            Flood { envelopes_per_second: 999, ..good.clone() },
            Flood { envelopes_per_second: 10_000_001, ..good.clone() },
            Flood { handshake_dh_per_second: 39, ..good.clone() },
            Flood { handshake_dh_per_second: 1_000_001, ..good.clone() },
            Flood { half_open: 7, ..good.clone() },
            Flood { half_open: 4_097, ..good.clone() },
            Flood { max_sessions: 0, ..good.clone() },
            Flood { max_sessions: 1_000_001, ..good.clone() },
            Flood { sessions_per_prefix: Some(0), ..good.clone() },
            Flood { sessions_per_prefix: Some(16_385), ..good.clone() },
            Flood { proxies: vec![IpAddr::from([10, 0, 0, 1]); 1_025], ..good.clone() },
        ];
        for flood in bad {
            assert!(flood.check().is_err(), "{flood:?}");
        }
    }

    #[test]
    fn a_prefix_has_an_eighth_of_the_sessions_and_a_small_server_serves_its_own_network() {
        let sessions = |max_sessions, sessions_per_prefix| {
            Flood { max_sessions, sessions_per_prefix, ..Flood::default() }.prefix_sessions()
        };
        assert_eq!(sessions(16_384, None), 2_048);
        assert_eq!(sessions(100, None), 64);
        assert_eq!(sessions(16, None), 16);
        assert_eq!(sessions(16_384, Some(3)), 3);
    }
}
