"""From the beginning of a trace to an agent as it was before its first input.

What is written there:

    kind    origin                                              made
    task    task, agents, shard, seed, personalization, data    arguments of `assembly.make_agent`
    file    the same; its task is a file of Python              the same
    given   -: whoever replays has the problem                  the same
    hunt    seed, without, shard                                peer, incarnation, now, founder, epoch_floor

`made` has the settings, too. Nothing of the data is in either: `data` says how they are shared out, the
fingerprint which they are, and where they lie is for whoever replays to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from peer import assembly
from peer.data.choice import choice_of_record
from peer.errors import HyperpushError, SettingError
from peer.settings import AgentSettings
from peer.simulation import Clock
from peer.tasks import TASKS, make_task
from peer.trace.records import TraceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from peer.agent import Agent
    from peer.data.choice import DataChoice
    from peer.problem import BilevelProblem
    from peer.tasks import Task
    from peer.trace.outline import Codec


def codec_of(origin: Mapping[str, object]) -> Codec | None:
    """How messages are written: those of the hunt, which real ones need not be able to say, by no codec."""
    return None if origin["kind"] == "hunt" else assembly


def make(
    beginning: Mapping[str, Any],
    problem: BilevelProblem[Any] | None = None,
    task: Path | None = None,
    data_dir: Path | None = None,
) -> Agent[Any]:
    """A fresh agent. Raises `TraceError` if this machine, or this version, cannot make it."""
    if task is not None and beginning["origin"]["kind"] == "hunt":
        raise TraceError("its task is of the hunt: leave out --task")
    try:
        origin, made = beginning["origin"], dict(beginning["made"])
        settings = AgentSettings(**made.pop("settings"))
        if origin["kind"] == "hunt":
            return _hunted(origin, **made)
        if problem is None:
            problem = _problem(origin, task, data_dir)
        agent, _ = assembly.make_agent(problem, settings, **made)
    except TraceError:
        raise
    except HyperpushError as error:
        raise TraceError(f"its agent cannot be made here: {error}") from None
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
        remedy = f"replay it with hyperpush {beginning.get('hyperpush')}"
        raise TraceError(
            f"this version cannot make its agent ({type(error).__name__}: {error}); {remedy}"
        ) from None
    return agent


def of_task(
    task: Task, agents: int, seed: int, personalization: str, choice: DataChoice | None = None
) -> dict[str, object]:
    """How the problems of a task are made again, but for the shard and the place of files."""
    made = {"task": task.name, "agents": agents, "seed": seed, "personalization": personalization}
    kind = "task" if task.name in TASKS else "file"
    chosen = {} if choice is None else choice.recorded()
    return {"kind": kind, "fingerprint": task.fingerprint, **made, **({"data": chosen} if chosen else {})}


def _problem(origin: Mapping[str, Any], file: Path | None, data_dir: Path | None) -> BilevelProblem[Any]:
    """A trace may come from anybody: what it names as a file is not executed, `file` is.

    It names no folder of data; `data_dir` is the one here.
    """
    if origin["kind"] not in ("task", "file"):
        raise TraceError("its problem was given in Python: give it to peer.trace.replay.replay as well")
    if file is not None and origin["kind"] == "task":
        raise TraceError(f"its task is {origin['task']}, which is built in: leave out --task")
    if file is None and origin["kind"] == "file":
        raise TraceError(
            f"its task is the file {origin['task']}, which is code: say --task FILE to execute yours"
        )
    try:
        choice = choice_of_record(origin.get("data", {}), data_dir)
        made = (origin["agents"], origin["seed"], origin["personalization"])
        task = make_task(file or str(origin["task"]), *made, shard=origin["shard"], choice=choice)
    except SettingError as error:
        raise TraceError(f"this machine lacks its task: {error}") from None
    if task.fingerprint != origin["fingerprint"]:
        raise TraceError(f"its task was {origin['fingerprint']}, the one here is {task.fingerprint}")
    problem: BilevelProblem[Any] = task.problems[origin["shard"]]
    return problem


def _hunted(
    origin: Mapping[str, Any], *, peer: str, incarnation: int, now: float, founder: bool, epoch_floor: int
) -> Agent[Any]:
    from peer.hunt.trial import Trial
    from peer.hunt.world import draw

    trial = Trial(draw(origin["seed"]).without(origin["without"]))
    member = trial.members[origin["shard"]]
    member.peer, member.incarnation, member.clock = peer, incarnation, Clock(latest=now)
    return trial.make_agent(member, founder=founder, epoch_floor=epoch_floor)
