"""Options: one table, four sources, one precedence; every mistake is one line that names its place."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.cli import main
from peer.errors import HyperpushError, SettingError
from peer.extensions import register
from peer.options import (
    OPTIONS,
    admin_address,
    advertised_address,
    agent_settings,
    as_toml,
    command_words,
    complete,
    dns_address,
    ending,
    fault_plan,
    given_options,
    listen_address,
    readers,
    shard_of,
    split,
)
from peer.options.again import LEFT_OUT
from peer.options.option import FILE_TABLES, Option
from peer.options.settings import SETTING_HELP, SETTING_NAMES
from peer.options.sources import defaults, from_environment, from_file
from peer.settings import AgentSettings
from tests.examples.extensions.bursts import Bursts
from tests.examples.extensions.in_process import InProcess
from tests.examples.extensions.shared_folder import SharedFolder
from wire import AddressError, LogNormal

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

RUN = [option for option in OPTIONS if "run" in option.commands and option.configurable]
NO_FILE = "see `hyperpush config` for those there are"

GIVEN = {  # text for every option of `run`, other than its default
    "shard": "3/4",
    "task": "synthetic",
    "personalization": "none",
    "seed": "7",
    "partition": "shards:2",
    "data_dir": "data",
    "model": "cnn",
    "samples": "1000",
    "tick_ms": "12.5",
    "swarm": "bees",
    "name": "kitchen",
    "listen": "127.0.0.1:7700",
    "advertise": "me.example:80",
    "peer": "a:1,[::1]:2",
    "dns": "agents.example,others.example:7",
    "no_zeroconf": "yes",
    "key": "swarm.key",
    "allow": "friends",
    "insecure": "1",
    "state": "state",
    "checkpoints": "5",
    "admin": "none",
    "admin_token": "token",
    "admin_cert": "a.pem",
    "admin_key": "b.pem",
    "drop": "0.25",
    "delay": "lognormal:50ms:0.5",
    "duplicate": "0.1",
    "reorder": "0.2",
    "bandwidth": "256kbit",
    "scenario": "storm.toml",
    "ticks": "100",
    "duration": "60",
    "until": "residual:1e-6,accuracy:0.9",
    "json": "found.json",
    "out": "found",
    "log_format": "json",
    "tensorboard": "events",
    "mlflow": "sqlite:///runs.db",
    "trace": "agent.trace",
    "trace_mb": "8",
    "solver": "push-sum",
    "hyper_optimizer": "adam",
    "optimizer": "rmsprop:alpha=0.9",
    "fault_model": "bursts:1s:3s",
    "discovery": "folder:agents,folder:others",
    "transport": "in-process",
    "wire_dtype": "float64",
    "bytes_per_second": "100k",
    "block_bytes_max": "5000",
    **{name: "0.5" for name in SETTING_NAMES if "step_size" in name or name in ("momentum", "damping")},
    **dict.fromkeys(("tick_jitter", "block_fraction", "precision_tolerance", "listen_s_max"), "0.75"),
}
GIVEN |= {name: "5" for name in SETTING_NAMES if name not in GIVEN}

TOML = st.recursive(
    st.one_of(st.text(max_size=9), st.booleans(), st.integers(), st.floats(), st.dates()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@pytest.fixture(autouse=True)
def parts() -> Iterator[None]:
    """That some options name."""
    with (
        register("fault_model", "bursts", Bursts),
        register("discovery", "folder", SharedFolder),
        register("transport", "in-process", InProcess),
    ):
        yield


def values(*words: str, **environment: str) -> Namespace:
    named = {f"HYPERPUSH_{name.upper()}": text for name, text in environment.items()}
    return complete(split(words), named)


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def in_file(option: Option, text: str) -> dict[str, object]:
    given = text.split(",") if option.form == "list" else text
    return {option.group: {option.name: given}} if option.group in FILE_TABLES else {option.name: given}


def test_what_was_asked_for_can_be_asked_for_again(tmp_path: Path) -> None:
    """From whatever source: a file, the environment and flags come back as flags alone."""
    by_name = {option.name: option for option in RUN}
    words, environment = ["run", "--insecure", "--until", "ticks:3", "--until", "time:9s"], {}
    for number, (name, text) in enumerate(GIVEN.items()):
        if number % 2 and name not in ("insecure", "until", "tick_ms", "fanout", "drop"):
            environment[name] = text
    file = write(tmp_path / "agent.toml", "tick_ms = 12.5\n[settings]\nfanout = 5\n[faults]\ndrop = 0.25\n")
    found = values(*words, "--config", file, **environment)
    again = values(*command_words(found))
    for name in by_name.keys() - set(LEFT_OUT):
        assert getattr(again, name) == getattr(found, name), name
    assert {one["option"] for one in given_options(found)} >= {
        "insecure",
        "until",
        "tick_ms",
        "fanout",
        "drop",
    }
    assert {"option": "drop", "value": 0.25, "from": "file agent.toml"} in given_options(found)
    assert not {one["option"] for one in given_options(found)} & set(LEFT_OUT)
    assert command_words(values("swarm")) == ["swarm"]


def test_every_setting_has_its_option() -> None:
    assert list(SETTING_HELP) == list(SETTING_NAMES)


def test_an_option_has_one_meaning_in_a_command() -> None:
    for command in {command for option in OPTIONS for command in option.commands}:
        names = [option.name for option in OPTIONS if command in option.commands]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("command", sorted({name for option in OPTIONS for name in option.commands}))
def test_help_names_every_option_with_its_default(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit) as ended:
        split([*command.split(), "--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    for option in OPTIONS:
        if command in option.commands:
            assert option.help in printed
            assert option.form.startswith("positional") or f"  {option.flag}" in printed
    assert command != "swarm" or "share of messages that are lost, 0 to 1 (default: 0.2)" in printed


def test_a_flag_that_is_nearly_right_is_recognized(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("--lissten", "--lissten=x"):
        with pytest.raises(SystemExit) as ended:
            split(["run", word])
        assert ended.value.code == 2
        told = "hyperpush run: --lissten is no option of this command; did you mean --listen?\n"
        assert capsys.readouterr().err == told


@pytest.mark.parametrize("command", ["run", "swarm", "simulate"])
def test_who_asks_for_faults_learns_how_they_are_given(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for word in ("--fault", "--faults", "--fault=drop=0.1"):
        with pytest.raises(SystemExit) as ended:
            split([command, word, "drop=0.1"])
        assert ended.value.code == 2
        assert capsys.readouterr().err == (
            f"hyperpush {command}: {word.partition('=')[0]} is no option of this command; faults are given "
            "by --drop --delay --duplicate --reorder --bandwidth --fault-model --scenario\n"
        )


@pytest.mark.parametrize("option", RUN, ids=lambda option: option.name)
def test_every_option_is_read_alike_from_each_source(option: Option) -> None:
    """And what is read can be written as TOML and read again."""
    text = GIVEN[option.name]
    by_default = defaults([option], "run")[option.name].value
    from_variable = from_environment([option], {option.variable: text})[option.name]
    assert from_variable.value != by_default
    assert from_variable[1:] == (f"environment {option.variable}", option.variable)
    words = [option.flag] if option.form == "switch" else []
    for part in (text.split(",") if option.form == "list" else [text]) if not words else []:
        words += [option.flag, part]
    by_flag = values("run", *words).found[option.name]
    assert by_flag == (from_variable.value, "flag", option.flag)
    of_file = from_file([option], in_file(option, text), "agent.toml", Path())[option.name]
    assert of_file == (from_variable.value, "file agent.toml", f"agent.toml: {option.key}")
    toml: Any = as_toml(of_file.value)
    again = [option.read(part) for part in toml] if option.form == "list" else option.read(toml)
    assert again == of_file.value


def test_flag_before_environment_before_file_before_default(tmp_path: Path) -> None:
    file = write(tmp_path / "agent.toml", 'swarm = "file"\nseed = 3\npeer = "f:1"\n[faults]\ndrop = 0.3\n')
    found = values("run", "--config", file, "--swarm", "flag", swarm="environment", seed="2", peer="")
    assert (found.swarm, found.seed, found.drop, found.task) == ("flag", 2, 0.3, "digits")
    assert found.peer == ["f:1"]  # a single one, and an empty variable says nothing
    origins = [found.found[name].origin for name in ("swarm", "seed", "drop", "task")]
    assert origins == ["flag", "environment HYPERPUSH_SEED", "file agent.toml", "default"]
    assert values("run", config=file).swarm == "file"
    for command in ("swarm", "simulate", "config"):
        assert values(command, "--config", file).drop == 0.3
    assert values("doctor", "--config", file, "--json").json is True


def test_paths_in_a_file_are_meant_from_its_folder(tmp_path: Path) -> None:
    file = write(tmp_path / "agent.toml", 'key = "swarm.key"\nstate = "/var/state"\n')
    found = values("run", "--config", file, "--allow", "friends")
    assert (found.key, found.state) == (tmp_path / "swarm.key", Path("/var/state"))
    assert found.allow == Path("friends")


def test_printed_as_toml_it_is_a_file_with_the_same_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYPERPUSH_DELAY", "lognormal:50ms:0.5")
    given = [
        "--task",
        "digits",
        "--swarm",
        'b "ee" ß',
        "--until",
        "time:2m",
        "--key",
        "k",
        "--fanout",
        "2",
    ]
    assert main(["config", *given, "--toml"]) == 0
    printed = capsys.readouterr().out
    assert "fanout = 2  # flag" in printed
    assert "hyper_step_size" not in printed, "what is chosen is left open"
    assert 'delay = "lognormal:0.05s:0.5"  # environment HYPERPUSH_DELAY' in printed
    file = write(tmp_path / "other.toml", printed)
    first, again = values("run", *given, delay="lognormal:50ms:0.5"), values("run", "--config", file)
    for option in RUN:
        if option.group != "settings" and option.name != "key":
            assert getattr(again, option.name) == getattr(first, option.name)
    assert again.key == tmp_path / "k"
    task = {"hyper_step_size": None}
    assert agent_settings(again, task) == agent_settings(first, task)
    monkeypatch.delenv("HYPERPUSH_DELAY")
    assert main(["config", "--config", file, "--toml"]) == 0
    assert tomllib.loads(capsys.readouterr().out) == tomllib.loads(printed)


def test_the_table_says_where_each_value_comes_from(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = write(tmp_path / "swarm.key", "secret of the swarm")
    monkeypatch.setenv("HYPERPUSH_KEY", secret)
    assert main(["config", "--drop", "0.5", "--damping", "0.1"]) == 0
    printed = capsys.readouterr().out
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in printed.splitlines()}
    assert rows["faults.drop"] == "0.5 flag"
    assert rows["key"] == f'"{secret}" environment HYPERPUSH_KEY'
    assert rows["settings.hyper_step_size"] == "chosen task digits"
    assert rows["settings.momentum"] == "chosen default"
    assert rows["settings.local_step_size"] == "chosen default"
    assert rows["settings.damping"] == "0.1 flag"
    assert rows["settings.fanout"] == "3 default"
    assert rows["name"] == "host name default"
    assert rows["ticks"] == "not set default"
    assert "secret of" not in printed


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "fanuot = 3",
            "fanuot = 3 is no option of this command; did you mean fanout in the table [settings]?",
        ),
        ("tick-ms = 3", "tick-ms = 3 is no option of this command; did you mean tick_ms?"),
        ("drop = 1", "drop = 1 is no option of this command; did you mean drop in the table [faults]?"),
        (f'zzz = "{"x" * 99}"', f"zzz = '{'x' * 56}... is no option of this command; {NO_FILE}"),
        ("settings = 3", "settings = 3 is not possible; write a table, [settings]"),
        ("[settings]\nfanout = 0", "settings.fanout: 0 is not possible; give a whole number from 1 to 64"),
        ("[settings]\nsolver = 3", "settings.solver: 3 is not possible; give text in quotes"),
        ("[settings]\nmomentum = true", "settings.momentum: True is not possible; give a number"),
        ("[settings]\nfanout = 3.5", "settings.fanout: 3.5 is not possible; give a whole number"),
        (f"[settings]\nmomentum = 1{'0' * 400}", "is not possible; give a number"),
        ("[faults]\ndelay = 20", "faults.delay: 20 is not possible; give text with a unit, such as 20ms"),
        (
            '[faults]\nbandwidth = "5"',
            "faults.bandwidth: bandwidth = '5': no number with a unit; write 256kbit",
        ),
        ("[faults]\ndrop = 20", "faults.drop: 20 is not possible; give a number from 0 to 1: 0.3 is 30 %"),
        ("tick_ms = 0", "tick_ms: 0 is not possible; give a number above 0"),
        ("seed = -1", "seed: -1 is not possible; give a whole number, 0 or more"),
        ("bytes_per_second = 1", "bytes_per_second = 1 is no option of this command; did you mean"),
        ("[settings]\nbytes_per_second = -1", "is not possible; give bytes, such as 64000, 100k or 2M"),
        ('no_zeroconf = "perhaps"', "no_zeroconf: 'perhaps' is not possible; give true or false"),
        ("peer = [[1]]", "peer: [1] is not possible; give text in quotes"),
        ('peer = ["a"]', "peer: address 'a' has no port: write HOST:PORT"),
        ('swarm = ""', "swarm: '' is not possible; give printable text, not empty"),
        (f'swarm = "{"x" * 65}"', "is not possible; must be at most 64 bytes of UTF-8"),
        ('until = ["soon"]', "until: 'soon' is not possible; give residual:1e-6"),
        ("swarm = bees", 'no TOML: Invalid value (at line 1, column 9); write lines such as swarm = "NAME"'),
        ("agents = 3", f"agents = 3 is no option of this command; {NO_FILE}"),
    ],
)
def test_a_mistake_in_a_file_is_told_in_one_line(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--config", write(tmp_path / "agent.toml", text)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("hyperpush run: agent.toml: ")
    assert told in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("variable", "text", "told"),
    [
        ("SWRM", "bees", "HYPERPUSH_SWRM is no option of this command; did you mean HYPERPUSH_SWARM?"),
        ("ZZZ", "hidden", f"HYPERPUSH_ZZZ is no option of this command; {NO_FILE}"),
        ("MOMENTUM", "1", "HYPERPUSH_MOMENTUM: 1.0 is not possible; give 0 or more, and below 1"),
        ("TASK", "digit", "HYPERPUSH_TASK: 'digit' is not possible; give one of digits, synthetic"),
        ("SHARD", "5/4", "HYPERPUSH_SHARD: '5/4' is not possible; give I/N with 1 <= I <= N, such as 3/8"),
        ("CONFIG", "/nowhere", "HYPERPUSH_CONFIG: '/nowhere' cannot be read: No such file or directory"),
    ],
)
def test_a_mistake_in_the_environment_is_told_in_one_line(
    variable: str,
    text: str,
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(f"HYPERPUSH_{variable}", text)
    assert main(["run"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"hyperpush run: {told}")
    assert error.count("\n") == 1
    assert "hidden" not in error


def test_what_a_container_platform_adds_to_the_environment_is_no_mistake() -> None:
    """A Kubernetes service called hyperpush makes such variables in every container of its namespace."""
    of_service = {
        "HYPERPUSH_SERVICE_HOST": "10.0.0.1",
        "HYPERPUSH_SERVICE_PORT_AGENTS": "7700",
        "HYPERPUSH_PORT": "tcp://10.0.0.1:7700",
        "HYPERPUSH_PORT_7700_TCP_ADDR": "10.0.0.1",
        "HYPERPUSH_SEEDS_SERVICE_HOST": "10.0.0.2",
    }
    assert from_environment(RUN, of_service) == {}


def refusal(option: Option, value: object) -> str:
    """What is said of this value in a file; nothing if it is taken."""
    content = {option.group: {option.name: value}} if option.group in FILE_TABLES else {option.name: value}
    try:
        from_file([option], content, "agent.toml", Path())
    except HyperpushError as error:
        return str(error)
    return ""


@given(st.sampled_from(RUN), TOML)
def test_any_value_is_taken_or_refused_in_one_line(option: Option, value: object) -> None:
    told = refusal(option, value)
    assert not told or told.startswith(f"agent.toml: {option.key}: ")
    assert "\n" not in told


def test_a_default_number_of_ticks_gives_way_to_another_goal() -> None:
    def goals(*words: str) -> list[str]:
        found = ending(values(*words), ("personal",), AgentSettings(evaluate_every=0))
        return [str(goal) for goal in found.goals]

    assert goals("swarm") == ["ticks:800"]
    assert goals("swarm", "--until", "residual:0.5", "--duration", "60") == ["residual:0.5", "time:60.0s"]
    assert goals("swarm", "--duration", "60", "--ticks", "9") == ["time:60.0s", "ticks:9"]
    assert goals("run") == []


def test_a_goal_that_is_never_measured_is_refused() -> None:
    found = values("run", "--until", "accuracy:0.9")
    assert len(ending(found, ("personal",), AgentSettings()).goals) == 1
    with pytest.raises(HyperpushError, match="task digits measures no accuracy"):
        ending(found, ("model",), AgentSettings())
    with pytest.raises(HyperpushError, match="never measured; give --evaluate-every above 0"):
        ending(found, ("personal",), AgentSettings(evaluate_every=0))


def test_options_become_what_the_program_works_with() -> None:
    found = values("run", "--drop", "0.5", "--delay", "lognormal:50ms:0.5", "--bandwidth", "64kbyte")
    plan = fault_plan(found)
    assert (plan.drop, plan.delay_s, plan.bandwidth_bits_per_s) == (0.5, LogNormal(0.05, 0.5), 512_000.0)
    assert fault_plan(values("run")).bandwidth_bits_per_s is None
    settings = agent_settings(
        values("run", "--bytes-per-second", "1.5k", "--tick-ms", "20"), {"momentum": 0.8}
    )
    assert (settings.bytes_per_second, settings.tick_s, settings.momentum) == (1500, 0.02, 0.8)
    assert shard_of("3/8") == (2, 8)
    assert [admin_address(text) for text in ("none", "[::1]:0")] == [None, ("::1", 0)]
    for text in ("a:7", "http://a:7", "https://a:7/"):
        assert admin_address(text) == ("a", 7), "as `status` is given it"
    for text, address in (
        ("me", ("me", None)),
        ("10.0.0.7:80", ("10.0.0.7", 80)),
        ("fe80::1", ("fe80::1", None)),
        ("[fe80::1]", ("fe80::1", None)),
        ("[fe80::1]:7", ("fe80::1", 7)),
    ):
        assert advertised_address(text) == address
    for text in ("a b", "a..b", "x" * 70):
        with pytest.raises(AddressError, match=rf"^address '{text}' has"):  # and no port of ours
            advertised_address(text)
        with pytest.raises(AddressError, match=rf"^address '{text}:0' has"):
            listen_address(f"{text}:0")
    assert [dns_address("a", 0), dns_address("a", 7), dns_address("a:9", 7)] == [
        ("a", 7700),
        ("a", 7),
        ("a", 9),
    ]


def test_numbers_of_troubles_are_read() -> None:
    assert values("hunt").without == ()
    assert values("hunt", "--without", "0, 12").without == (0, 12)
    for bad in ("1,,2", "-1", "x"):
        with pytest.raises(HyperpushError):
            values("hunt", "--without", bad)


def test_tools_have_their_options() -> None:
    assert values("keys", "show", "swarm.key").file == Path("swarm.key")
    assert values("keys", "new-swarm").keys_command == "new-swarm"
    found = values("faults", "set", "http://x", "--cut", "--for", "30s", "--to", "b")
    assert (found.faults_command, found.url, found.cut, found.for_, found.to) == (
        *("set", "http://x", "", "30s", "b"),
    )
    assert values("faults", "set", "http://x", "--cut", "9s").cut == "9s"
    assert values("faults", "set", "http://x").cut is None
    assert values("status").url is None
    assert values("bench", "wire", "--sizes", "4k, 1M").sizes == (4000, 1_000_000)
    with pytest.raises(HyperpushError, match="--sizes: '0' is not possible; give sizes above 0"):
        values("bench", "wire", "--sizes", "0")


def test_words_of_few_are_read() -> None:
    assert [readers.log_format(how) for how in readers.LOG_FORMATS] == ["text", "json"]
    with pytest.raises(SettingError, match="give text or json"):
        readers.log_format("xml")
    assert [readers.export_format(how) for how in readers.EXPORT_FORMATS] == list(readers.EXPORT_FORMATS)
    with pytest.raises(SettingError, match="give one of"):
        readers.export_format("pickle")


def test_links_are_known_or_silent() -> None:
    assert [readers.links(how) for how in ("known", "silent")] == ["known", "silent"]
    with pytest.raises(SettingError, match="give known or silent"):
        readers.links("loud")


def test_work_is_done_by_processes_or_by_ray() -> None:
    command = ["swarm", "--engine"]
    assert complete(split(["swarm"]), {}).engine == "processes"
    assert complete(split([*command, "ray"]), {}).engine == "ray"
    with pytest.raises(HyperpushError, match="--engine: 'dask' is not possible; give processes or ray"):
        complete(split([*command, "dask"]), {})
