"""`hyperpush state`: what a state directory holds, whether it is whole, and the model as a file of its own.

Takes no lock: an agent that runs there is not disturbed.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import torch
from rich.table import Table

from peer.checkpoints import CheckpointError, CheckpointStore
from peer.display import make_console
from peer.errors import NewerReleaseError, SettingError, StateError
from peer.file_disk import FileDisk
from peer.snapshot import Snapshot
from peer.state import look_at
from peer.state_files import IDENTITY, Found
from peer.tensors import pack, unpack
from wire.keys import display_fingerprint

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from torch import Tensor

    from peer.checkpoints import Checkpoint

DAMAGED = 1


def main(options: argparse.Namespace) -> int:
    """Do what was asked for; returns the exit code."""
    folder: Path = options.dir
    if not folder.is_dir():
        raise StateError(f"state: {folder} is no directory; give what --state of an agent was given")
    match options.state_command:
        case "show":
            return show(folder, as_json=options.json)
        case "verify":
            return verify(folder)
    return export(folder, options.file, options.number)


def show(folder: Path, *, as_json: bool) -> int:
    """Identity, numbers and checkpoints; 1 if whose they are is lost or cannot be trusted."""
    store = CheckpointStore(FileDisk(folder))
    held, problem = _whose(folder, store)
    identity, numbers = held.identity, held.numbers
    code = DAMAGED if problem else 0
    rows = [_row(store, number) for number in store.numbers()]
    if as_json:
        found: dict[str, object] = {"identity": None if identity is None else identity.fingerprint}
        if numbers is not None:
            found |= {"incarnation": numbers.incarnation, "epoch": numbers.epoch}
        print(json.dumps(found | {"problem": problem, "checkpoints": rows}, indent=2))
        return code
    console = make_console()
    if problem:
        console.print(problem)
    elif identity is None or numbers is None:
        console.print("no identity yet: no agent has used this directory")
    else:
        console.print(
            f"identity {display_fingerprint(identity.fingerprint)}, incarnation {numbers.incarnation}, "
            f"epoch {numbers.epoch}"
        )
    table = Table(header_style="bold")
    for heading in ("checkpoint", "kept", "tick", "epoch", "incarnation", "bytes", ""):
        table.add_column(heading)
    for row in rows:
        cells = (
            row.get(name, "") for name in ("number", "saved_at", "ticks", "epoch", "incarnation", "bytes")
        )
        table.add_row(
            *(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells), row["problem"]
        )
    console.print(table if rows else "no checkpoints")
    if rows and not rows[-1]["problem"]:
        for name, tensor in sorted(_named(store.load(rows[-1]["number"])).items()):
            if tensor.numel():
                spread = f"{float(tensor.min()):.4g} to {float(tensor.max()):.4g}"
                console.print(f"  {name}  {list(tensor.shape)}  {spread}")
    return code


def verify(folder: Path) -> int:
    """Say what is damaged; 1 if something is."""
    store = CheckpointStore(FileDisk(folder))
    found, problem = _whose(folder, store)
    if not problem and found.identity is None:
        problem = "there is no identity: no agent has used this directory"
    problems = [*found.findings, *([problem] if problem else [])]
    numbers = store.numbers()
    damaged = [problem for number in numbers if (problem := _row(store, number)["problem"])]
    problems += damaged
    for problem in problems:
        print(problem)
    for name in store.leftovers():
        print(f"{folder / name} is half a checkpoint: it is being written, or the next start removes it")
    print(f"{len(numbers) - len(damaged)} of {len(numbers)} checkpoints are whole; {len(problems)} problems")
    return DAMAGED if problems else 0


def export(folder: Path, file: Path, number: int | None) -> int:
    """Write the newest whole checkpoint, or the one of this number, with names as the model has them."""
    if file.resolve().is_relative_to(folder.resolve()):
        raise SettingError("file", str(file), "give a place outside the state directory")
    store = CheckpointStore(FileDisk(folder))
    if number is not None and number not in store.numbers():
        known = ", ".join(map(str, store.numbers()))
        remedy = (
            f"give one of {known}" if known else "there are no checkpoints yet: let an agent run with --state"
        )
        raise SettingError("number", number, remedy)
    if number is None:
        number, checkpoint, wrong = store.newest()
        for problem in wrong:
            print(problem, file=sys.stderr)
        if checkpoint is None:
            raise StateError(f"state: {folder} has no whole checkpoint; let an agent run there for a while")
    else:
        checkpoint = store.load(number)
    named = _named(checkpoint)
    file.write_bytes(pack(named))
    print(f"checkpoint {number}: {len(named)} tensors in {file}")
    return 0


def _whose(folder: Path, store: CheckpointStore) -> tuple[Found, str]:
    """Who uses the directory, and why that cannot be said of one that was used."""
    try:
        found = look_at(folder)
    except StateError as error:
        return Found(), str(error)
    lost = found.lost
    if found.identity is None and not lost and store.numbers():
        lost = f"whose checkpoints these are is lost: {folder / IDENTITY} and its copy are missing"
    return found, f"{lost}; the next start makes a new identity" if lost else ""


def _row(store: CheckpointStore, number: int) -> dict[str, Any]:
    try:
        found = store.load(number)
    except (CheckpointError, NewerReleaseError) as error:
        return {"number": number, "problem": str(error)}
    return {
        "number": number,
        "saved_at": found.saved_at,
        "ticks": found.values.get("ticks"),
        "epoch": found.epoch,
        "incarnation": found.incarnation,
        "model": found.model,
        "bytes": len(found.tensors),
        "problem": "",
    }


def _named(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Model and adjoint in the shapes and dtypes of the model, and what is the agent's own."""
    arrays = unpack(checkpoint.tensors)
    learner = Snapshot(arrays, checkpoint.values).part("learner")
    named = {}
    layout: Any = learner.values["layout"]
    for what in ("model", "adjoint"):
        start = 0
        for name, shape, dtype in layout:
            count = int(torch.Size(shape).numel())
            one = arrays[what][start : start + count].view(shape)
            named[f"{what}.{name}"] = one.to(getattr(torch, dtype))
            start += count
    for what in ("hyperparameters", "local"):
        named |= {f"{what}.{name}": tensor for name, tensor in learner.part(what).arrays.items()}
    return named
