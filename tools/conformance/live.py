"""Live checks over UDP on the loopback, against any program with the `conformance_peer` interface."""

import random

import differential
import probes
import semantics
import servers
from messages import DELIVERY, GUARANTEES, NAMES, NONE, ORDER
from partner import Failed, Partner, Table, Unsupported, echo_once, require
from primitives import random_bytes
from profiles import PROFILES
from udp import now


def content(n, seed=0):
    return random.Random(seed).randbytes(n)


def hello_world(t):
    """One message of each guarantee there and back."""
    t.partner.command(echo=True)
    t.rest(0.1)
    sent = [(g, 0, b"there and back " + bytes([g])) for g in (NONE, ORDER, DELIVERY)]
    for m in sent:
        t.session.send(*m)
        t.until(lambda: m in t.got(), f"no echo of {NAMES[m[0]]}")
    require(sorted(t.got()) == sorted(sent), "something came twice")


def shake(t, who_closes):
    t.connected()
    hello_world(t)
    if who_closes == "we":
        t.endpoint.close(7, now())
        t.until(lambda: t.theirs("closed"), "the partner saw no close")
        require(t.theirs("closed")[0]["code"] == 7, "another code")
    else:
        t.partner.command(close=9)
        t.until(lambda: t.ours("closed"), "we saw no close")
        require(t.ours("closed")[0][1] == 9, "another code")
        require(t.ours("closed")[0][3] == "peer", "closed here")


def check_handshake(profile, we_dial):
    def check(command):
        # The side that dialled closes where we dial, and so does the partner where he dials:
        # with both directions each end closes and is closed in every profile.
        with Table(command, profile, we_dial) as t:
            shake(t, "we" if we_dial else "they")
    return check


def check_first_lost(profile, we_dial):
    """The first two datagrams of each direction are lost: INIT, RESP, FIN and CONFIRM come again."""
    def check(command):
        with Table(command, profile, we_dial, dial=False) as t:
            t.link.drop_first = 2
            if we_dial:
                t.endpoint.connect(t.partner.address, now())
            t.connected()
            require(t.link.lost >= 3, "too little was lost")
            hello_world(t)
    return check


def check_close_other(we_dial):
    def check(command):
        with Table(command, "Paired", we_dial) as t:
            shake(t, "they" if we_dial else "we")
    return check


def check_lanes(we_dial):
    """Delivery and Order on three lanes, and both mixed: each lane keeps its order both ways."""
    def check(command):
        with Table(command, "Paired", we_dial) as t:
            t.connected()
            t.partner.command(echo=True)
            t.rest(0.1)
            sent = [(g, lane, b"%d" % i) for i in range(30) for lane in (0, 1, 255) for g in (ORDER, DELIVERY)]
            for g, lane, data in sent:
                t.session.send(g, lane, data)
            deliveries = [m for m in sent if m[0] == DELIVERY]
            t.until(lambda: sum(m[0] == DELIVERY for m in t.got()) >= len(deliveries), "not all came back")
            t.until(lambda: sum(m[0] == "delivery" for m in t.their_messages()) >= len(deliveries), "not all were told")
            for lane in (0, 1, 255):
                back = [int(m[2]) for m in t.got() if m[1] == lane and m[0] == DELIVERY]
                require(back == list(range(30)), f"lane {lane} lost its order")
                orders = [int(m[2]) for m in t.got() if m[1] == lane and m[0] == ORDER]
                require(orders == sorted(set(orders)), f"Order went back in time on lane {lane}")
                theirs = [int(d) for g, n, d in t.their_messages() if n == lane and g == "delivery"]
                require(theirs == list(range(30)), f"lane {lane} lost its order at the partner")
    return check


def check_sets(command):
    """Sets: members have no order among themselves, sets do. Losses shuffle what arrives when."""
    with Table(command, "Paired", True, drop=5) as t:
        t.connected()
        sets = [[(DELIVERY, 3, b"set %d member %d " % (s, i) + content(300, s)) for i in range(4)] for s in range(12)]
        for members in sets:
            t.session.send_set(members)
            t.session.send(ORDER, 3, b"order")
        t.until(lambda: sum(m[0] == "delivery" for m in t.their_messages()) >= 48 and t.session.outgoing.idle(),
                "not all sets arrived")
        got = [d for g, _, d in t.their_messages() if g == "delivery"]
        for s, members in enumerate(sets):
            mine = got[4 * s:4 * s + 4]
            require(sorted(mine) == sorted(m[2] for m in members), f"set {s} is not between its neighbours")


def check_large(we_dial):
    """Fragments there and back: a Delivery of 200,000 bytes, an Order and a None of 20,000."""
    def check(command):
        with Table(command, "Paired", we_dial) as t:
            t.connected()
            t.partner.command(echo=True)
            t.rest(0.1)
            for g, n in ((DELIVERY, 200_000), (ORDER, 20_000), (NONE, 20_000)):
                data = content(n, g)
                t.session.send(g, 2, data)
                t.until(lambda: (g, 2, data) in t.got(), f"{n} bytes of {NAMES[g]} did not come back", 30)
            m = {"guarantee": "delivery", "lane": 9, "hex": content(100_000, 5).hex()}
            t.partner.command(send=m)
            t.until(lambda: (DELIVERY, 9, content(100_000, 5)) in t.got(), "100,000 bytes of the partner did not come")
    return check


def check_losses(profile, we_dial):
    """Every 5th datagram lost in both directions, handshake included: each Delivery once, in order."""
    def check(command):
        with Table(command, profile, we_dial, drop=5) as t:
            t.connected()
            t.partner.command(echo=True)
            t.rest(0.3)
            large = content(60_000, 7)
            sent = [(DELIVERY, lane, b"%d" % i) for i in range(60) for lane in (0, 4)] + [(DELIVERY, 8, large)]
            for n, (g, lane, data) in enumerate(sent):
                t.session.send(g, lane, data)
                t.session.send(ORDER, lane, b"o%d" % n)
                t.session.send(NONE, lane, b"n%d" % n)
                if n % 10 == 0:
                    t.rest(0.02)
            t.until(lambda: sum(m[0] == DELIVERY for m in t.got()) >= len(sent), "not every Delivery came back", 60)
            t.rest(0.5)
            for lane in (0, 4):
                require([int(m[2]) for m in t.got() if m[:2] == (DELIVERY, lane)] == list(range(60)), "order")
            require([m for m in t.got() if m[:2] == (DELIVERY, 8)] == [(DELIVERY, 8, large)], "the large one")
            none = [m[2] for m in t.got() if m[0] == NONE]
            require(len(none) == len(set(none)), "a None came twice")
            orders = [int(m[2][1:]) for m in t.got() if m[:2] == (ORDER, 0)]
            require(orders == sorted(set(orders)), "Order went back in time")
            require(t.link.lost > 20, "nothing was lost")
    return check


def check_ratchet(who, drop=0):
    """Two steps of the epoch, with echoes before, during and after them. The partner steps by its
    count of packets, we when we want to."""
    def check(command):
        more = ("--ratchet-packets", "16") if who == "they" else ()
        with Table(command, "Paired", True, drop=drop, more=more) as t:
            t.connected()
            t.partner.command(echo=True)
            t.rest(0.2)
            epoch = (lambda: t.session.sender.epoch.number) if who == "we" else \
                (lambda: t.session.receiver.current.number)
            for n in (1, 2):
                echo_once(t, b"before %d" % n)
                if who == "we":
                    t.session.ratchet()
                i = 0
                deadline = now() + 20
                while epoch() < n:
                    require(now() < deadline, f"no step to epoch {n}")
                    echo_once(t, b"during %d %d" % (n, i))
                    i += 1
                    t.rest(0.05)
                for i in range(5):
                    echo_once(t, b"after %d %d" % (n, i))
            require(t.session.violations == 0, "violations")
    return check


def check_tamper(we_dial):
    """What a stranger on the way can send changes nothing: replays, changed bits, cuts, garbage, INITs."""
    def check(command):
        with Table(command, "Paired", we_dial) as t:
            t.connected()
            t.partner.command(echo=True)
            t.rest(0.2)
            for i in range(10):
                echo_once(t, b"first %d" % i)
            t.until(lambda: len(t.their_messages()) == 10, "the partner was told something else")
            tap, heard = list(t.link.tap), list(t.link.heard)
            theirs = len(t.their_messages())
            rng = random.Random(5)
            for _ in range(2):
                for datagram, address in tap:
                    t.link.raw(datagram, address)
                    changed = bytearray(datagram)
                    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
                    t.link.raw(bytes(changed), address)
                    t.link.raw(datagram[:rng.randrange(len(datagram))], address)
                t.rest(0.2)
            for n in (0, 1, 20, 21, 40, 100, 1200, 1300):
                t.link.raw(random_bytes(n), tap[-1][1])
            t.rest(0.5)
            require(len(t.their_messages()) == theirs, "a replay was yielded")
            require(not t.theirs("closed") and t.session is not None, "the session ended")
            echo_once(t, b"still here")
            # The same at our own receiver.
            ours = len(t.got())
            for datagram, address in heard:
                changed = bytearray(datagram)
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
                for data in (datagram, bytes(changed), datagram[:rng.randrange(len(datagram))]):
                    t.endpoint.receive(data, address, now())
            t.rest(0.2)
            require(len(t.got()) == ours, "a replay was yielded here")
            require(t.session is not None and t.session.violations == 0, "our session took harm")
            echo_once(t, b"still here too")
    return check


def check_silent(command):
    """Another app id: the partner answers nothing, and is there for who has the right one."""
    with Table(command, "Paired", True, app_id=b"other") as t:
        t.rest(1.5)
        require(t.link.in_ == 0, "the partner answered a stranger")
        require(not t.ours("connected") and not t.theirs("connected"), "connected")
        t.endpoint = t.make_endpoint(t.link, "connect")
        t.endpoint.connect(t.partner.address, now())
        t.connected()


def check_both_dial(profile):
    """Simultaneous open: both dial at once, and one session comes of it."""
    def check(command):
        for _ in range(3):
            with Table(command, profile, True, partner_dials=True) as t:
                t.connected()
                t.rest(0.3)
                hello_world(t)
                require(len(t.theirs("connected")) == 1 and len(t.ours("connected")) == 1, "more than one session")
    return check


def check_replace(profile):
    """We forget the session and dial anew with the same key: the partner takes the new one."""
    def check(command):
        with Table(command, profile, True) as t:
            t.connected()
            hello_world(t)
            old = t.session
            t.events.clear()
            t.endpoint = t.make_endpoint(t.link, "connect")
            t.endpoint.connect(t.partner.address, now())
            t.until(lambda: t.session is not None, "no new session")
            require(t.session.keys.id != old.keys.id, "the old session")
            t.partner.command(echo=True)
            t.rest(0.2)
            echo_once(t, b"anew")
    return check


def check_replaced(command):
    """The partner dies without a word; a second one with its key displaces the session, and ours says so."""
    with Table(command, "Paired", False) as t:
        t.connected()
        t.partner.stop()
        t.partner = Partner(command, "connect", t.profile, t.link.address)
        t.until(lambda: len(t.ours("connected")) == 2 and t.theirs("connected"), "no new session")
        require(t.ours("closed")[0][1] == 0xFFFF, "the old session did not end as replaced")
        hello_world(t)


def check_from_partner(command):
    """Messages that the partner begins, each guarantee on two lanes."""
    with Table(command, "Paired", False) as t:
        t.connected()
        sent = [(g, lane, b"%s %d %d" % (g.encode(), lane, i)) for i in range(20)
                for g in GUARANTEES for lane in (0, 17)]
        for g, lane, data in sent:
            t.partner.command(send={"guarantee": g, "lane": lane, "hex": data.hex()})
        wanted = [(GUARANTEES[g], lane, d) for g, lane, d in sent if g == "delivery"]
        t.until(lambda: sum(m[0] == DELIVERY for m in t.got()) == len(wanted), "not every Delivery came")
        for lane in (0, 17):
            require([m for m in t.got() if m[:2] == (DELIVERY, lane)] == [m for m in wanted if m[1] == lane], "order")
        t.rest(0.3)
        require(t.session.violations == 0, "violations")


def checks():
    out = []
    for profile in PROFILES:
        out.append((f"{profile}: we dial, messages, we close", check_handshake(profile, True)))
        out.append((f"{profile}: partner dials, messages, partner closes", check_handshake(profile, False)))
    for we_dial in (True, False):
        who = "we dial" if we_dial else "partner dials"
        out += [(f"close by the side that answered ({who})", check_close_other(we_dial)),
                (f"order on three lanes ({who})", check_lanes(we_dial)),
                (f"large messages in fragments ({who})", check_large(we_dial)),
                (f"every 5th datagram lost, Paired ({who})", check_losses("Paired", we_dial)),
                (f"every 5th datagram lost, Tofu ({who})", check_losses("Tofu", we_dial)),
                (f"the first two datagrams lost, Paired ({who})", check_first_lost("Paired", we_dial)),
                (f"the first two datagrams lost, Tofu ({who})", check_first_lost("Tofu", we_dial)),
                (f"tampered and replayed datagrams ({who})", check_tamper(we_dial))]
    out += [("sets under losses", check_sets), ("messages that the partner begins", check_from_partner),
            ("ratchet, our direction", check_ratchet("we")), ("ratchet, partner's direction", check_ratchet("they")),
            ("ratchet under losses", check_ratchet("we", 5)),
            ("another app id meets silence", check_silent),
            ("both dial at once, Paired", check_both_dial("Paired")),
            ("both dial at once, Invite", check_both_dial("Invite")),
            ("both dial at once, Tofu", check_both_dial("Tofu")),
            ("we come back with the same key, Paired", check_replace("Paired")),
            ("we come back with the same key, ClientAuth", check_replace("ClientAuth")),
            ("we come back where no key is proven, Invite", check_replace("Invite")),
            ("the partner comes back with the same key", check_replaced)]
    return out + probes.checks() + semantics.checks() + differential.checks() + servers.checks()


def run(command, report, only=""):
    """Runs all; `report(name, seconds, outcome)`, where the outcome is "ok", "left out" or what failed."""
    for name, check in checks():
        if only not in name:
            continue
        began = now()
        try:
            check(command)
            outcome = "ok"
        except Unsupported:
            outcome = "left out"
        except Failed as e:
            outcome = f"FAILED: {e}"
        except Exception as e:
            outcome = f"FAILED: {type(e).__name__}: {e}"
        report(name, now() - began, outcome)
