"""Traces by whoever wrote them, all checks right: `hyperpush replay` has an answer, or one line why not."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
import time
import weakref
from pathlib import Path
from typing import Any

import msgpack

from peer.cli import main
from peer.trace.records import MAGIC, pack
from tests.agent_traces import hunted

HEAD_BYTES = 12  # of a record, see `peer.trace.records`
STORIES = (
    *((), ("--story", "peer:agent-1"), ("--story", "message:agent-1/0/1"), ("--story", "hyperparameter:h")),
)
CPU_S_MAX = 30.0  # for one file, on any machine
OUTCOMES = {0: "the same", 1: "differs, or is damaged", 2: "refused"}


class Replayed:
    """Files of a few records: simulated, hunted, and from the middle with a state."""

    name = "replayed"
    files = (
        *("trace/checks.py", "trace/origins.py", "trace/outline.py", "trace/records.py", "trace/replay.py"),
        *("trace/story.py", "trace/values.py"),
    )

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp())
        self._path = self._folder / "trace"
        weakref.finalize(self, shutil.rmtree, self._folder)

    def seeds(self) -> list[bytes]:
        simulated, worlds = self._folder / "simulated", self._folder / "worlds"
        arguments = ("simulate", "--task", "synthetic", "--agents", "2", "--ticks", "10")
        with contextlib.redirect_stdout(io.StringIO()):
            assert main([*arguments, "--trace", str(simulated)]) == 0
        hunted(7, worlds, bytes_max=250_000, say=lambda _: None)
        paths = [simulated / "agent-0.0", worlds / "agent-0.0.1", worlds / "agent-0.0"]
        return [self.write(self.read(path.read_bytes())[:10]) for path in paths]

    def read(self, data: bytes) -> Any:
        records, at = [], len(MAGIC)
        while at < len(data):
            length = int.from_bytes(data[at : at + 4], "little")
            content = data[at + HEAD_BYTES : at + HEAD_BYTES + length]
            record = msgpack.unpackb(content, strict_map_key=False)
            if record[0] == "state":  # a value within
                record[1] = msgpack.unpackb(record[1])
            records.append(record)
            at += HEAD_BYTES + length
        return records

    def write(self, tree: Any) -> bytes:
        records = [one if isinstance(one, list) and one else [None, one] for one in tree]
        for one in records:
            if one[0] == "state":
                one[1:] = [bytes(msgpack.packb(part)) for part in one[1:]]
        return MAGIC + b"".join(pack(*one) for one in records)

    def throw(self, data: bytes) -> str:
        self._path.write_bytes(data)
        story = STORIES[len(data) % len(STORIES)]
        json = ("--json", f"{self._path}.json") if len(data) % 3 else ()
        out, err = io.StringIO(), io.StringIO()
        began = time.process_time()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(["replay", str(self._path), *story, *json])
        assert time.process_time() - began < CPU_S_MAX
        lines = err.getvalue().splitlines()
        assert len(lines) == (code == 2), lines
        assert all(line.startswith("hyperpush replay: ") for line in lines)
        return OUTCOMES[code]
