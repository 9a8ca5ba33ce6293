"""`pytest --hyperpush-conformance MODULE`: holds the parts that a module brings to what is asked of them.

Loaded by pytest wherever hyperpush is installed; does nothing unless it is asked to.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from peer.conformance import Check

OPTION = "--hyperpush-conformance"
WANTED = "CONFORMANCE"
EXAMPLE = f'{WANTED} = {{"personalization": [MyPersonalization]}}'


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option."""
    parser.getgroup("hyperpush").addoption(
        OPTION,
        metavar="MODULE",
        help=f"check the parts for hyperpush that MODULE brings: it has {EXAMPLE}, or the like",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect the module's parts in place of the tests that there are."""
    name = config.getoption(OPTION)
    if name is None:
        return
    sys.path.insert(0, str(config.invocation_params.dir))
    try:
        module = importlib.import_module(name)
    except Exception as error:  # it is other people's code
        told = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise pytest.UsageError(f"{OPTION} {name}: {told}") from error
    if module.__file__ is None or not isinstance(getattr(module, WANTED, None), dict):
        raise pytest.UsageError(f"{OPTION} {name}: the module says nothing to check; write {EXAMPLE}")
    from peer.conformance import SUITES
    from peer.extensions import POINTS

    known = {*SUITES, *(name for point in POINTS for name in point.also)}
    unknown = [point for point in module.CONFORMANCE if point not in known]
    if unknown:
        told = f"{OPTION} {name}: {WANTED} has {unknown[0]!r}; give some of {', '.join(SUITES)}"
        raise pytest.UsageError(told)
    for point, makers in module.CONFORMANCE.items():
        if not isinstance(makers, list | tuple) or not all(map(callable, makers)):
            raise pytest.UsageError(f"{OPTION} {name}: {WANTED}[{point!r}] is no list of what makes parts")
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        raise pytest.UsageError(
            f"{OPTION} {name}: leave {config.args[0]} out: one module is checked at a time"
        )
    config.args = [module.__file__]
    config.pluginmanager.register(_Collecting(module), "hyperpush-conformance")


class _Collecting:
    """Puts the checks in the place of what pytest would find in the module itself."""

    def __init__(self, module: Any) -> None:
        self._module = module

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makemodule(self, module_path: Path, parent: pytest.Collector) -> _Parts | None:
        """In the place of the module's own tests."""
        if module_path != Path(self._module.__file__):
            return None
        found: _Parts = _Parts.from_parent(parent, path=module_path)
        found.wanted = self._module.CONFORMANCE
        return found


class _Parts(pytest.File):
    """All checks of all parts."""

    wanted: dict[str, list[Callable[..., Any]]]

    def collect(self) -> Iterator[_Item]:
        """In the order of the module."""
        from peer.conformance import checks

        for point, makers in self.wanted.items():
            for number, make in enumerate(makers):
                named = getattr(make, "__name__", "<lambda>")
                named = f"{point} {number + 1}" if named == "<lambda>" else named
                for check in checks(point):
                    item: _Item = _Item.from_parent(self, name=f"{named}: {check.__name__.replace('_', ' ')}")
                    item.check, item.make = check, make
                    yield item


class _Item(pytest.Item):
    """One check of one part."""

    check: Check
    make: Callable[..., Any]

    def runtest(self) -> None:
        """Raises what the check does."""
        self.check(self.make)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *_: object, **__: object) -> str:
        """What is wrong, in words; with where it happened if it was no check that found it."""
        if isinstance(excinfo.value, AssertionError):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where it is."""
        return self.path, None, self.name
