"""What the files under `deploy/` give to agents, tried as `hyperpush run` would read it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peer.options import complete, split

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def understood(environment: Mapping[str, str], *arguments: str) -> argparse.Namespace:
    """The options in force of `hyperpush run` with these. Raises what it would be refused with."""
    return complete(split(["run", *arguments]), environment)


def assignments(text: str) -> dict[str, str]:
    """NAME=value lines of an environment file, those that are commented out as well."""
    return dict(re.findall(r"^#?([A-Z_]+)=(.+)$", text, re.MULTILINE))


def environment_of(container: Mapping[str, Any], **known: str) -> dict[str, str]:
    """What Kubernetes gives to a container, with what it fills in as `known`."""
    found = dict(known)
    for variable in container["env"]:
        if "value" in variable:
            found[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda name: found[name[1]], variable["value"])
    return found
