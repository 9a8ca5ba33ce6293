"""Everything here needs a laboratory of network namespaces; without one it is skipped, and says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.network.lab import missing

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if item.path.is_relative_to(HERE)]
    reason = missing() if ours else None
    if reason is not None:
        for item in ours:
            item.add_marker(pytest.mark.skip(reason=reason))
