"""Options of `hyperpush influence`, beside those of tasks and their data."""

from __future__ import annotations

from typing import Final

from peer.options import readers
from peer.options.data import INFLUENCE
from peer.options.option import Option

INFLUENCE_OPTIONS: Final = (
    Option(
        name="agents",
        read=readers.whole(1),
        help="agents in the simulated swarm",
        commands=INFLUENCE,
        group="learning",
        default=8,
    ),
    Option(
        name="ticks",
        read=readers.whole(1),
        help="each of them does so many; more are not better: they learn wrong labels by heart",
        commands=INFLUENCE,
        group="learning",
        default=50,
    ),
    Option(
        name="damping",
        read=readers.number,
        help="added to the curvature in the adjoint's equation: without, noise is amplified where the loss "
        "hardly bends",
        commands=INFLUENCE,
        group="learning",
        metavar="X",
        default=0.1,
    ),
    Option(
        name="drop",
        read=readers.share,
        help="share of messages lost",
        commands=INFLUENCE,
        group="learning",
        metavar="P",
        default=0.2,
    ),
    Option(
        name="plant",
        read=readers.share,
        help="set this share of the labels of half of the agents wrong, and see whether they are found",
        commands=INFLUENCE,
        group="learning",
        metavar="P",
        default=0.0,
    ),
    Option(
        name="state",
        read=readers.path,
        help="look at what a real agent has learned, in its state directory, instead of simulating; give "
        "--task, --seed and all of `run` that says what its data and model are, too",
        commands=INFLUENCE,
        group="learning",
        metavar="DIR",
        unset="simulated",
    ),
    Option(
        name="shard",
        read=readers.shard,
        help="with --state: which part of the data that agent holds, as `run` was told",
        commands=INFLUENCE,
        group="learning",
        metavar="I/N",
        default="1/8",
    ),
    Option(
        name="top",
        read=readers.whole(1),
        help="samples to list, of those that hurt most and of those that help most",
        commands=INFLUENCE,
        group="results",
        metavar="N",
        default=10,
    ),
    Option(
        name="figure",
        read=readers.path,
        help="draw them: a file ending in .png, .svg or .pdf; needs matplotlib (hyperpush[plot])",
        commands=INFLUENCE,
        group="results",
        metavar="FILE",
    ),
    Option(
        name="json",
        read=readers.path,
        help="write all samples of all agents as JSON",
        commands=INFLUENCE,
        group="results",
        metavar="FILE",
    ),
)
