"""One heap for all threads, asked of the C library itself, in a process of its own."""

from __future__ import annotations

import asyncio
import ctypes
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from peer import heap, swarm

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import ctypes, sys, threading
from peer.heap import share_one

if sys.argv[1] == "one":
    print(share_one())
begin = threading.Barrier(4)

def work():
    begin.wait()
    for size in range(1000, 2000):
        bytearray(size)
    begin.wait()

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
library = ctypes.CDLL(None)
library.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(library.fopen(sys.argv[2].encode(), b"w"))
library.malloc_info(0, file)
library.fclose(file)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="needs glibc")
def test_threads_share_one_heap_of_the_c_library(tmp_path: Path) -> None:
    heaps = {}
    for how in ("many", "one"):
        file = tmp_path / how
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, how, str(file)], capture_output=True, text=True, check=True
        )
        assert run.stdout == ("True\n" if how == "one" else "")
        heaps[how] = file.read_text().count("<heap nr")
    assert heaps["one"] == 1 < heaps["many"]


def test_another_c_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: Any) -> object:
        return object()

    monkeypatch.setattr(ctypes, "CDLL", nothing)
    assert not heap.share_one()
    assert not heap.give_back()


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc")
async def test_agents_that_learn_give_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bool] = []
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    give_back = heap.give_back

    def watched() -> bool:
        given.append(give_back())
        loop.call_soon_threadsafe(done.set)
        return given[-1]

    monkeypatch.setattr(heap, "give_back", watched)
    monkeypatch.setattr(swarm, "GIVE_BACK_EVERY_S", 0.0)
    task = asyncio.create_task(swarm.stay_small())
    async with asyncio.timeout(60):
        await done.wait()
    task.cancel()
    assert given
