"""`hyperpush status`: how a live agent and its links are."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.live import Live

from peer.admin_client import admin_client
from peer.status import AgentStatus
from peer.status_table import render

if TYPE_CHECKING:
    import argparse

    from rich.console import RenderableType

    from peer.admin_client import AdminClient

WATCH_EVERY_S: Final = 1.0
PLAIN_WIDTH: Final = 140  # where no terminal says how wide it is


def main(options: argparse.Namespace) -> int:
    """Show it, once or until Ctrl-C; returns the exit code."""
    client = admin_client(options.url, options.token, os.environ)
    if options.json:
        return _print_json(client, watch=options.watch)
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    if not options.watch:
        console.print(_fetch(client))
        return 0
    with Live(_fetch(client), console=console, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(WATCH_EVERY_S)
                live.update(_fetch(client), refresh=True)
        except KeyboardInterrupt:  # the way to end it
            return 0


def _fetch(client: AdminClient) -> RenderableType:
    return render(AgentStatus.from_dict(client.ask("GET", "/v1/status")))


def _print_json(client: AdminClient, *, watch: bool) -> int:
    """What the agent says, unchanged; watching, one line each time."""
    answer = client.ask("GET", "/v1/status")
    print(json.dumps(answer, indent=None if watch else 2), flush=True)
    try:
        while watch:
            time.sleep(WATCH_EVERY_S)
            print(json.dumps(client.ask("GET", "/v1/status")), flush=True)
    except KeyboardInterrupt:
        return 0
    return 0
