"""A laboratory of network namespaces: hosts with a network card each on one switch, and processes on them.

Needs root, `ip` of iproute2 and /dev/net/tun. Nothing is shared with the network of this machine, and nothing
outlives the laboratory: `close` ends its processes and removes its namespaces, and the next laboratory
removes those of one that was killed. Hosts are numbered from 0; host N has the address 10.77.0.(N+1).
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tests.network.switch import LinkRule, Switch, hardware_address, open_tap

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Self

T = TypeVar("T")

CARD = "lan0"
_NAMESPACES = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_POLL_S = 0.1
_NUMBERS = itertools.count()


def address(host: int) -> str:
    """Its IPv4 address."""
    return f"10.77.0.{host + 1}"


def missing() -> str | None:
    """Why no laboratory can be built here; None if one can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "ip (iproute2) is not installed"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun cannot be opened"
    try:
        Lab(1).close()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"network namespaces are not permitted: {error}"
    return None


def wait_until(condition: Callable[[], T], what: str, limit_s: float) -> T:
    """Poll what other processes do until it is true; returns that. Fails with `what` after `limit_s`."""
    pause = threading.Event()
    end = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {limit_s:.0f} s: {what}"
        pause.wait(_POLL_S)
    return found


class HostProcess:
    """A process on a host; what it prints is in `log`."""

    def __init__(self, namespace: str, arguments: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["ip", "netns", "exec", namespace, *arguments],  # noqa: S607  (as installed); it replaces itself
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
                start_new_session=True,  # Ctrl-C is for the tests, which then end their processes
            )

    def ended(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    def text(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, said: str, limit_s: float = 60.0) -> str:
        """Wait until it has printed this, and return all it has printed. Fails if it ends before."""

        def found() -> str:
            text = self.text()
            assert said in text or self.ended() is None, f"ended with {self.ended()}: {text[-2000:]}"
            return text if said in text else ""

        return wait_until(found, f"{said!r} in {self.log}", limit_s)

    def signal(self, number: signal.Signals) -> None:
        """SIGTERM, SIGSTOP, SIGCONT."""
        self._process.send_signal(number)

    def wait(self, limit_s: float = 90.0) -> int:
        """The exit code, once it has ended by itself. Raises subprocess.TimeoutExpired."""
        return self._process.wait(limit_s)

    def kill(self) -> int:
        """End it without a word."""
        self._process.kill()
        return self._process.wait()


class Lab:
    """Hosts on a switch. Raises OSError or CalledProcessError where that is not permitted."""

    def __init__(self, hosts: int, *, seed: int = 0) -> None:
        remove_stale()
        prefix = f"hyperpush-{os.getpid()}-{next(_NUMBERS)}"
        self.hosts = range(hosts)
        self._namespaces = [f"{prefix}-{host}" for host in self.hosts]
        self._processes: list[HostProcess] = []
        self._shape = LinkRule()
        self._cuts: set[tuple[int, int]] = set()
        self._group_of: dict[int, int] = {}
        self._switch: Switch | None = None
        taps: list[int] = []
        try:
            for host in self.hosts:
                self._ip("netns", "add", self._namespaces[host])
                taps.append(self.inside(host, lambda: open_tap(CARD)))
            self._switch = Switch(taps, seed=seed)
            for host in self.hosts:
                self._configure(host)
            self._switch.start()
        except BaseException:
            if self._switch is None:
                for tap in taps:
                    os.close(tap)
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, stop the switch, remove the namespaces."""
        for process in self._processes:
            process.kill()
        if self._switch is not None:
            self._switch.close()
        for namespace in self._namespaces:
            _remove(namespace)

    # ---- what hosts do

    def start(
        self, host: int, *arguments: str, log: Path, env: Mapping[str, str] | None = None
    ) -> HostProcess:
        """Start a command on a host; its output is added to `log`."""
        process = HostProcess(self._namespaces[host], arguments, log, env or {})
        self._processes.append(process)
        return process

    def readdress(self, host: int, new: str) -> None:
        """Give the host another address, as DHCP does; the old one is gone."""
        here = ("-n", self._namespaces[host])
        self._ip(*here, "address", "flush", "dev", CARD)
        self._ip(*here, "address", "add", f"{new}/24", "dev", CARD)
        self._ip(*here, "route", "replace", "default", "dev", CARD)

    def inside(self, host: int, work: Callable[[], T]) -> T:
        """Call `work` in the host's namespace: sockets it opens stay there. Raises what it raises."""
        return _inside(self._namespaces[host], work)

    def admin(self, host: int, path: str, *, port: int = 7701, timeout_s: float = 5.0) -> Any:
        """The JSON that http://127.0.0.1:PORT/PATH of this host answers."""

        def get() -> bytes:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
            with contextlib.closing(connection):
                connection.request("GET", path)
                return connection.getresponse().read()

        return json.loads(self.inside(host, get))

    # ---- what links do

    def shape(self, *, delay_s: float = 0.0, jitter_s: float = 0.0, loss: float = 0.0) -> None:
        """Delay and lose frames on all links; what is cut stays cut."""
        self._shape = LinkRule(delay_s, jitter_s, loss)
        self._apply()

    def cut(self, source: int, target: int) -> None:
        """Nothing from `source` reaches `target` any more; the other direction is as before."""
        self._cuts.add((source, target))
        self._apply()

    def heal(self, source: int, target: int) -> None:
        """Undo `cut`."""
        self._cuts.discard((source, target))
        self._apply()

    def partition(self, *groups: Collection[int]) -> None:
        """Cut all links between these groups, in both directions; without groups, undo that."""
        self._group_of = {host: number for number, group in enumerate(groups) for host in group}
        self._apply()

    def firewall(self, host: int, *, closed: bool = True) -> None:
        """Let the host dial out, and nobody dial it: as behind NAT, or a firewall."""
        firewalled = self._the_switch().firewalled
        firewalled.add(host) if closed else firewalled.discard(host)

    def count(self, fate: str, source: int | None = None, target: int | None = None) -> int:
        """Frames "passed", "lost", "cut" or "refused" so far, on one link or on all."""
        return sum(
            number
            for (sender, receiver, what), number in list(self._the_switch().counters.items())
            if what == fate and source in (None, sender) and target in (None, receiver)
        )

    # ---- inside

    def _apply(self) -> None:
        for link in itertools.permutations(self.hosts, 2):
            source, target = (self._group_of.get(host) for host in link)
            rule = replace(self._shape, cut=link in self._cuts or source != target)
            self._the_switch().rules[link] = rule

    def _the_switch(self) -> Switch:
        assert self._switch is not None
        return self._switch

    def _configure(self, host: int) -> None:
        """One card, one address, and a default route, without which programs take themselves for alone."""
        here = ("-n", self._namespaces[host])
        self._ip(*here, "link", "set", "lo", "up")
        self._ip(*here, "link", "set", CARD, "address", hardware_address(host))
        self._ip(*here, "link", "set", CARD, "up")
        self.readdress(host, address(host))

    @staticmethod
    def _ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)  # noqa: S607  (as installed)


def namespaces() -> list[str]:
    """Those of all laboratories on this machine."""
    found = _NAMESPACES.glob("hyperpush-*") if _NAMESPACES.is_dir() else ()
    return sorted(path.name for path in found)


def remove_stale() -> None:
    """Remove what laboratories of processes that are no more have left."""
    for namespace in namespaces():
        match = re.fullmatch(r"hyperpush-(\d+)-\d+-\d+", namespace)
        if match is not None and not Path("/proc", match[1]).exists():
            _remove(namespace)


def _remove(namespace: str) -> None:
    """End what still runs there, by process id, and remove it."""
    listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False)  # noqa: S607
    for process in listed.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process), signal.SIGKILL)
    subprocess.run(["ip", "netns", "delete", namespace], capture_output=True, check=False)  # noqa: S607


def _inside(namespace: str, work: Callable[[], T]) -> T:
    """In a thread of its own: a namespace belongs to a thread, and ends with it."""
    results: list[T] = []
    failures: list[BaseException] = []

    def call() -> None:
        try:
            _enter(namespace)
            results.append(work())
        except BaseException as error:  # raised below, in the caller's thread
            failures.append(error)

    thread = threading.Thread(target=call, name=namespace)
    thread.start()
    thread.join()
    for failure in failures:
        raise failure
    return results[0]


def _enter(namespace: str) -> None:
    """`os.setns`, which Python has from 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.open(_NAMESPACES / namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(handle, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), namespace)
    finally:
        os.close(handle)
