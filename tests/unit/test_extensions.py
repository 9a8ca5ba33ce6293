"""Parts that other packages bring are found by their names, and only then loaded."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from peer.data.partition import divide
from peer.data.scheme import parse_scheme
from peer.errors import SettingError
from peer.estimators.choice import choose
from peer.extensions import POINTS, find, installed, make, names, point, register
from peer.extensions.installed import takes_text
from peer.fault_words import plan_lines
from peer.optimizers import optimizer_maker
from peer.options import readers
from peer.personalization.registry import known_names, personalization
from peer.quadratic import QuadraticProblem
from peer.settings import AgentSettings
from peer.streams import make_stream
from peer.tensor_algebra import TensorAlgebra
from peer.virtual_swarm import simulate
from tests.examples.extensions.averaging import Averaging
from tests.examples.extensions.bursts import Bursts
from tests.examples.extensions.own_hessian import OwnHessian
from tests.examples.extensions.power_law import PowerLaw
from tests.examples.extensions.sign_descent import SignDescent
from tests.examples.extensions.temperature import Temperature
from wire import FaultPlan, FaultPlanError

if TYPE_CHECKING:
    from pathlib import Path

WHERE = "tests.examples.extensions"
BROUGHT = {
    "hyperpush.personalizations": {"temperature": f"{WHERE}.temperature:Temperature", "gone": "no_such:Part"},
    "hyperpush.estimators": {"own-hessian": f"{WHERE}.own_hessian:OwnHessian"},
    "hyperpush.solvers": {"averaging": f"{WHERE}.averaging:Averaging"},
    "hyperpush.optimizers": {"sign": f"{WHERE}.sign_descent:SignDescent", "lost": "no_such:Lost"},
    "hyperpush.partitions": {"power-law": f"{WHERE}.power_law:PowerLaw", "none": "math:inf"},
    "hyperpush.fault_models": {"bursts": f"{WHERE}.bursts:Bursts", "bare": "builtins:object"},
    "hyperpush.discoveries": {"folder": f"{WHERE}.shared_folder:SharedFolder"},
    "hyperpush.transports": {"in-process": f"{WHERE}.in_process:InProcess", "x": "never_named:X"},
}


def bring(folder: Path, package: str, groups: dict[str, dict[str, str]]) -> None:
    """As pip leaves a package there."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", "utf-8")
    lines = []
    for group, entries in groups.items():
        lines += [f"[{group}]", *(f"{name} = {where}" for name, where in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", "utf-8")


@pytest.fixture
def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "never_named.py").write_text("raise AssertionError", "utf-8")
    bring(tmp_path, "parts", BROUGHT)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("brought")
def test_what_is_installed_is_listed_and_not_loaded() -> None:
    found = [(one.point.name, one.name, one.package, one.where) for one in installed()]
    assert ("fault_model", "bursts", "parts", f"{WHERE}.bursts:Bursts") in found
    assert ("personalization", "gone", "parts", "no_such:Part") in found
    assert names("partition") == ["none", "power-law"]
    assert "never_named" not in sys.modules
    assert {point.group for point in POINTS} <= set(BROUGHT)


@pytest.mark.usefixtures("brought")
def test_parts_are_made_by_name_and_text() -> None:
    assert isinstance(personalization("temperature"), Temperature)
    assert str(personalization("temperature+bias")) in ("temperature+bias", "bias+temperature")
    assert "temperature" in known_names()
    bursts = readers.fault_model("bursts:1s:3s")
    assert bursts == Bursts("1s:3s")
    assert readers.fault_model(readers.as_toml(bursts)) == bursts, "a file says it again"
    assert readers.discovery("folder:/srv/agents") == "folder:/srv/agents"
    assert readers.transport("in-process") == "in-process"
    choice = choose("own-hessian:3", None)
    assert (choice.training_rounds, choice.updates, choice.is_of_agents) == (None, 10, False)
    assert isinstance(choice.make(0.1, 0.0), OwnHessian)
    assert choose("own-hessian", "rounds:7").training_rounds == 7
    scheme = parse_scheme("power-law:2+permuted:2")
    assert (str(scheme), str(parse_scheme("power-law"))) == ("power-law:2+permuted:2", "power-law")
    labels = np.arange(400) % 5
    found = divide(labels, 4, scheme, np.random.default_rng(0), classes=5, least=1)
    assert sorted(row for share in found for row in share.rows) == list(range(400))
    assert len({len(share.rows) for share in found}) == 4, "a power law"
    settings = AgentSettings(solver="averaging")
    stream = make_stream(settings.solver, torch.zeros(3), TensorAlgebra("float64"), [slice(0, 3)])
    assert isinstance(stream, Averaging)


@pytest.mark.usefixtures("brought")
@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda: personalization("gone"), "no_such:Part cannot be loaded: ModuleNotFoundError"),
        (lambda: personalization("temperature:3"), "temperature takes no text: give temperature"),
        (lambda: personalization("heat"), "proximal, gone, temperature, or several"),
        (lambda: parse_scheme("none"), "math:inf is no function or class"),
        (lambda: parse_scheme("power-law:x"), "partition: 'power-law:x' is not possible; give an exponent"),
        (lambda: parse_scheme("flat"), "permuted:G, none, power-law"),
        (lambda: readers.fault_model("bare"), "object has no deliveries; see wire.link_models.LinkModel"),
        (lambda: readers.fault_model("bursts:1s"), "give two times above 0, BAD:GOOD"),
        (lambda: readers.fault_model("waves"), "give one of bare, bursts"),
        (lambda: readers.discovery("dht"), "give one of folder"),
        (lambda: choose("own-hessian:none", None), "give 1 to 1000 steps"),
        (lambda: choose("mine", None), "jacobian-push:M, direct, own-hessian"),
        (lambda: AgentSettings(solver="gossip"), "push-sum-shares, averaging"),
    ],
)
def test_what_is_wrong_is_said(ask: Any, told: str) -> None:
    with pytest.raises(SettingError) as found:
        ask()
    assert told in str(found.value)


def test_where_nothing_is_installed_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: ())
    for read in (readers.fault_model, readers.transport):
        with pytest.raises(SettingError, match="no package that is installed brings one"):
            read("x")
    assert find("partition", "x") is None
    assert make("partition", "x:1") is None
    assert installed() == []


def test_two_packages_with_one_name_are_told_apart(brought: Path) -> None:
    bring(brought, "others", {"hyperpush.partitions": {"power-law": "math:sqrt"}})
    with pytest.raises(SettingError, match="two packages bring one, math:sqrt and tests"):
        find("partition", "power-law")


def test_a_package_without_a_name_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("x", "math:sqrt", "any")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [entry])
    assert {one.package for one in installed()} == {"?"}


def test_in_a_program_a_part_is_given_for_a_while() -> None:
    with register("partition", "mine", lambda: PowerLaw("1")):
        with register("partition", "mine", lambda: PowerLaw("0")):
            assert "mine" in names("partition")
            labels = np.zeros(40, dtype=np.int64)
            found = divide(labels, 4, parse_scheme("mine"), np.random.default_rng(0), classes=1)
            assert {len(share.rows) for share in found} == {10}
        assert make("partition", "mine")._exponent == 1
    assert find("partition", "mine") is None
    with pytest.raises(SettingError, match="not installed here"):
        divide(labels, 4, parse_scheme_of_another_machine(), np.random.default_rng(0), classes=1)


def parse_scheme_of_another_machine() -> Any:
    with register("partition", "elsewhere", lambda: PowerLaw("1")):
        return parse_scheme("elsewhere")


def test_of_a_point_that_there_is_not_that_is_said() -> None:
    with pytest.raises(SettingError, match="point: 'colour' is not possible; give one of personalization"):
        find("colour", "x")


def test_what_goes_wrong_while_a_part_is_made_is_said() -> None:
    def fails() -> None:
        raise OSError("no such device")

    with (
        register("partition", "broken", fails),
        pytest.raises(SettingError, match="it cannot be made as broken: OSError: no such device"),
    ):
        make("partition", "broken")
    with (
        register("solver", "half", lambda initial, algebra, spans, text: Temperature()),
        pytest.raises(SettingError, match="Temperature has no absorb, announced_estimate"),
    ):
        make_stream("half:3", torch.zeros(3), TensorAlgebra("float64"), [slice(0, 3)])


def test_equal_simulations_with_one_plan_are_equal() -> None:
    """The model remembers; each run has one of its own."""
    generator = torch.Generator().manual_seed(0)
    problems = [QuadraticProblem.random(generator) for _ in range(2)]
    plan = FaultPlan(model=Bursts("0.2s:0.3s"))
    one, other = (simulate(problems, faults=plan, ticks=60, evaluate_every=0) for _ in range(2))
    assert one.digest == other.digest
    assert one.digest != simulate(problems, ticks=60, evaluate_every=0).digest


def test_rows_that_a_part_loses_are_missed() -> None:
    with register("partition", "lossy", lambda: lambda labels, agents, generator: [labels[:1]] * agents):
        scheme = parse_scheme("lossy")
        with pytest.raises(SettingError, match="it must give 2 agents every one of 30 rows once"):
            divide(np.zeros(30, dtype=np.int64), 2, scheme, np.random.default_rng(0), classes=1)


def test_a_standing_estimator_is_on_the_schedule_of_rounds() -> None:
    class Standing(OwnHessian):
        standing = True

    with register("estimator", "standing", Standing):
        assert choose("standing", None).training_rounds == 10
        with pytest.raises(SettingError, match="sums up a series at one model"):
            choose("standing", "continuous")


def test_a_model_of_links_is_asked_about_every_copy_that_arrives() -> None:
    class Later:
        asked = 0

        def deliveries(self, source: str, target: str, elapsed_s: float, rng: Any) -> tuple[float, ...]:
            self.asked += 1
            return (1.0, 2.0) if self.asked % 2 else ()

        def __str__(self) -> str:
            return "later"

    plan = FaultPlan(duplicate=1.0, delay_s=0.5, model=Later())
    assert plan.deliveries("a", "b", 0.0, random.Random(1)) == (1.5, 2.5)
    assert FaultPlan(drop=1.0, model=Later()).deliveries("a", "b", 0.0, random.Random(1)) == ()
    told = plan.to_dict()
    assert told["model"] == "later"
    shown = FaultPlan.from_dict(told)
    assert replace(shown, model=None) == FaultPlan(duplicate=1.0, delay_s=0.5)
    assert plan_lines(shown, (), 0.0)[0].endswith(", then later")
    with pytest.raises(RuntimeError, match="later was read from a record"):
        shown.deliveries("a", "b", 0.0, random.Random(1))
    assert hash(plan) == hash(FaultPlan(duplicate=1.0, delay_s=0.5))
    with pytest.raises(FaultPlanError, match="model = 3: give a LinkModel, or None"):
        FaultPlan(model=3)  # type: ignore[arg-type]


def test_one_signature_serves_with_a_text_and_without() -> None:
    """At every point: what there is beside it, and `text` as a keyword only where there is a colon."""

    def maker(*arguments: Any, **options: Any) -> Any:
        return lambda: (arguments, options)

    for where, wanted in (("partition", ((), {})), ("solver", ((1, 2), {})), ("estimator", ((), {"a": 3}))):
        arguments, options = wanted
        with register(where, "mine", lambda *arguments, **options: Told(maker(*arguments, **options))):
            assert make(where, "mine", *arguments, **options)() == (arguments, options)
            assert make(where, "mine:5", *arguments, **options)() == (arguments, {**options, "text": "5"})
            assert make(where, "mine:", *arguments, **options)() == (arguments, {**options, "text": ""})


class Told:
    """Has whatever is asked for."""

    def __init__(self, told: Any) -> None:
        self._told = told

    def __call__(self) -> Any:
        return self._told()

    def __getattr__(self, name: str) -> Any:
        return None


def test_whether_a_part_takes_a_text_is_seen_where_it_can_be() -> None:
    assert takes_text(lambda parameters, text="": None)
    assert takes_text(dict)
    assert takes_text(iter), "nothing is known of it"
    assert not takes_text(lambda parameters, momentum="0.9": None)
    assert not takes_text(lambda text, /: None)
    assert not takes_text(Temperature)


def test_optimizers_have_one_point_and_two_names() -> None:
    class Slow(SignDescent):
        """Its text is a factor."""

    assert point("hyper_optimizer") is point("optimizer")
    for where in ("optimizer", "hyper_optimizer"):
        with register(where, "slow", Slow):
            assert "slow" in names("optimizer") == names("hyper_optimizer")
            for field in ("optimizer", "hyper_optimizer"):
                for text in ("slow", "slow:1e-3"):
                    assert optimizer_maker(text, field) is not None
                with pytest.raises(SettingError, match=f"^{field}: 'slow:much' .*could not convert"):
                    optimizer_maker("slow:much", field)
    for field in ("optimizer", "hyper_optimizer"):
        with (
            register("optimizer", "mute", lambda parameters: Slow(parameters)),
            pytest.raises(SettingError, match=f"^{field}: 'mute:1' is not possible; mute takes no text"),
        ):
            optimizer_maker("mute:1", field)


@pytest.mark.usefixtures("brought")
def test_of_an_optimizer_that_cannot_be_loaded_the_right_option_is_named() -> None:
    for field in ("optimizer", "hyper_optimizer"):
        with pytest.raises(SettingError, match=f"^{field}: 'lost:1' is not possible; no_such:Lost cannot"):
            optimizer_maker("lost:1", field)
