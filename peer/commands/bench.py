"""`hyperpush bench`: measurements that anybody can repeat."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def main(options: argparse.Namespace) -> int:
    """Run the benchmark that was asked for; returns the exit code."""
    module = options.bench.replace("-", "_")
    code = importlib.import_module(f"peer.bench.{module}").main(options)
    assert isinstance(code, int)
    return code
