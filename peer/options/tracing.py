"""Options of traces: which are written, and what is done with one."""

from __future__ import annotations

from typing import Final

from peer.options import readers
from peer.options.option import Option

TRACED: Final = ("run", "config", "swarm", "simulate", "hunt")

TRACE_OPTIONS: Final = (
    Option(
        name="trace",
        read=readers.path,
        help="keep what the agent is given, for `replay`: a file, or a folder of files for several agents",
        commands=TRACED,
        group="results",
        metavar="PATH",
    ),
    Option(
        name="trace_mb",
        read=readers.positive,
        help="megabytes of each trace at most: the beginning, and the newest of the rest",
        commands=TRACED,
        group="results",
        metavar="N",
        default=64.0,
    ),
    Option(
        name="trace_agent",
        read=readers.text,
        help="trace this agent only",
        commands=TRACED[2:],
        group="results",
        metavar="ID",
        unset="all of them",
    ),
    Option(
        name="file",
        read=readers.path,
        help="a trace, written by --trace",
        commands=("replay",),
        form="positional",
        required=True,
    ),
    Option(
        name="task",
        read=readers.path,
        help="the file of Python that was its task, which is executed",
        commands=("replay",),
        metavar="FILE",
        unset="its task is built in",
    ),
    Option(
        name="story",
        read=readers.text,
        help="tell of peer:ID, message:SENDER/BLOCK/SEQUENCE or hyperparameter:NAME",
        commands=("replay",),
        metavar="SUBJECT",
        unset="nothing is told",
    ),
    Option(
        name="json",
        read=readers.path,
        help="write what was found, and the story, as JSON",
        commands=("replay",),
        metavar="FILE",
    ),
)
