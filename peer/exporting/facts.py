"""What an exported file says about itself, so that whoever has only the file can use it. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from peer.predicting import Form

VERSION: Final = "1"  # of the names below and of those in a safetensors file; raised when they change


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one file. Nothing of the agent's data is among them, not even how much it has."""

    task: str
    personalization: str
    identity: str  # fingerprint of the agent
    checkpoint: int
    saved_at: str
    tick: int
    epoch: int
    form: Form  # of one sample
    outputs: tuple[int, ...]  # the shape of one sample's
    classes: int | None
    formulas: tuple[str, ...]  # how outputs are formed, step by step; "" for what says not how

    def to_text(self) -> dict[str, str]:
        """As every format can hold it. `formula`: y_k are the outputs of learner k, y the personal ones."""
        return {
            "hyperpush": f"personal model {VERSION}",
            "task": self.task,
            "personalization": self.personalization,
            "identity": self.identity,
            "checkpoint": str(self.checkpoint),
            "saved_at": self.saved_at,
            "tick": str(self.tick),
            "epoch": str(self.epoch),
            "inputs": json.dumps({"dtype": _named(self.form), "shape": ["n", *self.form.shape]}),
            "outputs": json.dumps({"shape": ["n", *self.outputs]}),
            "classes": json.dumps(self.classes),
            "formula": "; ".join(self.formulas),
        }


def _named(form: Form) -> str:
    return str(form.dtype).removeprefix("torch.")
