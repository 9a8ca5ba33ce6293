"""Whether a module and samples can be learned: what moves by itself, what has no second derivative."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from peer.batch_norms import moves
from peer.data.inputs import Inputs, called, described, tensors_of
from peer.derivatives import derivatives, leads_nowhere
from peer.errors import ProblemError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from peer.data.inputs import Samples
    from peer.derivatives import Losses

# Their common base classes have no public name.
NORMS = nn.modules.batchnorm._NormBase  # noqa: SLF001  (see above)
DROPOUTS = nn.modules.dropout._DropoutNd  # noqa: SLF001  (see above)

LOOKS = 3  # whether a module draws: another thread of this program may draw from the same stream meanwhile

Named = Mapping[str, Tensor]


def check_module(module: nn.Module) -> None:
    """Refuse what training changes by itself, and what is random; frozen by `eval()` both are welcome.

    Running statistics of BatchNorm are learned (`peer.batch_norms`), those of other layers are not. Recurrent
    layers and attention have a dropout of their own. Raises `ProblemError` naming the layer.
    """
    for name, part in module.named_modules():
        where = f"module {name or type(module).__name__} ({type(part).__name__})"
        if not part.training or moves(part):
            continue
        if isinstance(part, NORMS) and part.track_running_stats:
            raise ProblemError(
                f"{where} keeps running statistics; use GroupNorm or LayerNorm, or freeze them with eval()"
            )
        probability = part.p if isinstance(part, DROPOUTS) else getattr(part, "dropout", 0.0)
        if isinstance(probability, float) and probability > 0:
            which = "p" if isinstance(part, DROPOUTS) else "dropout"
            raise ProblemError(f"{where} draws from torch's global random stream; set its {which} to 0")
        if isinstance(part, nn.RReLU):  # draws only for what is negative, so one call may not show it
            raise ProblemError(f"{where} draws from torch's global random stream; freeze it with eval()")
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise ProblemError(
            f"{type(module).__name__} has no parameters that require a gradient; nothing is to learn"
        )


def check_samples(name: str, samples: Samples) -> None:
    """Raise `ProblemError` for sets that are empty or unequal."""
    inputs, targets = samples
    counts = {key: len(tensor) for key, tensor in tensors_of(inputs).items()}
    if len(targets) == 0 or set(counts.values()) != {len(targets)}:
        told = ", ".join(f"{count} {key}" for key, count in counts.items()) or "0 inputs"
        raise ProblemError(f"{name} has {told} and {len(targets)} targets; give equal numbers above 0")


def check_loss_per_sample(loss: Callable[..., Tensor], outputs: Tensor, targets: Tensor) -> None:
    """Raise `ProblemError` for a loss that does not give one number for each of these with "none"."""
    name = getattr(loss, "__name__", type(loss).__name__)
    remedy = 'weights of samples need a loss that takes reduction="none" and then gives one loss per sample'
    if not _takes_reduction(loss):
        raise ProblemError(f'the loss {name} has no argument "reduction"; {remedy}')
    found = loss(outputs, targets, reduction="none")
    whole = loss(outputs, targets)
    if found.dim() == 0 or len(found) != len(targets) or not torch.allclose(found.mean(), whole):
        raise ProblemError(
            f'the loss {name} with reduction="none" gives shape {tuple(found.shape)}, and its mean is '
            f"{float(found.mean()):g} instead of {float(whole):g}; {remedy}"
        )


def _takes_reduction(loss: Callable[..., Tensor]) -> bool:
    try:
        # The call of a module takes anything and hands it on.
        asked = loss.forward if isinstance(loss, nn.Module) else loss
        parameters = inspect.signature(asked).parameters.values()
    except ValueError:  # of a builtin without one
        return False
    return any(one.name == "reduction" or one.kind is one.VAR_KEYWORD for one in parameters)


def first_outputs(module: nn.Module, parameters: Named, inputs: Inputs) -> Tensor:
    """What the module makes of these inputs. Nothing is left changed.

    Raises `ProblemError` if it does not accept them, gives anything but one tensor, changes its buffers, or
    draws from torch's global random stream.
    """
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    outputs, is_random = None, True
    with torch.random.fork_rng(devices=[]):
        for _ in range(LOOKS):
            stream = torch.get_rng_state()
            try:
                with torch.no_grad():
                    outputs = called(module, parameters, inputs)
            except (RuntimeError, ValueError, TypeError) as error:
                given = described(inputs)
                raise ProblemError(f"the module does not accept train inputs ({given}): {error}") from error
            is_random = not torch.equal(stream, torch.get_rng_state())
            if not is_random:
                break
    kind = type(module).__name__
    if not isinstance(outputs, Tensor):
        told = type(outputs).__name__
        raise ProblemError(f"{kind} returns {told} instead of a tensor; wrap it in a module that returns one")
    changed = [n for n, buffer in module.named_buffers() if not torch.equal(buffer, before[n])]
    with torch.no_grad():
        for name, buffer in module.named_buffers():
            buffer.copy_(before[name])
    if changed:
        raise ProblemError(f"{kind} changes its buffer {changed[0]} when it is called; freeze it with eval()")
    if is_random:
        remedy = "take that out, or call eval() (functional.dropout takes training=self.training)"
        raise ProblemError(f"{kind} draws from torch's global random stream; {remedy}")
    return outputs


def check_targets(loss: Callable[..., Tensor], outputs: Tensor, sets: Mapping[str, Samples]) -> None:
    """Raise `ProblemError` for classes that cross-entropy does not take, naming the set and the remedy.

    `outputs` are those for some samples. Other losses know by themselves what they take.
    """
    is_cross_entropy = loss is nn.functional.cross_entropy or isinstance(loss, nn.CrossEntropyLoss)
    if not is_cross_entropy or outputs.dim() < 2:
        return
    classes = outputs.shape[1]
    ignored = getattr(loss, "ignore_index", -100)
    for name, (_, targets) in sets.items():
        if targets.shape[1:] == outputs.shape[1:]:  # of probabilities there is no class
            continue
        shape, kind = tuple(targets.shape), str(targets.dtype).removeprefix("torch.")
        wanted = f"the loss wants whole numbers from 0 to {classes - 1}, int64"
        if targets.shape[1:] != outputs.shape[2:]:
            raise ProblemError(
                f"{name} targets have shape {shape}; {wanted}, one for each of the {len(targets)} samples: "
                f"for (n, 1) squeeze(1), for a regression give loss=torch.nn.functional.mse_loss"
            )
        if targets.dtype not in (torch.int64, torch.uint8):
            raise ProblemError(f"{name} targets are {kind}; {wanted}: call long()")
        there = targets[targets != ignored].long()
        if there.numel() and not 0 <= int(there.min()) <= int(there.max()) < classes:
            raise ProblemError(
                f"{name} targets go from {int(there.min())} to {int(there.max())}; {wanted}: count classes "
                "from 0, and give the module an output for each"
            )


def check_losses(
    losses: Losses,
    model: Named,
    hyperparameters: Named,
    local: Named,
    module: nn.Module,
    parameters: Named,
    inputs: Inputs,
) -> None:
    """Raise `ProblemError` for losses that cannot be differentiated twice; it names the layer that is why."""
    ones = {name: torch.ones_like(tensor) for name, tensor in {**model, **local}.items()}
    try:
        derivatives(losses, model, hyperparameters, local, ones, ones, search_graph=True)
    except ProblemError as error:
        layer = layer_without_second_derivative(module, parameters, inputs)
        if layer is None:
            raise
        raise ProblemError(f"{layer} cannot be differentiated twice: {error}") from error


def layer_without_second_derivative(module: nn.Module, parameters: Named, inputs: Inputs) -> str | None:
    """The innermost layer that cannot be differentiated twice by itself, in words; None if each one can."""
    found: list[str] = []
    looking = True

    def look_at(name: str) -> Callable[..., None]:
        def look(part: nn.Module, arguments: Any, keywords: dict[str, Any], output: object) -> None:  # noqa: ARG001
            nonlocal looking
            if looking and not found:
                looking = False
                if not _is_twice_differentiable(part, arguments, keywords):
                    found.append(f"module {name or type(module).__name__} ({type(part).__name__})")
                looking = True

        return look

    handles = [
        part.register_forward_hook(look_at(name), with_kwargs=True) for name, part in module.named_modules()
    ]
    try:
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in parameters.items()}
        called(module, leaves, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def _is_twice_differentiable(part: nn.Module, arguments: Any, keywords: dict[str, Any]) -> bool:
    leaves: list[Tensor] = [tensor for tensor in part.parameters() if tensor.requires_grad]

    def fresh(value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        leaves.append(value.detach().clone().requires_grad_())
        return leaves[-1] * 1  # a layer may work in place, which a leaf does not allow

    try:
        given = [fresh(value) for value in arguments]
        outputs = part(*given, **{name: fresh(value) for name, value in keywords.items()})
        if not any(tensor.requires_grad for tensor in _tensors(outputs)):
            return True  # as a frozen embedding: there is nothing to differentiate
        loss = _squares(_tensors(outputs))
        first = torch.autograd.grad(loss, leaves, create_graph=True, materialize_grads=True)
        second = _squares(first)
        torch.autograd.grad(second, leaves, materialize_grads=True)
    except RuntimeError:
        return False
    return not leads_nowhere(second)


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)


def _squares(tensors: Any) -> Tensor:
    return torch.stack([tensor.square().sum() for tensor in tensors if tensor.requires_grad]).sum()
