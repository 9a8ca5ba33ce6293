"""A record of results, so that a benchmark of hours may be stopped at any time and gone on with.

The first line says which benchmark, every other one what was measured, by which code, and the result. Results
of other code are kept and counted: people decide whether they are still good.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from peer.errors import HyperpushError, SettingError
from peer.record_file import RecordFile
from peer.sources import code

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

FORMAT: Final = 1


class Measured(RecordFile):
    """Results by key; `found` has those of the file. Raises HyperpushError as `RecordFile`.

    `of` is the module that measures: its code and what it imports are the code of a result.
    """

    def __init__(self, path: Path | None, *, resume: bool, benchmark: str, of: str) -> None:
        if resume and path is None:
            raise SettingError("resume", "true", "give the --record to go on with")
        self.found: dict[str, Any] = {}
        self._codes: dict[str, str] = {}
        self._benchmark = benchmark
        self._code = code(of)
        super().__init__(path, resume=resume, read=self._read, first=self._header)

    def add(self, key: str, result: object) -> None:
        """Keep a result that JSON can hold."""
        self.found[key] = result
        self._codes[key] = self._code
        self.add_line(json.dumps({"key": key, "code": self._code, "result": result}) + "\n")

    def by_other_code(self, keys: Collection[str]) -> int:
        """How many of these are not of this code."""
        return sum(self._codes[key] != self._code for key in keys)

    def told_of_other_code(self, keys: Collection[str], what: str) -> Iterator[str]:
        """A line for people, if any of these are not."""
        others = self.by_other_code(keys)
        if others:
            yield f"{others} of the {what} were measured by other code than this: {self._code}."

    def _header(self) -> str:
        return json.dumps({"record": f"hyperpush bench {self._benchmark}", "format": FORMAT}) + "\n"

    def _read(self, content: bytes) -> int:
        whole = content.rfind(b"\n") + 1
        lines = content[:whole].splitlines()
        if content and (not lines or lines[0] + b"\n" != self._header().encode()):
            raise HyperpushError(f"is no record of hyperpush bench {self._benchmark}; give another file")
        for number, line in enumerate(lines[1:], start=2):
            try:
                one = json.loads(line)
            except (ValueError, RecursionError):
                one = None
            if not _is_result(one):
                raise HyperpushError(f"has no result in line {number}; give another file")
            self.found[one["key"]], self._codes[one["key"]] = one["result"], one["code"]
        return whole


def _is_result(one: object) -> bool:
    return (
        isinstance(one, dict)
        and isinstance(one.get("key"), str)
        and isinstance(one.get("code"), str)
        and isinstance(one.get("result"), dict)
    )
