"""Options of the commands around learning: keys, faults on live agents, status, doctor, reports, searches."""

from __future__ import annotations

from typing import Final

from peer.options import readers
from peer.options.option import Option

CONTROLS: Final = ("faults show", "faults set", "faults clear", "predict", "status", "top")
HUNT: Final = ("hunt",)
SOAK: Final = ("soak",)
REPORT: Final = ("report",)
STATES: Final = ("state show", "state verify", "state export")

_KEYS: Final = (
    Option(
        name="file",
        read=readers.path,
        help="a swarm's key file",
        commands=("keys show",),
        form="positional",
        required=True,
    ),
    Option(
        name="state",
        read=readers.path,
        help="where the agent keeps its identity; one is made if there is none",
        commands=("keys identity",),
        metavar="DIR",
        required=True,
    ),
)

_STATE: Final = (
    Option(
        name="dir",
        read=readers.path,
        help="what --state of an agent was given",
        commands=STATES,
        form="positional",
        required=True,
    ),
    Option(
        name="file",
        read=readers.path,
        help="the file to write",
        commands=("state export",),
        form="positional",
        required=True,
    ),
    Option(
        name="number",
        read=readers.whole(1),
        help="of the checkpoint, as `state show` lists them",
        commands=("state export",),
        metavar="N",
        unset="the newest that is whole",
    ),
    Option(
        name="json",
        read=readers.switch,
        help="print JSON instead of a table",
        commands=("state show",),
        form="switch",
    ),
)

_CONTROL: Final = (
    Option(
        name="url",
        read=readers.text,
        help="where the agent's --admin listens, URL or HOST:PORT",
        commands=CONTROLS[:4],
        form="positional",
        required=True,
    ),
    Option(
        name="url",
        read=readers.text,
        help="where the agent's --admin listens, URL or HOST:PORT",
        commands=("status",),
        form="positional",
        unset="$HYPERPUSH_ADMIN and $HYPERPUSH_ADMIN_CERT, as `run` takes them, else http://127.0.0.1:7701",
    ),
    Option(
        name="url",
        read=readers.text,
        help="where agents, or programs of many agents, listen with their --admin: URLs or HOST:PORT",
        commands=("top",),
        form="positionals",
        metavar="URL",
        unset="as `status`",
    ),
    Option(
        name="token",
        read=readers.path,
        help="what the agent wants to be shown: its --admin-token",
        commands=CONTROLS,
        metavar="FILE",
        unset="$HYPERPUSH_ADMIN_TOKEN, as `run` takes it, else none",
    ),
    Option(
        name="to",
        read=readers.text,
        help="only on the link to this peer",
        commands=("faults set", "faults clear"),
        metavar="PEER",
        unset="on all links",
    ),
    Option(
        name="file",
        read=readers.path,
        help="the samples: .npy, .npz, CSV or JSON, as the agent learns from them; -: standard input",
        commands=("predict",),
        form="positional",
        required=True,
    ),
    Option(
        name="array",
        read=readers.text,
        help="of an .npz file, the array with the samples",
        commands=("predict",),
        metavar="NAME",
        unset="the only one",
    ),
    Option(
        name="out",
        read=readers.path,
        help="write the outputs to this file, ending in .npy or .csv",
        commands=("predict",),
        metavar="FILE",
        unset="they are printed",
    ),
    Option(name="watch", read=readers.switch, help="go on showing it", commands=("status",), form="switch"),
    Option(
        name="json",
        read=readers.switch,
        help="print JSON",
        commands=("status", "predict", "doctor", "top"),
        form="switch",
        configurable=False,
    ),
    Option(
        name="timeout",
        read=readers.positive,
        help="seconds to wait for each answer",
        commands=("doctor",),
        metavar="S",
        default=5.0,
        configurable=False,
    ),
)

_REPORT: Final = (
    Option(
        name="run_dir",
        read=readers.path,
        help="what --out of `swarm`, `run` or `simulate` was given; several are compared",
        commands=REPORT,
        form="positionals",
        required=True,
        metavar="RUN_DIR",
    ),
    Option(
        name="html",
        read=readers.path,
        help="the page to write: one file, which needs no network",
        commands=REPORT,
        metavar="FILE",
        unset="report.html in RUN_DIR; of several, comparison.html in the first",
    ),
    Option(
        name="markdown",
        read=readers.path,
        help="write the same as Markdown, numbers instead of pictures",
        commands=REPORT,
        metavar="FILE",
    ),
)

_HUNT: Final = (
    Option(
        name="seeds",
        read=readers.whole(1),
        help="random worlds to look at",
        commands=HUNT,
        default=100,
    ),
    Option(name="from_seed", read=readers.whole(0), help="the first of them", commands=HUNT, default=0),
    Option(name="jobs", read=readers.whole(1), help="processes", commands=HUNT, default=2),
    Option(
        name="record",
        read=readers.path,
        help="keep the verdicts in this file, a line of JSON each",
        commands=HUNT,
        metavar="FILE",
    ),
    Option(
        name="resume",
        read=readers.switch,
        help="go on with the worlds that are not in --record yet",
        commands=HUNT,
        form="switch",
    ),
    Option(
        name="without",
        read=readers.numbers,
        help="leave these troubles of one world out, by their numbers, separated by commas",
        commands=HUNT,
        metavar="N,N",
        default=(),
    ),
    Option(
        name="story",
        read=readers.switch,
        help="tell everything that happens in one world",
        commands=HUNT,
        form="switch",
    ),
)

_SOAK: Final = (
    Option(
        name="real",
        read=readers.switch,
        help="over real sockets and in real time, not simulated",
        commands=SOAK,
        form="switch",
    ),
    Option(
        name="agents",
        read=readers.whole(2),
        help="agents in the swarm",
        commands=SOAK,
        unset="50, with --real 8",
    ),
    Option(
        name="agent_ticks",
        read=readers.whole(1),
        help="end a simulated soak when all together have done so many",
        commands=SOAK,
        default=10_000_000,
    ),
    Option(
        name="minutes",
        read=readers.positive,
        help="end a real soak after so long",
        commands=SOAK,
        default=60.0,
    ),
    Option(
        name="record",
        read=readers.path,
        help="append the samples to this file, a line of JSON each",
        commands=SOAK,
        metavar="FILE",
    ),
    Option(
        name="seed", read=readers.whole(0), help="of problems, faults and ticks", commands=SOAK, default=0
    ),
)

TOOL_OPTIONS: Final = (*_KEYS, *_STATE, *_CONTROL, *_REPORT, *_HUNT, *_SOAK)
