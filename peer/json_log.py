"""`--log-format json`: what a run says, as a line of JSON each, for programs that collect logs.

    {"time": "2026-11-30T08:00:00.123Z", "level": "warning", "event": "PeerDeparted", "message": "b is gone",
     "agent": "a", "details": {"peer": "b"}}

`event` is the name of an event (`peer.events`), or `said`, `progress`, `outcome`; these always have the first
four.
"""

from __future__ import annotations

import datetime
import json
import statistics
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, Self

from peer.event_words import sentence
from peer.events import HyperRateLowered, LinkDeaf, NonFiniteStep, PeerDeparted, PeerQuarantined
from peer.jsonable import jsonable
from peer.outcome import verdict
from peer.views import mean_metrics, tick_words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from peer.events import Event
    from peer.outcome import Outcome
    from peer.views import AgentView

PROGRESS_EVERY_S: Final = 5.0
WARNINGS: Final = (HyperRateLowered, LinkDeaf, NonFiniteStep, PeerDeparted, PeerQuarantined)
MEANS: Final = ("training_loss", "validation_loss", "shared", "personal", "residual")


class JsonLog:
    """Writes lines; `write` is given each without its end."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def emit(self, event: str, message: str, *, level: str = "info", **more: object) -> None:
        """One line. Of `more`, what is no JSON becomes text."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": now, "level": level, "event": event, "message": message, **more}
        self._write(json.dumps(jsonable(line), default=str))

    def tell(self, peer: str, event: Event) -> None:
        """Something happened to an agent."""
        level = "warning" if isinstance(event, WARNINGS) else "info"
        details: Any = asdict(event)
        self.emit(type(event).__name__, sentence(event), level=level, agent=peer, details=details)

    def outcome(self, outcome: Outcome) -> None:
        """What it has come to: as `--json`, without what the run was asked for."""
        found = {name: value for name, value in outcome.to_dict().items() if name != "config"}
        self.emit("outcome", verdict(outcome), **found)


class JsonDisplay:
    """`peer.display.Display`."""

    def __init__(self, log: JsonLog, title: str) -> None:
        self._log = log
        self._last = time.monotonic()
        log.emit("said", title)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, views: Sequence[AgentView], progress: float) -> None:
        """A line every PROGRESS_EVERY_S."""
        now = time.monotonic()
        if now - self._last < PROGRESS_EVERY_S and progress < 1.0:
            return
        self._last = now
        ticks = min(view.tick for view in views)
        means = {name: statistics.fmean(getattr(view, name) for view in views) for name in MEANS}
        means |= mean_metrics(views)
        received = sum(view.messages.received for view in views)
        missing = sum(view.messages.gaps for view in views)
        self._log.emit(
            "progress",
            tick_words(views),
            share=progress,
            agents=len(views),
            ticks=ticks,
            epoch=max(view.epoch for view in views),
            received=received,
            missing=missing,
            means=means,
        )

    def say(self, line: str) -> None:
        """One line."""
        self._log.emit("said", line)

    def note(self, line: str) -> None:
        """One line."""
        self._log.emit("said", line)

    def tell(self, peer: str, event: Event) -> None:
        """Every event."""
        self._log.tell(peer, event)
