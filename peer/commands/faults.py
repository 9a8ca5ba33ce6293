"""`hyperpush faults`: show, set and clear what the links of a live agent do to its messages."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from peer.admin_client import admin_client
from peer.errors import HyperpushError, SettingError
from peer.fault_words import WORDS, plan_lines, read_change, read_duration
from peer.status import AgentStatus
from wire import FaultPlan, FaultPlanError, TransportError
from wire.faults import name_before_key

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from peer.admin_client import AdminClient

SHOWN_MAX: Final = 10  # of the peers known, in a warning


def main(options: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    client = admin_client(options.url, options.token, os.environ)
    warning = None
    match options.faults_command:
        case "set":
            request = _request(options)
            warning = _nobody_yet(client, options.to)
            answer = client.ask("PUT", "/v1/faults", content=request)
        case "clear":
            query = None if options.to is None else {"to": options.to}
            answer = client.ask("DELETE", "/v1/faults", query=query)
            if options.to is not None and answer.get("cleared") == 0:
                warning = HyperpushError(f"--to: nothing was set for {options.to!r}, so nothing is cleared")
        case _:
            answer = client.ask("GET", "/v1/faults")
    for line in _lines(client.url, answer):
        print(line)
    if warning is not None:
        print(f"hyperpush faults: {warning}", file=sys.stderr)
    return 0


def _request(options: argparse.Namespace) -> dict[str, object]:
    """What PUT /v1/faults takes. Raises `SettingError`."""
    given = {word: value for word in WORDS if (value := getattr(options, word)) is not None}
    duration = options.for_
    faults = None
    if options.cut is None:
        if not given:
            raise HyperpushError("no fault was given; give --cut, or some of --" + ", --".join(WORDS))
        faults = read_change(given, WORDS, lambda word: f"--{word}").to_dict()
    elif given:
        both = f"--cut {options.cut}".rstrip() + " together with --" + ", --".join(given)
        raise HyperpushError(f"{both} is not possible; on a cut link nothing passes: leave one of them out")
    elif options.cut:  # a duration; the flag alone cuts for ever
        if duration is not None:
            raise SettingError("--for", duration, "--cut says already how long; leave one of them out")
        duration = options.cut
    seconds = None if duration is None else read_duration(duration, "--for" if options.for_ else "--cut")
    return {"to": options.to, "faults": faults, "for_s": seconds}


def _nobody_yet(client: AdminClient, to: str | None) -> HyperpushError | None:
    """A warning about a fault for a peer that the agent does not know, which is kept all the same."""
    if to is None:
        return None
    links = AgentStatus.from_dict(client.ask("GET", "/v1/status")).links
    known = [link.peer for link in links if link.incompatible is None]
    if any(to in (peer, name_before_key(peer)) for peer in known):
        return None
    more = f" and {len(known) - SHOWN_MAX} more" if len(known) > SHOWN_MAX else ""
    names = f"only {', '.join(known[:SHOWN_MAX])}{more}" if known else "nor any other"
    return HyperpushError(
        f"--to: the agent knows no peer {to!r} yet, {names}; the faults are kept, for when it comes"
    )


def _lines(url: str, answer: Mapping[str, object]) -> list[str]:
    elapsed_s, plan, live = (answer.get(name) for name in ("elapsed_s", "plan", "live"))
    if not isinstance(elapsed_s, int | float) or not isinstance(plan, dict):
        raise TransportError(f"what answers at {url} is no agent of this version")
    try:
        windows = FaultPlan.from_dict({"windows": live}).windows
        lines = plan_lines(FaultPlan.from_dict(plan), windows, elapsed_s)
    except FaultPlanError as error:
        raise TransportError(f"what answers at {url} is no agent of this version: {error}") from None
    return [f"{url}, {elapsed_s:.1f} s after the start", *lines]
