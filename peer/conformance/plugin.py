"""`pytest --hyperpush-conformance MODULE`: holds the parts that a module brings to what is asked of them.

Loaded by pytest wherever hyperpush is installed; does nothing unless it is asked to.
"""

from __future__ import annotations

import importlib
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from peer.blame import cause, last_line, users_line

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


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Collect the module's parts in place of the tests that there are."""
    name = config.getoption(OPTION)
    if name is None:
        return
    # Checks have loops of their own: what pytest-asyncio, which the extra `test` brings, asks for is nothing
    # to whoever has their parts checked.
    warnings.filterwarnings("ignore", message=".*asyncio_default_fixture_loop_scope")
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
        from peer.conformance.common import name_of

        for point, makers in self.wanted.items():
            for number, make in enumerate(makers):
                named = name_of(make) or f"{point} {number + 1}"
                first, *_ = found = checks(point)
                tried = _Tried(first, make)
                for check in found:
                    item: _Item = _Item.from_parent(self, name=f"{named}: {check.__name__.replace('_', ' ')}")
                    item.check, item.tried = check, tried
                    yield item


class _Tried:
    """The first check of one part, which all others need; made once, when it is first asked for."""

    def __init__(self, first: Check, make: Callable[..., Any]) -> None:
        self.make = make
        self.first = first
        self._error: Exception | None = None
        self._is_done = False

    def error(self) -> Exception | None:
        """What it raises."""
        if not self._is_done:
            self._is_done = True
            try:
                self.first(self.make)
            except Exception as error:  # whatever the part does
                self._error = error
        return self._error


class _Item(pytest.Item):
    """One check of one part."""

    check: Check
    tried: _Tried

    def runtest(self) -> None:
        """Raises what the check does; skipped if the first one has failed."""
        error = self.tried.error()
        if self.check is not self.tried.first:
            if error is not None:
                pytest.skip(_told(error))
            self.check(self.tried.make)
        elif error is not None:
            raise error

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *_: object, **__: object) -> str:
        """What is wrong in a line, and the line of the user's code that led to it; all with `--tb=native`."""
        error = excinfo.value
        if self.config.option.tbstyle in ("long", "native"):
            return "".join(traceback.format_exception(error))
        place = users_line(error)
        if place is None and not isinstance(error, AssertionError):
            place = f"{last_line(error)}; --tb=native shows how it got there"
        return _told(error) if place is None else f"{_told(error)}\n  at {place}"

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where it is."""
        return self.path, None, self.name


def _told(error: BaseException) -> str:
    """What a check says, as it says it; anything else with its kind."""
    return str(error) if isinstance(error, AssertionError) and str(error) else cause(error)
