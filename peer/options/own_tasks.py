"""Options of `hyperpush init` and `hyperpush check`: tasks that people bring."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from peer.options import readers
from peer.options.names import TEMPLATES
from peer.options.option import Option

INIT: Final = ("init",)
CHECK: Final = ("check",)
EXTENSIONS: Final = ("extensions",)

OWN_TASK_OPTIONS: Final = (
    Option(
        name="template",
        read=readers.template,
        help=f"what to begin with: one of {', '.join(TEMPLATES)}",
        commands=INIT,
        metavar="NAME",
        default=TEMPLATES[0],
    ),
    Option(
        name="dir",
        read=readers.path,
        help="where to write task.py and agent.toml; what is there stays as it is",
        commands=INIT,
        form="positional",
        metavar="DIR",
        default=Path(),
    ),
    Option(
        name="file",
        read=readers.task,
        help="a file of Python, which is executed, or the name of a task",
        commands=CHECK,
        form="positional",
        metavar="FILE",
        default=Path("task.py"),
    ),
    Option(
        name="agents",
        read=readers.whole(2),
        help="agents that the swarm is to have",
        commands=CHECK,
        default=8,
    ),
    Option(
        name="shard",
        read=readers.whole(0),
        help="which of them to look at, beside one other",
        commands=CHECK,
        metavar="I",
        default=0,
    ),
    Option(
        name="mbit",
        read=readers.positive,
        help="megabits a second that an agent may send",
        commands=CHECK,
        metavar="X",
        default=10.0,
    ),
    Option(
        name="seconds",
        read=readers.positive,
        help="to measure a tick for",
        commands=CHECK,
        metavar="S",
        default=3.0,
    ),
    Option(
        name="json", read=readers.switch, help="print JSON", commands=(*CHECK, *EXTENSIONS), form="switch"
    ),
)
