"""`hyperpush top`: a live table of running agents, wherever they are, by what their listeners tell."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.live import Live
from rich.text import Text

from peer.admin_client import admin_client
from peer.display import live_table, make_console, summary_line
from peer.errors import HyperpushError, SettingError
from peer.printable import printable
from peer.status import AgentStatus
from peer.views import AgentView, Messages
from wire import TransportError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rich.console import RenderableType

    from peer.admin_client import AdminClient

EVERY_S: Final = 1.0
ASKED_AT_ONCE_MAX: Final = 16
URLS_MAX: Final = 1000  # each is asked every second


@dataclass(frozen=True, slots=True)
class Told:
    """What one listener says: of the agents it has, and who is absent; or why nothing."""

    url: str
    statuses: Sequence[AgentStatus] = ()
    absent: Sequence[str] = ()
    problem: str = ""


def main(options: argparse.Namespace) -> int:
    """Show it: on a terminal until Ctrl-C, else once. 1 if nobody answers there."""
    urls: list[str | None] = list(dict.fromkeys(options.url or [])) or [None]
    if len(urls) > URLS_MAX:
        raise SettingError("url", f"{len(urls)} of them", f"give at most {URLS_MAX}")
    clients = [admin_client(url, options.token, os.environ) for url in urls]
    console = make_console()
    with ThreadPoolExecutor(min(len(clients), ASKED_AT_ONCE_MAX)) as pool:

        def ask() -> list[Told]:
            return list(pool.map(_ask, clients))

        found = ask()
        if options.json or not console.is_terminal:
            text = json.dumps(_plain(found)) if options.json else None
            console.print(_rendered(found) if text is None else text)
            return 0 if any(told.statuses for told in found) else 1
        with Live(_rendered(found), console=console, auto_refresh=False) as live:
            try:
                while True:
                    time.sleep(EVERY_S)
                    live.update(_rendered(ask()), refresh=True)
            except KeyboardInterrupt:  # the way to end it
                return 0


def _ask(client: AdminClient) -> Told:
    """Never raises for a listener that is not there or refuses: others may answer."""
    try:
        answer = client.ask("GET", "/v1/agents")
        agents, absent = answer.get("agents"), answer.get("absent")
        if not isinstance(agents, list) or not isinstance(absent, list):
            raise SettingError("agents", None, "is it an agent of this version that answers?")
        return Told(client.url, [AgentStatus.from_dict(one) for one in agents], [str(one) for one in absent])
    except (HyperpushError, TransportError) as error:
        return Told(client.url, problem=str(error))


def _rendered(found: Sequence[Told]) -> RenderableType:
    views = [_view(status) for told in found for status in told.statuses]
    problems = [f"{told.url}: {told.problem}" for told in found if told.problem]
    problems += [f"{name} is not there" for told in found for name in told.absent]
    lines = [Text(printable(problem), style="yellow") for problem in problems]
    if not views:
        return Group(*lines)
    return Group(Text(f"{len(views)} agents  {summary_line(views)}"), live_table(views), *lines)


def _plain(found: Sequence[Told]) -> dict[str, object]:
    """As `/v1/agents`, of all together."""
    return {
        "agents": [status.to_dict() for told in found for status in told.statuses],
        "absent": [name for told in found for name in told.absent],
        "problems": {told.url: told.problem for told in found if told.problem},
    }


def _view(status: AgentStatus) -> AgentView:
    count = status.messages.get
    return AgentView(
        id=printable(status.peer),
        tick=status.tick,
        epoch=status.epoch,
        phase=status.phase,
        training_loss=status.training_loss,
        validation_loss=status.validation_loss,
        shared=status.accuracies.get("shared", float("nan")),
        personal=status.accuracies.get("personal", float("nan")),
        hypergradient_norm=status.hypergradient_norm,
        residual=status.residual,
        hyper_rate=status.hyper_rate,
        messages=Messages(
            sent=count("sent", 0),
            replaced=count("replaced", 0),
            unsent=count("unsent", 0),
            received=count("received", 0),
            gaps=count("missing", 0),
            stale=count("stale", 0),
            lost_by_faults=0,  # the agent does not know
            bytes_sent=count("bytes_sent", 0),
            rejected=status.rejected,
        ),
    )
