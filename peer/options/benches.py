"""Options of `hyperpush bench`."""

from __future__ import annotations

from typing import Final

from peer.options import readers
from peer.options.data import PERSONALIZATION
from peer.options.option import Option

EXACTNESS: Final = ("bench exactness",)
WIRE: Final = ("bench wire",)
HYPERGRADIENT: Final = ("bench hypergradient",)
TUNING: Final = ("bench tuning",)
TICK: Final = ("bench tick",)
MEMORY: Final = ("bench memory",)
TIME: Final = ("bench time-to-accuracy",)

_PERSONALIZATION: Final = (
    Option(
        name="task",
        read=readers.text,
        help="one of digits, fashion-mnist, mnist, emnist, folder (your own samples, with --data-dir)",
        commands=PERSONALIZATION,
        metavar="NAME",
        default="fashion-mnist",
    ),
    Option(
        name="agents",
        read=readers.whole(2),
        help="agents in the swarm",
        commands=PERSONALIZATION,
        unset="20, with --quick 8",
    ),
    Option(
        name="large",
        read=readers.whole(0),
        help="agents in the larger swarm, on the last two networks, with one seed; 0: none",
        commands=PERSONALIZATION,
        metavar="N",
        unset="100, with --quick none",
    ),
    Option(
        name="seeds",
        read=readers.whole(1),
        help="splits of the data, with links and batches of their own",
        commands=PERSONALIZATION,
        metavar="N",
        unset="3, with --quick 1",
    ),
    Option(
        name="steps",
        read=readers.whole(1),
        help="gradient steps of each agent",
        commands=PERSONALIZATION,
        metavar="N",
        unset="800, with --quick 150",
    ),
    Option(
        name="networks",
        read=readers.text,
        help="some of full,static,undirected,directed,silent, separated by commas; the larger swarm is on "
        "the last two, groups with other labels on directed",
        commands=PERSONALIZATION,
        metavar="A,B",
        unset="all, with --quick directed,silent",
    ),
    Option(
        name="device",
        read=readers.text,
        help="of the methods that are compared, as torch names it; our agents take the processor",
        commands=PERSONALIZATION,
        metavar="NAME",
        default="cpu",
    ),
    Option(
        name="markdown",
        read=readers.path,
        help="write the tables as Markdown",
        commands=PERSONALIZATION,
        metavar="FILE",
    ),
    Option(
        name="csv",
        read=readers.path,
        help="write the rows, with all digits",
        commands=PERSONALIZATION,
        metavar="FILE",
    ),
)

BENCH_OPTIONS: Final = (
    Option(name="agents", read=readers.whole(2), help="agents in the swarm", commands=EXACTNESS, default=10),
    Option(
        name="ticks",
        read=readers.whole(1),
        help="nominal ticks of virtual time",
        commands=EXACTNESS,
        default=4000,
    ),
    Option(
        name="step_size", read=readers.positive, help="of model and adjoint", commands=EXACTNESS, default=0.2
    ),
    Option(
        name="seed",
        read=readers.whole(0),
        help="of problems, faults and ticks",
        commands=EXACTNESS,
        default=0,
    ),
    Option(
        name="jobs",
        read=readers.whole(1),
        help="processes",
        commands=(*EXACTNESS, *HYPERGRADIENT, *TUNING, *PERSONALIZATION),
        default=2,
    ),
    Option(
        name="agents",
        read=readers.numbers,
        help="agents in the swarms, separated by commas; 3 are the paper's set-up",
        commands=HYPERGRADIENT,
        metavar="N,N",
        unset="3,10,100, with --quick 3,10",
    ),
    Option(
        name="seeds",
        read=readers.whole(1),
        help="draws of links, and of samples where there are not 3 agents",
        commands=HYPERGRADIENT,
        metavar="N",
        unset="3, with --quick 1",
    ),
    Option(
        name="seeds",
        read=readers.whole(1),
        help="random networks with random tasks on them",
        commands=TUNING,
        default=200,
        metavar="N",
    ),
    Option(
        name="from_seed",
        read=readers.whole(0),
        help="the first of them; rules were fitted to those below 100",
        commands=TUNING,
        default=1000,
        metavar="S",
    ),
    Option(
        name="minibatches",
        read=readers.switch,
        help="tasks with minibatches, which have no exact answer: training losses beside those of a grid",
        commands=TUNING,
        form="switch",
    ),
    Option(
        name="quick",
        read=readers.switch,
        help="a smaller table, in a few minutes",
        commands=(*HYPERGRADIENT, *PERSONALIZATION),
        form="switch",
    ),
    Option(
        name="figure",
        read=readers.path,
        help="draw it: .png, .svg or .pdf; needs matplotlib (hyperpush[plot])",
        commands=(*HYPERGRADIENT, *PERSONALIZATION),
        metavar="FILE",
    ),
    Option(
        name="sizes",
        read=readers.byte_counts,
        help="bytes of the blocks, separated by commas",
        commands=WIRE,
        default=(4000, 64_000, 1_000_000),
    ),
    Option(
        name="seconds",
        read=readers.positive,
        help="of each measurement",
        commands=WIRE,
        metavar="S",
        default=3.0,
    ),
    Option(
        name="models",
        read=readers.text,
        help="some of small (4,810 parameters), convolutional (2.3 million), large (10 million)",
        commands=TICK,
        metavar="A,B",
        default="small,convolutional,large",
    ),
    Option(
        name="models",
        read=readers.text,
        help="some of small (4,810 parameters), convolutional (2.3 million), large (10 million; takes 8 GB)",
        commands=MEMORY,
        metavar="A,B",
        default="small,convolutional",
    ),
    Option(
        name="accuracy",
        read=readers.share,
        help="mean test accuracy that is to be reached",
        commands=TIME,
        metavar="X",
        default=0.9,
    ),
    Option(
        name="runs",
        read=readers.whole(1),
        help="one after the other; the median counts",
        commands=TIME,
        metavar="N",
        default=3,
    ),
    Option(
        name="seconds",
        read=readers.positive,
        help="of our ticks of each model; all of it takes up to twice as long",
        commands=TICK,
        metavar="S",
        default=20.0,
    ),
    Option(
        name="json",
        read=readers.path,
        help="write the table as JSON",
        commands=(*EXACTNESS, *TICK, *MEMORY, *TIME, *WIRE, *HYPERGRADIENT, *TUNING, *PERSONALIZATION),
        metavar="FILE",
    ),
    Option(
        name="record",
        read=readers.path,
        help="keep the results in this file, a line of JSON each",
        commands=(*HYPERGRADIENT, *TUNING, *PERSONALIZATION),
        metavar="FILE",
    ),
    Option(
        name="resume",
        read=readers.switch,
        help="go on with what is not in --record yet",
        commands=(*HYPERGRADIENT, *TUNING, *PERSONALIZATION),
        form="switch",
    ),
    *_PERSONALIZATION,
)
