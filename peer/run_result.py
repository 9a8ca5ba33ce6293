"""What an agent in a program of one's own has come to, and how it came there."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from peer.errors import HyperpushError
from peer.learned import Learned
from peer.views import AgentView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wire import PeerId

HISTORY_KEPT: Final = 4096  # views; when there are more, every second one goes


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult(Learned):
    """What an agent has come to; tensors are copies."""

    peers: Sequence[PeerId]  # who was there at the end
    history: Sequence[AgentView]  # evenly over the run, the last one included
    interrupted: bool  # stopped before any end that was asked for

    def frame(self) -> Any:
        """The history as a `pandas.DataFrame`; see `peer.frame`."""
        return frame(self.history)


def frame(views: Sequence[AgentView]) -> Any:
    """A `pandas.DataFrame` of these views, a row for each, without counts of messages; a column per metric.

    Raises `HyperpushError` where pandas is not installed.
    """
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        raise HyperpushError("frames need pandas; install it: pip install 'hyperpush[pandas]'") from None
    names = [field.name for field in fields(AgentView) if field.name not in ("messages", "metrics", "steps")]
    metrics = list(dict.fromkeys(name for one in views for name in one.metrics))
    rows = [
        [*(getattr(one, name) for name in names), *(one.metrics.get(name, math.nan) for name in metrics)]
        for one in views
    ]
    return pandas.DataFrame(rows, columns=[*names, *metrics])


class History:
    """Views of one agent, evenly over its ticks; at most HISTORY_KEPT."""

    def __init__(self) -> None:
        self.views: list[AgentView] = []
        self._last = -1  # tick of the newest that was seen
        self._every = 1  # of so many ticks one view is kept

    def add(self, now: AgentView) -> bool:
        """Whether it shows another tick than the one before."""
        if now.tick == self._last:
            return False
        self._last = now.tick
        if not self.views or now.tick >= self.views[-1].tick + self._every:
            self.views.append(now)
            if len(self.views) > HISTORY_KEPT:
                del self.views[1::2]
                self._every *= 2
        return True

    def ended(self, last: AgentView) -> tuple[AgentView, ...]:
        """All that is kept, and the last one in any case."""
        whole = not self.views or self.views[-1].tick != last.tick
        return (*self.views, last) if whole else tuple(self.views)
