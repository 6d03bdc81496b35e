//! STUB with the agreed signatures, good enough to test endpoints against. To be replaced at merge.

use std::{collections::VecDeque, time::{Duration, Instant}};

use crate::{
    config::Config,
    delivery::{MessageId, recv::{Handle, Place, Ready}},
    error::{SendError, Violation},
    stats::Stats,
    wire::Guarantee,
};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Negotiated {
    pub(crate) idle_timeout: Duration,
    pub(crate) max_datagram: u16,
    pub(crate) max_fragments: u16,
    pub(crate) max_message: u32,
    pub(crate) overhead: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    pub(crate) code: u16,
    pub(crate) reference: Option<[u8; 16]>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Received {
    pub(crate) confirm: bool,
    pub(crate) close: Option<Closing>,
}

#[derive(Debug)]
struct Out { id: u64, guarantee: Guarantee, bytes: Vec<u8>, sent: Option<Instant> }

#[derive(Debug)]
pub(crate) struct Connection {
    config: Config,
    started: bool,
    room: usize,
    next_id: u64,
    out: VecDeque<Out>,
    written: Vec<u8>,
    set: bool,
    flush: bool,
    acks: Vec<u64>,
    ack_at: Option<Instant>,
    ping: bool,
    seen: Vec<u64>,
    ready: VecDeque<Ready>,
    last_received: Option<Instant>,
    unanswered: Option<Instant>,
    probe: Option<Instant>,
}

const RTO: Duration = Duration::from_millis(200);

impl Connection {
    pub(crate) fn new(config: &Config) -> Self {
        Self { config: config.clone(), started: false, room: 1000, next_id: 1, out: VecDeque::new(), written: Vec::new(), set: false,
            flush: false, acks: Vec::new(), ack_at: None, ping: false, seen: Vec::new(), ready: VecDeque::new(), last_received: None, unanswered: None, probe: None }
    }
    pub(crate) fn start(&mut self, now: Instant, n: &Negotiated, _first: u64) {
        self.started = true; self.room = usize::from(n.max_datagram) - n.overhead; self.flush = true;
        self.last_received = Some(now); self.acks.clear(); self.ack_at = None; self.seen.clear(); self.unanswered = None;
    }
    pub(crate) fn end_session(&mut self) -> Vec<MessageId> {
        self.started = false; self.set = false;
        self.out.drain(..).filter(|m| m.guarantee == Guarantee::Delivery).map(|m| MessageId(m.id)).collect()
    }
    pub(crate) fn is_started(&self) -> bool { self.started }
    pub(crate) fn receive(&mut self, now: Instant, _number: u64, payload: &[u8], at: usize) -> Result<Received, Violation> {
        let mut received = Received::default();
        let mut i = 0;
        while let Some(&kind) = payload.get(i) {
            i += 1;
            match kind {
                0 => break,
                1 => { self.ack_at = Some(now); self.acks.push(0); }
                2 => { let id = u64::from_le_bytes(payload.get(i..i + 8).ok_or(Violation::Malformed)?.try_into().unwrap()); i += 8;
                    self.out.retain(|m| m.id != id); self.unanswered = None; }
                3 => { let c = payload.get(i..i + 3).ok_or(Violation::Malformed)?; i += 3 + usize::from(c[2]);
                    received.close = Some(Closing { code: u16::from_le_bytes([c[0], c[1]]), reference: None }); }
                4 => { i += 2; received.confirm = true; }
                0x80 => { let h = payload.get(i..i + 11).ok_or(Violation::Malformed)?; let id = u64::from_le_bytes(h[..8].try_into().unwrap());
                    let len = usize::from(u16::from_le_bytes([h[9], h[10]])); i += 11;
                    self.acks.push(id); self.ack_at = Some(now);
                    if !self.seen.contains(&id) { self.seen.push(id);
                        self.ready.push_back(Ready { guarantee: [Guarantee::None, Guarantee::Order, Guarantee::Delivery][usize::from(h[8])], lane: 0, set: None,
                            place: Place::Datagram { start: at + i, len } }); }
                    i += len; }
                _ => return Err(Violation::Malformed),
            }
        }
        self.last_received = Some(now); self.unanswered = None; self.probe = None;
        Ok(received)
    }
    pub(crate) fn transmit(&mut self, now: Instant, _number: u64, room: &mut [u8]) -> usize {
        if !self.started { return 0; }
        let mut v = Vec::new();
        if self.flush || self.ack_at.is_some_and(|at| at <= now) { for id in self.acks.drain(..) { v.push(2); v.extend(id.to_le_bytes()); } self.ack_at = None; }
        if std::mem::take(&mut self.ping) { v.push(1); self.unanswered.get_or_insert(now); }
        let full = self.has_full_datagram();
        for m in &mut self.out {
            if v.len() + 12 + m.bytes.len() > room.len() { break; }
            if m.sent.is_none_or(|s| now >= s + RTO) && (self.flush || full || m.sent.is_some()) {
                m.sent = Some(now); self.unanswered.get_or_insert(now);
                v.push(0x80); v.extend(m.id.to_le_bytes()); v.push(m.guarantee as u8); v.extend(u16::try_from(m.bytes.len()).unwrap().to_le_bytes()); v.extend(&m.bytes);
            }
        }
        self.out.retain(|m| m.guarantee == Guarantee::Delivery || m.sent.is_none());
        if v.is_empty() { self.flush = false; }
        room[..v.len()].copy_from_slice(&v);
        v.len()
    }
    pub(crate) fn skip(&mut self, _now: Instant, _number: u64) {}
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.started && self.probe.or(self.unanswered).is_some_and(|at| now >= at + RTO) && self.unanswered.is_some() { self.ping = true; self.probe = Some(now); }
        if self.unanswered.is_none() { self.probe = None; }
    }
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if !self.started { return None; }
        let resend = self.out.iter().filter_map(|m| m.sent).min().map(|s| s + RTO);
        let ack = if self.acks.is_empty() { None } else { self.ack_at };
        let probe = self.unanswered.map(|at| self.probe.unwrap_or(at) + RTO);
        [resend, ack, probe].into_iter().flatten().min()
    }
    pub(crate) fn ping(&mut self, _now: Instant) { self.ping = true; }
    pub(crate) fn pto(&self) -> Duration { RTO }
    pub(crate) fn last_received(&self) -> Option<Instant> { self.last_received }
    pub(crate) fn unanswered_since(&self) -> Option<Instant> { self.unanswered }
    pub(crate) fn largest_acked(&self) -> Option<u64> { None }
    pub(crate) fn send(&mut self, _lane: u8, guarantee: Guarantee, bytes: &[u8]) -> Result<MessageId, SendError> {
        if !self.written.is_empty() { return Err(SendError::Unsent { len: self.written.len() }); }
        self.push(guarantee, bytes.to_vec())
    }
    fn push(&mut self, guarantee: Guarantee, bytes: Vec<u8>) -> Result<MessageId, SendError> {
        if self.out.len() >= self.config.send_queue_messages { return Err(SendError::Full { queued_bytes: 0, queued_messages: self.out.len() }); }
        let id = self.next_id; self.next_id += 1;
        self.out.push_back(Out { id, guarantee, bytes, sent: None });
        Ok(MessageId(id))
    }
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        let (len, max) = (self.written.len() + bytes.len(), self.config.max_message_bytes as usize);
        if len > max { return Err(SendError::TooLarge { len, max }); }
        self.written.extend(bytes); Ok(())
    }
    pub(crate) fn written(&self) -> usize { self.written.len() }
    pub(crate) fn send_written(&mut self, _lane: u8, guarantee: Guarantee) -> Result<MessageId, SendError> {
        let bytes = std::mem::take(&mut self.written);
        self.push(guarantee, bytes)
    }
    pub(crate) fn clear_written(&mut self) { self.written.clear(); }
    pub(crate) fn open_set(&mut self, _lane: u8) -> Result<(), SendError> {
        if self.set { return Err(SendError::SetOpen); }
        if !self.written.is_empty() { return Err(SendError::Unsent { len: self.written.len() }); }
        self.set = true; Ok(())
    }
    pub(crate) fn close_set(&mut self, _lane: u8) -> Result<(), SendError> {
        if std::mem::take(&mut self.set) { Ok(()) } else { Err(SendError::NoSetOpen) }
    }
    pub(crate) fn has_full_datagram(&self) -> bool {
        self.started && self.out.iter().filter(|m| m.sent.is_none()).map(|m| m.bytes.len() + 12).sum::<usize>() >= self.room
    }
    pub(crate) fn wants_flush(&self) -> bool { self.started && (!self.acks.is_empty() || self.out.iter().any(|m| m.sent.is_none())) }
    pub(crate) fn flush(&mut self) { self.flush = true; }
    pub(crate) fn pop(&mut self) -> Option<Ready> { self.ready.pop_front() }
    pub(crate) fn stored(&self, _handle: Handle) -> &[u8] { &[] }
    pub(crate) fn release(&mut self, _handle: Handle) {}
    pub(crate) fn has_in_place(&self) -> bool { !self.ready.is_empty() }
    pub(crate) fn queued_bytes(&self) -> usize { self.out.iter().map(|m| m.bytes.len() + 64).sum() }
    pub(crate) fn queued_messages(&self) -> usize { self.out.len() }
    pub(crate) fn fill_stats(&self, stats: &mut Stats) { stats.queued_messages = self.out.len() as u64; }
}
