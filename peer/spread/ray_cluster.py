"""A Ray cluster: one that is there, or one of this machine that ends with this program. An edge: Ray.

What Ray calls a CPU is a promise, not a core. In a cluster of our own there are as many as are asked for; in
one that others use as well they are counted, and what does not fit is refused at once.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from peer.errors import HyperpushError, SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESS: Final = "RAY_ADDRESS"
USAGE_STATISTICS: Final = "RAY_USAGE_STATS_ENABLED"
REACHED_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """Connected. `ray` is the module."""

    ray: Any
    is_own: bool  # of this machine, and of this program alone

    def require(self, count: int, cpus: float, memory: int | None, what: str) -> None:
        """Raises `HyperpushError` if there never is room for so many, each with so much."""
        total = self.ray.cluster_resources()
        machines = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        for name, each, option in (("CPU", cpus, "actor-cpus"), ("memory", memory or 0, "actor-memory")):
            largest = max((machine.get(name, 0.0) for machine in machines), default=0.0)
            if each > largest:
                raise HyperpushError(
                    f"each of {count} {what} needs {each:g} {name}, and no machine of the cluster has more "
                    f"than {largest:g}; give less with --{option}"
                )
            if each and count * each > total.get(name, 0.0) * (1 + 1e-9):
                raise HyperpushError(
                    f"{count} {what} need {count * each:g} {name}, and the Ray cluster has "
                    f"{total.get(name, 0.0):g}; add machines, or give less with --{option}"
                )

    def free(self) -> str:
        """What nobody has taken, for people."""
        there = self.ray.available_resources()
        return ", ".join(f"{there.get(name, 0.0):g} {name}" for name in ("CPU", "memory"))

    @property
    def cpus(self) -> int:
        """In all of it."""
        return max(1, math.floor(float(self.ray.cluster_resources().get("CPU", 1.0))))


@contextlib.contextmanager
def cluster(address: str | None, cpus: float) -> Iterator[Cluster]:
    """The one at this address, or that Ray knows of; else one of this machine, with so many CPUs.

    To be entered before an event loop runs: Ray takes signals, of which loops take theirs back. Raises
    `SettingError`.
    """
    os.environ.setdefault(USAGE_STATISTICS, "0")  # nothing is told to anybody, unless somebody wants it
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise SettingError("engine", "ray", "it needs Ray: pip install 'hyperpush[ray]'") from None
    address = address or os.environ.get(ADDRESS)
    if address:
        _check_that_somebody_listens(address)
    own = {} if address else {"num_cpus": math.ceil(cpus), "include_dashboard": False}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="error", **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if address:
            remedy = f"{reason}; give that of a Ray head, or leave it out"
            raise SettingError("ray_address", address, remedy) from None
        raise SettingError("engine", "ray", f"Ray does not start here: {reason}") from None
    try:
        yield Cluster(ray, not address)
    finally:
        ray.shutdown()


def _check_that_somebody_listens(address: str) -> None:
    """Ray itself would wait for minutes. Raises `SettingError`."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        return  # a word of Ray's, such as auto
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACHED_S).close()
    except (OSError, OverflowError) as error:
        remedy = f"nobody listens there ({error}); give that of a Ray head, or leave it out"
        raise SettingError("ray_address", address, remedy) from None
