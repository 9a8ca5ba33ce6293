"""Files by the user's hand: what can be read means something, all else is refused in one line."""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from peer.errors import HyperpushError, SettingError
from peer.options.meaning import agent_settings, ending, fault_plan
from peer.options.parsing import options_of, read_file
from peer.options.sources import defaults, from_environment, from_file
from peer.scenario_file import parse_scenario
from tests.fuzz.targets import IDENTITIES, RING, refused
from wire import FaultPlan
from wire.errors import KeyFileError
from wire.keys import KeyRing, SigningIdentity, parse_allow_list, parse_fingerprint


class Toml:
    """Text that is a table."""

    files: tuple[str, ...]

    def read(self, data: bytes) -> Any:
        return tomllib.loads(data.decode())

    def write(self, tree: Any) -> bytes:
        if not isinstance(tree, dict):
            raise TypeError("a TOML file is a table")
        return "\n".join(f"{_key(key)} = {_toml(value)}" for key, value in tree.items()).encode(
            errors="surrogatepass"
        )


class Scenario(Toml):
    """Scenario files."""

    name = "scenario"
    files = ("peer/scenario_file.py", "peer/fault_words.py", "peer/scenario.py", "wire/faults.py")

    def seeds(self) -> list[bytes]:
        return [
            b'[[event]]\nat = "30s"\ncut = ["agent-1", "agent-2"]\nfor = "20s"\n',
            b'[[event]]\nat = 60\ndrop = 0.5\nfrom = "agent-1"\nto = ["agent-2"]\ndelay = "20ms"\n',
            (
                b'[[event]]\nat = 1\npartition = [["agent-0"], ["agent-1"]]\n[[event]]\nat = 2\nkill = "a"\n'
                b'[[event]]\nat = 3\nrestart = "a"\nwith_state = false\n[[event]]\nat=4\npause="a"\nfor=1\n'
            ),
        ]

    def throw(self, data: bytes) -> str:
        text = data.decode(errors="replace")
        try:
            scenario = parse_scenario(text, "file.toml")
        except SettingError as error:
            return refused(error, by_user=True)
        assert all(0 <= window.start_s < window.end_s for window in scenario.windows)
        assert all(math.isfinite(change.at_s) for change in scenario.changes)
        plan = FaultPlan(windows=scenario.windows)
        plan.faults_on("agent-1", "agent-2", 31.0)
        return "read"


class _File:
    """A file without a disk."""

    name = "file.toml"
    parent = Path("/folder")

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_text(self, encoding: str) -> str:
        return self._data.decode(encoding)


class Config(Toml):
    """Files of options, and the same values as environment variables."""

    name = "config"
    files = ("options/readers.py", "options/sources.py", "options/meaning.py", "peer/settings.py", "until.py")

    def seeds(self) -> list[bytes]:
        return [
            (
                b'task = "digits"\nswarm = "s"\nlisten = "[::1]:0"\npeer = ["a:7700"]\ninsecure = true\n'
                b'until = ["residual:1e-3", "time:2m"]\nadmin = "none"\nshard = "3/8"\nadvertise = "a.b:1"\n'
            ),
            (
                b'tick_ms = 50\ndns = "agents:7700"\nseed = 1\n[settings]\nfanout = 3\nmomentum = 0.5\n'
                b'solver = "tracking"\nbytes_per_second = "100k"\nlocal_steps = 2\nmodel_step_size = 0.1\n'
                b'[faults]\ndrop = 0.1\ndelay = "uniform:1ms:9ms"\nbandwidth = "1mbit"\n'
            ),
        ]

    def __init__(self) -> None:
        self._options = [option for option in options_of("run") if option.configurable]
        self._defaults = defaults(options_of("run"), "run")

    def throw(self, data: bytes) -> str:
        file: Any = _File(data)
        try:
            content = read_file(file, "--config")
        except HyperpushError as error:
            return refused(error, by_user=True)
        texts = {f"HYPERPUSH_{key.upper()}": str(value)[:200] for key, value in _flat(content)}
        outcome = ""
        for read in (
            lambda: from_environment(self._options, texts),
            lambda: from_file(self._options, content, file.name, file.parent),
        ):
            try:
                values = {**self._defaults, **read()}
                namespace: Any = SimpleNamespace(
                    **{name: value.value for name, value in values.items()}, found=values
                )
                fault_plan(namespace)
                settings = agent_settings(namespace, {})
                ending(namespace, {"personal"}, settings)
                json.dumps(settings.to_dict(), allow_nan=False)
                outcome = "read"
            except (HyperpushError, ValueError) as error:
                if type(error) is ValueError:
                    raise
                outcome = refused(error, by_user=True)
        return outcome


class Keys:
    """Files of keys and fingerprints, told nothing of when refused."""

    name = "keys"
    files = ("wire/keys.py",)

    def seeds(self) -> list[bytes]:
        listed = "\n".join(one.fingerprint for one in IDENTITIES)
        return [RING.to_text().encode(), IDENTITIES[0].to_text().encode(), listed.encode()]

    def read(self, data: bytes) -> Any:
        return data.decode(errors="replace").split(" ")

    def write(self, tree: Any) -> bytes:
        return " ".join(map(str, tree)).encode(errors="replace")

    def throw(self, data: bytes) -> str:
        text = data.decode(errors="replace")
        outcomes = []
        for read in (KeyRing.parse, SigningIdentity.parse, parse_allow_list):
            try:
                read(text)
                outcomes.append("read")
            except KeyFileError as error:
                outcomes.append(refused(error))
                cited = [word for word in text.split() if len(word) > 24 and word in str(error)]
                assert not cited, "a refusal cites what may be a secret"
        parse_fingerprint(text)
        return " ".join(dict.fromkeys(outcomes))


def _flat(content: dict[str, Any]) -> list[tuple[str, Any]]:
    inner = [pair for value in content.values() if isinstance(value, dict) for pair in value.items()]
    return [(key, value) for key, value in [*content.items(), *inner] if isinstance(value, str | float)]


def _key(key: object) -> str:
    return json.dumps(str(key), ensure_ascii=False)


def _toml(value: Any) -> str:
    """Enough TOML for what trees hold; long integers in hexadecimal, which knows no limit of digits."""
    match value:
        case bool():
            return str(value).lower()
        case int() if value > 10**300:
            return hex(value**17)
        case int():
            return str(value)
        case float():
            return repr(value)
        case str():
            return json.dumps(value)
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            return f"{{{', '.join(f'{_key(key)} = {_toml(inner)}' for key, inner in value.items())}}}"
        case _:
            return '""'
