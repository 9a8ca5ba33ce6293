"""An Ethernet switch in this process: a TAP device per host, and faults of its own for every directed link.

What a kernel's bridge does with `tc netem` and filters, where many kernels have neither netem nor filter
actions; here every direction of every pair has its own rule, drawn from its own seeded stream, and frames are
counted. Ports are numbered from 0; port N owns the address `hardware_address(N)`.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FRAME_BYTES_MAX = 2048  # more than any frame of 1500 bytes of payload
WAITING_MAX = 100_000  # delayed frames; a hundred seconds of six busy agents

_TUNSETIFF = 0x400454CA
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_HARDWARE_PREFIX = b"\x02\x00\x00\x00\x00"  # locally administered
_SYN, _ACK = 0x02, 0x10
_TCP = 6


@dataclass(frozen=True, slots=True)
class LinkRule:
    """What happens to frames on one directed link. Jitter lets later frames overtake earlier ones."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    cut: bool = False


def hardware_address(port: int) -> str:
    """The address of the network card at this port."""
    return (_HARDWARE_PREFIX + bytes([port])).hex(":")


def dials(frame: bytes) -> bool:
    """Whether the frame opens a TCP connection: SYN without ACK, over IPv4 or IPv6 without extensions."""
    kind = frame[12:14]
    if kind == b"\x08\x00" and len(frame) >= 34:
        header, protocol = 14 + 4 * (frame[14] & 0x0F), frame[23]
    elif kind == b"\x86\xdd" and len(frame) >= 54:
        header, protocol = 54, frame[20]
    else:
        return False
    return protocol == _TCP and len(frame) > header + 13 and frame[header + 13] & (_SYN | _ACK) == _SYN


def open_tap(device: str) -> int:
    """Make a network card in the namespace of this thread; frames are read from and written to the result."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _IFF_TAP | _IFF_NO_PI))
    except OSError:
        os.close(tap)
        raise
    return tap


class Switch:
    """Forwards frames between its ports until `close`, in a thread of its own.

    `rule` and `firewalled` may be changed at any time; a change counts for frames that arrive afterwards.
    `counters[source, target, what]` with what in "passed", "lost", "cut", "refused".
    """

    def __init__(self, taps: Sequence[int], *, seed: int = 0) -> None:
        """`taps` come from `open_tap`; the switch closes them, and with them the devices vanish."""
        self.rules: dict[tuple[int, int], LinkRule] = {}
        self.firewalled: set[int] = set()  # ports that can dial and cannot be dialled
        self.counters: Counter[tuple[int, int, str]] = Counter()
        ports = range(len(taps))
        self._streams = {
            (source, target): random.Random(f"{seed}/{source}->{target}")
            for source in ports
            for target in ports
        }
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self._order = itertools.count()
        self._taps = tuple(taps)
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._run, name="switch", daemon=True)

    def start(self) -> None:
        """Begin to forward."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and close the devices."""
        if self._thread.is_alive():
            os.write(self._stop_write, b".")
            self._thread.join()
        for descriptor in (*self._taps, self._stop_read, self._stop_write):
            os.close(descriptor)

    def _run(self) -> None:
        port_of = {tap: port for port, tap in enumerate(self._taps)}
        with select.epoll() as poll:
            for descriptor in (*self._taps, self._stop_read):
                poll.register(descriptor, select.EPOLLIN)
            while True:
                timeout_s = max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else None
                for descriptor, _ in poll.poll(timeout_s):
                    if descriptor == self._stop_read:
                        return
                    self._drain(port_of[descriptor], descriptor)
                while self._waiting and self._waiting[0][0] <= time.monotonic():
                    _, _, target, frame = heapq.heappop(self._waiting)
                    self._write(target, frame)

    def _drain(self, source: int, tap: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                frame = os.read(tap, FRAME_BYTES_MAX)
                for target in self._targets(source, frame):
                    self._forward(source, target, frame)

    def _targets(self, source: int, frame: bytes) -> list[int]:
        if frame[0] & 1:  # multicast, broadcast
            return [port for port in range(len(self._taps)) if port != source]
        port = frame[5] if frame.startswith(_HARDWARE_PREFIX) else len(self._taps)
        return [port] if port < len(self._taps) else []

    def _forward(self, source: int, target: int, frame: bytes) -> None:
        rule = self.rules.get((source, target), LinkRule())
        draw = self._streams[source, target].random
        if rule.cut:
            fate = "cut"
        elif target in self.firewalled and dials(frame):
            fate = "refused"
        elif rule.loss and draw() < rule.loss:
            fate = "lost"
        else:
            fate = "passed"
            delay_s = max(0.0, rule.delay_s + rule.jitter_s * (2 * draw() - 1)) if rule.delay_s else 0.0
            if not delay_s:
                self._write(target, frame)
            elif len(self._waiting) < WAITING_MAX:
                heapq.heappush(self._waiting, (time.monotonic() + delay_s, next(self._order), target, frame))
            else:
                fate = "lost"
        self.counters[source, target, fate] += 1

    def _write(self, target: int, frame: bytes) -> None:
        """A card that is down or full loses the frame, as a real one does."""
        with contextlib.suppress(OSError):
            os.write(self._taps[target], frame)
