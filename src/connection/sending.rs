//! The connection's doors for messages out: each hands on to the sending half. Knows no clock; whoever sends says when
//! the life of a message ends.

use std::{sync::Arc, time::Instant};

use super::Connection;
use crate::{
    delivery::{
        LaneId, MessageId,
        notices::Outcome,
        options::{LaneOptions, LaneStats, SendOptions},
    },
    error::{ConfigError, SendError},
};

impl Connection {
    pub(crate) fn send_with(
        &mut self,
        options: &SendOptions,
        expires_at: Option<Instant>,
        bytes: &[u8],
    ) -> Result<MessageId, SendError> {
        self.send.send(options, expires_at, bytes)
    }

    pub(crate) fn send_shared(
        &mut self,
        options: &SendOptions,
        expires_at: Option<Instant>,
        bytes: &Arc<[u8]>,
    ) -> Result<MessageId, SendError> {
        self.send.send_shared(options, expires_at, bytes)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.send.write(bytes)
    }

    pub(crate) fn written(&self) -> usize {
        self.send.written()
    }

    pub(crate) fn send_written(
        &mut self,
        options: &SendOptions,
        expires_at: Option<Instant>,
    ) -> Result<MessageId, SendError> {
        self.send.send_written(options, expires_at)
    }

    pub(crate) fn clear_written(&mut self) {
        self.send.clear_written();
    }

    pub(crate) fn open_set(&mut self, lane: u8) -> Result<(), SendError> {
        self.send.open_set(lane)
    }

    pub(crate) fn close_set(&mut self, lane: u8) -> Result<(), SendError> {
        self.send.close_set(lane)
    }

    pub(crate) fn set_lane(&mut self, lane: LaneId, options: LaneOptions) -> Result<(), ConfigError> {
        self.send.set_lane(lane.0, options)
    }

    pub(crate) fn lane_stats(&self, lane: LaneId) -> LaneStats {
        self.send.lane_stats(lane.0, self.long_run_rate())
    }

    pub(crate) fn can_send(&self, lane: LaneId, len: usize) -> bool {
        self.send.can_send(lane.0, len)
    }

    /// The next thing that became known of a message whose sender asked.
    pub(crate) fn take_notice(&mut self) -> Option<(MessageId, Outcome)> {
        self.send.take_notice()
    }
}
