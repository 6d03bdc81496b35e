//! Every limit of an endpoint, with unit, range and default. Holds no secret; checked once, at construction.

mod flood;
mod server;

use std::time::Duration;

pub(crate) use self::server::MAX_WORKERS;
pub use self::{
    flood::Flood,
    server::{ServerConfig, Worker},
};

use crate::error::ConfigError;

/// What happens to half-written bytes when a set begins (`as_set`, `open_set`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NewSetUnsent {
    /// The call that would begin the set fails with [`SendError::Unsent`](crate::SendError::Unsent). The default.
    #[default]
    Error,
    /// The half-written bytes are thrown away.
    Clear,
    /// The half-written bytes stay and become part of the first message of the set.
    IntoSet,
}

/// How far the plaintext of a sealed datagram is padded with zero bytes, to hide sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Padding {
    /// No padding: sizes are visible. The default.
    #[default]
    None,
    /// The datagram's length is rounded up to a multiple of this many bytes (1 to 1,024), up to what the path is known
    /// to take.
    Bucket(u16),
    /// Every datagram is filled up to this many bytes (at most `max_datagram_bytes`).
    ToSize(u16),
}

/// How fast datagrams with messages may leave. Acknowledgements, control and probes never wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rate {
    /// As fast as the path takes without a long queue in it; shares the path with others. A game that sends less than that
    /// never waits. The default.
    #[default]
    Adaptive,
    /// At most so many bytes per second, counted without UDP and IP headers. 1,000 to 10^10.
    Fixed(u64),
    /// As fast as `flight_bytes` lets it.
    Off,
}

/// All limits and timers of an endpoint. Start from [`Config::default`] and change what you need.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Names the application and its protocol version; peers with different ids cannot talk. 0 to 32 bytes,
    /// public. Default: empty.
    pub app_id: Vec<u8>,
    /// Largest datagram that is sent or accepted, in bytes with everything inside the UDP header. 512 to 65,507;
    /// the smaller of the two sides counts. A session begins with 1,200 (or this, if it is less) and finds out what the
    /// path takes, unless [the socket may fragment](crate::UdpLike::may_fragment). Default 1,452: an Ethernet frame with IPv6
    /// and UDP.
    pub max_datagram_bytes: u16,
    /// Size to which the first handshake datagram is padded, in bytes; shorter ones are dropped unread. 512 to
    /// `max_datagram_bytes`, and the same on both sides. Default 1,200.
    pub handshake_bytes: u16,
    /// Largest `Delivery` message, in bytes. 1 to 16 MiB; the smaller of the two sides counts. Default 1 MiB.
    pub max_message_bytes: u32,
    /// Largest `None` or `Order` message that is sent or taken, in bytes; the peer is not told, and a longer one from it
    /// is dropped. 1 to `max_message_bytes`. Default 64 KiB.
    pub max_unreliable_bytes: u32,
    /// Most fragments that one message may be cut into. 1 to 65,535; the smaller of the two sides counts.
    /// Default 65,535.
    pub max_fragments: u16,
    /// Bytes of messages that may wait in the send queue of a lane, unsent or unacknowledged, each message counted with
    /// 64 bytes more than its length; a lane may have [another bound](crate::LaneOptions::queue_bytes). At least `max_message_bytes` + 64. Default 4 MiB.
    pub send_queue_bytes: usize,
    /// Messages that may wait in the send queue of a lane, and notices that nobody fetched. 1 to 1,000,000. Default 65,536.
    pub send_queue_messages: usize,
    /// Memory for received `Delivery` messages that wait for earlier ones or for the application, in bytes, each
    /// message counted with 64 bytes more than its length; the peer is told and obeys. A lane may hold up half of it, or
    /// one message of `max_message_bytes` if that is more: below twice that, lanes are not independent when one of them
    /// loses a message. At least `max_message_bytes` + 64. Default 4 MiB.
    pub receive_window_bytes: usize,
    /// Memory for incomplete `None` and `Order` messages and for `Order` messages that wait, in bytes, counted as
    /// above. At least `max_unreliable_bytes` + 64. Default 256 KiB.
    pub unreliable_memory_bytes: usize,
    /// Bytes that may be on their way unacknowledged, whatever `rate` says. 4,096 to 1 GiB. Default 256 KiB.
    pub flight_bytes: usize,
    /// How fast datagrams may leave. Default `Rate::Adaptive`.
    pub rate: Rate,
    /// Silence after which a peer counts as gone. 1 s to 600 s; the smaller of the two sides counts. Default 30 s.
    pub idle_timeout: Duration,
    /// Interval of keep-alive datagrams on an otherwise idle session; `None` derives it: a third of the idle
    /// timeout, at most 15 s. At least 100 ms and below the idle timeout. Default `None`.
    pub keep_alive: Option<Duration>,
    /// Round-trip time assumed before the first measurement. 1 ms to 10 s. Default 100 ms.
    pub initial_rtt: Duration,
    /// Upper bound of the probe timeout, back-off included. 50 ms to 60 s. Default 2 s.
    pub max_pto: Duration,
    /// Longest time that an acknowledgement may wait for company; twelve times as long for what nobody repeats, whole
    /// `None` and `Order` messages. 0 to 25 ms. Default 25 ms.
    pub ack_delay: Duration,
    /// Time after which a dial without an answer starts over with fresh keys. 1 s to 60 s. Default 12 s.
    pub attempt_timeout: Duration,
    /// Time after which `connect` gives up. At least `attempt_timeout`, at most 600 s. Default 30 s.
    pub connect_timeout: Duration,
    /// Packets after which a direction's traffic keys step forward. 16 to 2^28. Default 2^22.
    pub ratchet_packets: u64,
    /// Time after which a direction's traffic keys step forward. 1 s to 3,600 s. Default 120 s.
    pub ratchet_interval: Duration,
    /// Datagrams that may fail to open before the session closes with `AeadLimit`. 1 to 2^36. Default 2^36.
    pub aead_failure_limit: u64,
    /// Half-open handshakes held at once. 1 to 16 at an endpoint. Default 16.
    pub half_open: usize,
    /// Diffie-Hellman operations per second that strangers may cause. 4 to 100,000. Default 200 at an endpoint.
    pub handshake_dh_per_second: u32,
    /// Padding of sealed datagrams. Default none.
    pub padding: Padding,
    /// What happens to half-written bytes when a set begins. Default: an error.
    pub new_set_unsent: NewSetUnsent,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            app_id: Vec::new(),
            max_datagram_bytes: 1_452,
            handshake_bytes: 1_200,
            max_message_bytes: 1 << 20,
            max_unreliable_bytes: 1 << 16,
            max_fragments: u16::MAX,
            send_queue_bytes: 4 << 20,
            send_queue_messages: 1 << 16,
            receive_window_bytes: 4 << 20,
            unreliable_memory_bytes: 256 << 10,
            flight_bytes: 256 << 10,
            rate: Rate::Adaptive,
            idle_timeout: Duration::from_secs(30),
            keep_alive: None,
            initial_rtt: Duration::from_millis(100),
            max_pto: Duration::from_secs(2),
            ack_delay: Duration::from_millis(25),
            attempt_timeout: Duration::from_secs(12),
            connect_timeout: Duration::from_secs(30),
            ratchet_packets: 1 << 22,
            ratchet_interval: Duration::from_secs(120),
            aead_failure_limit: 1 << 36,
            half_open: 16,
            handshake_dh_per_second: 200,
            padding: Padding::None,
            new_set_unsent: NewSetUnsent::Error,
        }
    }
}

/// What a message costs in a queue beyond its bytes, so that many small ones are bounded too. PROTOCOL.md, "Limits".
pub(crate) const MESSAGE_OVERHEAD: usize = 64;

impl Config {
    /// Checks every field.
    ///
    /// # Errors
    /// [`ConfigError`] names the first field that is out of range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let range = |field: &'static str, given: u64, min: u64, max: u64| {
            if (min..=max).contains(&given) { Ok(()) } else { Err(ConfigError { field, given, min, max }) }
        };
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let message = u64::from(self.max_message_bytes);
        let unreliable = u64::from(self.max_unreliable_bytes);
        let overhead = MESSAGE_OVERHEAD as u64;
        let most = 1 << 40;
        range("app_id", self.app_id.len() as u64, 0, 32)?;
        range("max_datagram_bytes", self.max_datagram_bytes.into(), 512, 65_507)?;
        range("handshake_bytes", self.handshake_bytes.into(), 512, self.max_datagram_bytes.into())?;
        range("max_message_bytes", message, 1, 16 << 20)?;
        range("max_unreliable_bytes", unreliable, 1, message)?;
        range("max_fragments", self.max_fragments.into(), 1, 65_535)?;
        range("send_queue_bytes", self.send_queue_bytes as u64, message + overhead, most)?;
        range("send_queue_messages", self.send_queue_messages as u64, 1, 1_000_000)?;
        range("receive_window_bytes", self.receive_window_bytes as u64, message + overhead, most)?;
        range("unreliable_memory_bytes", self.unreliable_memory_bytes as u64, unreliable + overhead, most)?;
        range("flight_bytes", self.flight_bytes as u64, 4_096, 1 << 30)?;
        if let Rate::Fixed(rate) = self.rate {
            range("rate", rate, 1_000, 10_000_000_000)?;
        }
        range("idle_timeout", millis(self.idle_timeout), 1_000, 600_000)?;
        if let Some(keep_alive) = self.keep_alive {
            range("keep_alive", millis(keep_alive), 100, millis(self.idle_timeout).saturating_sub(1))?;
        }
        range("initial_rtt", millis(self.initial_rtt), 1, 10_000)?;
        range("max_pto", millis(self.max_pto), 50, 60_000)?;
        range("ack_delay", millis(self.ack_delay), 0, 25)?;
        range("attempt_timeout", millis(self.attempt_timeout), 1_000, 60_000)?;
        range("connect_timeout", millis(self.connect_timeout), millis(self.attempt_timeout), 600_000)?;
        range("ratchet_packets", self.ratchet_packets, 16, 1 << 28)?;
        range("ratchet_interval", millis(self.ratchet_interval), 1_000, 3_600_000)?;
        range("aead_failure_limit", self.aead_failure_limit, 1, 1 << 36)?;
        range("half_open", self.half_open as u64, 1, 16)?;
        range("handshake_dh_per_second", self.handshake_dh_per_second.into(), 4, 100_000)?;
        match self.padding {
            Padding::None => Ok(()),
            Padding::Bucket(size) => range("padding", size.into(), 1, 1_024),
            Padding::ToSize(size) => range("padding", size.into(), 1, self.max_datagram_bytes.into()),
        }
    }

    /// The interval of keep-alive datagrams that goes with `idle_timeout` (the negotiated one).
    pub(crate) fn keep_alive_for(&self, idle_timeout: Duration) -> Duration {
        let derived = (idle_timeout / 3).min(Duration::from_secs(15));
        self.keep_alive.map_or(derived, |own| own.min(idle_timeout / 2))
    }
}
