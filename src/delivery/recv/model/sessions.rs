//! Random sessions over a network that loses, copies, cuts and reorders: queue and model see the same frames.

use super::*;

/// What a random session is made from.
#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    sets: usize,
    largest_set: usize,
    lanes: u64,
    /// Percent.
    loss: u64,
    copies: u64,
    long: u64,
    lives: u64,
    skips: u64,
    lazy: u64,
    /// How many places a frame may be overtaken.
    reorder: u64,
}

prop_compose! {
    fn plans()(
        seed in any::<u64>(),
        sets in 1_usize..40,
        largest_set in prop_oneof![Just(1), Just(2), Just(8), Just(60)],
        lanes in 1_u64..4,
        loss in 0_u64..=30,
        copies in prop_oneof![Just(0_u64), Just(20)],
        long in prop_oneof![Just(0_u64), Just(20)],
        (lives, skips) in prop_oneof![Just((0_u64, 0_u64)), Just((30, 0)), Just((0, 30)), Just((10, 10))],
        lazy in prop_oneof![Just(0_u64), Just(40), Just(95)],
        reorder in prop_oneof![Just(1_u64), Just(4), Just(50), Just(1_000)],
    ) -> Plan {
        Plan { seed, sets, largest_set, lanes, loss, copies, long, lives, skips, lazy, reorder }
    }
}

/// One message as the sender of the test knows it.
#[derive(Clone, Debug)]
struct Letter {
    lane: u8,
    numbers: Numbers,
    id: Option<u64>,
    life: Option<u32>,
    bytes: Vec<u8>,
}

/// A part of a letter.
#[derive(Clone, Copy, Debug)]
struct Piece {
    letter: usize,
    start: usize,
    end: usize,
}

/// Sends sets of random size and mix and numbers them as the rules say.
fn write_letters(plan: &Plan, dice: &mut Dice) -> (Vec<Letter>, Vec<Sent>) {
    let (mut letters, mut log) = (Vec::new(), Vec::new());
    let mut next = BTreeMap::<u8, (u64, u64, u64)>::new();
    for _ in 0..plan.sets {
        let lane = u8::try_from(dice.below(plan.lanes) * 100).unwrap();
        let (set, index, id) = next.entry(lane).or_default();
        let base = *index;
        for _ in 0..=dice.size(plan.largest_set) {
            let name = letters.len() as u64;
            let len = if dice.percent(plan.long) { 200 + dice.size(4_000) } else { 8 + dice.size(100) };
            let (promise, numbers) = match dice.below(3) {
                0 => (Promise::None, Numbers::None),
                1 => (Promise::Order, Numbers::Order { set: *set, base }),
                _ => (Promise::Delivery, Numbers::Delivery { set: *set, base, index: *index }),
            };
            *index += u64::from(promise == Promise::Delivery);
            let needs_id = promise != Promise::Delivery && (len >= 200 || dice.percent(plan.copies));
            *id += u64::from(needs_id);
            let life = dice.percent(plan.lives).then(|| u32::try_from(dice.below(60)).unwrap());
            let bytes = contract::payload(name, len);
            letters.push(Letter { lane, numbers, id: needs_id.then_some(*id), life, bytes });
            log.push(Sent { promise, lane, set: *set, id: name });
        }
        *set += 1;
    }
    (letters, log)
}

/// Cuts a letter somewhere, each time elsewhere.
fn cut(letters: &[Letter], letter: usize, dice: &mut Dice) -> Vec<Piece> {
    let len = letters[letter].bytes.len();
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < len {
        let end = if len < 200 { len } else { (start + 128 + dice.size(1_000)).min(len) };
        pieces.push(Piece { letter, start, end });
        start = end;
    }
    pieces
}

/// Both implementations under one clock, and what the application saw.
struct Session<'a> {
    letters: &'a [Letter],
    rig: Rig,
    model: Model,
    log: Vec<(u8, Guarantee, Vec<u8>)>,
    skipped: Vec<u64>,
}

impl Session<'_> {
    /// One datagram with some frames arrives; then the application takes everything, something, or nothing.
    fn datagram(&mut self, pieces: &[Piece], take: usize) {
        let mut datagram = vec![0x55; 3];
        let mut starts = Vec::new();
        for piece in pieces {
            starts.push(datagram.len());
            datagram.extend_from_slice(&self.letters[piece.letter].bytes[piece.start..piece.end]);
        }
        let now = self.rig.now;
        for (piece, at) in pieces.iter().zip(starts) {
            let letter = &self.letters[piece.letter];
            let bytes = &letter.bytes[piece.start..piece.end];
            let whole = bytes.len() == letter.bytes.len();
            let number = |value: usize| u32::try_from(value).unwrap();
            let fragment = Part::Fragment { offset: number(piece.start), total: number(letter.bytes.len()) };
            let part = if whole { Part::Whole } else { fragment };
            let Letter { lane, numbers, id, life, .. } = *letter;
            let frame = MessageFrame { lane, numbers, id, life, part, bytes };
            self.rig.queue.insert(now, &frame, at).unwrap();
            self.model.insert(now, &frame);
        }
        self.take(take, &datagram);
        self.rig.queue.detach(&datagram);
        self.rig.check();
    }

    fn take(&mut self, most: usize, datagram: &[u8]) {
        for _ in 0..most {
            let Some(ready) = self.rig.queue.pop() else { break };
            let bytes = match ready.place {
                Place::Datagram { start, len } => datagram[start..start + len].to_vec(),
                Place::Stored(handle) => self.rig.queue.bytes(handle).to_vec(),
            };
            if let Place::Stored(handle) = ready.place {
                self.rig.queue.release(handle);
            }
            self.log.push((ready.lane, ready.guarantee, bytes));
        }
    }

    fn skip(&mut self, letter: usize) {
        let Letter { lane, numbers: Numbers::Delivery { index, .. }, .. } = self.letters[letter] else {
            return;
        };
        let expected = self.model.skip(self.rig.now, lane, index);
        assert_eq!(self.rig.queue.skip(self.rig.now, lane, index, 64), Ok(expected));
        if expected == Answer::Skipped {
            self.skipped.push(letter as u64);
        }
    }

    fn wait(&mut self, ms: u64) {
        self.rig.wait(ms);
        self.rig.queue.expire(self.rig.now);
        self.model.expire(self.rig.now);
    }

    fn agree(&self) {
        if self.model.yields.starts_with(&self.log) {
            return;
        }
        let pairs = self.log.iter().zip(&self.model.yields);
        let same = pairs.take_while(|(queue, model)| queue == model).count();
        let show = |log: &[(u8, Guarantee, Vec<u8>)]| {
            let ids = log.iter().skip(same.saturating_sub(2)).take(6).map(|line| contract::identify(&line.2));
            ids.map(|id| id.map(|id| (id, self.letters[usize::try_from(id).unwrap()].numbers)))
                .collect::<Vec<_>>()
        };
        panic!("they part after {same}:\nqueue {:?}\nmodel {:?}", show(&self.log), show(&self.model.yields));
    }
}

fn yields(session: &Session<'_>) -> Vec<Yielded> {
    let promise = |guarantee| match guarantee {
        Guarantee::None => Promise::None,
        Guarantee::Order => Promise::Order,
        Guarantee::Delivery => Promise::Delivery,
    };
    let line = |(lane, guarantee, bytes): &(u8, Guarantee, Vec<u8>)| Yielded {
        promise: promise(*guarantee),
        lane: *lane,
        id: contract::identify(bytes).expect("the bytes are those of some message"),
    };
    session.log.iter().map(line).collect()
}

/// Frames after loss, duplication and reordering.
fn network(plan: &Plan, letters: &[Letter], dice: &mut Dice) -> Vec<Piece> {
    let mut arrivals = Vec::new();
    for letter in 0..letters.len() {
        let may_repeat =
            letters[letter].id.is_some() || matches!(letters[letter].numbers, Numbers::Delivery { .. });
        let rounds = 1 + u64::from(may_repeat && dice.percent(plan.copies));
        for _ in 0..rounds {
            for piece in cut(letters, letter, dice) {
                if !dice.percent(plan.loss) {
                    arrivals.push((arrivals.len() as u64 + dice.below(plan.reorder), piece));
                }
            }
        }
    }
    arrivals.sort_by_key(|&(at, _)| at);
    arrivals.into_iter().map(|(_, piece)| piece).collect()
}

fn run(plan: &Plan) {
    let mut dice = Dice(plan.seed);
    let (letters, sent) = write_letters(plan, &mut dice);
    let many = RecvLimits { unreliable_bytes: 64 << 20, window_bytes: 64 << 20, ..limits() };
    let (model, log, skipped) = (Model::default(), Vec::new(), Vec::new());
    let mut session = Session { letters: &letters, rig: Rig::new(many), model, log, skipped };
    let arrivals = network(plan, &letters, &mut dice);
    let mut rest = arrivals.as_slice();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(1 + dice.size(4)));
        rest = later;
        let take = if dice.percent(plan.lazy) { dice.size(3) } else { usize::MAX };
        session.datagram(now, take);
        session.agree();
        session.wait(if dice.percent(2) { 700 } else { dice.below(6) });
    }
    contract_holds(&session, &sent, &End::Cut { skipped: unheard(&session) });
    repair(plan, &mut session, &mut dice);
    session.take(usize::MAX, &[]);
    assert_eq!(session.log, session.model.yields);
    contract_holds(&session, &sent, &End::Dry { skipped: unheard(&session) });
    session.wait(2_000);
    assert!(session.rig.queue.is_idle(), "something stayed behind");
    assert_eq!((session.rig.queue.delivery_used(), session.rig.queue.unreliable_used()), (0, 0));
}

/// What was skipped; and, as a `Delivery` whose life is over is settled in silence, what may have been.
fn unheard(session: &Session<'_>) -> Vec<u64> {
    let come: BTreeSet<u64> = yields(session).iter().map(|line| line.id).collect();
    let lives = session.letters.iter().zip(0..).filter(|(letter, _)| letter.life.is_some()).map(|(_, id)| id);
    session.skipped.iter().copied().chain(lives.filter(|id| !come.contains(id))).collect()
}

fn contract_holds(session: &Session<'_>, sent: &[Sent], end: &End) {
    contract::assert_kept(sent, &yields(session), end, "see the plan");
}

/// The sender resends every `Delivery`, cut elsewhere, or skips it.
fn repair(plan: &Plan, session: &mut Session<'_>, dice: &mut Dice) {
    let is_delivery = |letter: &usize| matches!(session.letters[*letter].numbers, Numbers::Delivery { .. });
    let mut again: Vec<usize> = (0..session.letters.len()).filter(is_delivery).collect();
    for position in (1..again.len()).rev() {
        again.swap(position, dice.size(position + 1));
    }
    for letter in again {
        if dice.percent(plan.skips) {
            // Gaps are bounded, and the order here is random: whoever would open one too many is sent instead.
            let lane = session.letters[letter].lane;
            if session.model.lanes.get(&lane).is_some_and(|lane| lane.skipped.len() < MAX_SKIP_GAPS) {
                session.skip(letter);
                session.skip(letter);
            }
        }
        for piece in cut(session.letters, letter, dice) {
            session.datagram(&[piece], if dice.percent(plan.lazy) { 0 } else { usize::MAX });
        }
        session.agree();
        session.wait(dice.below(3));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn the_queue_agrees_with_the_model_and_keeps_the_contract(plan in plans()) {
        run(&plan);
    }
}

#[test]
fn sets_of_every_size_agree_with_the_model() {
    for (seed, size) in (1..).zip([1_u64, 65, 1_000, 10_000]) {
        let mut dice = Dice(seed);
        let mut letters = Vec::new();
        let mut sent = Vec::new();
        // Two sets; the second is all there before the one missing member of the first is.
        for index in 0..2 * size {
            let set = index / size;
            let numbers = Numbers::Delivery { set, base: set * size, index };
            letters.push(Letter {
                lane: 0,
                numbers,
                id: None,
                life: None,
                bytes: contract::payload(index, 8),
            });
            sent.push(Sent { promise: Promise::Delivery, lane: 0, set, id: index });
        }
        let (model, log, skipped) = (Model::default(), Vec::new(), Vec::new());
        let mut session = Session { letters: &letters, rig: Rig::new(limits()), model, log, skipped };
        let missing = dice.size(size.try_into().unwrap());
        let mut order: Vec<usize> = (0..letters.len()).filter(|&letter| letter != missing).collect();
        for position in (1..order.len()).rev() {
            order.swap(position, dice.size(position + 1));
        }
        // The model looks at all it holds after each step: most of the large sets go to the queue alone.
        let modelled = size <= 1_000;
        for (step, &letter) in order.iter().chain([&missing]).enumerate() {
            if modelled {
                session.datagram(&[Piece { letter, start: 0, end: 8 }], usize::MAX);
            } else {
                let Letter { numbers, ref bytes, .. } = letters[letter];
                let frame = MessageFrame { lane: 0, numbers, id: None, life: None, part: Part::Whole, bytes };
                session.rig.queue.insert(session.rig.now, &frame, 0).unwrap();
                session.take(usize::MAX, bytes);
            }
            let early = step < order.len();
            assert!(!early || (session.log.len() as u64) < size, "seed {seed}: set 1 did not wait");
        }
        if modelled {
            assert_eq!(session.log, session.model.yields, "seed {seed}");
        }
        contract_holds(&session, &sent, &End::Dry { skipped: vec![] });
        assert_eq!(session.log.len() as u64, 2 * size);
    }
}
