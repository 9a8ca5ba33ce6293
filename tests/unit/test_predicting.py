"""Samples that anybody sends, and files that anybody has: read as they are meant, or refused by name."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from peer.admin_input import accepts, media_type
from peer.data.npy import read_npy
from peer.errors import ProblemError, SettingError
from peer.predicting import (
    BODY_BYTES_MAX,
    JSON_BYTES_MAX,
    JSON_OUTPUTS_MAX,
    OUTPUTS_MAX,
    SAMPLES_MAX,
    Form,
    PersonalModel,
    as_inputs,
    json_content,
    personal_model,
    read_array,
    read_json,
)
from peer.problem_details import RefusalError, problem_details, read_problem
from peer.sample_files import read_samples
from tests.oracles.personal import COMBINED, SINGLE, moved, tiny_problem, tiny_samples

if TYPE_CHECKING:
    from collections.abc import Callable

FLAT = Form((2,), torch.float32)
PIXELS = Form((2, 2), torch.uint8)


def npy(array: Any, **options: Any) -> bytes:
    written = io.BytesIO()
    np.save(written, np.asarray(array), **options)
    return written.getvalue()


def with_header(header: str, data: bytes = b"", version: int = 1) -> bytes:
    return b"\x93NUMPY" + bytes([version, 0]) + len(header).to_bytes(2, "little") + header.encode() + data


def promising(descr: str, shape: str, data: bytes = b"") -> bytes:
    return with_header(f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}\n", data)


def as_json(inputs: object) -> bytes:
    return json.dumps({"inputs": inputs}).encode()


def refused(call: Callable[[], object]) -> tuple[str, object, str]:
    with pytest.raises(SettingError) as error:
        call()
    told = problem_details(error.value)
    assert len(str(told["detail"])) < 600
    return error.value.field, error.value.value, error.value.remedy


# ---- inputs


@pytest.mark.parametrize(
    ("array", "form"),
    [
        (np.array([[0.5, 1.0], [2.0, -3.0]]), FLAT),
        (np.array([[1, 2], [3, 4]], np.int64), FLAT),
        (np.array([[1, 2], [3, 4]], ">i2"), FLAT),
        (np.array([[True, False]]), FLAT),
        (np.array([[[0, 255], [1, 2]]], np.float64), PIXELS),
        (np.asfortranarray([[[0, 255], [1, 2]]]), PIXELS),
        (np.array([[2.0**60]]), Form((1,), torch.int64)),
        (np.array([[1.5]]), Form((1,), torch.bfloat16)),
        (np.array([[1, 0]]), Form((2,), torch.bool)),
        (np.array([1.0, 2.0]), Form((), torch.float64)),
    ],
)
def test_numbers_become_those_of_the_task_if_it_can_hold_them(array: Any, form: Form) -> None:
    for found in (read_array(npy(array), form), read_json(as_json(array.astype(float).tolist()), form)):
        assert found.dtype is form.dtype
        assert tuple(found.shape) == array.shape
        assert np.array_equal(found.to(torch.float64).numpy(), array.astype(np.float64))


@pytest.mark.parametrize(
    ("body", "form", "field", "value"),
    [
        (as_json([[1.0]]), FLAT, "inputs", "shape (1, 1)"),
        (as_json([[1, 2], [3]]), FLAT, "inputs[1]", "shape (1,) after (2,)"),
        (as_json([[[1, 2], [3, 4]], [[1, 2]]]), PIXELS, "inputs[1]", "shape (1, 2) after (2, 2)"),
        (as_json([[1, "2"]]), FLAT, "inputs[0][1]", "2"),
        (as_json([[1, None]]), FLAT, "inputs[0][1]", None),
        (as_json([[1, [2]]]), FLAT, "inputs[0][1]", "a list"),
        (as_json([1, 2]), FLAT, "inputs[0]", 1),
        (as_json([]), FLAT, "inputs", "shape (0, 0)"),
        (as_json({"a": 1}), FLAT, "inputs", "an object"),
        (b'{"inputs": [[1, 1e999]]}', FLAT, "inputs[0][1]", float("inf")),
        (b'{"inputs": [[1, 1e39]]}', FLAT, "inputs[0][1]", 1e39),
        (b'{"inputs": [[1, %b]]}' % (b"9" * 400), FLAT, "inputs", "a number beyond all bounds"),
        (as_json([[[0, 256], [1, 2]]]), PIXELS, "inputs[0][0][1]", 256.0),
        (as_json([[[0, 0.5], [1, 2]]]), PIXELS, "inputs[0][0][1]", 0.5),
        (as_json([[[0, -1], [1, 2]]]), PIXELS, "inputs[0][0][1]", -1.0),
        (b'{"input": []}', FLAT, "body", "an object"),
        (b'{"inputs": [], "model": 1}', FLAT, "model", 1),
        (b"[[1, 2]]", FLAT, "body", "a list"),
        (b"\xff", FLAT, "body", b"\xff"),
        (b"[" * 100_000, FLAT, "body", b"[" * 40),
    ],
)
def test_json_that_is_no_inputs_is_refused_by_place(
    body: bytes, form: Form, field: str, value: object
) -> None:
    assert refused(lambda: read_json(body, form))[:2] == (field, value)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "it is no .npy file"),
        (b"\x93NUMPY", "it is no .npy file"),
        (npy([[1.0, 2.0]])[:-1], "it promises shape (1, 2) of float64, which is not what is there"),
        (npy([[1.0, 2.0]]) + b"\0", "it promises shape (1, 2) of float64"),
        (npy(np.array([[{}]], object), allow_pickle=True), "it holds Python objects"),
        (promising("<f8", f"({10**12}, 2)"), "it promises shape (1000000000000, 2) of float64"),
        (promising("<f8", "(-1, -1)", b"0" * 8), "it promises shape (-1, -1)"),
        (promising("<U0", f"({10**12},)"), "it holds elements of no size"),
        (promising("<f8", f"(1{'0' * 5_000},)"), "it "),
        (with_header("{'descr': '<f8'}\n"), "it has a header that cannot be read"),
        (with_header("(" * 3_000), "it has a header that cannot be read"),
        (with_header("{}\n", version=3), "it is of version (3, 0)"),
        (with_header("x" * 60_000), "it has a header that cannot be read"),
    ],
)
def test_a_broken_array_or_a_pickle_is_refused_and_takes_no_memory(body: bytes, told: str) -> None:
    tracemalloc.start()
    try:
        field, _, remedy = refused(lambda: read_array(body, FLAT))
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    assert field == "body"
    assert remedy.startswith(told)


@pytest.mark.parametrize(
    ("array", "field", "value"),
    [
        (np.array([["a", "b"]]), "inputs", "<U1"),
        (np.array([[1j, 2]]), "inputs", "complex128"),
        (np.array(3.0), "inputs", "shape ()"),
        (np.zeros((1, 2, 1)), "inputs", "shape (1, 2, 1)"),
        (np.zeros((0, 2)), "inputs", "no samples"),
        (np.zeros((SAMPLES_MAX + 1, 2), bool), "inputs", f"{SAMPLES_MAX + 1} samples"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(array: Any, field: str, value: object) -> None:
    assert refused(lambda: as_inputs(array, FLAT))[:2] == (field, value)


def test_a_form_says_what_to_give() -> None:
    assert refused(lambda: as_inputs(np.array([[2]]), Form((1,), torch.bool)))[2] == "give 0 or 1"
    assert str(PIXELS) == "numbers of uint8 in shape (n, 2, 2)"
    assert refused(lambda: read_json(as_json([[1]]), FLAT))[2] == "give numbers of float32 in shape (n, 2)"


# ---- outputs


def model_of(module: nn.Module, form: Form = FLAT, classes: int | None = 3) -> PersonalModel:
    return PersonalModel("a", 1, 2, module, form, classes)


class Wide(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.new_zeros(()).expand(len(inputs), 2**16)


class Odd(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.stack([inputs[:, 0], inputs[:, 1] / 0], dim=1)


def test_what_json_cannot_hold_is_null_and_classes_are_where_there_are_some() -> None:
    inputs = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    told = json_content(model_of(Odd()), Odd()(inputs))
    assert told["outputs"] == [[1.0, None], [3.0, None]]
    assert told["classes"] == [1, 1]
    assert json_content(model_of(Odd(), classes=None), Odd()(inputs))["classes"] is None
    assert json_content(model_of(Odd()), inputs[:, 0])["classes"] is None


def test_answers_have_bounds() -> None:
    rows = OUTPUTS_MAX // 2**16
    few = model_of(Wide()).predict(torch.zeros(rows, 2))
    assert few.shape == (rows, 2**16)
    field, _, remedy = refused(lambda: model_of(Wide()).predict(torch.zeros(rows + 1, 2)))
    assert (field, remedy) == ("inputs", f"at most {OUTPUTS_MAX} outputs at once: give fewer samples")
    assert "accept .npy" in refused(lambda: json_content(model_of(Wide()), few))[2]
    assert few.numel() > JSON_OUTPUTS_MAX


class Picky(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError("not\nthis one")


def test_what_a_module_refuses_and_who_has_gone_are_told() -> None:
    field, value, remedy = refused(lambda: model_of(Picky()).predict(torch.zeros(3, 2)))
    assert (field, value) == ("inputs", "(3, 2)")
    assert remedy == "the agent's module does not take them: ZeroDivisionError: not this one"
    with pytest.raises(RefusalError) as refusal:
        model_of(Odd()).predict(torch.zeros(3, 2), stopped=lambda: True)
    assert refusal.value.status == 503


def test_a_task_without_a_module_has_no_model_and_each_tells_which_it_is() -> None:
    with pytest.raises(RefusalError) as refusal:
        personal_model(object(), {}, {}, {}, peer="a", tick=1, epoch=1)
    assert (refusal.value.status, refusal.value.field, refusal.value.value) == (501, "task", "object")
    assert model_of(Odd()).told().keys() == {"tick", "epoch", "peer"}


def test_long_json_is_refused_before_it_is_read() -> None:
    field, value, remedy = refused(lambda: read_json(b"[" * (JSON_BYTES_MAX + 1), FLAT))
    assert (field, value) == ("body", f"{JSON_BYTES_MAX + 1} bytes")
    assert "or .npy, which may have" in remedy


@pytest.mark.parametrize("name", [*SINGLE, *COMBINED])
def test_a_personal_module_says_what_the_problem_predicts(name: str) -> None:
    """To the last bit, whatever is personal; and what is learned later does not change it."""
    problem = tiny_problem(name)
    at = moved(problem.model, 11), moved(problem.hyperparameters, 12), moved(problem.local, 13)
    inputs = tiny_samples(torch.Generator().manual_seed(3), 5)[0]
    with torch.no_grad():
        expected = problem.predict(at[0], at[1], inputs, at[2])
    model = personal_model(problem, *at, peer="a", tick=1, epoch=1)
    for named in at:
        for tensor in named.values():
            tensor.zero_()
    assert torch.equal(model.predict(inputs), expected)
    assert not [name for name, one in model.module.named_parameters() if one.requires_grad]


class Singular(nn.Linear):
    def __deepcopy__(self, memo: object) -> Singular:
        raise TypeError("there is only one of me")


def test_a_module_that_cannot_be_copied_is_no_bug_of_ours() -> None:
    problem = tiny_problem("none", module=Singular(3, 3).double())
    at = problem.model, problem.hyperparameters, problem.local
    with pytest.raises(ProblemError, match="Singular cannot be copied: TypeError: there is only one of me"):
        problem.personal_module(*at)
    with pytest.raises(RefusalError) as refusal:
        personal_model(problem, *at, peer="a", tick=1, epoch=1)
    assert refusal.value.status == 501


# ---- headers and problems


def test_media_types_are_weighed() -> None:
    assert media_type(" Application/JSON ; charset=utf-8") == "application/json"
    assert media_type(None) == ""
    for header, wanted in {
        "application/x-npy": True,
        "application/json, application/x-npy": True,
        "application/json, application/x-npy;q=0.9": False,
        "application/json;q=0.1, application/x-npy; q=0.2": True,
        "application/x-npy;q=0": False,
        "application/x-npy;q=1e9": False,
        "application/x-npy;version=1;q=0.5": True,
        "application/x-npy;q=\u0661": False,
        "*/*": False,
        "": False,
    }.items():
        assert accepts(header, "application/x-npy", otherwise="application/json") == wanted, header
    assert not accepts(None, "application/x-npy", otherwise="application/json")


def test_problems_are_written_and_read() -> None:
    error = RefusalError(409, "faults", [1, 2], "clear some", retry_after_s=3)
    told = problem_details(error)
    assert told == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "faults: '[1, 2]' is not possible; clear some",
        "field": "faults",
        "value": "[1, 2]",
        "remedy": "clear some",
    }
    assert error.headers == {"Retry-After": "3"}
    read = read_problem({**told, "remedy": "cl\x1bear"})
    assert read is not None
    assert (read.field, read.value, read.remedy) == ("faults", "[1, 2]", "cl?ear")
    assert read_problem({"error": {"field": "x"}}) is None
    assert problem_details(SettingError("a", float("nan"), "b"))["value"] == "nan"
    assert len(json.dumps(problem_details(SettingError("a", "x" * 1_000, "b")))) < 500


# ---- files


def npz(**arrays: Any) -> bytes:
    written = io.BytesIO()
    np.savez(written, **arrays)
    return written.getvalue()


def zipped(name: str, size: int) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(size))
    return written.getvalue()


def test_what_a_file_is_is_seen() -> None:
    array = np.array([[1.0, 2.0], [3.0, 4.0]])
    for data, name in (
        (npy(array), None),
        (npz(x=array), None),
        (npz(x=array, y=array[:1]), "x"),
        (b"1,2\n3, 4\n\n", None),
        (b"\xef\xbb\xbfa,b,split\n1,2,test\n3,4,val\n", None),
    ):
        content, kind = read_samples(data, "f", name)
        assert kind == "application/x-npy"
        assert np.array_equal(read_npy(content), array)
    for data in (b" [[1.0, 2.0], [3.0, 4.0]]", b'{"inputs": [[1.0, 2.0], [3.0, 4.0]]}'):
        assert read_samples(data, "f") == (as_json(array.tolist()), "application/json")


@pytest.mark.parametrize(
    ("data", "array", "told"),
    [
        (b"", None, "file: 'f' is not possible; it is empty"),
        (b"a,b\n", None, "it has no samples"),
        (b"label\n1\n", None, "it has no samples"),
        (b"1,2\n3\n", None, "line 2 has 1 values, the first 2"),
        (b"1,2\n3,x\n", None, "line 2 has 'x'; give finite numbers"),
        (b"1,nan\n", None, "line 1 has 'nan'; give finite numbers"),
        (b'1,"2\n', None, "is no CSV"),
        (b"[1", None, "it is no JSON"),
        (b"\xff\xfe1", None, "byte 0 is no text in UTF-8"),
        (npy(np.array([[{}]], object), allow_pickle=True), None, "it holds Python objects"),
        (npz(x=[[1]], y=[1]), None, "it has 2 arrays, x, y; say which: --array NAME"),
        (npz(x=[[1]]), "z", "array: 'z' is not possible; f has x"),
        (b"1,2\n", "x", "array: 'x' is not possible; only an .npz file has several"),
        (npz(x=[[1]])[:-30], None, "it cannot be read as .npz"),
        (zipped("x.npy", BODY_BYTES_MAX + 1), None, f"its array x has more than {BODY_BYTES_MAX} bytes"),
        (npy(np.zeros(BODY_BYTES_MAX, np.uint8)), None, f"give at most {BODY_BYTES_MAX} at once"),
        (b"[" + b"0," * 2**20 + b"0]", None, "of JSON; give at most"),
    ],
)
def test_files_that_are_no_samples_are_refused(data: bytes, array: str | None, told: str) -> None:
    with pytest.raises(SettingError) as error:
        read_samples(data, "f", array)
    assert told in str(error.value)
