"""Options of `hyperpush export`, beside those of tasks and their data."""

from __future__ import annotations

from typing import Final

from peer.options import readers
from peer.options.names import EXPORT_FORMATS
from peer.options.option import Option

EXPORT: Final = ("export",)

EXPORT_OPTIONS: Final = (
    Option(
        name="dir",
        read=readers.path,
        help="what --state of an agent was given; give --task and what else says which model it is, too",
        commands=EXPORT,
        form="positional",
        metavar="STATE_DIR",
        required=True,
    ),
    Option(
        name="file",
        read=readers.path,
        help="the file to write",
        commands=EXPORT,
        form="positional",
        required=True,
    ),
    Option(
        name="format",
        read=readers.export_format,
        help=f"one of {', '.join(EXPORT_FORMATS)}; onnx needs the extra hyperpush[onnx]",
        commands=EXPORT,
        metavar="NAME",
        unset="as FILE ends: .pt2, .onnx, .safetensors",
    ),
    Option(
        name="shard",
        read=readers.shard,
        help="which part of the data that agent holds, as `run` was told",
        commands=EXPORT,
        group="learning",
        metavar="I/N",
        default="1/8",
    ),
)
