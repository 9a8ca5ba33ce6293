"""Options that make links worse: from the start, and those of a running agent by `hyperpush faults set`."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from peer.options import readers
from peer.options.names import LEARNING
from peer.options.option import Option
from wire import Constant

SET: Final = ("faults set",)

_MADE_WORSE: Final = {"swarm": 0.2, "simulate": 0.2}
_SLOWED: Final = {"swarm": Constant(0.02), "simulate": Constant(0.02)}

FAULT_OPTIONS: Final = (
    Option(
        name="drop",
        read=readers.share,
        help="share of messages that are lost, 0 to 1",
        commands=LEARNING,
        group="faults",
        metavar="P",
        default=0.0,
        defaults=_MADE_WORSE,
    ),
    Option(
        name="delay",
        read=readers.delay,
        help="how long messages that arrive are on their way: 20ms, uniform:LOW:HIGH, exponential:MEAN, "
        "lognormal:MEDIAN:SIGMA",
        commands=LEARNING,
        group="faults",
        metavar="SPEC",
        default=Constant(0.0),
        defaults=_SLOWED,
    ),
    Option(
        name="duplicate",
        read=readers.share,
        help="share of messages that arrive twice, 0 to 1",
        commands=LEARNING,
        group="faults",
        metavar="P",
        default=0.0,
    ),
    Option(
        name="reorder",
        read=readers.share,
        help="share of messages that are held back so that later ones overtake them, 0 to 1",
        commands=LEARNING,
        group="faults",
        metavar="P",
        default=0.0,
    ),
    Option(
        name="bandwidth",
        read=readers.bandwidth,
        help="what each link carries a second: 256kbit, 1.5mbit, 64kbyte",
        commands=LEARNING,
        group="faults",
        metavar="RATE",
        unset="unlimited",
    ),
    Option(
        name="fault_model",
        read=readers.fault_model,
        help="what else links do: a model that another package brings (hyperpush extensions)",
        commands=LEARNING,
        group="faults",
        metavar="NAME[:TEXT]",
        unset="none",
    ),
    Option(
        name="scenario",
        read=readers.path,
        help="what goes wrong when: cuts, losses, agents that come and go",
        commands=LEARNING,
        group="faults",
        metavar="FILE",
        unset="nothing does",
    ),
)

_RATES: Final = ("drop", "delay", "duplicate", "reorder", "bandwidth")  # what `faults set` can change
FAULT_SETTING_OPTIONS: Final = (
    *(
        replace(
            option,
            read=readers.share if option.read is readers.share else readers.text,  # `faults.read_change` does
            commands=SET,
            group="options",
            default=None,
            defaults={},
            unset="as it is",
        )
        for option in FAULT_OPTIONS
        if option.name in _RATES
    ),
    Option(
        name="cut",
        read=readers.text_or_nothing,
        help="let nothing pass: for this time (30s) or, without a value, until `faults clear`",
        commands=SET,
        form="optional",
        metavar="DURATION",
        unset="not cut",
    ),
    Option(
        name="for_",
        read=readers.text,
        help="end these faults after this time, such as 30s",
        commands=SET,
        metavar="DURATION",
        unset="never",
    ),
)
