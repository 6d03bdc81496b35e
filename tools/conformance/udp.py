"""UDP sockets with losses of our own making, and the loop that drives endpoints over them."""

import select
import socket
import time


def now():
    """A clock that runs during sleep, where there is one: without it a gap of more than 1 s between two
    calls would have to erase all half-open entries ("Simultaneous open", rule 5)."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Link:
    """One socket. `drop_out` and `drop_in`: every n-th datagram is lost (0: none)."""

    def __init__(self, bind=("127.0.0.1", 0), drop_out=0, drop_in=0):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.setblocking(False)
        self.socket.bind(bind)
        self.drop_out, self.drop_in = drop_out, drop_in
        self.drop_first = 0  # so many of the first in each direction are lost
        self.out = self.in_ = 0
        self.tap = []  # (datagram, address) of what left
        self.heard = []  # what came in
        self.keep_tap = False
        self.lost = 0

    @property
    def address(self):
        return self.socket.getsockname()

    def send(self, datagram, address):
        self.out += 1
        if self.keep_tap:
            self.tap.append((datagram, address))
        if self.out <= self.drop_first or (self.drop_out and self.out % self.drop_out == 0):
            self.lost += 1
            return
        self.raw(datagram, address)

    def raw(self, datagram, address):
        """Past counters and losses: what a stranger on the way would send."""
        try:
            self.socket.sendto(datagram, address)
        except (BlockingIOError, ConnectionRefusedError):
            pass

    def receive(self):
        """What has arrived, after losses."""
        while True:
            try:
                data, address = self.socket.recvfrom(65536)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue
            self.in_ += 1
            if self.in_ <= self.drop_first or (self.drop_in and self.in_ % self.drop_in == 0):
                self.lost += 1
                continue
            if self.keep_tap:
                self.heard.append((data, address))
            yield data, address

    def close(self):
        self.socket.close()


def turn(pairs, wait=0.005, also=()):
    """One turn of the loop for [(endpoint, link)]; `also` are further files that wake it."""
    ready = select.select([link.socket for _, link in pairs] + list(also), [], [], wait)[0]
    for endpoint, link in pairs:
        if link.socket in ready:
            for data, address in link.receive():
                endpoint.receive(data, address, now())
        endpoint.poll(now())
    return ready
