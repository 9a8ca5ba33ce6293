"""What `--partition` says, and what people choose of a task's data."""

from __future__ import annotations

from pathlib import Path

import pytest

from peer.data.choice import DataChoice, checked_model, choice_of_record
from peer.data.scheme import Scheme, parse_scheme
from peer.errors import SettingError


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("iid", Scheme()),
        ("dirichlet:0.4", Scheme("dirichlet", 0.4)),
        ("dirichlet:100", Scheme("dirichlet", 100.0)),
        ("shards:2", Scheme("shards", 2)),
        ("column:writer of it", Scheme("column", "writer of it")),
        ("rotated:4", Scheme("iid", None, "rotated", 4)),
        ("permuted:3+dirichlet:0.1", Scheme("dirichlet", 0.1, "permuted", 3)),
        ("column:device+rotated:2", Scheme("column", "device", "rotated", 2)),
    ],
)
def test_schemes_are_read_and_written(text: str, scheme: Scheme) -> None:
    assert parse_scheme(text) == scheme
    assert parse_scheme(str(scheme)) == scheme


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "give one of iid, dirichlet:ALPHA"),
        ("random", "give one of iid, dirichlet:ALPHA"),
        ("iid:3", "give one of iid, dirichlet:ALPHA"),
        ("column:", "give one of iid, dirichlet:ALPHA"),
        ("column:" + "x" * 201, "give one of iid, dirichlet:ALPHA"),
        *(
            (f"dirichlet:{bad}", "needs a number from 0.001 to 1e")
            for bad in ("", "x", "0", "-1", "nan", "inf")
        ),
        *(
            (f"shards:{bad}", "needs a whole number from 1 to 1000")
            for bad in ("", "0", "1.5", "-1", "²", "9" * 99)
        ),
        ("rotated:5", "'rotated:5' needs a whole number from 2 to 4, as in rotated:2"),
        ("permuted:1", "'permuted:1' needs a whole number from 2 to 64"),
        ("iid+shards:2", "give one way to split and one of rotated, permuted"),
        ("rotated:2+permuted:2", "give one way to split and one of rotated, permuted"),
        ("iid+rotated:2+permuted:2", "give one way to split and one of rotated, permuted"),
    ],
)
def test_what_means_nothing_is_refused(text: str, told: str) -> None:
    with pytest.raises(SettingError) as error:
        parse_scheme(text)
    assert error.value.field == "partition"
    assert told in str(error.value)


def test_a_choice_that_a_task_does_not_have_is_refused() -> None:
    DataChoice(Scheme()).only("digits", "partition")
    DataChoice().only("synthetic")
    with pytest.raises(
        SettingError, match=r"samples: '5' is not possible; task digits has .*, it has partition"
    ):
        DataChoice(samples=5).only("digits", "partition")
    with pytest.raises(SettingError, match=r"partition: 'iid' .* its data are what they are; leave it out"):
        DataChoice(Scheme()).only("synthetic")


def test_a_choice_is_recorded_without_where_files_lie() -> None:
    choice = DataChoice(parse_scheme("shards:3+rotated:2"), Path("/secret"), "cnn", 12)
    recorded = choice.recorded()
    assert recorded == {"partition": "shards:3+rotated:2", "model": "cnn", "samples": 12}
    assert choice_of_record(recorded, Path("/secret")) == choice
    assert choice_of_record({}, None) == DataChoice()
    assert DataChoice().recorded() == {}


@pytest.mark.parametrize(
    ("recorded", "told"),
    [
        ({"samples": 0}, "samples: 0 is not possible"),
        ({"samples": True}, "samples: True is not possible"),
        ({"samples": "5"}, "samples: '5' is not possible"),
        ({"partition": 3}, "partition: '3' is not possible"),
        ({"model": ["mlp"]}, "model: .* is not possible; give one of mlp, cnn"),
    ],
)
def test_what_nobody_can_have_chosen_is_refused(recorded: dict[str, object], told: str) -> None:
    with pytest.raises(SettingError, match=told):
        choice_of_record(recorded, None)


def test_models_are_known_by_name() -> None:
    assert checked_model("cnn") == "cnn"
    with pytest.raises(SettingError, match="model: 'vgg' is not possible; give one of mlp, cnn"):
        checked_model("vgg")
