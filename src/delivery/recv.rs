//! STUB, to be replaced at merge.
use crate::wire::Guarantee;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle { pub(crate) slot: u32 }

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place { Datagram { start: usize, len: usize }, Stored(Handle) }

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready { pub(crate) guarantee: Guarantee, pub(crate) lane: u8, pub(crate) set: Option<u64>, pub(crate) place: Place }
