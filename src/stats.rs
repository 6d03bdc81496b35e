//! What an endpoint counts. Nothing secret inside.

/// Counters and measurements of an endpoint. All counters saturate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {}
