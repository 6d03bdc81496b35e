//! The core of a server: many sealed peers on one port.

mod gate;
mod half_open;

pub use self::gate::{Flood, FloodStats};
