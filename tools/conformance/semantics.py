"""Directed checks of the receiver's rules ("Delivery") at the partner: packets made by hand, one rule each."""

import frames as fr
from hello import Hello
from messages import DELIVERY, NONE, ORDER
from partner import Table, require


def order(set_, base, data, **more):
    return fr.Message(ORDER, 0, data, set_, base, **more)


def delivery(index, data, set_=None, base=None, **more):
    return fr.Message(DELIVERY, 0, data, index if set_ is None else set_, index if base is None else base, index, **more)


def pieces(m, cuts):
    ends = list(cuts[1:]) + [len(m.data)]
    return [fr.Message(m.guarantee, m.lane, m.data[a:b], m.set, m.base, m.index, m.id, m.life, a, len(m.data))
            for a, b in zip(cuts, ends)]


def xor(*parts):
    out = bytearray(max(map(len, parts)))
    for part in parts:
        for i, byte in enumerate(part):
            out[i] ^= byte
    return bytes(out)


BIG = bytes(range(250)) * 3
# name, what is sent (a list of frames is a packet, a number a pause in seconds), what must be yielded
CASES = [
    ("frames act one by one", [[order(5, 0, b"five"), order(4, 0, b"four")]], [b"five"]),
    ("an Order of an earlier set is stale, one of the same is not",
     [[order(7, 0, b"7")], [order(6, 0, b"6")], [order(7, 0, b"7b")]],
     [b"7", b"7b"]),
    ("an Order waits for every index below its base", [[order(3, 2, b"o")], [delivery(1, b"d1")], [delivery(0, b"d0")]],
     [b"d0", b"d1", b"o"]),
    ("members of a set in the order of arrival",
     [[delivery(1, b"d1", 0, 0)], [order(0, 0, b"o")], [delivery(0, b"d0", 0, 0)]], [b"d1", b"o", b"d0"]),
    ("a Delivery does not wait for an Order", [[delivery(0, b"d", 9, 0)], [order(8, 0, b"late")]], [b"d"]),
    ("of the ready ones the lower set first", [[order(9, 1, b"9")], [order(8, 1, b"8")], [delivery(0, b"d", 0, 0)]],
     [b"d", b"8", b"9"]),
    ("a repeated Delivery", [[delivery(0, b"d")], [delivery(0, b"d")], [delivery(1, b"e")], [delivery(0, b"d")]], [b"d", b"e"]),
    ("a named None comes once", [[fr.Message(NONE, 0, b"n", id=4)], [fr.Message(NONE, 0, b"n", id=4)]], [b"n"]),
    ("an id more than 1,023 below the highest", [[fr.Message(NONE, 0, b"a", id=1100)], [fr.Message(NONE, 0, b"b", id=76)],
     [fr.Message(NONE, 0, b"c", id=77)]], [b"a", b"c"]),
    ("ids of None and Order are one count",
     [[fr.Message(NONE, 0, b"n", id=4)], [order(1, 0, b"o", id=4)], [order(2, 0, b"p", id=5)]],
     [b"n", b"p"]),
    ("an empty message", [[delivery(0, b"")], [order(1, 1, b"")]], [b"", b""]),
    ("fragments in reverse", [[p] for p in reversed(pieces(delivery(0, BIG), [0, 200, 400, 600]))], [BIG]),
    ("ranges that overlap: the first bytes stand",
     [[fr.Message(DELIVERY, 0, b"a" * 200, 0, 0, 0, None, None, 0, 300)],
      [fr.Message(DELIVERY, 0, b"b" * 200, 0, 0, 0, None, None, 100, 300)]], [b"a" * 200 + b"b" * 100]),
    ("incomplete for more than 2 s", [[p] for p in pieces(order(1, 0, BIG, id=1), [0, 200, 400])[:2]] + [2.3]
     + [[p] for p in pieces(order(1, 0, BIG, id=1), [0, 200, 400])[2:]] + [[order(2, 0, b"on")]], [b"on"]),
    ("a late Delivery is settled in its turn",
     [[delivery(1, b"late", life=50)], 0.3, [delivery(0, b"first")], [delivery(2, b"then")]],
     [b"first", b"then"]),
    ("a late Order is dropped",
     [[order(1, 1, b"late", life=50)], [order(2, 1, b"in time", life=5000)], 0.3, [delivery(0, b"first", 0, 0)]],
     [b"first", b"in time"]),
    ("a whole message whose turn has come is not late",
     [[delivery(0, b"d", life=0)], [fr.Message(NONE, 0, b"n", life=0)]], [b"d", b"n"]),
    ("of fragments the earliest end counts",
     [[fr.Message(NONE, 0, BIG[:400], None, None, None, 1, 60, 0, 750)], 0.3,
      [fr.Message(NONE, 0, BIG[400:], None, None, None, 1, 5000, 400, 750)], [fr.Message(NONE, 0, b"on")]], [b"on"]),
    ("SKIP before and after", [[fr.Skip(0, 0, 70)], [delivery(0, b"too late")], [delivery(1, b"next")]], [b"next"]),
    ("SKIP of a message in fragments", [[pieces(delivery(0, BIG), [0, 400])[0]], [fr.Skip(0, 0, 814)],
     [pieces(delivery(0, BIG), [0, 400])[1]], [pieces(delivery(0, BIG), [0, 400])[0]], [delivery(1, b"next")]], [b"next"]),
    ("an id that an Order used, then a None", [[order(1, 0, b"o", id=4)], [fr.Message(NONE, 0, b"n", id=4)]], [b"o"]),
    ("implied numbers in one packet",
     [[delivery(0, b"a"), delivery(1, b"b"), delivery(2, b"c", 1, 1), order(1, 1, b"o")]], [b"a", b"b", b"c", b"o"]),
    ("lanes are independent",
     [[fr.Message(DELIVERY, 1, b"waits", 1, 1, 1)], [fr.Message(DELIVERY, 2, b"goes", 0, 0, 0)]], [b"goes"]),
]


def parity_case():
    """600 bytes in pieces of 128; a parity over pieces 1 and 3 brings back piece 1."""
    m = order(1, 0, BIG[:600], id=3)
    five = pieces(m, [0, 128, 256, 384, 512])
    parity = fr.Parity(2, fr.Message(ORDER, 0, xor(five[1].data, five[3].data), 1, 0, None, 3, None, 128, 600))
    last = fr.Parity(2, fr.Message(ORDER, 0, xor(five[0].data, five[2].data, five[4].data), 1, 0, None, 3, None, 0, 600))
    return [("a parity brings one piece back", [[five[0]], [five[2]], [parity], [five[4]], [five[3]]], [BIG[:600]]),
            ("a parity brings the shorter last piece back", [[five[1]], [last], [five[0]], [five[3]], [five[2]]], [BIG[:600]]),
            ("a parity alone is not enough", [[five[0]], [five[2]], [parity], [five[4]]], [])]


def check_case(sent, wanted):
    def check(command):
        with Table(command, "Paired", True) as t:
            t.connected()
            for step in sent:
                if isinstance(step, list):
                    t.session.send_frames(step, t.now())
                    t.step()
                    t.rest(0.01)
                else:
                    t.rest(step)
            t.rest(0.15)
            got = [d for _, _, d in t.their_messages()]
            require(got == wanted, f"yielded {[d[:12] for d in got]}, not {[d[:12] for d in wanted]}")
            require(t.session is not None, "the session ended")
    return check


def check_ignored(command):
    """Frames that are acknowledged and have no effect on an endpoint that did not ask for them."""
    frames = [fr.Skipped(0, 5), fr.Have(1, 7), fr.Window(1, 5), fr.Window(256, 2**62 - 1), fr.PathResponse(b"12345678"),
              fr.NewCid(1, 0, b"abcdefgh"), fr.NewCid(2, 2, b"abcdefgh"), fr.Redirect(b"ticket"), fr.Window(0, 5), fr.Confirm()]
    with Table(command, "Paired", True) as t:
        t.connected()
        acknowledged, plain = set(), t.session.on_ack
        t.session.on_ack = lambda ack, at: (acknowledged.update(n for a, b in ack.ranges for n in range(a, b + 1)), plain(ack, at))
        numbers = {}
        for f in frames:
            numbers[t.session.send_frames([f], t.now())] = f
            t.rest(0.06)
        t.rest(0.2)
        missing = [f for n, f in numbers.items() if n not in acknowledged]
        require(not missing and t.session is not None, f"not acknowledged: {missing}")


def check_violation_behind(command):
    """Frames before the one that passes a bound stand, those behind it do not, and the packet is not acknowledged."""
    with Table(command, "Paired", True) as t:
        t.connected()
        acknowledged, plain = set(), t.session.on_ack
        t.session.on_ack = lambda ack, at: (acknowledged.update(n for a, b in ack.ranges for n in range(a, b + 1)), plain(ack, at))
        bad = t.session.send_frames([delivery(0, b"good"), delivery(70_000, b"bad"), fr.Message(NONE, 0, b"behind")], t.now())
        t.rest(0.1)
        good = t.session.send_frames([fr.Ping()], t.now())
        t.until(lambda: good in acknowledged, "no ACK")
        t.rest(0.2)
        require(bad not in acknowledged, "the packet was acknowledged")
        require([m[2] for m in t.their_messages()] == [b"good"], f"yielded {t.their_messages()}")


def check_refused(more):
    """The first packet of a session that the partner dialled holds CLOSE: it is told the code, and never is live."""
    def check(command):
        with Table(command, "Paired", False) as t:
            def promote(session, address, *_):
                t.endpoint.answers = False
                for _ in range(3):
                    session.send_frames([fr.Close(5)] + more, t.now())
                for datagram in session.poll(t.now()):
                    t.link.send(datagram, address)

            t.endpoint.promote = promote
            t.until(lambda: any(e.get("code") == 5 for e in t.partner.events()), "the partner was not told", 5)
            require(not t.theirs("connected"), "the partner was live")
    return check


def check_first_step(command):
    """A step of the epoch right after going live: the rule of one second counts from the last step."""
    with Table(command, "Paired", True) as t:
        t.connected()
        t.session.sender.step()
        t.session.send(DELIVERY, 0, b"epoch 1")
        t.until(lambda: t.their_messages(), "the first step was refused", 3)


def check_idle(command):
    """The smaller idle timeout of both ends counts: ours is 1 s, and we fall silent."""
    with Table(command, "Paired", True, dial=False) as t:
        t.endpoint.hello = Hello(idle_timeout=1000)
        t.endpoint.connect(t.partner.address, t.now())
        t.connected()
        t.link.drop_out = 1
        t.until(lambda: len(t.partner.events()) > 1, "the partner did not notice our silence", 4)


def check_smaller_message(command):
    """max_message 5,000 of ours binds the partner: 5,000 bytes come, 5,001 do not."""
    with Table(command, "Paired", True, dial=False) as t:
        t.endpoint.hello = Hello(max_message=5000)
        t.endpoint.connect(t.partner.address, t.now())
        t.connected()
        for n in (5001, 5000):
            t.partner.command(send={"guarantee": "delivery", "lane": 0, "hex": bytes(n).hex()})
        t.until(lambda: t.got(), "5,000 bytes did not come")
        t.rest(0.2)
        require([len(m[2]) for m in t.got()] == [5000], "a message that is too long")
        require(t.session.violations == 0, "violations")


def checks():
    return [(f"rule: {name}", check_case(sent, wanted)) for name, sent, wanted in CASES] + \
        [(f"rule: {name}", check_case(sent, wanted)) for name, sent, wanted in parity_case()] + [
            ("frames that have no effect", check_ignored), ("a violation behind good frames", check_violation_behind),
            ("CLOSE in the first packet", check_refused([])), ("CLOSE and PING in the first packet", check_refused([fr.Ping()])),
            ("a step right after going live", check_first_step),
            ("idle timeout of the smaller", check_idle), ("max_message of the smaller", check_smaller_message)]
