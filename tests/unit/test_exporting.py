"""Exported files: they say what the agent says and nothing of its data, or are not kept."""

from __future__ import annotations

import importlib.util
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor, nn

from peer.errors import ProblemError, SettingError
from peer.exporting.checked import BATCHES, Comparison, compare, export
from peer.exporting.facts import Facts
from peer.exporting.formats import FORMATS, Format, chosen_format
from peer.exporting.torch_export import FACTS
from peer.module_problem import ModuleProblem
from peer.options.names import EXPORT_FORMATS
from peer.personalization import PERSONALIZATIONS, personalization
from peer.personalization.contract import Ground, OutputChange, Personalization
from peer.predicting import Form
from peer.tasks.networks import make_network
from peer.whole_file import whole_file
from tests.oracles.personal import COMBINED, INPUTS, SINGLE, moved, tiny_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from peer.personal_module import PersonalModule

    Named = Mapping[str, Tensor]

ROOT = Path(__file__).parents[2]
CLASSES = 10
needs_onnx = pytest.mark.skipif(
    importlib.util.find_spec("onnxscript") is None or importlib.util.find_spec("onnxruntime") is None,
    reason="needs onnx, onnxscript and onnxruntime: pip install 'hyperpush[test-all]'",
)


class Learned:
    """A problem at values where nothing is special, and its personal model."""

    def __init__(self, problem: ModuleProblem, name: str) -> None:
        places = ((problem.model, 11), (problem.hyperparameters, 12), (problem.local, 13))
        self.at: list[Named] = [
            {key: tensor.to(named[key].dtype) for key, tensor in moved(named, seed).items()}
            for named, seed in places
        ]
        self.problem = problem
        self.inputs = problem.training_set[0]
        self.module: PersonalModule = problem.personal_module(*self.at)
        self.facts = Facts(
            task="some",
            personalization=name,
            identity="0123abcd",
            checkpoint=3,
            saved_at="2026-11-24T02:53:58+00:00",
            tick=71,
            epoch=2,
            form=Form.of(self.inputs),
            outputs=tuple(self.own(self.inputs).shape[1:]),
            classes=problem.classes,
            formulas=tuple(self.module.formulas),
        )

    def own(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return self.problem.predict(self.at[0], self.at[1], inputs, self.at[2])

    def export(self, name: str, path: Path) -> Comparison:
        return export(FORMATS[name], self.module, self.facts, path, own=self.own, inputs=self.inputs)


def tiny(name: str, **options: Any) -> Learned:
    return Learned(tiny_problem(name, **options), name)


def pictures(model: str, name: str, *, side: int = 8) -> Learned:
    """A built-in network on bytes."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (12, side, side), generator=generator, dtype=torch.uint8)
    samples = inputs, torch.arange(12) % CLASSES
    network = make_network(model, (side, side), CLASSES, 0)
    return Learned(ModuleProblem(network, samples, samples, personalization=personalization(name)), name)


def test_all_that_there_is_is_exported_here() -> None:
    assert {name.partition(":")[0] for name in SINGLE} == set(PERSONALIZATIONS)
    assert tuple(FORMATS) == EXPORT_FORMATS


@pytest.mark.parametrize("name", [*SINGLE, *COMBINED])
def test_programs_and_tensors_say_what_the_agent_says(name: str, tmp_path: Path) -> None:
    """Whatever is personal, alone and combined, with batches of several sizes."""
    learned = tiny(name)
    path = tmp_path / "model"
    assert learned.export("torch-export", path).difference < 1e-14
    extra = {FACTS: ""}
    program: Any = torch.export.load(io.BytesIO(path.read_bytes()), extra_files=extra)
    assert json.loads(extra[FACTS]) == learned.facts.to_text()
    torch.testing.assert_close(program.module()(learned.inputs[:1]), learned.own(learned.inputs[:1]))
    assert learned.export("safetensors", path).difference == 0.0


@needs_onnx
@pytest.mark.parametrize("name", [*SINGLE, "mixture:3+logits"])
def test_onnx_says_what_the_agent_says(name: str, tmp_path: Path) -> None:
    import onnx

    learned = tiny(name)
    assert learned.export("onnx", tmp_path / "model.onnx").difference < 1e-12
    proto = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(proto)
    assert {entry.key: entry.value for entry in proto.metadata_props} == learned.facts.to_text()
    (given,), (found,) = proto.graph.input, proto.graph.output
    for value, name_of, sides in ((given, "inputs", ["n", INPUTS]), (found, "outputs", ["n", 3])):
        assert value.name == name_of
        assert [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim] == sides


@pytest.mark.parametrize("model", ["mlp", "cnn", "linear"])
@pytest.mark.parametrize("way", [*FORMATS])
def test_the_built_in_networks_are_exported(model: str, way: str, tmp_path: Path) -> None:
    """From bytes to classes, in float32."""
    if way == "onnx" and needs_onnx.args[0]:
        pytest.skip(str(needs_onnx.kwargs["reason"]))
    learned = pictures(model, "lora:2+logits")
    found = learned.export(way, tmp_path / "model")
    assert found.difference <= found.allowed < 1e-3 * found.largest
    assert (found.samples, found.file_bytes) == (12, (tmp_path / "model").stat().st_size)


@needs_onnx
def test_without_onnxruntime_the_reference_compares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "peer.exporting.onnx_file.importlib.util.find_spec",
        lambda name: None if name == "onnxruntime" else find(name),
    )
    assert tiny("logits").export("onnx", tmp_path / "model.onnx").difference < 1e-12


def test_tensors_are_enough_to_predict_by_hand(tmp_path: Path) -> None:
    """As the formula in the file says, with the module and torch alone."""
    learned = tiny("mixture:3+logits+lora:1")
    path = tmp_path / "model.safetensors"
    learned.export("safetensors", path)
    tensors = safetensors.torch.load_file(path)
    with safe_open(path, "pt") as opened:
        told = opened.metadata()
    assert told == learned.facts.to_text()
    assert told["formula"] == (
        "y = logsumexp over k of (log_softmax(y_k) + log_softmax(mixture.weights)[k]); "
        "y = exp(logits.log_scale) * y + logits.bias"
    )
    assert json.loads(told["inputs"]) == {"dtype": "float64", "shape": ["n", INPUTS]}
    module = learned.problem.module
    shares = tensors["personal.mixture.weights"].log_softmax(0)
    outputs = []
    for k in range(3):
        start = f"learners.{k}."
        own = {name.removeprefix(start): one for name, one in tensors.items() if name.startswith(start)}
        module.load_state_dict(own)
        outputs.append(module(learned.inputs).log_softmax(1) + shares[k])
    mixed = torch.stack(outputs).logsumexp(0)
    found = tensors["personal.logits.log_scale"].exp() * mixed + tensors["personal.logits.bias"]
    torch.testing.assert_close(found, learned.own(learned.inputs))
    rest = {name for name in tensors if not name.startswith("learners.")}
    assert rest == {"personal.mixture.weights", "personal.logits.log_scale", "personal.logits.bias"}


@pytest.mark.parametrize("way", [*FORMATS])
def test_no_sample_and_no_place_of_this_machine_is_in_a_file(way: str, tmp_path: Path) -> None:
    if way == "onnx" and needs_onnx.args[0]:
        pytest.skip(str(needs_onnx.kwargs["reason"]))
    learned = pictures("linear", "class-weights+sample-weights")
    learned.export(way, tmp_path / "model")
    content = (tmp_path / "model").read_bytes()
    assert str(ROOT).encode() not in content
    for sample in learned.inputs:
        assert sample.numpy().tobytes() not in content
    if way == "torch-export":
        program: Any = torch.export.load(io.BytesIO(content))
        (given,), _ = program.example_inputs
        assert not given.any()


class Frozen(nn.Module):
    """Uses one tensor twice, one that is not learned, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(INPUTS, INPUTS).double()
        self.second = nn.Linear(INPUTS, INPUTS).double()
        self.second.weight = self.first.weight
        self.fixed = nn.Linear(INPUTS, 3).double().requires_grad_(False)
        self.register_buffer("shift", torch.ones(3, dtype=torch.float64))

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(self.second(torch.tanh(self.first(inputs))))
        found: Tensor = self.fixed(hidden) + self.shift
        return found


@pytest.mark.parametrize("way", ["torch-export", "safetensors"])
def test_what_is_shared_within_a_module_frozen_or_a_buffer_is_there(way: str, tmp_path: Path) -> None:
    assert tiny("interpolation", module=Frozen()).export(way, tmp_path / "model").difference < 1e-14


# ---- what is not kept


class Counting(nn.Linear):
    """Looks at values, which no program of fixed steps can."""

    def forward(self, inputs: Tensor) -> Tensor:
        found = super().forward(inputs)
        return found * 2 if float(inputs.sum()) > 1e6 else found


def test_a_module_that_looks_at_values_can_only_be_tensors(tmp_path: Path) -> None:
    learned = tiny("bias", module=Counting(INPUTS, 3).double())
    path = tmp_path / "model"
    path.write_bytes(b"before")
    with pytest.raises(ProblemError, match=r"cannot be exported for any number of samples: .*safetensors"):
        learned.export("torch-export", path)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("model", b"before")]
    assert learned.export("safetensors", path).difference == 0.0


class Twice(Personalization):
    name = "twice"

    def bind(self, ground: Ground) -> OutputChange:
        return _Twice({"twice.scale": torch.ones_like(ground.outputs[0])})


class _Twice(OutputChange):
    def apply(self, outputs: Tensor, hyperparameters: Named) -> Tensor:
        return 2 * hyperparameters["twice.scale"] * outputs


def test_what_says_not_how_it_changes_outputs_is_no_file_of_tensors(tmp_path: Path) -> None:
    learned = Learned(tiny_problem("none", personalization=Twice()), "twice")
    assert learned.export("torch-export", tmp_path / "model.pt2").difference < 1e-14
    with pytest.raises(ProblemError, match="twice changes outputs, and gives no formula"):
        learned.export("safetensors", tmp_path / "model.safetensors")
    assert [one.name for one in tmp_path.iterdir()] == ["model.pt2"]


def written_as(read: Callable[[Path, Any], Callable[[Tensor], Tensor]]) -> Format:
    return Format(".x", lambda module, facts, path: path.write_bytes(b"x") and None, read)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda outputs: outputs + 1e-3, "differs from the agent's own outputs by 0.001"),
        (lambda outputs: outputs * math.nan, "differs from the agent's own outputs by nan"),
        (lambda outputs: outputs[:, :1], r"outputs of shape \(1, 1\) in the place of \(1, 3\)"),
        (lambda outputs: outputs.view(1, 3), "what was written does not run: RuntimeError: shape"),
    ],
)
def test_a_file_that_says_something_else_is_not_kept(
    change: Callable[[Tensor], Tensor], told: str, tmp_path: Path
) -> None:
    learned = tiny("none")
    way = written_as(lambda path, module: lambda inputs: change(learned.own(inputs)))
    with pytest.raises(ProblemError, match=told):
        export(way, learned.module, learned.facts, tmp_path / "m", own=learned.own, inputs=learned.inputs)
    assert not list(tmp_path.iterdir())


def test_rounding_is_no_difference_and_every_sample_is_compared() -> None:
    inputs = torch.arange(24, dtype=torch.float64).reshape(12, 2)
    seen: list[Tensor] = []

    def written(rows: Tensor) -> Tensor:
        seen.append(rows)
        return rows + 1e-6

    found = compare(written, lambda rows: rows, inputs, 5)
    assert [len(rows) for rows in seen] == [*BATCHES, 12 - sum(BATCHES)]
    assert torch.equal(torch.cat(seen), inputs)
    assert found.difference == pytest.approx(1e-6, rel=1e-6)
    assert (found.largest, found.samples, found.file_bytes) == (23.0, 12, 5)
    assert found.difference < found.allowed < 1e-3
    with pytest.raises(ProblemError, match="not finite"):
        compare(written, lambda rows: rows / 0, inputs, 5)


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")

    def fail() -> None:
        with whole_file(path) as part:
            part.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("file", b"before")]
    with whole_file(path) as part:
        part.write_bytes(b"after")
        again = whole_file(path)
        with pytest.raises(SettingError, match="nothing can be written beside it"):
            again.__enter__()
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("file", b"after")]
    for wrong in (tmp_path, tmp_path / "none" / "file"):
        nowhere = whole_file(wrong)
        with pytest.raises(SettingError, match="give a file in a folder that exists"):
            nowhere.__enter__()


def test_formats_are_known_by_the_ends_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen_format(None, Path("a.pt2")) == "torch-export"
    assert chosen_format(None, Path("a.safetensors")) == "safetensors"
    assert chosen_format("safetensors", Path("a.pt2")) == "safetensors"
    with pytest.raises(SettingError, match=r"file: 'a' is not possible; give a name that ends in \.pt2"):
        chosen_format(None, Path("a"))
    monkeypatch.setattr("peer.exporting.formats.importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"install onnx and onnxscript: pip install 'hyperpush\[onnx\]'"):
        chosen_format(None, Path("a.onnx"))
