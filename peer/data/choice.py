"""What people choose of a task's data and model, beside its name."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path  # noqa: TC003  (of a dataclass, whose types others may ask for)
from typing import TYPE_CHECKING, Final

from peer.data.scheme import Scheme, parse_scheme
from peer.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

MODELS: Final = ("mlp", "cnn")


@dataclass(frozen=True, slots=True)
class DataChoice:
    """None: what the task has by default. All but `data_dir` must be the same at all agents."""

    partition: Scheme | None = None
    data_dir: Path | None = None
    model: str | None = None
    samples: int | None = None

    def only(self, task: str, *possible: str) -> None:
        """Raise `SettingError` for a choice that this task does not have."""
        for field in fields(self):
            given = getattr(self, field.name)
            if given is not None and field.name not in possible:
                has = f"it has {', '.join(possible)}" if possible else "its data are what they are"
                raise SettingError(
                    field.name, str(given), f"task {task} has no such choice, {has}; leave it out"
                )

    def recorded(self) -> dict[str, object]:
        """As a trace keeps it: without `data_dir`, which is of one machine."""
        given = {"partition": self.partition, "model": self.model, "samples": self.samples}
        return {
            name: str(value) if isinstance(value, Scheme) else value
            for name, value in given.items()
            if value is not None
        }


def choice_of_record(recorded: Mapping[str, object], data_dir: Path | None) -> DataChoice:
    """From what `recorded` gave, which anybody may have written. Raises `SettingError`."""
    partition, model, samples = (recorded.get(name) for name in ("partition", "model", "samples"))
    if not (samples is None or (type(samples) is int and samples >= 1)):
        raise SettingError("samples", samples, "it has to be a whole number from 1 up")
    return DataChoice(
        None if partition is None else parse_scheme(str(partition)),
        data_dir,
        None if model is None else checked_model(str(model)),
        samples,
    )


def checked_model(name: str) -> str:
    """The name of a model. Raises `SettingError` listing those there are."""
    if name not in MODELS:
        raise SettingError("model", name, f"give one of {', '.join(MODELS)}")
    return name
