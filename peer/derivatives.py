"""Gradients, Hessian-vector and mixed products of one agent, from one graph by double backward.

With `r = d inner / d model`, `s = d local_loss / d local`, the adjoints `p` and `q`, and

    phi = r'p + s'q - outer,

one backward pass through phi gives all that DESIGN (3) needs: d phi / d model drives the shared adjoint, d
phi / d local the local one, and -d phi / d hyperparameters is the hypergradient. Without local variables this
is DESIGN (2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from peer.errors import ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    Named = Mapping[str, Tensor]

ERROR_NODE = "torch::autograd::Error"
OF_COMPILERS = ("torch.compile", "was compiled with non-empty donated buffers")  # what autograd says of them

REMEDIES = {  # by what autograd says
    "attention": "take the plain kernel of attention: attn_implementation='eager' with transformers, else "
    "torch.nn.attention.sdpa_kernel(SDPBackend.MATH)",
    "cudnn": "take the plain kernel of recurrent layers on a GPU: torch.backends.cudnn.flags(enabled=False)",
    "inplace": "leave out what works in place, such as x += 1 or inplace=True",
}


@dataclass(frozen=True, slots=True)
class Derivatives:
    """All first and second derivatives of one agent at one point; dictionaries like those of the problem."""

    model_gradient: Named  # r
    local_gradient: Named  # s
    adjoint_gradient: Named  # r_x' p + s_x' q - F_x
    local_adjoint_gradient: Named  # r_z' p + s_z' q - F_z
    hypergradient: Named  # v = F_h - r_h' p - s_h' q
    training_loss: float
    validation_loss: float
    probe_product: Named | None = None  # r_x' u, if asked for
    local_product: Named | None = None  # s_z' w, if asked for


@dataclass(frozen=True, slots=True)
class Losses:
    """A problem's losses with its batches filled in: functions of (model, hyperparameters, local)."""

    inner: Callable[[Named, Named, Named], Tensor]
    outer: Callable[[Named, Named, Named], Tensor]
    local: Callable[[Named, Named, Named], Tensor] | None = None  # None: the inner loss


def derivatives(
    losses: Losses,
    model: Named,
    hyperparameters: Named,
    local: Named,
    adjoint: Named,
    local_adjoint: Named,
    *,
    probe: Named | None = None,
    local_probe: Named | None = None,
    search_graph: bool = False,
) -> Derivatives:
    """DESIGN (2), (3) at this point; no argument is changed.

    Functions marked as differentiable once do not fail here, they give zeros: autograd finds nothing that
    leads from them to what is asked for. `search_graph` looks for them, which takes about as long again; one
    look at a problem is enough. `probe` asks for one more product with the Hessian of the inner loss,
    `local_probe` for one with that of what the local variables minimise.

    Raises `ProblemError` if a loss is not a scalar, does not depend on the model, or is made of operations
    that autograd cannot differentiate twice.
    """
    x, h, z = _leaves(model), _leaves(hyperparameters), _leaves(local)
    inner = _scalar(losses.inner(x, h, z), "inner_loss")
    r = _gradients(inner, x, "inner_loss")
    s: list[Tensor] = []
    if z:
        own = inner if losses.local is None else _scalar(losses.local(x, h, z), "local_loss")
        s = _gradients(own, z, "local_loss")
    outer = _scalar(losses.outer(x, h, z), "outer_loss")
    products = [torch.sum(gradient * adjoint[name]) for gradient, name in zip(r, x, strict=True)]
    products += [torch.sum(gradient * local_adjoint[name]) for gradient, name in zip(s, z, strict=True)]
    phi = torch.stack(products).sum() - outer
    product = None if probe is None else _product(r, x, probe)
    local_product = None if local_probe is None else _product(s, z, local_probe)
    if search_graph and leads_nowhere(phi):
        raise _no_second_derivative("a function of it is marked as differentiable once")
    wanted = [*x.values(), *z.values(), *h.values()]
    if phi.requires_grad:
        pulled = _pulled(phi, wanted)
    else:  # both losses are linear in nothing that is asked for
        pulled = tuple(torch.zeros_like(tensor) for tensor in wanted)
    return Derivatives(
        model_gradient={name: gradient.detach() for name, gradient in zip(x, r, strict=True)},
        local_gradient={name: gradient.detach() for name, gradient in zip(z, s, strict=True)},
        adjoint_gradient=dict(zip(x, pulled, strict=False)),
        local_adjoint_gradient=dict(zip(z, pulled[len(x) :], strict=False)),
        hypergradient={name: -gradient for name, gradient in zip(h, pulled[len(x) + len(z) :], strict=True)},
        training_loss=float(inner.detach()),
        validation_loss=float(outer.detach()),
        probe_product=product,
        local_product=local_product,
    )


def _product(gradients: list[Tensor], x: Named, probe: Named) -> dict[str, Tensor]:
    """Of the derivative of these gradients with a direction; the graph stays for what comes after."""
    along = torch.stack([torch.sum(r * probe[name]) for r, name in zip(gradients, x, strict=True)]).sum()
    if not along.requires_grad:  # the loss is linear
        return {name: torch.zeros_like(tensor) for name, tensor in x.items()}
    return dict(zip(x, _pulled(along, list(x.values()), keep=True), strict=True))


def _pulled(what: Tensor, wanted: list[Tensor], *, keep: bool = False) -> tuple[Tensor, ...]:
    """Its gradients; `keep`: the graph is used again."""
    try:
        return torch.autograd.grad(what, wanted, retain_graph=keep, materialize_grads=True)
    except RuntimeError as error:
        raise _of_autograd(error) from error


def _leaves(named: Named) -> dict[str, Tensor]:
    return {name: tensor.detach().requires_grad_() for name, tensor in named.items()}


def _scalar(loss: object, name: str) -> Tensor:
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        shape = tuple(loss.shape) if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise ProblemError(f"{name} returned {shape}; return one number, such as a mean over the batch")
    return loss.reshape(())


def _gradients(loss: Tensor, variables: Mapping[str, Tensor], name: str) -> list[Tensor]:
    if not loss.requires_grad:
        raise ProblemError(
            f"{name} does not depend on {', '.join(variables)}; nothing can be learned from it"
        )
    try:
        return list(
            torch.autograd.grad(loss, list(variables.values()), create_graph=True, materialize_grads=True)
        )
    except RuntimeError as error:
        raise _of_autograd(error) from error


def _of_autograd(error: RuntimeError) -> Exception:
    """What autograd says of operations that it cannot go through."""
    if isinstance(error, torch.OutOfMemoryError):
        return error
    return _no_second_derivative(str(error).partition("\n")[0].partition(". ")[0])


def _no_second_derivative(told: str) -> ProblemError:
    if any(words in told for words in OF_COMPILERS):
        remedy = 'leave torch.compile out, or give it backend="eager": the others have no double backward'
        return ProblemError(f"a loss cannot be differentiated twice: {told}; {remedy}")
    remedies = [remedy for word, remedy in REMEDIES.items() if word in told] or [*REMEDIES.values()]
    return ProblemError(f"a loss cannot be differentiated twice: {told}; {', or '.join(remedies)}")


def leads_nowhere(phi: Tensor) -> bool:
    """Whether a node in its graph stands for a derivative that there is not."""
    waiting, seen = [phi.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if node.name() == ERROR_NODE:
            return True
        seen.add(node)
        waiting += [above for above, _ in node.next_functions]
    return False
