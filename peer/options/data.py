"""Options of a task's data and model, and of `hyperpush partition`, which shows who would have what."""

from __future__ import annotations

from typing import Final

from peer.data.choice import MODELS
from peer.data.scheme import EXAMPLES
from peer.options import readers
from peer.options.names import CONFIGURED
from peer.options.option import Option

PARTITION: Final = ("partition",)
INFLUENCE: Final = ("influence",)
OF_TASKS: Final = (*INFLUENCE, "export")  # they look at what was learned of a task
PERSONALIZATION: Final = ("bench personalization",)
SHARED_OUT: Final = ("digits", "fashion-mnist", "mnist", "emnist", "folder")

DATA_OPTIONS: Final = (
    Option(
        name="partition",
        read=readers.partition,
        help=f"how samples are shared out among agents: {EXAMPLES}; the last two can be added to another "
        "with +",
        commands=(*CONFIGURED, *PARTITION, *OF_TASKS, *PERSONALIZATION),
        group="learning",
        metavar="HOW",
        unset="dirichlet:0.4; of folder: a file for each agent",
    ),
    Option(
        name="data_dir",
        read=readers.path,
        help="the folder with the files of the task's data; for folder also one file",
        commands=(*CONFIGURED, *PARTITION, *OF_TASKS, *PERSONALIZATION, "replay"),
        group="learning",
        metavar="DIR",
        unset="where Debian's package puts those of fashion-mnist",
    ),
    Option(
        name="model",
        read=readers.model,
        help=f"of images, and of folder: one of {', '.join(MODELS)}",
        commands=(*CONFIGURED, *OF_TASKS, *PERSONALIZATION),
        group="learning",
        metavar="NAME",
        unset="mlp",
    ),
    Option(
        name="samples",
        read=readers.whole(1),
        help="share out so many samples only, drawn at random",
        commands=(*CONFIGURED, *PARTITION, *OF_TASKS, *PERSONALIZATION),
        group="learning",
        unset="all",
    ),
    Option(
        name="task",
        read=readers.text,
        help=f"one of {', '.join(SHARED_OUT)}",
        commands=PARTITION,
        group="learning",
        metavar="NAME",
        default="digits",
    ),
    Option(
        name="agents",
        read=readers.whole(1),
        help="agents in the swarm",
        commands=PARTITION,
        group="learning",
        default=8,
    ),
    Option(
        name="seed",
        read=readers.whole(0),
        help="of the split",
        commands=PARTITION,
        group="learning",
        default=0,
    ),
    Option(
        name="figure",
        read=readers.path,
        help="draw it: a file ending in .png, .svg or .pdf; needs matplotlib (pip install 'hyperpush[plot]')",
        commands=PARTITION,
        group="results",
        metavar="FILE",
    ),
    Option(
        name="json",
        read=readers.path,
        help="write the counts as JSON",
        commands=PARTITION,
        group="results",
        metavar="FILE",
    ),
)
