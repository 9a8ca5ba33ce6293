"""`hyperpush replay`: the inputs of a trace once more, and whether they lead to the same effects.

Exit code 0 if all that could be read did, 1 at the first that did not and for a damaged file, 2 for what is
no trace, or cannot be replayed here.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.progress import DownloadColumn, Progress

from peer.display import make_console
from peer.findings import listed
from peer.trace.files import versions
from peer.trace.records import Reader, TraceError
from peer.trace.replay import replay
from peer.trace.story import teller_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from typing import Any

    from peer.trace.replay import Replayed


def main(options: argparse.Namespace) -> int:
    """Replay it, and print what is seen; returns the exit code."""
    console = make_console()
    teller = None if options.story is None else teller_of(options.story)
    story: list[dict[str, object]] = []
    if options.file.is_dir():
        names = sorted(path.name for path in options.file.iterdir() if path.is_file())
        here = f"give one of: {listed(names)}" if names else "and an empty one; give a file"
        raise TraceError(f"trace: {str(options.file)!r} is a folder, {here}")
    try:
        with options.file.open("rb") as file:
            reader = Reader(file)
            reader.open()
            beginning = reader.beginning
            console.print(_headline(beginning))
            file.seek(0)
            columns = (*Progress.get_default_columns(), DownloadColumn())
            with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
                bar = progress.add_task("replaying", total=options.file.stat().st_size)

                def tell(now: float, line: str) -> None:
                    story.append({"now": now, "told": line})
                    console.print(f"{_when(now, beginning)}  {line}")

                found = replay(
                    file,
                    task=options.task,
                    data_dir=options.data_dir,
                    teller=teller,
                    tell=tell,
                    progress=lambda read: progress.update(bar, completed=read),
                )
    except OSError as error:
        raise TraceError(f"trace: {str(options.file)!r} cannot be read: {error.strerror}") from None
    except TraceError as error:
        raise TraceError(f"trace: {str(options.file)!r}: {error}") from None
    if teller is not None and not story:
        console.print(f"nothing of {options.story} is in these inputs")
    for line in _verdict(found, beginning):
        console.print(line)
    if options.json is not None:
        content = {"file": str(options.file), "beginning": beginning, **asdict(found), "story": story}
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 1 if found.difference is not None or found.damaged else 0


def _headline(beginning: Mapping[str, Any]) -> str:
    made, origin = beginning["made"], beginning["origin"]
    task = f"seed {origin.get('seed')} of the hunt" if origin["kind"] == "hunt" else origin.get("task")
    since = f", from input {beginning['first']:,}" if beginning["first"] else ""
    who = f"{made.get('peer')}, incarnation {made.get('incarnation')}"
    return f"{who}, {task}, hyperpush {beginning.get('hyperpush')}{since}"


def _when(now: float, beginning: Mapping[str, Any]) -> str:
    """The time of day, of a real agent; else that of its clock."""
    wall_s = beginning.get("wall_s")
    if wall_s is None:
        return f"{now:12.3f} s"
    return datetime.fromtimestamp(wall_s + now, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _verdict(found: Replayed, beginning: Mapping[str, Any]) -> list[str]:
    lines = []
    if found.difference is not None:
        one = found.difference
        lines.append(f"input {one.number:,} ({one.name} at {_when(one.now, beginning).strip()}): {one.what}")
        lines.append(f"the {found.inputs:,} inputs before it gave the same effects")
        here = versions()
        others = [f"{name} {beginning.get(name)}" for name in here if here[name] != beginning.get(name)]
        if others:
            lines.append(f"it was written with {', '.join(others)}: that may be why")
        return lines
    same = f"{found.inputs:,} inputs gave the same effects"
    lines.append(f"all {same}" if not (found.cut or found.damaged) else same)
    after = f"after input {found.first + found.inputs - 1:,}" if found.inputs else "before the first input"
    if found.cut:
        lines.append(f"the file ends within a record, {after}: its writer was stopped there")
    if found.damaged:
        lines.append(f"the file is damaged {after}: what follows cannot be replayed")
    return lines
