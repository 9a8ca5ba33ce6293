"""Tasks of samples and classes that are shared out: images, the FedEM mixture. Scored by test accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, overload

import numpy as np
import torch

from peer.baselines import never
from peer.data import mixture
from peer.data.files import IMAGE_SETS, read_image_set
from peer.data.labelled import LabelledData, turned
from peer.data.partition import Parts, divide, parts_of
from peer.data.scheme import Scheme
from peer.errors import SettingError
from peer.module_problem import ModuleProblem
from peer.outcome import Kind
from peer.tasks.networks import make_network
from peer.tasks.scoring import ACCURACIES, accuracies

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from peer.data.choice import DataChoice
    from peer.data.partition import Share
    from peer.personalization import Personalization
    from peer.settings import AgentSettings, SettingKeywords
    from peer.tasks.scoring import Answer

DIRICHLET: Final = Scheme("dirichlet", 0.4)
SAMPLES_STREAM: Final = 1  # beside that of the partition
BATCH_SIZE: Final = 64
WEIGHT_DECAY: Final = 1e-3

Make = Callable[[int], ModuleProblem]


class MadeWhenAsked(Sequence[ModuleProblem]):
    """One problem per agent, each made when it is first asked for: a machine may need that of one only."""

    def __init__(self, agents: int, make: Make) -> None:
        self._make = make
        self._made: list[ModuleProblem | None] = [None] * agents

    def __len__(self) -> int:
        return len(self._made)

    @overload
    def __getitem__(self, index: int) -> ModuleProblem: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ModuleProblem]: ...
    def __getitem__(self, index: int | slice) -> ModuleProblem | Sequence[ModuleProblem]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        made = self._made[index]
        if made is None:
            made = self._made[index] = self._make(index % len(self))
        return made


class SampleTask:
    """`peer.tasks.Task` of problems with samples of classes. More accuracy is better."""

    kind = Kind.ACCURACY
    columns = ACCURACIES

    def __init__(
        self,
        name: str,
        fingerprint: str,
        problems: Sequence[ModuleProblem],
        settings: SettingKeywords,
        class_names: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.problems = problems
        self.settings = settings
        self.class_names = class_names

    def scores(
        self,
        shard: int,
        answer: Answer,
        settings: AgentSettings,
        ticks: int,
        stopped: Callable[[], bool] = never,
    ) -> dict[str, float]:
        """Test accuracies, with what the agent would have reached alone in as many ticks."""
        return accuracies(self.problems[shard], answer, settings, ticks, stopped)

    def among(self, shards: Sequence[int]) -> SampleTask:
        """Test samples are one's own, whoever else is there."""
        del shards
        return self


# ---- images


SETTINGS: SettingKeywords = {"hyper_step_size": None}


def image_task(
    name: str, agents: int, seed: int, personal: Personalization, choice: DataChoice
) -> SampleTask:
    """Images of IDX files, both parts of the data set together, shared out anew. Raises `SettingError`."""
    data = read_image_set(IMAGE_SETS[name], choice.data_dir)
    return shared_task(name, data, agents, seed, personal, choice, SETTINGS)


def shared_task(
    name: str,
    data: LabelledData,
    agents: int,
    seed: int,
    personal: Personalization,
    choice: DataChoice,
    settings: SettingKeywords,
) -> SampleTask:
    """One data set, shared out among the agents as `choice.partition` says. Raises `SettingError`."""
    scheme, model = choice.partition or DIRICHLET, choice.model or "mlp"
    shares = share_out(data, agents, seed, scheme, choice.samples)
    some = "" if choice.samples is None else f"{choice.samples} of "

    def make(shard: int) -> ModuleProblem:
        share = shares[shard]
        network = make_network(model, data.inputs.shape[1:], len(data.names), seed)
        return sample_problem(network, data, parts_of(share.rows), personal, seed, share)

    make_network(model, data.inputs.shape[1:], len(data.names), seed)  # refused now, if it has to be
    made = f"{some}{data.digest()}/{scheme}/{model}/{agents}/{seed}"
    names = () if scheme.transform == "permuted" else data.names
    return SampleTask(name, f"{name} {made}", MadeWhenAsked(agents, make), settings, names)


def share_out(
    data: LabelledData, agents: int, seed: int, scheme: Scheme, samples: int | None = None
) -> list[Share]:
    """Who has which rows, of so many that are drawn from all. Raises `SettingError`."""
    rows = np.arange(len(data.labels))
    if samples is not None:
        if samples > len(rows):
            raise SettingError("samples", samples, f"there are {len(rows)}; give as many or fewer")
        drawn = np.random.default_rng([seed, SAMPLES_STREAM]).permutation(len(rows))
        rows = np.sort(drawn[:samples])
    if scheme.transform == "rotated":
        turned(data.inputs[:1], 1)  # refused now, not when an agent is made
    column = data.column_for(scheme)
    found = divide(
        data.labels[rows],
        agents,
        scheme,
        np.random.default_rng([seed, agents]),
        classes=len(data.names),
        column=None if column is None else column[rows],
    )
    return [share.of_rows(rows) for share in found]


def sample_problem(
    network: torch.nn.Module,
    data: LabelledData,
    parts: Parts,
    personal: Personalization,
    seed: int,
    share: Share | None = None,
) -> ModuleProblem:
    """The problem of one agent, which has copies of its own rows only, pixels as bytes."""

    def samples(rows: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, labels = data.inputs[rows], data.labels[rows]
        if share is not None:
            inputs, labels = turned(inputs, share.turns), share.seen(labels)
        return torch.from_numpy(inputs), torch.from_numpy(labels)

    return ModuleProblem(
        network,
        samples(parts.train),
        samples(parts.validation),
        samples(parts.test),
        personalization=personal,
        weight_decay=WEIGHT_DECAY,
        batch_size=BATCH_SIZE,
        seed=seed,
    )


# ---- the mixture of the FedEM paper


def mixture_task(agents: int, seed: int, personal: Personalization) -> SampleTask:
    """Marfoq et al. (2021); see `peer.data.mixture`. What an agent has depends on its number and the seed."""
    theta = mixture.draw_models(np.random.default_rng([seed, 0]))

    def make(shard: int) -> ModuleProblem:
        drawn = mixture.draw_samples(theta, np.random.default_rng([seed, 1 + shard]))
        data = LabelledData(drawn.inputs, drawn.labels, ("0", "1"))
        rows = np.arange(len(drawn.labels))
        second = drawn.train + drawn.validation
        parts = Parts(rows[: drawn.train], rows[drawn.train : second], rows[second:])
        network = make_network("linear", (mixture.DIMENSION,), 2, seed)
        return sample_problem(network, data, parts, personal, seed)

    return SampleTask(
        "fedem-synthetic",
        f"fedem-synthetic/{agents}/{seed}",
        MadeWhenAsked(agents, make),
        SETTINGS,
    )
