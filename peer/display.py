"""What a run shows: a live table on a terminal, plain lines elsewhere, and the table at the end."""

from __future__ import annotations

import math
import os
import statistics
import sys
import time
from typing import TYPE_CHECKING, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from peer.event_words import sentence
from peer.events import HyperRateLowered, NonFiniteStep, PeerArrived, PeerDeparted
from peer.json_log import JsonDisplay, JsonLog
from peer.outcome import CONFIDENCE, Kind, remarks, verdict
from peer.views import mean_metrics, tick_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from peer.events import Event
    from peer.outcome import Outcome
    from peer.views import AgentView

ROWS_MAX = 40  # a larger swarm shows its first agents only, so that the table fits a screen
PLAIN_LINE_EVERY_S = 5.0
PLAIN_WIDTH = 120
HEADINGS = {Kind.ACCURACY: "test accuracy", Kind.ERROR: "relative error", Kind.LOSS: "validation loss"}


class Display(Protocol):
    """Shows a run; used as a context manager."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, views: Sequence[AgentView], progress: float) -> None:
        """Show the state of the agents; cheap enough to be called often."""

    def say(self, line: str) -> None:
        """Show one line."""

    def note(self, line: str) -> None:
        """Show one line that stays."""

    def tell(self, peer: str, event: Event) -> None:
        """Show an event if it is worth a line."""


class News:
    """Which events are worth a line while learning: of every agent the first of each kind that repeats.

    Without `arrivals`, as of a swarm in one program that begins all together, only who comes back is told of.
    """

    def __init__(self, *, arrivals: bool = True) -> None:
        self._told: set[tuple[str, type]] = set()
        self._arrivals = arrivals
        self._there: dict[str, set[str]] = {}
        self._gone: set[tuple[str, str]] = set()

    def line(self, peer: str, event: Event) -> str | None:
        """The line for this event, or None. All events are in `--out`."""
        there = self._there.setdefault(peer, set())
        match event:
            case PeerArrived():
                back = (peer, event.peer) in self._gone or event.peer in there
                there.add(event.peer)
                if not (self._arrivals or back):
                    return None
                others = len(there) - 1
                more = f"; {others} other{'s' * (others != 1)}" if others else ""
                return f"{peer}: {event.peer} is {'back' if back else 'here'}{more}"
            case PeerDeparted():
                there.discard(event.peer)
                self._gone.add((peer, event.peer))
            case HyperRateLowered() | NonFiniteStep():
                if (peer, type(event)) in self._told:
                    return None
                self._told.add((peer, type(event)))
            case _:
                return None
        return f"{peer}: {sentence(event)}"


class LiveDisplay:
    """A table that redraws itself, with a progress bar."""

    def __init__(self, console: Console, title: str, news: News) -> None:
        self._console = console
        self._title = title
        self._progress = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._bar = self._progress.add_task(title, total=1.0)
        self._news = news
        self._live = Live(self._progress, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, views: Sequence[AgentView], progress: float) -> None:
        """Redraw."""
        self._progress.update(self._bar, completed=progress)
        self._live.update(Group(self._progress, live_table(views)))

    def say(self, line: str) -> None:
        """Replace the description of the bar."""
        self._progress.update(self._bar, description=line)

    def note(self, line: str) -> None:
        """A line above the table."""
        self._live.console.print(line)

    def tell(self, peer: str, event: Event) -> None:
        """A line above the table."""
        line = self._news.line(peer, event)
        if line is not None:
            self._live.console.print(line, style="yellow")


class PlainDisplay:
    """A line every few seconds, for logs and pipes."""

    def __init__(self, console: Console, title: str, news: News) -> None:
        self._console = console
        self._began = self._last = time.monotonic()
        self._news = news
        console.print(title)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, views: Sequence[AgentView], progress: float) -> None:
        """Print means over agents, if it is time."""
        now = time.monotonic()
        if now - self._last < PLAIN_LINE_EVERY_S and progress < 1.0:
            return
        self._last = now
        self._console.print(f"{now - self._began:6.1f} s  {progress:4.0%}  {summary_line(views)}")

    def say(self, line: str) -> None:
        """Print it."""
        self._console.print(line)

    def note(self, line: str) -> None:
        """Print it."""
        self._console.print(line)

    def tell(self, peer: str, event: Event) -> None:
        """Print it."""
        line = self._news.line(peer, event)
        if line is not None:
            self._console.print(line)


class SafeConsole(Console):
    """Prints text as it is, whoever it comes from, and goes quiet when the reader has gone (`... | head`)."""

    def on_broken_pipe(self) -> None:
        """Go on without printing: results are still to be written."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class JsonConsole(SafeConsole):
    """Prints every text as one of `lines`, and what is no text not at all."""

    def __init__(self) -> None:
        super().__init__(markup=False, highlight=False, emoji=False, soft_wrap=True)
        self.lines = JsonLog(super().print)

    def print(self, *objects: object, style: object = None, **_: object) -> None:
        """What has a colour is a warning."""
        for text in objects:
            if isinstance(text, str):
                self.lines.emit("said", text, level="info" if style in (None, "bold") else "warning")


def make_console(log_format: str = "text") -> Console:
    """Standard output; where it is no terminal, wide enough for the table and without folding lines."""
    if log_format == "json":
        return JsonConsole()
    console = SafeConsole(markup=False, highlight=False, emoji=False)
    if console.is_terminal:
        return console
    return SafeConsole(markup=False, highlight=False, emoji=False, width=PLAIN_WIDTH, soft_wrap=True)


def make_display(console: Console, title: str, *, arrivals: bool = False) -> Display:
    """Live on a terminal, plain elsewhere; lines of JSON on a console of them. `arrivals`: see `News`."""
    if isinstance(console, JsonConsole):
        return JsonDisplay(console.lines, title)
    kind = LiveDisplay if console.is_terminal else PlainDisplay
    return kind(console, title, News(arrivals=arrivals))


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "–"


def live_table(views: Sequence[AgentView]) -> Table:
    """A row for each agent, up to ROWS_MAX."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("agent")
    for name in ("tick", "train", "valid", "shared", "personal", "|hypergr.|", "residual"):
        table.add_column(name, justify="right")
    for name in ("sent", "replaced", "unsent", "received", "gaps", "stale"):
        table.add_column(name, justify="right", style="cyan")
    for view in views[:ROWS_MAX]:
        messages = view.messages
        table.add_row(
            view.id,
            str(view.tick),
            _number(view.training_loss, ".3f"),
            _number(view.validation_loss, ".3f"),
            _number(view.shared, ".3f"),
            _number(view.personal, ".3f"),
            _number(view.hypergradient_norm, ".1e"),
            _number(view.residual, ".1e"),
            *(
                str(count)
                for count in (
                    *(messages.sent, messages.replaced, messages.unsent),
                    *(messages.received, messages.gaps, messages.stale),
                )
            ),
        )
    if len(views) > ROWS_MAX:
        table.add_row(f"… {len(views) - ROWS_MAX} more")
    return table


def summary_line(views: Sequence[AgentView]) -> str:
    """Means over agents; there must be one."""

    def mean(name: str, form: str) -> str:
        values = [value for view in views if math.isfinite(value := getattr(view, name))]
        return format(statistics.fmean(values), form) if values else "–"

    received = sum(view.messages.received for view in views)
    gaps = sum(view.messages.gaps for view in views)
    missing = gaps / (received + gaps) if received + gaps else 0.0
    line = f"{tick_words(views)}  loss: training {mean('training_loss', '.3f')}"
    line += f", validation {mean('validation_loss', '.3f')}"
    if any(math.isfinite(view.shared) for view in views):
        line += f"  accuracy: shared {mean('shared', '.3f')}, personal {mean('personal', '.3f')}"
    means = mean_metrics(views)
    if means:
        line += "  " + ", ".join(f"{name} {_number(value, '.3f')}" for name, value in means.items())
    line += f"  |hypergr.| {mean('hypergradient_norm', '.1e')}  residual {mean('residual', '.1e')}"
    return f"{line}  {received} received, {missing:.0%} missing"


def print_outcome(console: Console, outcome: Outcome) -> None:
    """The table at the end, the paired intervals, and one honest sentence."""
    if isinstance(console, JsonConsole):
        console.lines.outcome(outcome)
        return
    summary = outcome.summary()
    is_accuracy = outcome.kind is Kind.ACCURACY
    table = Table(
        header_style="bold", title="Interrupted: the results so far" if outcome.interrupted else None
    )
    table.add_column(HEADINGS[outcome.kind])
    for heading in outcome.columns.values():
        table.add_column(heading, justify="right")
    form = ".1e" if outcome.kind is Kind.ERROR else ".3f"
    worst = "bottom decile" if is_accuracy else "worst decile"
    rows = [("mean over agents", "mean"), (worst, list(next(iter(summary.values())))[1])]
    for label, key in rows if len(outcome.agents) > 1 else [("this agent", "mean")]:
        table.add_row(label, *(_number(summary[column][key], form) for column in outcome.columns))
    console.print(table)
    if outcome.metrics():
        console.print(_metrics_table(outcome.metrics()))
    if is_accuracy and len(outcome.agents) > 1 and not outcome.stuck:
        for other in outcome.columns:
            found = outcome.compare("personal", other)
            if other != "personal" and not math.isnan(found.mean):  # NaN: there is no such model
                interval = ""
                if math.isfinite(found.low):
                    interval = (
                        f", {CONFIDENCE:.0%} interval {100 * found.low:+.1f} to {100 * found.high:+.1f}"
                    )
                console.print(
                    f"{outcome.columns['personal']} against {outcome.columns[other]}: "
                    f"{100 * found.mean:+.1f} points{interval} ({len(outcome.agents)} agents, paired)",
                )
    console.print(verdict(outcome), style="bold")
    for remark in remarks(outcome):
        console.print(remark)
    closing = f"{outcome.ticks} ticks in {outcome.wall_s:.1f} s"
    if before := min((agent.ticks_before or 0 for agent in outcome.agents), default=0):
        closing += f", after {before} before the start"
    if outcome.digest is not None:
        closing += f"; digest of {outcome.digest_of} {outcome.digest}"
    console.print(closing)


def _metrics_table(metrics: Mapping[str, Mapping[str, float]]) -> Table:
    """Means over agents of what the problem measures beside accuracies."""
    table = Table(header_style="bold")
    table.add_column("test metric")
    for heading in ("shared model", "shared + personal"):
        table.add_column(heading, justify="right")
    for name, values in metrics.items():
        table.add_row(
            name, *(_number(values.get(which, math.nan), ".4g") for which in ("shared", "personal"))
        )
    return table
