"""The format onnx, with the packages onnx and onnxscript, which are the optional extra `onnx`."""

from __future__ import annotations

import importlib.util
import warnings
from typing import TYPE_CHECKING, Any, Final

import torch

from peer.errors import ProblemError
from peer.exporting.torch_export import told, traced

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from peer.exporting.facts import Facts
    from peer.personal_module import PersonalModule

NEEDED: Final = ("onnx", "onnxscript")
BYTES_MAX: Final = 2**31 - 1  # of one file: protocol buffers hold no more
INPUTS, OUTPUTS, COUNT = "inputs", "outputs", "n"  # names in the graph, and of the number of samples


def write(module: PersonalModule, facts: Facts, path: Path) -> None:
    """One file, its weights inside; of the notes that the exporter makes on every node none stays.

    Raises `ProblemError`.
    """
    program = traced(module, facts)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch and onnxscript tell of their own future
            made: Any = torch.onnx.export(
                program, (), dynamo=True, verbose=False, input_names=[INPUTS], output_names=[OUTPUTS]
            )
    except (
        Exception
    ) as error:  # the exporter raises many kinds; whatever it is, it is of the user's own module
        remedy = "give --format torch-export"
        raise ProblemError(f"the module cannot be written as ONNX: {told(error)}; {remedy}") from error
    proto = made.model_proto
    size = sum(tensor.ByteSize() for tensor in proto.graph.initializer)
    if size > BYTES_MAX:
        raise ProblemError(
            f"its weights have {size} bytes, and ONNX holds {BYTES_MAX}; give another --format"
        )
    _forget(proto)
    for name, value in facts.to_text().items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = name, value
    path.write_bytes(proto.SerializeToString())


def read(path: Path, module: PersonalModule) -> Callable[[Tensor], Tensor]:
    """What the file computes: by onnxruntime, or by the reference in the package onnx, which is slower."""
    del module
    content = path.read_bytes()
    runner: Any
    if importlib.util.find_spec("onnxruntime") is not None:
        import onnxruntime

        runner = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    else:
        import onnx
        from onnx.reference import ReferenceEvaluator

        runner = ReferenceEvaluator(onnx.load_model_from_string(content))

    def run(inputs: Tensor) -> Tensor:
        (found,) = runner.run([OUTPUTS], {INPUTS: inputs.numpy()})
        return torch.from_numpy(found)

    return run


def _forget(proto: Any) -> None:
    """Clear notes: they say where code stood on this machine, and make equal models unequal files."""
    graph = proto.graph
    graph.doc_string = ""
    values = (*graph.input, *graph.output, *graph.value_info)
    for noted in (proto, graph, *graph.node, *graph.initializer, *values):
        del noted.metadata_props[:]
    for function in proto.functions:
        for noted in (function, *function.node):
            del noted.metadata_props[:]
    count = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in values:
        for side in value.type.tensor_type.shape.dim:
            if side.dim_param == count:
                side.dim_param = COUNT
