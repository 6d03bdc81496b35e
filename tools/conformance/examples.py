"""The examples with bytes in PROTOCOL.md, and rules of its text that no vector file shows."""

import struct

import frames as fr
from ack import Ack
from hello import Hello
from integers import Malformed, Reader, complete, unzigzag, varint, zigzag
from packet import Sender, unmask
from keys import Epoch
from vectors import Checker

PAYLOAD = """01  a046140178  a40179  c4017a  c8017b  83050109017c  c0000000017d
             d200160066e807ea07020102  000000"""
ACK = "02e807640264aa0264ef0303"
PARITY = "0d02b10146140980 01d8048001" + 128 * "5a"
PLAIN = ("a44dffe8000000000000000001011817161514131211 0000000000000000 010001010000b00430750000ffff00001000000000000000",
         "f76d1f16000000000000000002012827262524232221 1817161514131211 010001010000b00430750000ffff00001000000000000000",
         "507d1bf8000000000000000003011817161514131211 2827262524232221 010001010000b00430750000ffff00001000000000000000",
         "3651df4228272625242322210700000001")


def unhex(text):
    return bytes.fromhex("".join(text.split()))


def crc32c(data):
    """Castagnoli, reflected, initial and final value all ones ("Plain endpoint")."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def plain(app_id, rest):
    data = b"sealgram/1 plain" + bytes([len(app_id)]) + app_id + rest
    return struct.pack("<I", crc32c(data)) + rest


def refused(data):
    try:
        fr.decode_payload(data)
    except Malformed:
        return True
    return False


def check_numbers(c):
    for value, data in ((0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (2**62 - 1, "ffffffffffffffff3f")):
        c.same("varint", varint(value), data)
        c.same("varint back", Reader(unhex(data)).varint(), value)
    for data in ("8000", "ff00", "ffffffffffffffff40", "80808080808080808001"):
        try:
            Reader(unhex(data)).varint()
            c.same("varint refused", data, "refused")
        except Malformed:
            c.same("varint refused", "refused", "refused")
    for d, z in ((0, 0), (-1, 1), (1, 2), (-2, 3), (-2**61, 2**62 - 1)):
        c.same("zigzag", zigzag(d), z)
        c.same("zigzag back", unzigzag(z), d)
    c.same("truncated", complete(0x282F9B32, 30, 0xA82F30EA + 1), 0xA82F9B32)
    c.same("truncated, first", complete(5, 30, 0), 5)


def rfc9000_a3(largest, truncated, bits):
    """The algorithm of RFC 9000, A.3, as it stands there."""
    expected, win = largest + 1, 1 << bits
    candidate = (expected & ~(win - 1)) | truncated
    if candidate <= expected - win // 2 and candidate < (1 << 62) - win:
        return candidate + win
    if candidate > expected + win // 2 and candidate >= win:
        return candidate - win
    return candidate


def check_truncated(c):
    """Around every edge of the window "Numbers" is the same as the RFC."""
    for bits in (30, 32):
        half = 1 << bits - 1
        for largest in (-1, 0, 1, half - 2, half - 1, half, 2 * half - 1, 2 * half, 5 * half + 3, 2**61 + 12345):
            for step in (-half - 1, -half, -half + 1, -half + 2, -2, 0, 1, 2, half - 1, half, half + 1, half + 2):
                low = (largest + step) % (1 << bits)
                c.same(f"truncated {bits} {largest} {step}", complete(low, bits, largest + 1),
                       rfc9000_a3(largest, low, bits))


def check_frames(c):
    data = unhex(PAYLOAD)
    frames = fr.decode_payload(data)
    c.same("payload", fr.encode_payload(frames), data.hex())
    numbers = [(f.lane, f.set, f.base, f.index) for f in frames if hasattr(f, "set")]
    c.same("payload numbers", numbers == [(0, 70, 20, None), (0, 71, 20, None), (0, 72, 20, 20), (0, 72, 20, 21),
                                          (5, None, None, None), (5, 0, 0, 0), (0, 73, 22, 22)], True)
    ack = Ack([(900, 1000), (500, 600), (0, 3)], 100)
    c.same("ACK", ack.encode(), ACK)
    c.same("ACK back", fr.decode_payload(unhex(ACK)) == [ack], True)
    parity = unhex(PARITY)
    c.same("PARITY", fr.encode_payload(fr.decode_payload(parity)), parity.hex())
    for name, bad in (("empty", ""), ("PADDING only", "0000"), ("rest after PADDING", "010001"),
                      ("two ACKs", ACK + ACK), ("explicit where implied fits", "a046140178a047140179"),
                      ("lane of the frame before", "82000178"), ("implied without last", "a40178"),
                      ("unknown type", "0e"), ("ACK below 0", "0202000003"), ("fragment without id", "b0000000ea07"),
                      ("id of a Delivery", "c101000000000178"), ("long reason", "03000041" + 65 * "00"),
                      ("None with numbers", "840178"), ("guarantee 11", "e00178")):
        c.same(name, refused(unhex(bad)), True)


def check_packet(c):
    """The example under "Packets": its key and iv are given, so no secret is needed."""
    epoch = Epoch(2, bytes(32))
    epoch.key = unhex("7d8da2490777eab9869eb16926120f777703694ba818447d0e79cc3d0d940326")
    epoch.iv = unhex("947a20c02748442784f6040b")
    sender = Sender.__new__(Sender)
    sender.epoch, sender.prefix = epoch, b""
    sender.hp = unhex("fc290839e4aa0348c9d5b8434a8549ca7506de54bfb2c6ab6c7030003c708bb0")
    packet = "fb86b22df6d666405407348ad6a5e77fd285518333"
    c.same("nonce", epoch.nonce(42), "947a20c02748442784f60421")
    c.same("packet", sender.seal(42, b"\x01"), packet)
    c.same("word", unmask(sender.hp, unhex(packet))[2], "8000002a")
    c.same("Hello", Hello().encode(), "0100010100 00b00430750000ffff00001000000000000000".replace(" ", ""))


def check_plain(c):
    for text in PLAIN:
        data = unhex(text)
        c.same("plain datagram", plain(b"game", data[4:]), data.hex())
    a, b = 0x1112131415161718, 0x2122232425262728
    for kind, own, peer, text in ((1, a, 0, PLAIN[0]), (2, b, a, PLAIN[1]), (3, a, b, PLAIN[2])):
        rest = struct.pack("<QBBQQ", 0, kind, 1, own, peer) + Hello().encode()
        c.same("plain opening", plain(b"game", rest), unhex(text).hex())
    c.same("plain packet", plain(b"game", struct.pack("<QIB", b, 7, 1)), PLAIN[3])


def run():
    out = []
    for name, check in (("text: numbers", check_numbers), ("text: truncated numbers", check_truncated),
                        ("text: frames", check_frames),
                        ("text: packet", check_packet), ("text: plain endpoint", check_plain)):
        c = Checker(name)
        try:
            check(c)
        except Exception as e:
            c.failures.append(f"{name}: {type(e).__name__}: {e}")
        out.append((name, c.passed, c.failures))
    return out
