"""Two implementations of the same text, given the same packets: what they yield and refuse must be equal.

Random message frames in a random order go to the partner, and the same ones through incoming.py here.
Random payloads near the edge of what is well-formed go to the partner, and through frames.py.
"""

import random

import frames as fr
from incoming import Incoming, Violation
from integers import Malformed
from messages import DELIVERY, GUARANTEES, NONE, ORDER
from partner import Table, echo_once, require

MAX_MESSAGE = 1 << 20


class Script:
    """The frames of one lane, in the order of sending."""

    def __init__(self, rng, lane, sets):
        self.rng, self.lane = rng, lane
        self.index = self.set = self.id = 0
        self.frames = []  # (frame, may be dropped, may be repeated)
        for _ in range(sets):
            self.make_set()

    def make_set(self):
        rng, base = self.rng, self.index
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            kind = rng.choice((NONE, ORDER, ORDER, DELIVERY, DELIVERY))
            data = b"%d %d %d " % (self.lane, self.set, rng.randrange(1000)) + rng.randbytes(rng.choice((0, 1, 40)))
            if kind == NONE:
                self.add(fr.Message(NONE, self.lane, data, id=self.take_id() if rng.random() < 0.5 else None))
            elif kind == ORDER:
                self.add(fr.Message(ORDER, self.lane, data, self.set, base, id=self.take_id() if rng.random() < 0.5 else None))
            else:
                self.add(fr.Message(DELIVERY, self.lane, data, self.set, base, self.index))
                self.index += 1
        self.set += 1

    def take_id(self):
        self.id += 1
        return self.id - 1

    def add(self, m):
        rng = self.rng
        if m.guarantee == DELIVERY and rng.random() < 0.1:
            self.frames.append((fr.Skip(m.lane, m.index, len(m.data) + 64), False, True))
            if rng.random() < 0.5:
                self.frames.append((m, True, False))
            return
        named = m.guarantee == DELIVERY or m.id is not None
        if named and rng.random() < 0.3:
            m.data += rng.randbytes(rng.randrange(300, 900))
            for part in self.cut(m):
                self.frames.append((part, m.guarantee != DELIVERY, True))
        else:
            self.frames.append((m, m.guarantee != DELIVERY, named))

    def cut(self, m):
        """Ranges of at least 128 bytes, some of which overlap."""
        total, at = len(m.data), 0
        while at < total:
            end = min(total, at + self.rng.randrange(128, 290))  # never all of it: total is above 300
            start = max(0, at - self.rng.choice((0, 0, 50)))
            yield fr.Message(m.guarantee, m.lane, m.data[start:end], m.set, m.base, m.index, m.id, None, start, total)
            at = end


def arrival(rng, script):
    """Losses, repetitions and a bounded shuffle."""
    placed = []
    for at, (frame, may_drop, may_repeat) in enumerate(script):
        if may_drop and rng.random() < 0.15:
            continue
        placed.append((at + rng.random() * 12, frame))
        if may_repeat and rng.random() < 0.15:
            placed.append((at + 6 + rng.random() * 12, frame))
    return [frame for _, frame in sorted(placed, key=lambda x: x[0])]


def packets(rng, frames):
    while frames:
        n = rng.choice((1, 1, 2, 3))
        chosen, frames = frames[:n], frames[n:]
        # A packet holds no byte of a message twice.
        while len(chosen) > 1 and len({id(f) for f in chosen}) < len(chosen):
            frames = chosen[-1:] + frames
            chosen = chosen[:-1]
        while sum(len(getattr(f, "data", b"")) + 64 for f in chosen) > 1100 and len(chosen) > 1:
            frames = chosen[-1:] + frames
            chosen = chosen[:-1]
        yield chosen


def model(sequence):
    """What this implementation yields, frame by frame, and how many packets were violations."""
    incoming, violations = Incoming(MAX_MESSAGE, 0xFFFF, 2 * (MAX_MESSAGE + 64)), 0
    for frames in sequence:
        try:
            for f in frames:
                if isinstance(f, fr.Skip):
                    incoming.skip(f.lane, f.index, f.charge, 0.0)
                else:
                    incoming.accept(f, 0.0)
        except Violation:
            violations += 1
    return [(y.guarantee, y.lane, y.data) for y in incoming.out], violations


def check_delivery(seed):
    def check(command):
        for n in range(8):
            rng = random.Random(seed * 100 + n)
            script = []
            lanes = [Script(rng, lane, 25).frames for lane in (0, 1, 77)]
            while any(lanes):
                script.append(rng.choice([x for x in lanes if x]).pop(0))
            sequence = list(packets(rng, arrival(rng, script)))
            wanted, violations = model(sequence)
            require(violations == 0, f"seed {seed * 100 + n}: the script itself breaks a bound")
            with Table(command, "Paired", True) as t:
                t.connected()
                for i, frames in enumerate(sequence):
                    t.session.send_frames(frames, t.now())
                    if i % 8 == 0:
                        t.step()
                t.until(lambda: len(t.theirs("message")) >= len(wanted), f"seed {seed * 100 + n}: fewer were yielded", 5)
                t.rest(0.1)
                got = [(GUARANTEES[g], lane, d) for g, lane, d in t.their_messages()]
                for lane in (0, 1, 77):
                    require([m for m in got if m[1] == lane] == [m for m in wanted if m[1] == lane],
                            f"seed {seed * 100 + n}, lane {lane}: another sequence was yielded")
                require(got == wanted, f"seed {seed * 100 + n}: another order between lanes")
    return check


SEEDS = ("01a046140178a40179c4017ac8017b83050109017cc0000000017dd200160066e807ea07020102000000",
         "01a105010203e807017aa90104c8010178", "0500ff7f05058001", "07050908030a", "c28101000001780501c0",
         "0b0100111213141516171801", "0102e807640264aa0264ef0303", "b1010502090080020880" + "01" + "5a" * 128,
         "0d02b101461409800" + "1d8048001" + "5a" * 128, "068001030401", "0c03616263", "090102030405060708",
         "c103e80701780a0102030405060708", "04000361626301")
HARMLESS = (fr.Ping, fr.Padding, fr.Have, fr.Skipped, fr.PathResponse, fr.NewCid)


def mutants(rng):
    """Payloads one or two small changes away from a good one."""
    while True:
        data = bytearray.fromhex(rng.choice(SEEDS))
        for _ in range(rng.choice((1, 1, 2))):
            at = rng.randrange(len(data) + 1)
            change = rng.randrange(4)
            if change == 0:
                data.insert(at, rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256))))
            elif change == 1 and len(data) > 1:
                del data[min(at, len(data) - 1)]
            elif change == 2:
                data[min(at, len(data) - 1)] ^= 1 << rng.randrange(8)
            elif len(data) > 1:
                del data[max(1, at):]
        yield bytes(data)


def verdict(data):
    """None if malformed, else the frames; whatever decodes must encode to the same bytes."""
    try:
        frames = fr.decode_payload(data)
    except Malformed:
        return None
    require(fr.encode_payload(frames) == data, f"{data.hex()}: decodes, but encodes to other bytes")
    return frames


def harmless(frames):
    """Nothing that ends a session, breaks a bound, or asks for an answer."""
    return any(f.elicits for f in frames) and all(
        isinstance(f, HARMLESS) or (isinstance(f, fr.Message) and f.guarantee == NONE and f.offset is None) for f in frames)


def check_malformed(seed):
    """Payloads that are malformed here must be malformed there: eight of them end a session, seven do not."""
    def check(command):
        rng = random.Random(seed)
        source = (d for d in mutants(rng) if verdict(d) is None)
        for _ in range(25):
            eight = [next(source) for _ in range(8)]
            with Table(command, "Paired", True) as t:
                t.connected()
                t.partner.command(echo=True)
                t.rest(0.03)
                for data in eight[:7]:
                    t.session.send_raw(data, t.now())
                try:
                    echo_once(t, b"after seven", 3)
                except Exception:
                    require(False, f"closed before the eighth, or an echo too many: {[d.hex() for d in eight]}")
                t.session.send_raw(eight[7], t.now())
                t.until(lambda: t.ours("closed"), f"one was taken: {[d.hex()[:80] for d in eight]}", 3)
    return check


def check_well_formed(seed):
    """Payloads that are well-formed here must be acknowledged there, each of 300."""
    def check(command):
        rng = random.Random(seed)
        with Table(command, "Paired", True) as t:
            t.connected()
            acknowledged, plain = set(), t.session.on_ack

            def on_ack(ack, at):
                for low, high in ack.ranges:
                    acknowledged.update(range(low, high + 1))
                plain(ack, at)

            t.session.on_ack = on_ack
            source = (d for d in mutants(rng) if harmless(verdict(d) or []))
            sent = {}
            while len(sent) < 300:
                data = next(source)
                sent[t.session.send_raw(data, t.now())] = data
                if len(sent) % 10 == 0:
                    t.rest(0.02)
            t.rest(0.3)
            require(not t.ours("closed"), "closed")
            refused = [data.hex() for n, data in sent.items() if n not in acknowledged]
            require(not refused, f"refused there, taken here: {refused[:3]}")
    return check


def checks():
    return [(f"delivery against the model, seed {n}", check_delivery(n)) for n in (1, 2, 3)] + [
        ("malformed payloads, seed 1", check_malformed(1)), ("malformed payloads, seed 2", check_malformed(2)),
        ("well-formed payloads", check_well_formed(3))]
