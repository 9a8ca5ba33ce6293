"""`hyperpush faults`: show, set and clear what the links of a live agent do to its messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.admin_client import AdminClient
from peer.errors import SettingError
from peer.fault_words import WORDS, plan_lines, read_change, read_duration
from wire import FaultPlan, FaultPlanError, TransportError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def main(options: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    client = AdminClient(options.url, options.token)
    match options.faults_command:
        case "set":
            answer = client.ask("PUT", "/v1/faults", content=_request(options))
        case "clear":
            query = None if options.to is None else {"to": options.to}
            answer = client.ask("DELETE", "/v1/faults", query=query)
        case _:
            answer = client.ask("GET", "/v1/faults")
    for line in _lines(client.url, answer):
        print(line)
    return 0


def _request(options: argparse.Namespace) -> dict[str, object]:
    """What PUT /v1/faults takes. Raises `SettingError`."""
    given = {word: value for word in WORDS if (value := getattr(options, word)) is not None}
    duration = options.for_
    faults = None
    if options.cut is None:
        if not given:
            raise SettingError("faults", "nothing", "give --cut, or some of --" + ", --".join(WORDS))
        faults = read_change(given, WORDS, lambda word: f"--{word}").to_dict()
    elif given:
        raise SettingError("--cut", options.cut, "on a cut link nothing passes: leave the other faults out")
    elif options.cut:  # a duration; the flag alone cuts for ever
        if duration is not None:
            raise SettingError("--for", duration, "--cut says already how long; leave one of them out")
        duration = options.cut
    seconds = None if duration is None else read_duration(duration, "--for" if options.for_ else "--cut")
    return {"to": options.to, "faults": faults, "for_s": seconds}


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
