"""`POST /v1/predict` and `hyperpush predict`: what is answered is what the agent's own model says."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import threading
from typing import TYPE_CHECKING, Any

import aiohttp
import numpy as np
import pytest
import torch
from torch import nn

import peer.admin_predict
from peer.admin import AdminServer
from peer.admin_predict import PREDICTIONS_MAX, predict_routes
from peer.cli import main
from peer.predicting import JSON_BYTES_MAX, ROWS, SAMPLES_MAX, personal_model
from peer.problem_details import PROBLEM_TYPE, RefusalError
from tests.oracles.personal import INPUTS, moved, tiny_problem
from tests.runtime.agents import LIMIT_S, group, quadratics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from peer.predicting import PersonalModel
    from peer.service import AgentService

    Capture = pytest.CaptureFixture[str]

NPY = "application/x-npy"
SAMPLES = torch.arange(4 * INPUTS, dtype=torch.float64).reshape(4, INPUTS) / 10


def npy(array: Any) -> bytes:
    written = io.BytesIO()
    np.save(written, np.asarray(array))
    return written.getvalue()


def some_model(name: str = "mixture:2+logits", **options: Any) -> PersonalModel:
    """Of tick 7; away from where it began."""
    problem = tiny_problem(name, **options)
    at = moved(problem.model, 1), moved(problem.hyperparameters, 2), moved(problem.local, 3)
    return personal_model(problem, *at, peer="a/b", tick=7, epoch=2)


class Listener:
    """An admin listener that asks `model`."""

    def __init__(self, model: PersonalModel | RefusalError) -> None:
        self.model = model
        self.server = AdminServer("127.0.0.1", 0, predict_routes(self._personal))

    async def _personal(self) -> PersonalModel:
        if isinstance(self.model, RefusalError):
            raise self.model
        return self.model

    async def post(
        self, body: bytes, kind: str = "application/json", accept: str = "*/*"
    ) -> tuple[int, Any, Any]:
        headers = {"Content-Type": kind, "Accept": accept}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.server.url}/v1/predict", data=io.BytesIO(body), headers=headers) as response,
        ):
            content = await response.read()
            told = np.load(io.BytesIO(content)) if response.content_type == NPY else json.loads(content)
            assert (response.content_type == PROBLEM_TYPE) == (response.status != 200)
            return response.status, told, response.headers


@contextlib.asynccontextmanager
async def listening(model: PersonalModel | RefusalError) -> AsyncIterator[Listener]:
    found = Listener(model)
    async with asyncio.timeout(LIMIT_S):
        await found.server.start()
        try:
            yield found
        finally:
            await found.server.close()


async def test_json_and_npy_are_answered_as_either() -> None:
    model = some_model()
    expected = model.predict(SAMPLES)
    async with listening(model) as asked:
        for body, kind in (
            (json.dumps({"inputs": SAMPLES.tolist()}).encode(), "application/json; charset=utf-8"),
            (npy(SAMPLES), NPY),
        ):
            status, told, _ = await asked.post(body, kind)
            assert status == 200
            assert told["outputs"] == expected.tolist()
            assert told["classes"] == expected.argmax(1).tolist()
            assert told["model"] == {"tick": 7, "epoch": 2, "peer": "a/b"}
            status, array, headers = await asked.post(body, kind, f"application/json;q=0.5, {NPY}")
            assert status == 200
            assert np.array_equal(array, expected)
            found = [headers[f"Hyperpush-{name}"] for name in ("Tick", "Epoch", "Peer")]
            assert found == ["7", "2", "a/b"]


@pytest.mark.parametrize(
    ("body", "kind", "status", "field"),
    [
        (b"{}", "text/plain", 415, "Content-Type"),
        (b"inputs", "application/json", 400, "body"),
        (b'{"inputs": [[1, 2]]}', "application/json", 400, "inputs"),
        (b'{"inputs": [[1, 2, true]]}', "application/json", 400, "inputs[0][2]"),
        (b" " * (JSON_BYTES_MAX + 1), "application/json", 413, "body"),
        (npy(np.zeros((SAMPLES_MAX + 1, INPUTS), np.uint8)), NPY, 413, "inputs"),
        (npy(SAMPLES)[:-1], NPY, 400, "body"),
        (npy(np.array([[1.0, np.nan, 2.0]])), NPY, 400, "inputs[0][1]"),
    ],
)
async def test_what_cannot_be_predicted_is_a_problem_that_names_it(
    body: bytes, kind: str, status: int, field: str
) -> None:
    async with listening(some_model()) as asked:
        found, told, _ = await asked.post(body, kind)
        assert (found, told["field"]) == (status, field)
        assert told["remedy"]


async def test_a_task_without_a_module_says_so() -> None:
    async with group() as swarm:
        service = await swarm.add(quadratics(1)[0], "agent-0", founder=True)
        with pytest.raises(RefusalError) as refused:
            await service.personal_model()
        async with listening(refused.value) as asked:
            status, told, _ = await asked.post(b'{"inputs": [[1]]}')
            assert (status, told["field"], told["value"]) == (501, "task", "QuadraticProblem")


async def test_only_so_many_are_answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are told to come again, also those who send much."""
    going, arrived = threading.Event(), threading.Semaphore(0)

    def answer(*_: object) -> bytes:
        arrived.release()
        assert going.wait(LIMIT_S)
        return b"{}"

    monkeypatch.setattr(peer.admin_predict, "_answer", answer)
    async with listening(some_model()) as asked:
        waiting = [asyncio.create_task(asked.post(b"{}")) for _ in range(PREDICTIONS_MAX)]
        for _ in waiting:
            await asyncio.to_thread(arrived.acquire, timeout=LIMIT_S)
        for body in (b"{}", bytes(5_000_000)):
            status, told, headers = await asked.post(body, NPY)
            assert (status, told["field"], headers["Retry-After"]) == (503, "path", "1")
        going.set()
        assert [status for status, _, _ in await asyncio.gather(*waiting)] == [200] * PREDICTIONS_MAX


class Choosy(nn.Linear):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if len(inputs) == 4:
            raise KeyError("not four")
        return super().forward(inputs)


async def test_what_a_module_of_the_users_own_raises_is_an_answer() -> None:
    async with listening(some_model("none", module=Choosy(INPUTS, 3).double())) as asked:
        status, told, _ = await asked.post(npy(SAMPLES), NPY)
        assert (status, told["field"]) == (400, "inputs")
        assert "KeyError: 'not four'" in told["remedy"]
        assert (await asked.post(npy(SAMPLES[:3]), NPY))[0] == 200


def own_outputs(service: AgentService, inputs: torch.Tensor) -> torch.Tensor:
    """As the agent itself computes them; it must not be computing."""
    learner: Any = service.learner
    model = learner.layout.unflatten(service.agent.solver.model.estimate)
    with torch.no_grad():
        found: torch.Tensor = learner.problem.predict(model, learner.hyperparameters, inputs, learner.local)
    return found


async def test_a_copy_is_what_the_agent_had_between_two_ticks_and_learning_goes_on() -> None:
    """Asked all the time while it computes: every answer is of one tick, and the last is the agent's own."""
    async with group() as swarm:
        service = await swarm.add(tiny_problem("interpolation+mixture:2"), "agent-0", founder=True)
        swarm.run()
        seen: dict[int, list[float]] = {}

        async def ask() -> None:
            while service.agent.ticks < 40:
                model = await service.personal_model()
                outputs = await asyncio.to_thread(model.predict, SAMPLES)
                assert torch.isfinite(outputs).all()
                known = seen.setdefault(model.tick, outputs.reshape(-1).tolist())
                assert known == outputs.reshape(-1).tolist(), "one tick, one model"

        asking = [asyncio.create_task(ask()) for _ in range(3)]
        await swarm.ticks(45)
        await asyncio.gather(*asking)
        assert len(seen) > 5
        assert len({tuple(outputs) for outputs in seen.values()}) > 5, "it went on learning meanwhile"
        service.stop()
        await swarm.until(lambda: service._computation is None)
        last = await service.personal_model()
        assert last is await service.personal_model(), "made once a tick"
        assert (last.peer, last.tick, last.epoch) == ("agent-0", service.agent.ticks, service.agent.epoch)
        assert torch.equal(last.predict(SAMPLES), own_outputs(service, SAMPLES))


async def test_who_waits_for_a_computation_that_fails_is_told() -> None:
    async with group() as swarm:
        service = await swarm.add(tiny_problem("none"), "agent-0", founder=True)
        broken, entered = threading.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def fail(*_: object, **__: object) -> None:
            loop.call_soon_threadsafe(entered.set)
            assert broken.wait(LIMIT_S)
            raise ZeroDivisionError

        service.agent.solver.tick = fail  # type: ignore[method-assign,assignment]
        run = asyncio.create_task(service.run())
        await asyncio.wait_for(entered.wait(), LIMIT_S)
        asking = asyncio.create_task(service.personal_model())
        gives_up = asyncio.create_task(service.personal_model())
        await asyncio.wait([asking], timeout=0.01)
        gives_up.cancel()
        broken.set()
        with pytest.raises(RefusalError, match="it has stopped"):
            await asking
        with pytest.raises(ZeroDivisionError):
            await run


def test_once_nobody_waits_it_goes_no_further() -> None:
    model = some_model()
    asked = 0

    def gone() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    with pytest.raises(RefusalError, match="ask again"):
        model.predict(SAMPLES.repeat(ROWS, 1), gone)
    assert asked == 3


# ---- the command


@contextlib.contextmanager
def elsewhere(model: PersonalModel) -> Iterator[str]:
    """The URL of a listener in a thread of its own."""
    found = Listener(model)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(found.server.start(), loop).result()
        yield found.server.url
    finally:
        asyncio.run_coroutine_threadsafe(found.server.close(), loop).result()
        asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_files_of_every_kind_are_predicted(tmp_path: Path, capsys: Capture) -> None:
    model = some_model()
    rows = SAMPLES.tolist()
    files = {
        "a.npy": npy(SAMPLES),
        "a.json": json.dumps(rows).encode(),
        "b.json": json.dumps({"inputs": rows}).encode(),
        "a.csv": "\n".join(",".join(map(str, row)) for row in rows).encode(),
        "b.csv": ("a,label,b,c\n" + "\n".join(f"{a},x,{b},{c}" for a, b, c in rows)).encode(),
    }
    np.savez(tmp_path / "a.npz", x=SAMPLES.numpy(), y=np.zeros(3))
    expected = model.predict(SAMPLES)
    with elsewhere(model) as url:
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
            assert main(["predict", url, str(tmp_path / name), "--json"]) == 0
            assert json.loads(capsys.readouterr().out)["outputs"] == expected.tolist(), name
        array = ["--array", "x"]
        assert main(["predict", url, str(tmp_path / "a.npz"), *array, "--out", str(tmp_path / "o.npy")]) == 0
        assert np.array_equal(np.load(tmp_path / "o.npy"), expected)
        assert "o.npy, 4 samples" in capsys.readouterr().out
        assert main(["predict", url, str(tmp_path / "a.csv"), "--out", str(tmp_path / "o.csv")]) == 0
        header, first, *_ = (tmp_path / "o.csv").read_text().splitlines()
        assert header == "class,output_0,output_1,output_2"
        assert first == ",".join(map(str, [int(expected[0].argmax()), *expected[0].tolist()]))
        capsys.readouterr()
        assert main(["predict", url, str(tmp_path / "a.csv")]) == 0
        head, *lines = capsys.readouterr().out.splitlines()
        assert head == f"{url}: personal model of a/b, tick 7, epoch 2"
        assert len(lines) == 4
        assert lines[1].startswith(f"     2  class {int(expected[1].argmax())}")
        assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]


def test_standard_input_is_a_file(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    class Stdin:
        buffer = io.BytesIO(npy(SAMPLES))

    monkeypatch.setattr("sys.stdin", Stdin)
    with elsewhere(some_model()) as url:
        assert main(["predict", url, "-"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_what_the_agent_refuses_is_said_in_one_line(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "a.csv").write_text("1,2\n3,4\n")
    with elsewhere(some_model()) as url:
        assert main(["predict", url, str(tmp_path / "a.csv")]) == 2
    told = capsys.readouterr().err
    assert told == (
        "hyperpush predict: inputs: 'shape (2, 2)' is not possible; give numbers of float64 in shape (n, 3)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["/nowhere/a.npy"], "FILE: '/nowhere/a.npy' is not possible; it cannot be read: No such file"),
        (["-", "--out", "x.txt"], "--out: 'x.txt' is not possible; give a file ending in .npy or .csv"),
    ],
)
def test_what_cannot_be_asked_is_said_before_anybody_is(
    arguments: list[str], told: str, capsys: Capture
) -> None:
    assert main(["predict", "http://127.0.0.1:1", *arguments]) == 2
    assert told in capsys.readouterr().err
