"""Names that help texts list without loading torch; tests compare them with what there is."""

from __future__ import annotations

from typing import Final

PERSONALIZATION_NAMES: Final = (
    *("none", "bias", "logits", "class-weights", "sample-weights", "regularization", "mixture:K"),
    *("head[:L]", "features", "lora:R", "interpolation", "proximal"),
)
