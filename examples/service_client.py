#!/usr/bin/env python3
"""A client of a Minigun service in Python, with nothing but the standard library.

It is docs/service-protocol.md in code.

    python3 examples/service_client.py PATH TEXT...    calls the service with each text, a number or JSON, prints replies

Python has no memory fences, so it does what the protocol says for such languages: it always rings, and looks again
before it sleeps. Needs Python 3.9, on Linux.
"""
import array
import json
import mmap
import os
import select
import socket
import struct
import sys

CALL, SEND, REPLY, FAILURE, CANCEL = 1, 2, 3, 4, 5
MORE = 2                          # of a frame's flags
GREETING = struct.Struct("<8sIIIIQ")
FRAME = struct.Struct("<IBBHQ")
LOOK_AGAIN = 100                  # milliseconds


class Ended(Exception):
    """The connection is over."""


class Failed(Exception):
    """What a call has come to, where it has failed: the map that the server has sent."""


# --- MessagePack ------------------------------------------------------------------------------------------------

def pack(value):
    """A value of JSON's kinds as bytes."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        if 0 <= value < 128:
            return bytes([value])
        return struct.pack(">BQ", 0xcf, value) if value >= 0 else struct.pack(">Bq", 0xd3, value)
    if isinstance(value, float):
        return struct.pack(">Bd", 0xcb, value)
    if isinstance(value, (str, bytes)):
        text = value.encode() if isinstance(value, str) else value
        return (bytes([0xa0 | len(text)]) if len(text) < 32 else struct.pack(">BI", 0xdb, len(text))) + text
    if isinstance(value, (list, tuple)):
        return struct.pack(">BI", 0xdd, len(value)) + b"".join(map(pack, value))
    if isinstance(value, dict):
        return struct.pack(">BI", 0xdf, len(value)) + b"".join(pack(k) + pack(v) for k, v in value.items())
    raise TypeError(f"cannot be sent: {value!r}")


NUMBERS = {0xca: ">f", 0xcb: ">d", 0xcc: ">B", 0xcd: ">H", 0xce: ">I", 0xcf: ">Q",
           0xd0: ">b", 0xd1: ">h", 0xd2: ">i", 0xd3: ">q"}
LENGTHS = {0xc4: ">B", 0xc5: ">H", 0xc6: ">I", 0xd9: ">B", 0xda: ">H", 0xdb: ">I",
           0xdc: ">H", 0xdd: ">I", 0xde: ">H", 0xdf: ">I", 0xc7: ">B", 0xc8: ">H", 0xc9: ">I"}


def number(data, at, form):
    return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)


def unpack(data, at=0):
    """The value that begins there, and where it ends. Strings that are no UTF-8 stay bytes."""
    tag = data[at]
    at += 1
    if tag < 0x80 or tag >= 0xe0:
        return tag if tag < 0x80 else tag - 256, at
    if tag in (0xc0, 0xc2, 0xc3):
        return {0xc0: None, 0xc2: False, 0xc3: True}[tag], at
    if tag in NUMBERS:
        return number(data, at, NUMBERS[tag])
    if tag in LENGTHS:
        n, at = number(data, at, LENGTHS[tag])
    else:
        n = tag & (0x1f if 0xa0 <= tag < 0xc0 else 0x0f)
    if 0xc4 <= tag <= 0xc6 or 0xd9 <= tag <= 0xdb or 0xa0 <= tag < 0xc0:
        text = bytes(data[at:at + n])
        try:
            return text.decode(), at + n
        except UnicodeDecodeError:
            return text, at + n
    if 0xc7 <= tag <= 0xc9:
        return packed(data[at], data[at + 1:at + 1 + n]), at + 1 + n
    if 0x90 <= tag < 0xa0 or tag in (0xdc, 0xdd):
        items = []
        for _ in range(n):
            item, at = unpack(data, at)
            items.append(item)
        return items, at
    if 0x80 <= tag < 0x90 or tag in (0xde, 0xdf):
        found = {}
        for _ in range(n):
            key, at = unpack(data, at)
            found[key], at = unpack(data, at)
        return found, at
    raise ValueError(f"byte {tag:#x} is not known here")


def packed(kind, data):
    """Arrays of numbers: extensions 1 and 2 of the wire format."""
    if kind == 1:
        form = {1: "b", 2: "<h", 4: "<i", 8: "<q"}[data[0]]
        return [n for n, in struct.iter_unpack(form, bytes(data[1:]))]
    if kind == 2:
        return [n for n, in struct.iter_unpack("<d", bytes(data))]
    raise ValueError(f"extension {kind} is not known here")


# --- the connection ----------------------------------------------------------------------------------------------

class Ring:
    """One direction. `mine` is this side's cursor."""

    def __init__(self, words, head, tail, memory, start, size):
        self.words, self.head, self.tail = words, head // 8, tail // 8
        self.memory, self.start, self.size, self.mine = memory, start, size, 0

    def copy_in(self, at, data):
        place = at % self.size
        first = min(len(data), self.size - place)
        self.memory[self.start + place:self.start + place + first] = data[:first]
        self.memory[self.start:self.start + len(data) - first] = data[first:]

    def copy_out(self, at, n):
        place = at % self.size
        first = min(n, self.size - place)
        begin = self.start + place
        return self.memory[begin:begin + first] + self.memory[self.start:self.start + n - first]


class Client:
    """A connection to a service. `call` gives the reply; `send` sends one way."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect("\0" + path[1:] if path.startswith("@") else path)
        self.socket.send(GREETING.pack(b"minigun", 1, 0, 0, 0, 0))
        packet, control, _, _ = self.socket.recvmsg(256, socket.CMSG_SPACE(4))
        magic, version, status, to_server, to_client, self.number = GREETING.unpack_from(packet)
        if magic != b"minigun\0" or status != 0:
            raise Ended(packet[GREETING.size:].decode(errors="replace") or "this is no service")
        descriptors = array.array("i", control[0][2][:4])
        page, size = mmap.PAGESIZE, mmap.PAGESIZE + to_server + to_client
        if os.fstat(descriptors[0]).st_size != size:
            raise Ended("the memory has another size")
        self.memory = mmap.mmap(descriptors[0], size)
        os.close(descriptors[0])
        self.socket.setblocking(False)
        self.poll = select.poll()
        self.poll.register(self.socket, select.POLLIN)
        words = memoryview(self.memory)[:512].cast("Q")     # one store of 8 bytes each
        self.words32 = memoryview(self.memory)[:512].cast("I")
        self.out = Ring(words, 0, 64, self.memory, page, to_server)
        self.inward = Ring(words, 128, 192, self.memory, page + to_server, to_client)
        self.calls = 0

    def ring(self):
        """Without fences it cannot be known whether the server sleeps: it is always rung."""
        try:
            self.socket.send(b"\0")
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass

    def read_socket(self):
        """Takes what is there. Whether the server is gone."""
        while True:
            try:
                packet = self.socket.recv(256)
            except BlockingIOError:
                return False
            except ConnectionResetError:
                return True
            if not packet:
                return True
            if packet[0] == 1:
                raise Ended(packet[1:].decode(errors="replace"))

    def wait(self, ready, what):
        while not ready():
            self.words32[256 // 4] = what
            gone = self.read_socket()                       # a system call, then one more look
            if not ready():
                if gone:
                    raise Ended("the server has ended")
                self.poll.poll(LOOK_AGAIN)
            self.words32[256 // 4] = 0

    def write(self, kind, number_, data):
        most, out, sent = self.out.size // 4, self.out, 0
        while True:
            part = data[sent:sent + most]
            space = FRAME.size + (len(part) + 7 & ~7)
            self.wait(lambda: out.size - (out.mine - out.words[out.tail]) >= space, 3)
            sent += len(part)
            out.copy_in(out.mine, FRAME.pack(len(part), kind, MORE if sent < len(data) else 0, 0, number_) + part)
            out.mine += space
            out.words[out.head] = out.mine
            self.ring()
            if sent == len(data):
                return

    def read(self):
        """The next message: kind, number, bytes."""
        ring, data = self.inward, b""
        while True:
            self.wait(lambda: ring.words[ring.head] != ring.mine, 1)
            waiting = ring.words[ring.head] - ring.mine
            length, kind, flags, _, number_ = FRAME.unpack(ring.copy_out(ring.mine, FRAME.size))
            space = FRAME.size + (length + 7 & ~7)
            if not space <= waiting <= ring.size:
                raise Ended("the server has written something that is no message")
            data += ring.copy_out(ring.mine + FRAME.size, length)
            ring.mine += space
            ring.words[ring.tail] = ring.mine
            self.ring()
            if not flags & MORE:
                return kind, number_, data

    def send(self, value):
        """One way, without a reply."""
        self.write(SEND, 0, pack(value))

    def call(self, value):
        """The reply. Raises Failed, Ended."""
        self.calls += 1
        self.write(CALL, self.calls, pack(value))
        kind, number_, data = self.read()
        if number_ != self.calls or kind not in (REPLY, FAILURE):
            raise Ended("the server has answered what was not asked")
        value = unpack(data)[0] if data else None
        if kind == FAILURE:
            raise Failed(value)
        return value


def main(arguments):
    if len(arguments) < 2:
        sys.exit("usage: service_client.py PATH TEXT...")
    try:
        client = Client(arguments[0])
        for text in arguments[1:]:
            try:
                value = json.loads(text)
            except ValueError:
                value = text
            print(json.dumps(client.call(value)))
    except Failed as failure:
        sys.exit(f"service_client.py: the call has failed: {failure.args[0]['message']}")
    except Ended as end:
        sys.exit(f"service_client.py: {end}")


if __name__ == "__main__":
    main(sys.argv[1:])
