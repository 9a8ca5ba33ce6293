"""A task that somebody brings: a file of Python, which is executed.

It defines

    def problem(shard, agents, seed, personalization):
        ...  # the `peer.BilevelProblem` of agent `shard` (0, 1, ...) of `agents`; all models begin equal

    settings = {"model_step_size": 0.1}  # optional: those of `peer.AgentSettings` that suit it

On machines that each hold their own data, `problem` reads it there and leaves `shard` alone.
"""

from __future__ import annotations

import hashlib
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, cast, overload

from peer.baselines import never
from peer.errors import HyperpushError, SettingError
from peer.module_problem import ModuleProblem
from peer.outcome import Kind
from peer.problem import BilevelProblem
from peer.settings import AgentSettings
from peer.tasks.scoring import ACCURACIES, LOSSES, accuracies, losses

if TYPE_CHECKING:
    from pathlib import Path

    from peer.personalization import Personalization
    from peer.settings import SettingKeywords
    from peer.tasks.scoring import Answer

FILE_BYTES_MAX = 2**20  # more is no program that somebody wrote
BILEVEL_MEMBERS = ("model", "hyperparameters", "inner_loss", "outer_loss", "batches")
OF_THE_PROGRAM = ("tick_s", "checkpoint_s", "checkpoint_ticks")  # not for a task to say


class FileTask:
    """`peer.tasks.Task` of a file. Each problem is made when it is asked for, once.

    Scores are accuracies where a `peer.ModuleProblem` has test samples of classes, else validation losses.
    """

    class_names: Sequence[str] = ()

    def __init__(
        self, path: Path, agents: int, seed: int, personalization: Personalization, shard: int
    ) -> None:
        self.name = str(path)
        self._path = path
        source = self._source()
        digest = hashlib.blake2b(source, digest_size=8).hexdigest()
        self.fingerprint = f"file {digest}/{agents}/{seed}"
        self._arguments = (agents, seed, personalization)
        found = self._execute(source, f"hyperpush_task_{digest}")
        self._problem = found.get("problem")
        if not callable(self._problem):
            self._refuse("define problem(shard, agents, seed, personalization) in it")
        self.settings = self._checked(found.get("settings", {}))
        first = self.make(shard)
        self.kind = _kind_of(first)
        self.columns: Mapping[str, str] = ACCURACIES if self.kind is Kind.ACCURACY else LOSSES
        self.problems: Sequence[BilevelProblem[Any]] = _Problems(self, agents, shard, first)

    def among(self, shards: Sequence[int]) -> FileTask:
        """Scores do not depend on who else is there."""
        del shards
        return self

    def scores(
        self,
        shard: int,
        answer: Answer,
        settings: AgentSettings,
        ticks: int,
        stopped: Callable[[], bool] = never,
    ) -> dict[str, float]:
        """Accuracies, with what the agent would have reached alone; or losses before and after."""
        problem = self.make(shard)  # whose data nobody has read from so far
        if self.kind is Kind.LOSS:
            return losses(problem, answer)
        assert isinstance(problem, ModuleProblem)
        return accuracies(problem, answer, settings, ticks, stopped)

    def make(self, shard: int) -> BilevelProblem[Any]:
        """A fresh problem. Raises `SettingError` with the place in the file where something is wrong."""
        assert callable(self._problem)
        try:
            found = self._problem(shard, *self._arguments)
        except Exception as error:  # whatever it is, it is of the user's own code
            self._blame(error, f"problem({shard}, ...)")
        if not isinstance(found, BilevelProblem):
            lacking = [name for name in BILEVEL_MEMBERS if not hasattr(found, name)]
            self._refuse(
                f"problem({shard}, ...) returned {type(found).__name__}, which lacks {', '.join(lacking)}; "
                "return a peer.BilevelProblem, such as peer.ModuleProblem"
            )
        return found

    def another(self, shard: int) -> BilevelProblem[Any]:
        """One more, scored as the first one is. Raises `SettingError`."""
        found = self.make(shard)
        if _kind_of(found) is not self.kind:
            has, other = ("no", "some") if self.kind is Kind.ACCURACY else ("some", "none")
            self._refuse(
                f"problem({shard}, ...) has {has} test samples of classes, another has {other}: "
                "give them to all, or to nobody"
            )
        return found

    def _source(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                source = file.read(FILE_BYTES_MAX + 1)
        except OSError as error:
            self._refuse(f"it cannot be read: {error.strerror}; give a file of Python")
        if len(source) > FILE_BYTES_MAX:
            self._refuse(f"it is larger than {FILE_BYTES_MAX} bytes; give a program that reads the data")
        return source

    def _execute(self, source: bytes, name: str) -> dict[str, Any]:
        """As `python FILE` would, but that its folder comes last in the search for modules."""
        module = sys.modules[name] = ModuleType(name)  # dataclasses look there
        module.__file__ = str(self._path)
        folder = str(self._path.resolve().parent)
        if folder not in sys.path:
            sys.path.append(folder)
        try:
            exec(compile(source, str(self._path), "exec", dont_inherit=True), vars(module))  # noqa: S102  (as --task says)
        except (Exception, SystemExit) as error:
            self._blame(error, "it")
        return vars(module)

    def _checked(self, given: object) -> SettingKeywords:
        if not isinstance(given, Mapping):
            self._refuse(f"settings is {type(given).__name__}; give a dict")
        for name in OF_THE_PROGRAM:
            if name in given:
                self._refuse(f"settings has {name}, which is not for a task to say; give the option instead")
        try:
            AgentSettings(**given)
        except (TypeError, ValueError) as error:
            told = str(error).replace("AgentSettings.__init__() got an unexpected", "there is no such")
            self._refuse(f"settings: {told}")
        return cast("SettingKeywords", dict(given))

    def _blame(self, error: BaseException, what: str) -> NoReturn:
        """Say where in the file it happened."""
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == str(self._path)
        ]
        if isinstance(error, SyntaxError) and error.filename == str(self._path):
            lines = [error.lineno]
        where = f" in line {lines[-1]}" if lines and lines[-1] is not None else ""
        kind = "" if isinstance(error, HyperpushError) else f"{type(error).__name__}: "
        told = " ".join(str(getattr(error, "msg", error)).split())
        raise SettingError("task", self.name, f"{what} fails{where}: {kind}{told}") from None

    def _refuse(self, remedy: str) -> NoReturn:
        raise SettingError("task", self.name, remedy)


def _kind_of(problem: BilevelProblem[Any]) -> Kind:
    """How it can be scored."""
    scored = isinstance(problem, ModuleProblem) and problem.test_set and problem.classes is not None
    return Kind.ACCURACY if scored else Kind.LOSS


class _Problems(Sequence[BilevelProblem[Any]]):
    """One per agent, each made when it is first asked for: a machine may have the data of one only."""

    def __init__(self, task: FileTask, agents: int, shard: int, first: BilevelProblem[Any]) -> None:
        self._task = task
        self._made: list[BilevelProblem[Any] | None] = [None] * agents
        self._made[shard] = first

    def __len__(self) -> int:
        return len(self._made)

    @overload
    def __getitem__(self, index: int) -> BilevelProblem[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[BilevelProblem[Any]]: ...
    def __getitem__(self, index: int | slice) -> BilevelProblem[Any] | Sequence[BilevelProblem[Any]]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        made = self._made[index]
        if made is None:
            made = self._made[index] = self._task.another(index % len(self))
        return made
