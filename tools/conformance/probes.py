"""Probes: packets and envelopes that a correct sender makes seldom or never, and what must follow."""

import frames as fr
from envelope import COOKIE, INIT, RESP, Body, encode_body, open_envelope, reference_of, seal_envelope
from hello import Hello
from messages import DELIVERY
from partner import Table, echo_once, require
from primitives import random_bytes, xseal
from handshake import HalfOpen, noise_state
from udp import now


def check_path(command):
    """PATH_CHALLENGE is answered with the same bytes, the first of a packet only."""
    with Table(command, "Paired", True) as t:
        t.connected()
        t.session.send_frames([fr.PathChallenge(b"12345678"), fr.PathChallenge(b"87654321")], now())
        t.until(lambda: t.ours("path response"), "no PATH_RESPONSE")
        t.rest(0.3)
        require([e[1] for e in t.ours("path response")] == [b"12345678"], "another answer")


def check_skip(command):
    """A Delivery that never arrives is skipped: SKIPPED comes, and the lane goes on. One that did: HAVE."""
    with Table(command, "Paired", True) as t:
        t.connected()
        t.session.send(DELIVERY, 1, b"first")
        t.until(lambda: len(t.their_messages()) == 1, "first")
        t.link.drop_out = 1
        t.session.send(DELIVERY, 1, b"lost")
        t.rest(0.05)
        t.session.skip(1, 1)
        t.session.send(DELIVERY, 1, b"next")
        t.link.drop_out = 0
        t.until(lambda: len(t.their_messages()) == 2, "the lane stands still")
        require([m[2] for m in t.their_messages()] == [b"first", b"next"], "what was skipped came")
        t.until(lambda: t.ours("skip answered"), "no SKIPPED")
        require(t.ours("skip answered")[0][1] == fr.Skipped(1, 1), "another answer")
        for index, answer in ((0, fr.Have(1, 0)), (1, fr.Skipped(1, 1))):
            t.events.clear()
            t.session.send_frames([fr.Skip(1, index, 64)], now())
            t.until(lambda: t.ours("skip answered"), "no answer to a SKIP")
            require(t.ours("skip answered")[0][1] == answer, f"index {index}: another answer")


MALFORMED = (b"\x00", b"\x01\x00\x01", b"\x0e", b"\x30", b"\xe0\x00\x00", b"\x80\x81\x00", b"\x80\x01",
             b"\x82\x00\x01x", b"\xa4\x01x", b"\x03\x00\x00\x41" + bytes(65))


def check_violations(command):
    """Payloads that are malformed: seven change nothing, the eighth ends the session with 0xfffe."""
    with Table(command, "Paired", True) as t:
        t.connected()
        t.partner.command(echo=True)
        t.rest(0.2)
        for data in MALFORMED[:7]:
            t.session.send_raw(data, now())
        t.rest(0.3)
        echo_once(t, b"after seven")
        t.session.send_raw(MALFORMED[7], now())
        t.until(lambda: t.ours("closed"), "the eighth violation did not end it")
        require(t.ours("closed")[0][1] == 0xFFFE, "another code")


def check_each_malformed(command):
    """Each malformed payload counts by itself: eight times the same one ends the session."""
    for data in MALFORMED[7:]:
        with Table(command, "Paired", True) as t:
            t.connected()
            for _ in range(8):
                t.session.send_raw(data, now())
            t.until(lambda: t.ours("closed"), f"{data.hex()[:20]} was taken")
            require(t.ours("closed")[0][1] == 0xFFFE, "another code")


def check_impossible_ack(command):
    """An ACK of a number that was never sent ends the session at once."""
    with Table(command, "Paired", True) as t:
        t.connected()
        t.rest(0.2)
        t.session.send_frames([fr.Ack([(100_000, 100_000)]), fr.Ping()], now())
        t.until(lambda: t.ours("closed"), "the session lives")
        require(t.ours("closed")[0][1] == 0xFFFE, "another code")


def check_bounds(command):
    """Violations that are well-formed: each of these eight passes a bound that its sender knows."""
    m = fr.Message

    def part(index, offset, n, total, **numbers):
        return m(DELIVERY, 0, bytes(n), **{"set": index, "base": index, **numbers}, index=index, offset=offset, total=total)

    first = [part(0, 0, 128, 1000)]
    bad = [[part(0, 128, 128, 1001)],  # another total
           [part(0, 128, 128, 1000, set=1)],  # another set
           [m(DELIVERY, 0, bytes(8), 0, 0, 0)],  # whole, where fragments came
           [part(0, 256, 128, 1000, base=0, set=3)],
           [m(DELIVERY, 0, b"", 70_000, 70_000, 70_000)],  # index too far ahead
           [part(5, 0, 200, 2**21)],  # longer than max_message
           [part(1, 0, 128, 2**20 - 64), part(2, 0, 128, 2**20 - 64), part(3, 0, 128, 2**20 - 64),
            part(4, 0, 128, 2**20 - 64), part(5, 0, 128, 2**20 - 64), part(6, 0, 128, 2**20 - 64)],  # window
           [fr.Skip(0, 70_000, 0)]]
    with Table(command, "Paired", True) as t:
        t.connected()
        t.partner.command(echo=True)
        t.session.send(DELIVERY, 7, b"alive")
        t.until(lambda: t.got(), "no echo")
        t.session.send_frames(first, now())
        for frames in bad[:7]:
            t.session.send_frames(frames, now())
        t.rest(0.3)
        require(not t.ours("closed"), "closed too early")
        t.session.send_frames(bad[7], now())
        t.until(lambda: t.ours("closed"), "not all eight were violations", 3)
        require(t.ours("closed")[0][1] == 0xFFFE, "another code")


def check_window(command):
    """Beginnings of large messages on many lanes: as many as the granted window holds are taken, each further
    one is a violation (no lane passes its own limit)."""
    with Table(command, "Paired", True) as t:
        t.connected()
        t.rest(0.3)
        n = t.session.outgoing.granted // 2**20

        def beginning(lane):
            m = fr.Message(DELIVERY, lane, bytes(128), 0, 0, 0, None, None, 0, 2**20 - 64)
            return t.session.send_frames([m], now())

        last = [beginning(lane) for lane in range(n)][-1]
        t.until(lambda: t.session.largest_acked >= last, f"{n} were not taken")
        for lane in range(n, n + 7):
            beginning(lane)
        t.rest(0.3)
        require(not t.ours("closed"), "closed too early")
        beginning(n + 7)
        t.until(lambda: t.ours("closed"), "more than the window was taken", 3)
        require(t.ours("closed")[0][1] == 0xFFFE, "another code")


def check_skip_runs(command):
    """64 separate runs of skipped indexes may lie above the lowest unsettled one; one more is a violation."""
    with Table(command, "Paired", True) as t:
        t.connected()
        for i in range(64):
            t.session.send_frames([fr.Skip(0, 2 + 2 * i, 64)], now())
        t.until(lambda: len(t.ours("skip answered")) == 64, "64 runs were not taken")
        for i in range(8):
            t.session.send_frames([fr.Skip(0, 200 + 2 * i, 64)], now())
        t.until(lambda: t.ours("closed"), "65 runs were taken", 3)
        require(t.ours("closed")[0][1] == 0xFFFE, "another code")


def check_epoch_rule(command):
    """Two steps within a second: what the second brings is dropped and counted. Old numbers under an
    old epoch still count; a new number under an old epoch does not."""
    with Table(command, "Paired", True) as t:
        t.connected()
        t.partner.command(echo=True)
        t.rest(0.1)
        echo_once(t, b"epoch 0")
        sender = t.session.sender
        old, late = sender.epoch, sender.take_number()
        echo_once(t, b"and on")
        sender.step()
        echo_once(t, b"epoch 1")
        # A packet of epoch 0 that was overtaken by the step.
        current, sender.epoch = sender.epoch, old
        m = fr.Message(DELIVERY, 3, b"late", 0, 0, 0)
        t.link.raw(sender.seal(late, fr.encode_payload([m])), t.partner.address)
        t.until(lambda: (DELIVERY, 3, b"late") in t.got(), "a late packet of the previous epoch was refused")
        # A new number under the old epoch: a violation.
        number = sender.take_number()
        m = fr.Message(DELIVERY, 3, b"wrong", 1, 1, 1)
        t.link.raw(sender.seal(number, fr.encode_payload([m])), t.partner.address)
        sender.epoch = current.next()
        number = sender.take_number()
        t.link.raw(sender.seal(number, fr.encode_payload([m])), t.partner.address)
        sender.epoch = current
        t.rest(0.2)
        require((DELIVERY, 3, b"wrong") not in t.got(), "the epoch rule was not kept")
        require(not t.ours("closed"), f"closed {t.ours('closed')}")
        echo_once(t, b"epoch 1 goes on")
        t.rest(1.1)
        sender.step()
        echo_once(t, b"epoch 2")


def check_acks_with_gaps(command):
    """Every other number of 400 stays unused: ACKs name at most 64 ranges and nothing that was not sent."""
    with Table(command, "Paired", True) as t:
        t.connected()
        acks = []
        plain_on_ack = t.session.on_ack
        t.session.on_ack = lambda ack, at: (acks.append(ack), plain_on_ack(ack, at))
        used = {n for n in range(t.session.sender.next_number) if n not in t.session.blind}
        plain_seal = t.session.sender.seal
        t.session.sender.seal = lambda number, payload: (used.add(number), plain_seal(number, payload))[1]
        for i in range(200):
            t.session.sender.take_number()
            last = t.session.send_frames([fr.Ping()], now())
            if i % 20 == 0:
                t.rest(0.01)
        t.until(lambda: acks and acks[-1].ranges[0][1] >= last, "the last was not acknowledged")
        require(max(len(a.ranges) for a in acks) in range(30, 65), "the number of ranges")
        require(not t.ours("closed") and t.session is not None, "closed")
        named = {n for a in acks for low, high in a.ranges for n in range(low, high + 1)}
        require(named <= used, "a number that was never sent")


def init_of(t, hello, size=1200, version=1, kind=INIT, reference=bytes(16), cookie=bytes(16), tail=b""):
    """An INIT with its Noise state; `tail` stands behind the Noise message, in place of zero bytes."""
    cred = t.endpoint.cred
    state = noise_state(cred, True)
    message = state.write(hello)
    text = bytearray(encode_body(Body(kind, cookie, reference, message), size))
    text[1] = version
    if tail:
        text[-len(tail):] = tail
    nonce = random_bytes(24)
    return nonce + xseal(cred.envelope_key(0), nonce, b"", bytes(text)), state


def check_inits(command):
    """INITs with something out of form meet silence; unknown flags and versions beside 1 do not."""
    with Table(command, "Paired", True, dial=False) as t:
        answers = []
        t.endpoint.receive = lambda data, address, at: answers.append(data)
        hello = Hello().encode()

        def form(**more):
            return Hello(**more).encode()

        silent = {"short": dict(size=1199), "version 2": dict(version=2), "kind 3": dict(kind=3),
                  "reference": dict(reference=b"\x01" + bytes(15)), "padding": dict(tail=b"\x01")}
        hellos = {"idle 999": form(idle_timeout=999), "idle 600,001": form(idle_timeout=600_001),
                  "datagram 1,199": form(max_datagram=1199), "fragments 0": form(max_fragments=0),
                  "message 0": form(max_message=0), "message above": form(max_message=2**24 + 1),
                  "min 2": form(min_version=2, max_version=2), "max 0": form(max_version=0), "min 0": form(min_version=0),
                  "reserved": hello[:-1] + b"\x01", "params": b"\x02" + hello[1:], "longer": hello + b"\x00",
                  "shorter": hello[:-1]}
        cases = [(k, init_of(t, hello, **v)) for k, v in silent.items()]
        cases += [(k, init_of(t, v)) for k, v in hellos.items()]
        for name, (datagram, _) in cases:
            t.link.raw(datagram, t.partner.address)
            t.rest(0.03)
            require(not answers, f"an answer to an INIT with: {name}")
        good = {"plain": form(), "flags": form(flags=0xFFFF), "max_version 9": form(max_version=9),
                "largest": form(idle_timeout=600_000, max_message=2**24, max_datagram=0xFFFF),
                "smallest": form(idle_timeout=1000, max_message=1, max_fragments=1)}
        key = t.endpoint.cred.envelope_key(1)
        for name, value in good.items():
            datagram, state = init_of(t, value)
            answers.clear()
            t.link.raw(datagram, t.partner.address)
            t.until(lambda: answers, f"no answer to an INIT with: {name}", 3)
            body = open_envelope(key, 1, answers[0])
            require(body is not None and body.kind == RESP and len(answers[0]) == 1200, "no RESP")
            state.read(body.noise)


def check_repeated_init(command):
    """The same message 1 in new envelopes: the same RESP in new envelopes, one for each, no more."""
    with Table(command, "Paired", True, dial=False) as t:
        answers = []
        t.endpoint.receive = lambda data, address, at: answers.append(data)
        cred = t.endpoint.cred
        message = noise_state(cred, True).write(Hello().encode())
        for _ in range(5):
            t.link.raw(seal_envelope(cred.envelope_key(0), INIT, 1200, message), t.partner.address)
            t.rest(0.05)
        bodies = [open_envelope(cred.envelope_key(1), 1, a) for a in answers]
        require(len(answers) == 5 and len({a[:24] for a in answers}) == 5, "not one RESP each")
        require(len({b.noise for b in bodies}) == 1, "another message 2")


def check_cookie(command):
    """A COOKIE that names the waiting attempt: INIT again at once with it, the Noise bytes as before.
    One with another reference, or an old one again, changes nothing."""
    with Table(command, "Paired", False) as t:
        inits, plain = [], t.endpoint.receive
        key0, key1 = (t.endpoint.cred.envelope_key(d) for d in (0, 1))
        t.endpoint.receive = lambda data, address, at: inits.append((at, open_envelope(key0, 0, data)))
        t.until(lambda: inits, "no INIT")
        noise = inits[0][1].noise
        require(inits[0][1].cookie == bytes(16), "a cookie in the first INIT")

        def cookie(value, reference):
            began, n = now(), len(inits)
            t.link.raw(seal_envelope(key1, COOKIE, 128, b"", reference, value), t.partner.address)
            t.rest(0.06)
            return [b for at, b in inits[n:] if at - began < 0.06]

        good = [cookie(bytes([n]) * 16, reference_of(noise)) for n in (1, 2)]
        for n, answer in zip((1, 2), good):
            require(answer and answer[0].cookie == bytes([n]) * 16, "INIT did not leave at once with the cookie")
        require(all(b.noise == noise for _, b in inits), "the Noise bytes changed")
        n = len(inits)
        cookie(b"\x03" * 16, random_bytes(16))
        t.rest(0.3)
        require(all(b.cookie != b"\x03" * 16 for _, b in inits), "a cookie with another reference was taken")
        t.endpoint.receive = plain
        t.connected()


def check_transactional(command):
    """RESPs that fail to read leave the attempt as it was: the right one after them still counts."""
    with Table(command, "Tofu", False) as t:
        key0, key1 = (t.endpoint.cred.envelope_key(d) for d in (0, 1))
        inits, plain = [], t.endpoint.receive
        t.endpoint.receive = lambda data, address, at: inits.append(open_envelope(key0, 0, data))
        t.until(lambda: inits, "no INIT")
        entry = HalfOpen(t.endpoint.cred, Hello(), inits[0].noise, t.partner.address, now(), 1200)
        for at in (0, 40, 100, 120):
            bad = bytearray(entry.message2)
            bad[at] ^= 1
            t.link.raw(seal_envelope(key1, RESP, 1200, bytes(bad), reference_of(inits[0].noise)), t.partner.address)
        t.link.raw(seal_envelope(key1, RESP, 1200, entry.message2, random_bytes(16)), t.partner.address)
        t.rest(0.1)
        t.endpoint.half_open.append(entry)
        t.endpoint.receive = plain
        t.link.raw(entry.resp(), t.partner.address)
        t.connected()


def check_leaps(command):
    """Packet numbers that leap by 2^27, twelve times: 30 bits complete to the right number beyond 2^30."""
    with Table(command, "Paired", True) as t:
        t.connected()
        t.partner.command(echo=True)
        t.rest(0.1)
        for i in range(12):
            t.session.sender.next_number += 2**27
            echo_once(t, b"leap %d" % i)
        require(t.session.sender.next_number > 2**30, "not far enough")
        t.until(lambda: t.session.largest_acked > 2**30, "no ACK of a number above 2^30", 3)


def check_large_datagrams(command):
    """We take 1,452 bytes: what the partner looks for with larger datagrams stays in form."""
    with Table(command, "Paired", True, dial=False) as t:
        t.endpoint.hello = Hello(max_datagram=1452)
        t.endpoint.connect(t.partner.address, now())
        t.connected()
        data = bytes(range(256)) * 1600
        for lane in (0, 1):
            t.partner.command(send={"guarantee": "delivery", "lane": lane, "hex": data.hex()})
        t.until(lambda: sum(m[2] == data for m in t.got()) == 2, "400,000 bytes did not come twice")
        require(t.session.violations == 0, "violations")
        require(max(len(d) for d, _ in t.link.heard) <= 1452, "larger than agreed")


def checks():
    return [("PATH_CHALLENGE", check_path), ("SKIP, SKIPPED, HAVE", check_skip),
            ("violations: the eighth ends it", check_violations),
            ("more malformed payloads", check_each_malformed),
            ("impossible ACK", check_impossible_ack),
            ("bounds that are passed", check_bounds), ("the window over many lanes", check_window),
            ("65 runs of skips", check_skip_runs),
            ("the epoch rule", check_epoch_rule), ("ACKs of numbers with gaps", check_acks_with_gaps),
            ("INITs out of form", check_inits), ("a repeated INIT", check_repeated_init), ("COOKIE", check_cookie),
            ("RESPs that fail to read", check_transactional), ("leaps of the packet number", check_leaps),
            ("datagrams up to 1,452 bytes", check_large_datagrams)]
