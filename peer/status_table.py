"""`hyperpush status` on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from peer.printable import printable
from peer.settled import span

if TYPE_CHECKING:
    from rich.console import RenderableType

    from peer.status import AgentStatus, LinkStatus


def render(status: AgentStatus) -> RenderableType:
    """The agent in a few lines, a table of its links, its warnings last, where they are seen."""
    return Group(
        *(_line(text) for text in _headlines(status)),
        _links(status) if status.links else _line("no other agent is known"),
        *(_line(f"warning: {text}", "bold yellow") for text in status.warnings),
    )


def _headlines(status: AgentStatus) -> list[str]:
    keyed = "encrypted and signed" if status.keyed else "without a key"
    numbers = [
        f"training loss {status.training_loss:.4g}",
        f"validation loss {status.validation_loss:.4g}",
        *(f"{name} {value:.4g}" for name, value in status.accuracies.items()),
        *(f"{name} of all {value:.4g}" for name, value in status.swarm_accuracies.items()),
    ]
    if status.hyper_rate != 1:
        numbers.append(f"hyper step size times {status.hyper_rate:.3g}")
    pace = f"tick {status.tick} ({status.ticks_per_second:.3g} a second), up {span(status.uptime_s)}"
    lines = [
        f"{status.peer} in swarm {status.swarm} at {status.address}, protocol {status.protocol}, {keyed}",
        f"{status.phase}, epoch {status.epoch}, incarnation {status.incarnation}, {pace}",
        status.settled_line,
        status.until_line,
        ", ".join(numbers),
        status.steps_line,
    ]
    if status.rejected:
        rejected = ", ".join(f"{reason} {count}" for reason, count in sorted(status.rejected.items()))
        lines.append(f"rejected: {rejected}")
    return [line for line in lines if line]


def _links(status: AgentStatus) -> Table:
    table = Table(box=None, pad_edge=False, caption_justify="left")
    table.caption = "<- it is heard, -> it hears this agent, * sums are pushed to it; one way is enough"
    for name in ("peer", "link", "via"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for name in ("heard", "alive", "lost", "sent", "late", "unsent", "MB", "rtt", "model", "adjoint"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("remark")
    for link in status.links:
        table.add_row(*(_line(cell) for cell in _cells(link)))
    return table


def _cells(link: LinkStatus) -> list[str]:
    remarks = [
        *(["said goodbye"] if link.left else []),
        *([f"incompatible: {link.incompatible}"] if link.incompatible is not None else []),
        *([f"quarantined: {link.quarantined}"] if link.quarantined is not None else []),
    ]
    return [
        link.peer,
        link.arrow + ("*" if link.pushes_to else ""),
        link.route or "",
        _time(link.age_s),
        _time(link.heartbeat_age_s),
        "" if link.loss is None else f"{link.loss:.1%}",
        str(link.sent),
        str(link.replaced),
        str(link.unsent),
        f"{link.bytes_sent / 1e6:.1f}",
        _time(link.rtt_s),
        _number(link.model_disagreement),
        _number(link.adjoint_disagreement),
        "; ".join(remarks),
    ]


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1e3:.0f} ms" if seconds < 1 else span(seconds)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


def _line(text: str, style: str = "") -> Text:
    """Without markup and control characters: names come from the network."""
    return Text(printable(text), style)
