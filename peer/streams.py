"""Inner solvers by name: what makes the two `peer.tracking.Stream`s of an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from peer.extensions.installed import find, make, names
from peer.push_sum import PushSum
from peer.running_sum import RunningSum, SentShares
from peer.tracking import TrackingStream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peer.algebra import Algebra, Span, V
    from peer.tracking import Stream

SOLVERS: Final = ("tracking", "push-sum", "push-sum-shares")


def is_solver(name: object) -> bool:
    """Whether there is one of this name; other packages bring more (`peer.extensions`).

    Raises `SettingError` for one that cannot be loaded.
    """
    if not isinstance(name, str):
        return False
    return name in SOLVERS or find("solver", name.partition(":")[0]) is not None


def known_solvers() -> list[str]:
    """Those that there are."""
    return [*SOLVERS, *names("solver")]


def make_stream(name: str, initial: V, algebra: Algebra[V], spans: Sequence[Span]) -> Stream[V]:
    """A stream that begins at `initial`, shape (d,), and sends the blocks `spans`.

    `is_solver` must hold. Raises `SettingError` for one that cannot be made so, or lacks a method.
    """
    if name == "tracking":
        return TrackingStream(initial, algebra)
    if name not in SOLVERS:
        brought: Stream[V] | None = make("solver", name, initial, algebra, spans)
        assert brought is not None
        return brought
    return PushSum(initial, spans, algebra, RunningSum if name == "push-sum" else SentShares)
