"""Options of `hyperpush chaos`."""

from __future__ import annotations

from typing import Final

from peer.options import readers
from peer.options.option import Option

CHAOS: Final = ("chaos",)

CHAOS_OPTIONS: Final = (
    Option(name="agents", read=readers.whole(2), help="agents in the swarm", commands=CHAOS, default=12),
    Option(
        name="processes",
        read=readers.whole(1),
        help="processes that host them",
        commands=CHAOS,
        default=4,
    ),
    Option(
        name="minutes",
        read=readers.positive,
        help="so long; the second half, but not more than 100 s, is quiet, until all have the answer",
        commands=CHAOS,
        metavar="M",
        default=5.0,
    ),
    Option(
        name="scenario",
        read=readers.path,
        help="what goes wrong when, instead of what the seed draws",
        commands=CHAOS,
        metavar="FILE",
        unset="everything does",
    ),
    Option(name="seed", read=readers.whole(0), help="of data and troubles", commands=CHAOS, default=0),
    Option(
        name="task",
        read=readers.text,
        help="synthetic: errors against a closed form; digits: accuracies against an undisturbed run",
        commands=CHAOS,
        metavar="NAME",
        default="synthetic",
    ),
    Option(
        name="tick_ms",
        read=readers.positive,
        help="time from tick to tick",
        commands=CHAOS,
        metavar="MS",
        default=50.0,
    ),
    Option(
        name="json",
        read=readers.path,
        help="write the scorecard and all that happened as JSON",
        commands=CHAOS,
        metavar="FILE",
    ),
)
