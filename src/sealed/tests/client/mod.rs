//! An endpoint as the client of a server of many peers: routes, ids, tickets, moving, refusals and redirects.

mod joining;
mod moving;

use std::collections::BTreeMap;

use super::{
    server::{Policy, Rig, Server},
    *,
};
use crate::{
    config::Padding,
    error::{CloseReason, ConfigError},
    sealed::seal::{Prefix, seal_frame},
    wire::frame::Frame,
};

const SERVED: [&str; 5] = ["client", "client_auth", "client_auth_psk", "tofu", "invite_tofu"];

fn is_begun(rig: &Rig) -> bool {
    rig.events.iter().any(|event| matches!(event, Event::Connected { .. }))
}
