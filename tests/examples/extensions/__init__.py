"""One part for each place where parts can be replaced; `pytest --hyperpush-conformance` holds them.

    pytest --hyperpush-conformance tests.examples.extensions

A package of your own names its parts in its pyproject.toml, and they can be chosen on the command line:

    [project.entry-points."hyperpush.fault_models"]
    bursts = "my_package.bursts:Bursts"

    hyperpush swarm --fault-model bursts:2s:8s
"""

from __future__ import annotations

import tempfile
from functools import partial

from tests.examples.extensions.averaging import Averaging
from tests.examples.extensions.bursts import Bursts
from tests.examples.extensions.in_process import InProcess
from tests.examples.extensions.own_hessian import OwnHessian
from tests.examples.extensions.power_law import PowerLaw
from tests.examples.extensions.shared_folder import SharedFolder
from tests.examples.extensions.sign_descent import SignDescent
from tests.examples.extensions.temperature import Temperature


def shared_folder(*arguments: object, **options: object) -> SharedFolder:
    """All makers of one check look into the same folder; here one that is new for each part."""
    return SharedFolder(*arguments, text=_FOLDER.name, **options)  # type: ignore[arg-type]


_FOLDER = tempfile.TemporaryDirectory()

CONFORMANCE = {
    "personalization": [Temperature],
    "estimator": [OwnHessian, partial(OwnHessian, text="1")],
    "solver": [Averaging],
    "optimizer": [SignDescent, partial(SignDescent, text="1e-6")],
    "partition": [PowerLaw, lambda: PowerLaw("2.5")],
    "fault_model": [Bursts, lambda: Bursts("1s:3s")],
    "discovery": [shared_folder],
    "transport": [InProcess],
}
