"""What an agent needs from its task: gradients at a point, nothing else. `peer.torch_learner` provides it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol

from peer.algebra import Scalar, V

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peer.snapshot import Snapshot
    from peer.tuning.tuner import Tuning
    from wire import PeerId


@dataclass(frozen=True, slots=True)
class Evaluation(Generic[V]):
    """Derivatives of one agent's two objectives at one point and on one batch. DESIGN (2), (3), (6).

    The vectors are the caller's to change, and are not what they were after the next evaluation.
    """

    model_gradient: V  # r = df/dx, shape (d,)
    adjoint_gradient: V  # r_x' p + s_x' q - dF/dx, shape (d,); damping is added by the solver
    training_loss: float
    validation_loss: float
    local_step_is_finite: bool = (
        True  # False: a local derivative was not, and the local variables have not moved
    )
    probe_product: V | None = None  # r_x u for the probe u, shape (d,); None if none was asked for


@dataclass(frozen=True, slots=True)
class HyperReport:
    """Where the hypergradient points."""

    norm: float  # length of the agent's hypergradient, mean over the tick's local steps
    alignment: float = 0.0  # cosine with the one before
    reversed: bool = False  # its running mean has turned round at nearly full length
    rate: float = 0.0  # of the step taken


class Learner(Protocol[V]):
    """The task side of an agent: data, losses, hyperparameters, local inner variables.

    Called from one thread at a time; owns its random streams, so equal calls give equal answers.
    """

    @property
    def initial_model(self) -> V:
        """The common starting point of the swarm, shape (d,)."""

    def evaluate(
        self, model: V, adjoint: V, local_step_size: Scalar, probe: V | None = None
    ) -> Evaluation[V]:
        """Derivatives at this point on the next batch; then one step of the local variables, if any.

        With a probe, shape (d,), also its product with the Hessian of the inner loss, for `peer.tuning`.
        """

    def local_step_size(self, at_most: Scalar) -> Scalar:
        """A step for the local variables that their curvature allows, where none is given."""

    def finish_tick(self, hyper_step_size: float, settling_ticks: float | None = None) -> HyperReport:
        """Average the hypergradients since the last call and step the hyperparameters; 0 holds them.

        With `settling_ticks`, in which model and adjoint follow, the learner chooses the rate, and
        `hyper_step_size` is the share of it that is taken.
        """

    def metrics(self, model: V) -> Mapping[str, float]:
        """Test metrics of this model and of the personal one, as the task defines them; may be empty."""

    def snapshot(self) -> Snapshot[V]:
        """Copies of all that moves: hyperparameters, local variables, optimizer, position in the data."""

    def restore(self, snapshot: Snapshot[V]) -> None:
        """Go on from there, before the first evaluation. Raises `peer.snapshot.SnapshotError`."""


@dataclass(slots=True)
class TickReport:
    """What one tick did, for people; the protocol reads `step_is_finite`, `objections` and `tuning`."""

    training_loss: float = float("nan")
    validation_loss: float = float("nan")
    hyper: HyperReport | None = None  # None: the hyperparameters were held
    hypergradient_norm: float = float("nan")
    model_residual: tuple[float, float] = (0.0, 0.0)  # |tracker|, |own gradient|
    adjoint_residual: tuple[float, float] = (0.0, 0.0)
    step_is_finite: bool = True
    sum_spacing: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    tuning: Tuning | None = None  # the steps taken, and what they were chosen by
    objections: tuple[tuple[PeerId, str], ...] = ()  # whose messages were not believed, and why
    disagreements: Mapping[PeerId, tuple[float, float]] = field(default_factory=dict)
    # |announced - own| / |own| of model and adjoint, by in-neighbour; empty in most ticks
