"""Puts an agent together from a problem and settings; the simulator and the runtime use the same lines."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING, Any

from torch import Tensor

from peer.admission import Identity
from peer.agent import Agent
from peer.errors import ProblemError
from peer.optimizers import model_steps, optimizer_maker
from peer.orders import block_spans
from peer.solver import Solver
from peer.tensor_algebra import TensorAlgebra
from peer.tensors import FlatLayout, from_array, to_array
from peer.torch_learner import TorchLearner
from wire import PROTOCOL_VERSION, Push, codec, decode_push, push_bytes_overhead_max

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peer.problem import BilevelProblem
    from peer.settings import AgentSettings
    from peer.torch_learner import MakeOptimizer
    from peer.trace.files import Trace
    from wire import PeerId

ARRAYS_PER_MESSAGE = 4  # estimate and sum, of model and adjoint
ITEM_BYTES = {"float32": 4, "float64": 8}

TensorAgent = Agent[Tensor]


def make_agent(
    problem: BilevelProblem[Any],
    settings: AgentSettings,
    *,
    peer: PeerId,
    swarm: str,
    seed: int,
    now: float,
    founder: bool,
    incarnation: int = 0,
    epoch_floor: int = 0,
    address: str = "",
    make_optimizer: MakeOptimizer | None = None,
    task: str = "",
    trace: Trace | None = None,
) -> tuple[TensorAgent, TorchLearner[Any]]:
    """A ready agent and its learner. Random streams: one per use, named after (seed, peer, incarnation).

    `task` is what must be equal at all agents beside the model: part of the fingerprint. `trace` keeps all
    that the agent is given. `make_optimizer` is there in place of the setting `hyper_optimizer`.
    """
    learner = TorchLearner(problem, make_optimizer or optimizer_maker(settings.hyper_optimizer))
    algebra = TensorAlgebra(settings.wire_dtype)
    item_bytes = ARRAYS_PER_MESSAGE * ITEM_BYTES[settings.wire_dtype]
    room = settings.block_bytes_max - push_bytes_overhead_max(ARRAYS_PER_MESSAGE)
    spans = block_spans(learner.layout.size, settings.block_fraction, room // item_bytes)
    name = f"{seed}/{peer}/{incarnation}"
    steps, settings = model_steps(settings, learner.layout.shapes)
    rng = random.Random(f"{name}/blocks")
    solver = Solver(learner, algebra, settings, spans, rng, optimizer=steps)
    identity = Identity(
        peer,
        swarm,
        fingerprint(task, learner.layout.describe(), settings.solver, str(len(spans))),
        incarnation,
        address,
    )
    agent = Agent(
        identity,
        solver,
        algebra,
        settings,
        rng=random.Random(f"{name}/ticks"),
        now=now,
        founder=founder,
        epoch_floor=epoch_floor,
    )
    if trace is not None:
        made = {"peer": peer, "swarm": swarm, "seed": seed, "task": task, "address": address}
        life = {"founder": founder, "incarnation": incarnation, "epoch_floor": epoch_floor}
        agent = trace.watch(agent, now, {**made, **life})
    return agent, learner


def fingerprint(*parts: str) -> str:
    """Equal for agents that can learn together: task, names, shapes and dtypes, solver, number of blocks."""
    return hashlib.blake2b("|".join(parts).encode(), digest_size=8).hexdigest()


def check_alike(problems: Sequence[BilevelProblem[Any]]) -> None:
    """Raise `ProblemError` unless all models have the same names, shapes and dtypes in the same order."""
    layouts = [FlatLayout(problem.model, "model").describe() for problem in problems]
    for number, layout in enumerate(layouts):
        if layout != layouts[0]:
            raise ProblemError(
                f"problems[{number}]: its model is {layout}, that of problems[0] is {layouts[0]}; "
                "give all the same names, shapes and dtypes"
            )


def encode(push: Push[Tensor], version: int = PROTOCOL_VERSION) -> bytes:
    """One frame for all targets."""
    return b"".join(encode_parts(push, version))


def encode_parts(push: Push[Tensor], version: int = PROTOCOL_VERSION) -> list[bytes | memoryview]:
    """The same in parts, the arrays not copied."""
    arrays = tuple([to_array(array) for array in push.arrays])
    return codec.encode_parts(push.with_arrays(arrays), version)


def decode(frame: bytes | memoryview) -> Push[Tensor]:
    """The message of a frame. Raises `wire.DecodeError`."""
    push = decode_push(frame)
    return push.with_arrays(tuple([from_array(array) for array in push.arrays]))
