import asyncio
from typing import Any, cast

import pytest

from wire.socket_writer import _Stall

STALL_S = 0.05


class Waiting:
    """As much of a transport as is looked at: how many bytes wait at each look, the last for ever."""

    def __init__(self, *sizes: int) -> None:
        self._sizes = list(sizes)
        self.looks = 0
        self.aborted = asyncio.Event()

    def get_write_buffer_size(self) -> int:
        self.looks += 1
        return self._sizes.pop(0) if len(self._sizes) > 1 else self._sizes[0]

    def abort(self) -> None:
        self.aborted.set()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire.socket_writer.STALL_S", STALL_S)


async def passing(seconds: float) -> None:
    await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=seconds)


async def test_a_push_is_given_its_own_time_though_the_timer_runs_since_an_earlier_one() -> None:
    transport = Waiting(100)
    stall = _Stall(cast("Any", transport))
    stall.watch(100)
    stall.look_away()
    await passing(STALL_S / 2)
    began = asyncio.get_running_loop().time()
    stall.watch(100)
    await transport.aborted.wait()
    assert asyncio.get_running_loop().time() - began >= STALL_S
    assert "not one byte accepted" in str(stall.explain(ConnectionResetError()))


async def test_progress_is_no_stall_however_slow() -> None:
    transport = Waiting(99, 98, 97)
    stall = _Stall(cast("Any", transport))
    stall.watch(100)
    await transport.aborted.wait()
    assert transport.looks == 4, "three times there were fewer bytes, then as many as before"


async def test_nobody_is_aborted_when_nothing_is_under_way() -> None:
    transport = Waiting(100)
    stall = _Stall(cast("Any", transport))
    stall.watch(100)
    stall.look_away()
    await passing(2 * STALL_S)
    assert not transport.aborted.is_set()
    stall.watch(100)
    stall.stop()
    await passing(2 * STALL_S)
    assert not transport.aborted.is_set(), "closed, so not ours any more"
    error = ConnectionResetError("lost")
    assert stall.explain(error) is error
