"""Checks against a server of many peers: route, connection ids, NEW_CID ("Route", "Connection ids").

Only a partner with `--server` can take part; the Python peer is none.
"""

from messages import DELIVERY
from partner import Table, Unsupported, echo_once, require

ROUTE = b"route-7"


def table(command, profile, route=ROUTE, **more):
    if any(part.endswith("peer.py") for part in command):
        raise Unsupported
    more_args = ("--server", "--route", ROUTE.hex()) if route else ("--server",)
    return Table(command, profile, True, more=more_args, route=route, **more)


def check_server(profile, drop=0, route=ROUTE):
    """Handshake behind a route, an id in the answer, echoes, spares, and packets under the next id."""
    def check(command):
        with table(command, profile, route, drop=drop) as t:
            t.connected()
            t.partner.command(echo=True)
            t.rest(0.2)
            s = t.session
            require(len(s.ids.cid) == 8, "the answer has no id")
            echo_once(t, b"under the first id")
            t.until(lambda: len(s.ids.spares) == 2, "no two spares", 10)
            for n in (1, 2, 3):
                t.until(lambda: s.ids.spares, "no spare", 10)
                s.change_id(t.now())
                require(s.ids.sequence == n, "numbers of ids have gaps")
                echo_once(t, b"under id %d" % n)
            large = bytes(range(256)) * 200
            s.send(DELIVERY, 5, large)
            t.until(lambda: (DELIVERY, 5, large) in t.got(), "a large message")
            require(s.violations == 0, "violations")
            t.endpoint.close(3, t.now())
            t.until(lambda: t.theirs("closed"), "the partner saw no close")
            require(t.theirs("closed")[0]["code"] == 3, "another code")
    return check


def check_wrong_route(command):
    """Another route meets silence."""
    with table(command, "Client") as t:
        t.route = b"route-8"
        t.link.in_ = 0
        t.endpoint = t.make_endpoint(t.link, "connect")
        t.endpoint.connect(t.partner.address, t.now())
        t.rest(1.0)
        require(not t.ours("connected"), "connected")


def checks():
    return [(f"server: {p}", check_server(p)) for p in ("Tofu", "InviteTofu", "Client", "ClientAuth", "ClientAuthPsk")] \
        + [(f"server without a route: {p}", check_server(p, route=b"")) for p in ("Tofu", "InviteTofu", "ClientAuth")] \
        + [("server: every 5th datagram lost", check_server("ClientAuth", 5)), ("server: another route", check_wrong_route)]
