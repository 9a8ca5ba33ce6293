"""Names of commands that have options in common, and those that help texts list without loading torch.

Tests compare them with what there is.
"""

from __future__ import annotations

from typing import Final

AGENTS: Final = ("run", "config")  # one real agent
SWARMS: Final = ("swarm", "simulate")
LEARNING: Final = (*AGENTS, *SWARMS)
NETWORKED: Final = (*AGENTS, "doctor")
WATCHED: Final = (*AGENTS, "swarm", "chaos")  # whose agents have a page
CONFIGURED: Final = (*LEARNING, "doctor")  # these read files and the environment

TASK_NAMES: Final = "digits, synthetic, fashion-mnist, mnist, emnist, fedem-synthetic, folder"

TEMPLATES: Final = ("vision", "tabular", "text", "custom")

ENGINES: Final = ("processes", "ray")

EXPORT_FORMATS: Final = ("torch-export", "onnx", "safetensors")

PERSONALIZATION_NAMES: Final = (
    *("none", "bias", "logits", "class-weights", "sample-weights", "regularization", "mixture:K"),
    *("head[:L]", "own:PATTERN", "features", "lora:R", "interpolation", "proximal"),
)
