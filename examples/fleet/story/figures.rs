//! What happened in the story, in numbers, and what of it was promised.

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) players: usize,
    /// Players that each server let in before one of them was drained.
    pub(crate) joined: [usize; 2],
    pub(crate) refused: usize,
    pub(crate) sent: u64,
    pub(crate) heard: u64,
    pub(crate) echoed: u64,
    /// Messages that came twice or out of their order, at either end.
    pub(crate) disordered: u64,
    /// Players whom their server sees elsewhere since the balancer came back.
    pub(crate) moved: usize,
    pub(crate) path_changes: usize,
    /// Sessions that are another one since the balancer came back.
    pub(crate) renewed: usize,
    /// Ends of sessions that the player did not wish.
    pub(crate) disconnects: usize,
    /// Players who followed a redirect.
    pub(crate) redirected: usize,
    /// Of them those whose good-bye the first server did not hear; it ended their sessions itself.
    pub(crate) unheard: usize,
    /// Players who are at the second server in the end.
    pub(crate) at_second: usize,
    pub(crate) join_seconds: f64,
    /// From the second balancer's readiness until everything said in and after the darkness was answered; everybody
    /// speaks for a while in it.
    pub(crate) recovery_seconds: f64,
    pub(crate) drain_seconds: f64,
}

impl Figures {
    /// What is not as promised.
    pub(crate) fn broken(&self) -> Vec<String> {
        let second = self.players / 2;
        let first = self.players - second;
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let promises = [
            ("players let in by the first server", self.joined[0], first),
            ("players let in by the second server", self.joined[1], second),
            ("players refused", self.refused, 0),
            ("messages that the servers heard", count(self.heard), count(self.sent)),
            ("messages that were answered", count(self.echoed), count(self.sent)),
            ("messages out of order", count(self.disordered), 0),
            ("path changes", self.path_changes, self.moved),
            ("sessions renewed", self.renewed, 0),
            ("disconnects", self.disconnects, 0),
            ("players redirected", self.redirected, first),
            ("players at the second server in the end", self.at_second, self.players),
        ];
        let broken = promises.iter().filter(|(_, is, promised)| is != promised);
        broken.map(|(what, is, promised)| format!("{what}: {is}, not {promised}")).collect()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "players": self.players,
            "joined": self.joined,
            "refused": self.refused,
            "messages_sent": self.sent,
            "messages_heard": self.heard,
            "messages_answered": self.echoed,
            "disordered": self.disordered,
            "moved": self.moved,
            "path_changes": self.path_changes,
            "renewed": self.renewed,
            "disconnects": self.disconnects,
            "redirected": self.redirected,
            "unheard": self.unheard,
            "at_second": self.at_second,
            "join_seconds": self.join_seconds,
            "recovery_seconds": self.recovery_seconds,
            "drain_seconds": self.drain_seconds,
            "ok": self.broken().is_empty(),
        })
    }
}
