"""What a tick costs, in counts that are the same on every machine: encodes, copies, allocations, autograd."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from peer import assembly
from peer.bench import ring as ring_module
from peer.bench.ring import Ring
from peer.bench.tick import CASES, make_problem
from peer.derivatives import Derivatives
from peer.settings import AgentSettings
from peer.tensor_algebra import PIECE
from wire.codec import push_bytes_overhead_max

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pytest
    from torch import Tensor

SIZE = 3 * PIECE  # of the model
BLOCKS = 4
BLOCK = SIZE // BLOCKS
AGENTS = 3
FANOUT = AGENTS - 1
FLOAT32 = 4  # bytes
STREAMS = 2
GRADIENTS = 2  # calls: of the losses, and of what they are multiplied with
SETTINGS = AgentSettings(
    tick_jitter=0.0,
    fanout=FANOUT,
    warm_up_ticks=2.0,
    evaluate_every=0,
    model_step_size=0.1,
    adjoint_step_size=0.1,
    momentum=0.5,
    damping=0.0,
    hyper_step_size=0.0,
    block_bytes_max=2 * STREAMS * FLOAT32 * BLOCK + push_bytes_overhead_max(2 * STREAMS),
)


class Plain:
    """`BilevelProblem` whose losses are squares of distances; its derivatives allocate nothing."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.wanted = torch.randn(SIZE, generator=generator)
        self.model: Mapping[str, Tensor] = {"x": torch.zeros(SIZE)}
        self.hyperparameters: Mapping[str, Tensor] = {}
        self._room = torch.empty(SIZE), torch.empty(SIZE)

    def batches(self) -> Iterator[None]:
        yield None

    def inner_loss(self, model: Mapping[str, Tensor], _: object, __: None) -> Tensor:
        return 0.5 * torch.dot(model["x"] - self.wanted, model["x"] - self.wanted)

    outer_loss = inner_loss

    def derivatives(
        self, model: Mapping[str, Tensor], _: object, adjoint: Mapping[str, Tensor]
    ) -> Derivatives:
        gradient = torch.sub(model["x"], self.wanted, out=self._room[0])
        adjoint_gradient = torch.sub(adjoint["x"], gradient, out=self._room[1])
        return Derivatives({"x": gradient}, {}, {"x": adjoint_gradient}, {}, {}, 0.0, 0.0)


class Allocations(TorchDispatchMode):
    """New tensors of at least half a piece: how many of each dtype and size an operation has made."""

    def __init__(self) -> None:
        super().__init__()
        self.made: Counter[tuple[str, torch.dtype, int]] = Counter()

    def __torch_dispatch__(self, called: Any, _: Any, given: Any = (), named: Any = None) -> Any:
        found = called(*given, **(named or {}))
        known = {one.untyped_storage().data_ptr() for one in tensors((given, named))}
        for one in tensors(found):
            if one.numel() >= PIECE // 2 and one.untyped_storage().data_ptr() not in known:
                self.made[called.overloadpacket.__name__, one.dtype, one.numel()] += 1
        return found


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Calls of what makes and reads frames, and of autograd."""
    calls: Counter[str] = Counter()

    def counting(name: str, work: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            calls[name] += 1
            return work(*given, **named)

        return call

    with monkeypatch.context() as during:
        during.setattr(ring_module, "encode", counting("encode", assembly.encode))
        during.setattr(ring_module, "decode", counting("decode", assembly.decode))
        during.setattr(torch.autograd, "grad", counting("grad", torch.autograd.grad))
        yield calls


def settled() -> Ring:
    ring = Ring([Plain(seed) for seed in range(AGENTS)], SETTINGS)
    ring.settle()
    for _ in range(3):
        ring.tick()
    return ring


def test_a_tick_allocates_its_message_and_what_sums_have_grown_by() -> None:
    """And nothing as long as the model: each block of it is announced, and read from each neighbour, once."""
    ring = settled()
    solver = ring.agents[0].solver
    assert [span.stop - span.start for span in solver.spans] == [BLOCK] * BLOCKS
    with Allocations() as allocations:
        ring.tick()
    blocks = AGENTS * STREAMS * BLOCKS
    assert allocations.made == {
        ("empty", torch.float32, BLOCK): 2 * blocks,  # the message
        ("_to_copy", torch.float64, BLOCK): FANOUT * blocks,  # what sums have grown by
        ("empty", torch.float64, BLOCK): (5 + 2 * FANOUT) * blocks,  # room, from what was free
        ("empty", torch.float64, PIECE): 3 * AGENTS * STREAMS,  # of the step, and to measure a gradient
    }


def test_a_tick_encodes_each_block_once_and_reads_it_without_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = settled()
    sent = ring.messages
    with counted(monkeypatch) as calls:
        ring.tick()
    assert ring.messages - sent == AGENTS * FANOUT * BLOCKS
    assert calls == {"encode": AGENTS * BLOCKS, "decode": AGENTS * BLOCKS * FANOUT}
    push = next(iter(ring.agents[0].inbox._slots.values()))
    frame = assembly.encode(push)
    begin = np.frombuffer(frame, dtype=np.uint8).ctypes.data
    for array, told in zip(assembly.decode(frame).arrays, push.arrays, strict=True):
        assert torch.equal(array, told)
        assert begin <= array.data_ptr() < begin + len(frame)


def test_a_tick_calls_autograd_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for gradients and once, through the graph that these have left, for products with the adjoint."""
    settings = replace(SETTINGS, block_bytes_max=2**20)
    ring = Ring([make_problem(CASES["small"], seed) for seed in range(AGENTS)], settings)
    ring.settle()
    with counted(monkeypatch) as calls:
        ring.tick()
    assert calls["grad"] == GRADIENTS * AGENTS
