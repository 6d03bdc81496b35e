//! The rules of PROTOCOL.md, "Simultaneous open", as a small model whose states are searched to the last one.
//!
//! Two ends with fixed keys (KK or NNpsk0: two handshake messages and CONFIRM). The network is as bad as it can be:
//! whatever was sent may arrive at any later moment, any number of times, in any order, or never. Timers may fire as late
//! as they like; only one order of two timers is kept, that of rule 5 (an entry ends before the attempt it answered). What is
//! bounded is how often each end begins an attempt, answers, restarts and renews, and for every order of the ephemeral
//! keys there is one search. From each state found, the network then becomes fair, and both ends must come to one
//! session and rest; once with somebody who sends every recorded datagram again each second.
//!
//! That the search can fail is shown with rules taken away: each time it prints the shortest way to the harm. The crate itself
//! plays the same stories in src/sealed/tests/glare. Not in this model: three messages (XX), mirrors (rule 1), addresses,
//! a full table, and the times themselves.

use std::{
    collections::{HashMap, VecDeque},
    fmt::Write as _,
};

/// Attempts and answers of one end while the network is unfair.
const ATTEMPTS: u8 = 2;
const ANSWERS: u8 = 3;
/// Attempts in all: the rest is for the time when the network is fair.
const ALL_ATTEMPTS: usize = 8;
/// Seconds until both ends must be at rest when the network is fair.
const PATIENCE: u8 = 40;

/// Which rules hold.
#[derive(Clone, Copy, Debug)]
struct Rules {
    /// Rule 3: who sees a larger key than that of its own waiting attempt does not answer.
    decider_is_silent: bool,
    /// Rule 3 again, while the own attempt is unconfirmed.
    unconfirmed_decides: bool,
    /// Rule 2: who begins an attempt erases the answers that it would not have given with it.
    beginning_erases: bool,
    /// Rule 5: an unconfirmed attempt outlives the entry that answers it.
    entry_ends_first: bool,
    /// Rule 2: who answers keeps its own attempt.
    follower_keeps: bool,
    /// "Handshake": going live erases every half-open entry.
    going_live_erases: bool,
}

const AS_WRITTEN: Rules = Rules {
    decider_is_silent: true,
    unconfirmed_decides: true,
    beginning_erases: true,
    entry_ends_first: true,
    follower_keeps: true,
    going_live_erases: true,
};

/// What happens beside two dials.
#[derive(Clone, Copy, Debug)]
struct World {
    rules: Rules,
    /// Each end may lose all it knows, so often.
    restarts: u8,
    /// Each end may begin an attempt beside a live session, so often ("Background handshake").
    renewals: u8,
    /// Each end answers so often while the network is unfair, at most `ANSWERS`.
    answers: u8,
}

/// One handshake: who began it, with which attempt, and which answer it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Session {
    initiator: u8,
    attempt: u8,
    answer: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Dial {
    Idle,
    /// INIT sent; so many INITs with a larger key were read (two are enough to count).
    Sent {
        attempt: u8,
        larger: u8,
    },
    /// RESP read.
    Unconfirmed {
        attempt: u8,
        answer: u8,
    },
    /// Gave its attempt up for the peer's (rule 4).
    GaveWay,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct End {
    dial: Dial,
    live: Option<Session>,
    /// Half-open entries: for each attempt of the peer the answer that is alive.
    entries: [Option<u8>; ALL_ATTEMPTS],
    begun: u8,
    answered: u8,
    restarts: u8,
    renewals: u8,
    // What left this end, and so can always arrive: INIT of each attempt begun, and
    // RESP: which attempt each answer belongs to,
    responses: [u8; ANSWERS as usize],
    // CONFIRM: the answer under which each attempt sent it,
    confirms: [Option<u8>; ATTEMPTS as usize],
    // a packet of a session that the peer began: whether this end was live by that answer.
    packets: [bool; ANSWERS as usize],
}

const FRESH: End = End {
    dial: Dial::Idle,
    live: None,
    entries: [None; ALL_ATTEMPTS],
    begun: 0,
    answered: 0,
    restarts: 0,
    renewals: 0,
    responses: [0; ANSWERS as usize],
    confirms: [None; ATTEMPTS as usize],
    packets: [false; ANSWERS as usize],
};

type State = [End; 2];
/// The place of each attempt's ephemeral key in the order of all.
type Ranks = [[u8; ALL_ATTEMPTS]; 2];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Begin { end: usize },
    Init { to: usize, attempt: u8 },
    Resp { to: usize, answer: u8 },
    Confirm { to: usize, attempt: u8 },
    Packet { to: usize, attempt: u8 },
    EntryEnds { end: usize, attempt: u8 },
    AttemptEnds { end: usize },
    SilentSessionEnds { end: usize },
    Restart { end: usize },
}

impl Step {
    /// Whether it is only a datagram that arrives.
    fn is_arrival(self) -> bool {
        matches!(self, Self::Init { .. } | Self::Resp { .. } | Self::Confirm { .. } | Self::Packet { .. })
    }
}

fn agreed(state: &State) -> bool {
    state[0].live.is_some() && state[0].live == state[1].live
}

fn at_rest(state: &State) -> bool {
    agreed(state) && state.iter().all(|end| end.dial == Dial::Idle)
}

/// The model: one order of keys under one set of rules.
struct Model {
    world: World,
    ranks: Ranks,
}

impl Model {
    fn rank(&self, end: usize, attempt: u8) -> u8 {
        self.ranks[end][usize::from(attempt)]
    }

    fn begin(&self, state: &mut State, end: usize) {
        let attempt = state[end].begun;
        let own = self.rank(end, attempt);
        state[end].begun += 1;
        state[end].dial = Dial::Sent { attempt, larger: 0 };
        if self.world.rules.beginning_erases {
            for other in 0..ALL_ATTEMPTS {
                if self.ranks[1 - end][other] > own {
                    state[end].entries[other] = None;
                }
            }
        }
    }

    /// INIT `attempt` of the peer arrives. Nothing, if no answer is left to be given.
    fn init(&self, state: &mut State, to: usize, attempt: u8, answers: u8) {
        let peer = 1 - to;
        let end = &mut state[to];
        let made_it =
            end.live.is_some_and(|live| usize::from(live.initiator) == peer && live.attempt == attempt);
        if made_it || end.entries[usize::from(attempt)].is_some() {
            return;
        }
        let larger = |own: u8| self.rank(peer, attempt) > self.rank(to, own);
        let rules = self.world.rules;
        match end.dial {
            Dial::Sent { attempt: own, larger: read } if larger(own) && rules.decider_is_silent => {
                // The second one may find that it is time to give way; or not, which is as if it came later.
                end.dial = Dial::Sent { attempt: own, larger: (read + 1).min(2) };
                return;
            }
            Dial::Unconfirmed { attempt: own, .. } if larger(own) && rules.unconfirmed_decides => return,
            _ => {}
        }
        if end.answered == answers {
            return;
        }
        if !rules.follower_keeps && matches!(end.dial, Dial::Sent { .. }) {
            end.dial = Dial::GaveWay;
        }
        let answer = end.answered;
        end.answered += 1;
        end.entries[usize::from(attempt)] = Some(answer);
        if let Some(place) = end.responses.get_mut(usize::from(answer)) {
            *place = attempt;
        }
    }

    fn resp(state: &mut State, to: usize, attempt: u8, answer: u8) {
        if matches!(state[to].dial, Dial::Sent { attempt: own, .. } if own == attempt) {
            state[to].dial = Dial::Unconfirmed { attempt, answer };
            if let Some(place) = state[to].confirms.get_mut(usize::from(attempt)) {
                *place = Some(answer);
            }
        }
    }

    fn live(&self, state: &mut State, end: usize, session: Session) {
        let end = &mut state[end];
        end.live = Some(session);
        end.dial = Dial::Idle;
        if self.world.rules.going_live_erases {
            end.entries = [None; ALL_ATTEMPTS];
        }
    }

    /// CONFIRM of the session that `attempt` of the peer began, with `answer`.
    fn confirm(&self, state: &mut State, to: usize, attempt: u8, answer: u8) {
        if state[to].entries[usize::from(attempt)] == Some(answer) {
            let initiator = u8::from(to == 0);
            self.live(state, to, Session { initiator, attempt, answer });
            if let Some(place) = state[to].packets.get_mut(usize::from(answer)) {
                *place = true;
            }
        }
    }

    /// A packet of the peer in the session that `attempt` of this end began.
    fn packet(&self, state: &mut State, to: usize, attempt: u8, answer: u8) {
        if state[to].dial == (Dial::Unconfirmed { attempt, answer }) {
            let initiator = u8::from(to == 1);
            self.live(state, to, Session { initiator, attempt, answer });
        }
    }

    /// Whether this end's unconfirmed attempt may have waited for its 6 s.
    fn may_give_up(&self, state: &State, end: usize, attempt: u8, answer: u8) -> bool {
        !self.world.rules.entry_ends_first || state[1 - end].entries[usize::from(attempt)] != Some(answer)
    }

    /// All that may happen next, legal or without effect.
    fn steps(state: &State) -> Vec<Step> {
        let mut steps = Vec::new();
        for end in [0, 1] {
            let peer = &state[1 - end];
            steps.extend([Step::Begin { end }, Step::AttemptEnds { end }]);
            steps.extend([Step::SilentSessionEnds { end }, Step::Restart { end }]);
            steps.extend((0..peer.begun).map(|attempt| Step::Init { to: end, attempt }));
            steps.extend((0..peer.answered).map(|answer| Step::Resp { to: end, answer }));
            for attempt in 0..ATTEMPTS {
                steps.push(Step::Confirm { to: end, attempt });
                steps.push(Step::Packet { to: end, attempt });
                steps.push(Step::EntryEnds { end, attempt });
            }
        }
        steps
    }

    /// One step; a step that may not happen leaves the state as it is.
    fn take(&self, before: &State, step: Step) -> State {
        let mut state = *before;
        match step {
            Step::Begin { end } => self.try_begin(&mut state, end),
            Step::Init { to, attempt } => self.init(&mut state, to, attempt, self.world.answers),
            Step::Resp { to, answer } => {
                let attempt = state[1 - to].responses[usize::from(answer)];
                Self::resp(&mut state, to, attempt, answer);
            }
            Step::Confirm { to, attempt } => {
                if let Some(answer) = state[1 - to].confirms[usize::from(attempt)] {
                    self.confirm(&mut state, to, attempt, answer);
                }
            }
            Step::Packet { to, attempt } => {
                let answer = state[to].confirms[usize::from(attempt)];
                if let Some(answer) = answer.filter(|answer| state[1 - to].packets[usize::from(*answer)]) {
                    self.packet(&mut state, to, attempt, answer);
                }
            }
            Step::EntryEnds { end, attempt } => state[end].entries[usize::from(attempt)] = None,
            Step::AttemptEnds { end } => self.attempt_ends(&mut state, end),
            Step::SilentSessionEnds { end } => {
                let live = state[end].live;
                let peer = &state[1 - end];
                let waits = |session: Session| {
                    usize::from(session.initiator) != end
                        && peer.dial
                            == (Dial::Unconfirmed { attempt: session.attempt, answer: session.answer })
                };
                if live.is_some_and(|session| peer.live != live && !waits(session)) {
                    state[end].live = None;
                }
            }
            Step::Restart { end } => {
                if state[end].restarts < self.world.restarts {
                    let old = state[end];
                    state[end] = End {
                        dial: Dial::Idle,
                        live: None,
                        entries: [None; ALL_ATTEMPTS],
                        restarts: old.restarts + 1,
                        ..old
                    };
                }
            }
        }
        state
    }

    fn try_begin(&self, state: &mut State, end: usize) {
        let it = &mut state[end];
        if it.dial != Dial::Idle || it.begun == ATTEMPTS {
            return;
        }
        if it.live.is_some() {
            if it.renewals == self.world.renewals {
                return;
            }
            it.renewals += 1;
        }
        self.begin(state, end);
    }

    /// By its time, by giving way, or because the answer after giving way was not confirmed.
    fn attempt_ends(&self, state: &mut State, end: usize) {
        match state[end].dial {
            Dial::Idle => {}
            Dial::Sent { larger: 2, .. } => state[end].dial = Dial::GaveWay,
            Dial::Sent { .. } => state[end].dial = Dial::Idle,
            Dial::Unconfirmed { attempt, answer } => {
                if self.may_give_up(state, end, attempt, answer) {
                    state[end].dial = Dial::Idle;
                }
            }
            Dial::GaveWay => {
                state[end].dial = Dial::Idle;
                state[end].entries = [None; ALL_ATTEMPTS];
                self.try_begin(state, end);
            }
        }
    }
}

/// What is wrong with a step, if anything.
fn harm(world: &World, before: &State, step: Step, after: &State) -> Option<&'static str> {
    let different = after[0].live.is_some() && after[1].live.is_some() && after[0].live != after[1].live;
    if different && world.restarts == 0 && world.renewals == 0 {
        return Some("both ends are live, in different sessions");
    }
    if at_rest(before) && step.is_arrival() && after.map(|end| end.live) != before.map(|end| end.live) {
        return Some("a datagram displaced a session that both ends had");
    }
    None
}

/// How old the things of one end are, in seconds; only a fair network has a clock.
#[derive(Clone, Copy, Default)]
struct Ages {
    dial: u8,
    larger: u8,
    entries: [u8; ALL_ATTEMPTS],
}

/// The network is fair from now on: each second everything that is sent arrives, in order, then what is due ends.
struct Fair<'a> {
    model: &'a Model,
    state: State,
    ages: [Ages; 2],
    /// What somebody recorded before and sends again each second.
    recorded: Option<State>,
}

impl Fair<'_> {
    fn rests(&mut self) -> bool {
        for _ in 0..PATIENCE {
            for end in [0, 1] {
                self.dial(end);
            }
            self.replay();
            for _ in 0..4 {
                for to in [0, 1] {
                    self.deliver(to);
                }
            }
            if at_rest(&self.state) {
                return true;
            }
            for end in [0, 1] {
                self.second(end);
            }
        }
        false
    }

    /// Both applications want a session; who shares its live one with nobody hears nothing and renews it.
    fn dial(&mut self, end: usize) {
        let room = usize::from(self.state[end].begun) < ALL_ATTEMPTS;
        if self.state[end].dial == Dial::Idle && !agreed(&self.state) && room {
            self.model.begin(&mut self.state, end);
            self.ages[end].dial = 0;
            self.ages[end].larger = 0;
        }
    }

    fn replay(&mut self) {
        let Some(recorded) = self.recorded else { return };
        for step in Model::steps(&recorded).into_iter().filter(|step| step.is_arrival()) {
            match step {
                Step::Init { to, attempt } => self.init(to, attempt),
                Step::Resp { to, answer } => {
                    let attempt = recorded[1 - to].responses[usize::from(answer)];
                    self.resp(to, attempt, answer);
                }
                Step::Confirm { to, attempt } => {
                    if let Some(answer) = recorded[1 - to].confirms[usize::from(attempt)] {
                        self.model.confirm(&mut self.state, to, attempt, answer);
                    }
                }
                Step::Packet { to, attempt } => {
                    let answer = recorded[to].confirms[usize::from(attempt)];
                    if let Some(answer) = answer.filter(|n| recorded[1 - to].packets[usize::from(*n)]) {
                        self.model.packet(&mut self.state, to, attempt, answer);
                    }
                }
                _ => {}
            }
        }
    }

    fn init(&mut self, to: usize, attempt: u8) {
        let before = self.state[to];
        self.model.init(&mut self.state, to, attempt, u8::MAX);
        let after = &self.state[to];
        if before.entries != after.entries {
            self.ages[to].entries[usize::from(attempt)] = 0;
        }
        if before.dial != after.dial && after.dial == Dial::GaveWay {
            self.ages[to].dial = 0;
        }
    }

    fn resp(&mut self, to: usize, attempt: u8, answer: u8) {
        let before = self.state[to].dial;
        Model::resp(&mut self.state, to, attempt, answer);
        if self.state[to].dial != before {
            self.ages[to].dial = 0;
        }
    }

    /// All that the peer has to say now.
    fn deliver(&mut self, to: usize) {
        let peer = self.state[1 - to];
        match peer.dial {
            Dial::Sent { attempt, .. } => self.init(to, attempt),
            Dial::Unconfirmed { attempt, answer } => self.model.confirm(&mut self.state, to, attempt, answer),
            Dial::Idle | Dial::GaveWay => {}
        }
        if let Dial::Sent { attempt, .. } = self.state[to].dial {
            if let Some(answer) = peer.entries[usize::from(attempt)] {
                self.resp(to, attempt, answer);
            }
        }
        if let Some(live) = peer.live {
            if usize::from(live.initiator) == to {
                self.model.packet(&mut self.state, to, live.attempt, live.answer);
            }
            // An attempt beside a session that is heard again is dropped, unless its RESP was read.
            if self.state[to].live == Some(live)
                && matches!(self.state[to].dial, Dial::Sent { .. } | Dial::GaveWay)
            {
                self.state[to].dial = Dial::Idle;
            }
        }
    }

    /// A second passes.
    fn second(&mut self, end: usize) {
        let ages = &mut self.ages[end];
        ages.dial += 1;
        for (age, entry) in ages.entries.iter_mut().zip(&mut self.state[end].entries) {
            *age += 1;
            if *age >= 5 {
                *entry = None;
            }
        }
        let age = ages.dial;
        match self.state[end].dial {
            Dial::Sent { larger, .. } => {
                ages.larger += u8::from(larger > 0);
                if larger == 2 && ages.larger >= 3.max(age / 2) {
                    self.state[end].dial = Dial::GaveWay;
                    ages.dial = 0;
                } else if age >= 12 {
                    self.state[end].dial = Dial::Idle;
                }
            }
            Dial::Unconfirmed { .. } if age >= 6 => self.state[end].dial = Dial::Idle,
            Dial::GaveWay if age >= 3 => {
                self.state[end].dial = Dial::Idle;
                self.state[end].entries = [None; ALL_ATTEMPTS];
            }
            _ => {}
        }
    }
}

/// What a search found.
struct Found {
    states: usize,
    harm: Option<(&'static str, Vec<Step>)>,
}

/// Every state that can be reached, breadth first, so that a way to a harm is a shortest one.
fn search(world: World, ranks: Ranks, policies: &[Ranks]) -> Found {
    let model = Model { world, ranks };
    let start: State = [FRESH; 2];
    let mut known: HashMap<State, Option<(State, Step)>> = HashMap::from([(start, None)]);
    let mut open = VecDeque::from([start]);
    while let Some(state) = open.pop_front() {
        if let Some(what) = unsettled(world, &state, policies) {
            return Found { states: known.len(), harm: Some((what, way(&known, state))) };
        }
        for step in Model::steps(&state) {
            let next = model.take(&state, step);
            if next == state {
                continue;
            }
            if let Some(what) = harm(&world, &state, step, &next) {
                let mut steps = way(&known, state);
                steps.push(step);
                return Found { states: known.len(), harm: Some((what, steps)) };
            }
            known.entry(next).or_insert_with(|| {
                open.push_back(next);
                Some((state, step))
            });
        }
    }
    Found { states: known.len(), harm: None }
}

/// Whether a fair network does not bring both ends to one session from here, and with whom.
fn unsettled(world: World, state: &State, policies: &[Ranks]) -> Option<&'static str> {
    for ranks in policies {
        let model = Model { world, ranks: *ranks };
        for recorded in [None, Some(*state)] {
            let mut fair = Fair { model: &model, state: *state, ages: [Ages::default(); 2], recorded };
            if !fair.rests() {
                return Some(match recorded {
                    None => "no session, although the network is fair",
                    Some(_) => "no session, because somebody repeats what he recorded",
                });
            }
        }
    }
    None
}

fn way(known: &HashMap<State, Option<(State, Step)>>, mut state: State) -> Vec<Step> {
    let mut steps = Vec::new();
    while let Some(Some((before, step))) = known.get(&state) {
        steps.push(*step);
        state = *before;
    }
    steps.reverse();
    steps
}

/// All orders of the keys of both ends' attempts that differ in a comparison between the ends, each with the orders in
/// which the later attempts may come: of each end all smaller, or all larger, than everything before.
fn orders() -> Vec<(Ranks, Vec<Ranks>)> {
    let count = usize::from(ATTEMPTS);
    let mut orders: Vec<(Ranks, Vec<Ranks>)> = Vec::new();
    for code in 0..256_u32 {
        let place = |i: usize| u8::try_from((code >> (2 * i)) & 3).unwrap();
        let places: Vec<u8> = (0..2 * count).map(place).collect();
        if (0..places.len()).any(|i| places[..i].contains(&places[i])) {
            continue;
        }
        let ranks = [0, 1].map(|end: usize| {
            std::array::from_fn(
                |attempt| {
                    if attempt < count { 100 + places[end * count + attempt] } else { 0 }
                },
            )
        });
        let less = |ranks: &Ranks| -> Vec<bool> {
            (0..count * count).map(|i| ranks[0][i / count] < ranks[1][i % count]).collect()
        };
        let swapped = [ranks[1], ranks[0]];
        if orders.iter().any(|(known, _)| less(known) == less(&ranks) || less(known) == less(&swapped)) {
            continue;
        }
        orders.push((ranks, later(&ranks)));
    }
    orders
}

fn later(ranks: &Ranks) -> Vec<Ranks> {
    let count = usize::from(ATTEMPTS);
    (0..4_usize)
        .map(|policy| {
            let mut ranks = *ranks;
            for (end, row) in ranks.iter_mut().enumerate() {
                for (place, rank) in row.iter_mut().enumerate().skip(count) {
                    let base = if (policy >> end) & 1 == 0 { 10 } else { 200 };
                    *rank = base + u8::try_from(2 * place + end).unwrap();
                }
            }
            ranks
        })
        .collect()
}

/// Searches under every order of keys; prints how much there was to see.
fn search_all(name: &str, world: World) -> Vec<Found> {
    let found: Vec<Found> = orders().iter().map(|(ranks, later)| search(world, *ranks, later)).collect();
    let states: usize = found.iter().map(|found| found.states).sum();
    println!("{name}: {} orders of keys, {states} states", found.len());
    found
}

fn holds(name: &str, world: World) {
    for found in search_all(name, world) {
        assert!(found.harm.is_none(), "{name}:\n{}", story(&found));
        assert!(found.states > 1_000, "{name}: the search did not go far");
    }
}

/// The shortest way to harm, which must be this harm in so many steps.
fn fails(name: &str, rules: Rules, what: &str, steps: usize) {
    fails_with(name, World { rules, restarts: 0, renewals: 0, answers: 2 }, what, steps);
}

fn fails_with(name: &str, world: World, what: &str, steps: usize) {
    let found = search_all(name, world);
    let harmed = found.iter().filter(|found| found.harm.is_some());
    let shortest =
        harmed.min_by_key(|found| found.harm.as_ref().map_or(usize::MAX, |(_, steps)| steps.len()));
    let shortest = shortest.unwrap_or_else(|| panic!("{name}: no harm was found"));
    println!("{}", story(shortest));
    let harm = shortest.harm.as_ref().map(|(what, way)| (*what, way.len()));
    assert_eq!(harm, Some((what, steps)), "{name}:\n{}", story(shortest));
}

fn story(found: &Found) -> String {
    let Some((what, steps)) = &found.harm else { return String::new() };
    let mut text = format!("  {what}, in {} steps", steps.len());
    for step in steps {
        write!(text, "\n    {step:?}").unwrap();
    }
    text
}

#[test]
fn two_dials_never_make_two_sessions_and_always_make_one() {
    holds("two dials", World { rules: AS_WRITTEN, restarts: 0, renewals: 0, answers: 2 });
}

#[test]
fn after_a_restart_one_session_comes_about_and_nothing_old_displaces_it() {
    holds("a restart each", World { rules: AS_WRITTEN, restarts: 1, renewals: 0, answers: 2 });
}

#[test]
fn after_a_renewal_one_session_comes_about_and_nothing_old_displaces_it() {
    holds("a renewal each", World { rules: AS_WRITTEN, restarts: 0, renewals: 1, answers: 2 });
}

#[test]
fn with_three_answers_each_the_same_holds() {
    // Ten times the states of the others.
    if std::env::var_os("SEALGRAM_FULL").is_none() {
        return println!("set SEALGRAM_FULL to search this");
    }
    holds("two dials, three answers", World { rules: AS_WRITTEN, restarts: 0, renewals: 0, answers: 3 });
}

const TWO_SESSIONS: &str = "both ends are live, in different sessions";

#[test]
fn without_the_tie_break_both_attempts_complete() {
    fails("no tie-break", Rules { decider_is_silent: false, ..AS_WRITTEN }, TWO_SESSIONS, 8);
}

#[test]
fn without_the_deciders_silence_while_unconfirmed_both_attempts_complete() {
    fails("unconfirmed answers", Rules { unconfirmed_decides: false, ..AS_WRITTEN }, TWO_SESSIONS, 8);
}

#[test]
fn without_the_erasure_at_the_beginning_an_earlier_answer_completes_beside_the_attempt() {
    fails("nothing erased", Rules { beginning_erases: false, ..AS_WRITTEN }, TWO_SESSIONS, 8);
}

#[test]
fn an_attempt_that_ends_before_its_entry_leaves_a_confirm_that_still_counts() {
    fails("the attempt ends first", Rules { entry_ends_first: false, ..AS_WRITTEN }, TWO_SESSIONS, 9);
}

#[test]
fn a_follower_that_drops_its_attempt_is_silenced_by_recordings() {
    let what = "no session, because somebody repeats what he recorded";
    fails("the follower yields", Rules { follower_keeps: false, ..AS_WRITTEN }, what, 3);
}

#[test]
fn an_entry_that_survives_going_live_lets_a_dead_incarnation_displace_the_session() {
    let rules = Rules { going_live_erases: false, ..AS_WRITTEN };
    let world = World { rules, restarts: 1, renewals: 0, answers: 2 };
    fails_with("entries survive", world, "a datagram displaced a session that both ends had", 10);
}
