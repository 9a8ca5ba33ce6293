"""`hyperpush predict`: what the personal model of a live agent says of samples in a file."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from peer.admin_client import Body, Limits, admin_client
from peer.errors import SettingError
from peer.printable import printable
from peer.sample_files import FILE_BYTES_MAX, npy_bytes, read_samples
from peer.whole_file import write_whole
from wire import TransportError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from numpy.typing import NDArray

STDIN: Final = Path("-")
LIMITS: Final = Limits(120.0, 2**25)  # a large body on a slow line and its answer; half a million numbers
SHOWN_MAX: Final = 10  # outputs of one sample on a line
SUFFIXES: Final = (".npy", ".csv")


def main(options: argparse.Namespace) -> int:
    """Ask, and print or write; returns the exit code."""
    out: Path | None = options.out
    if out is not None and (out.suffix not in SUFFIXES or not out.absolute().parent.is_dir()):
        raise SettingError("out", str(out), "give a file ending in .npy or .csv, in a folder that exists")
    client = admin_client(options.url, options.token, os.environ)
    content, kind = read_samples(_read(options.file), str(options.file), options.array)
    answer = client.ask("POST", "/v1/predict", body=Body(content, kind), limits=LIMITS)
    outputs, classes, model = _checked(answer, client.url)
    if out is not None:
        written = npy_bytes(outputs) if out.suffix == ".npy" else _as_csv(outputs, classes)
        write_whole(out, written, "out")
    if options.json:
        print(json.dumps(answer, indent=2))
        return 0
    told = f"tick {model.get('tick')}, epoch {model.get('epoch')}"
    print(f"{client.url}: personal model of {printable(model.get('peer'))}, {told}")
    if out is not None:
        print(f"written: {out}, {len(outputs)} samples")
        return 0
    for row, values in enumerate(outputs.reshape(len(outputs), -1)):
        shown = "  ".join(f"{value:9.4g}" for value in values[:SHOWN_MAX])
        more = f"  and {len(values) - SHOWN_MAX} more" if len(values) > SHOWN_MAX else ""
        label = "" if classes is None else f"  class {classes[row]:<4d}"
        print(f"{row + 1:6d}{label}  outputs {shown}{more}")
    return 0


def _read(file: Path) -> bytes:
    try:
        if file == STDIN:
            found = sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
        else:
            with file.open("rb") as opened:
                found = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise SettingError("file", str(file), f"it cannot be read: {error.strerror}; give a file") from None
    if len(found) > FILE_BYTES_MAX:
        remedy = f"it has more than {FILE_BYTES_MAX} bytes; give fewer samples at once"
        raise SettingError("file", str(file), remedy)
    return found


def _checked(
    answer: Mapping[str, object], url: str
) -> tuple[NDArray[np.float64], list[int] | None, Mapping[str, Any]]:
    """The parts of an answer. Raises `wire.TransportError` if it is none of an agent."""
    outputs, classes, model = (answer.get(name) for name in ("outputs", "classes", "model"))
    try:
        found = np.array(outputs, dtype=np.float64)  # null becomes NaN
    except (TypeError, ValueError):
        found = np.empty(())
    fits = found.ndim > 0 and isinstance(model, dict)
    if isinstance(classes, list):
        fits = fits and len(classes) == len(found) and all(type(one) is int for one in classes)
    if not fits or not isinstance(model, dict) or not isinstance(classes, list | None):
        raise TransportError(f"what answers at {url} is no agent of this version")
    return found, classes, model


def _as_csv(outputs: NDArray[np.float64], classes: list[int] | None) -> bytes:
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator="\n")
    flat = outputs.reshape(len(outputs), -1)
    first = [] if classes is None else ["class"]
    writer.writerow([*first, *(f"output_{number}" for number in range(flat.shape[1]))])
    for row, values in enumerate(flat.tolist()):
        writer.writerow([*([] if classes is None else [classes[row]]), *values])
    return written.getvalue().encode()
