//! The connection's doors for messages out: each wakes it and hands on to the sending half. Knows no clock; whoever
//! sends says when the life of a message ends.

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
    /// Queues a message without options.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn send(
        &mut self,
        lane: u8,
        guarantee: crate::delivery::Guarantee,
        bytes: &[u8],
    ) -> Result<MessageId, SendError> {
        self.send_with(&SendOptions::new(guarantee).lane(LaneId(lane)), None, bytes)
    }

    pub(crate) fn send_with(
        &mut self,
        options: &SendOptions,
        expires_at: Option<Instant>,
        bytes: &[u8],
    ) -> Result<MessageId, SendError> {
        self.wake().send.send(options, expires_at, bytes)
    }

    pub(crate) fn send_shared(
        &mut self,
        options: &SendOptions,
        expires_at: Option<Instant>,
        bytes: &Arc<[u8]>,
    ) -> Result<MessageId, SendError> {
        self.wake().send.send_shared(options, expires_at, bytes)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.wake().send.write(bytes)
    }

    pub(crate) fn written(&self) -> usize {
        self.awake.as_ref().map_or(0, |awake| awake.send.written())
    }

    pub(crate) fn send_written(
        &mut self,
        options: &SendOptions,
        expires_at: Option<Instant>,
    ) -> Result<MessageId, SendError> {
        self.wake().send.send_written(options, expires_at)
    }

    pub(crate) fn clear_written(&mut self) {
        if let Some(awake) = &mut self.awake {
            awake.send.clear_written();
        }
    }

    pub(crate) fn open_set(&mut self, lane: u8) -> Result<(), SendError> {
        self.wake().send.open_set(lane)
    }

    pub(crate) fn close_set(&mut self, lane: u8) -> Result<(), SendError> {
        self.wake().send.close_set(lane)
    }

    pub(crate) fn set_lane(&mut self, lane: LaneId, options: LaneOptions) -> Result<(), ConfigError> {
        self.wake().send.set_lane(lane.0, options)
    }

    pub(crate) fn lane_stats(&self, lane: LaneId) -> LaneStats {
        self.looked_at(|awake| awake.send.lane_stats(lane.0, awake.long_run_rate()))
    }

    pub(crate) fn can_send(&self, lane: LaneId, len: usize) -> bool {
        self.looked_at(|awake| awake.send.can_send(lane.0, len))
    }

    /// The next thing that became known of a message whose sender asked.
    pub(crate) fn take_notice(&mut self) -> Option<(MessageId, Outcome)> {
        self.awake.as_mut()?.send.take_notice()
    }
}
