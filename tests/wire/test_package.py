import subprocess
import sys

import pytest

import wire


def test_every_public_name_is_there() -> None:
    assert sorted(wire.__all__) == sorted(set(wire.__all__))
    for name in wire.__all__:
        assert getattr(wire, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = wire.Nonsense


def test_importing_wire_is_light_and_knows_nothing_of_the_agent() -> None:
    """DESIGN 3: wire/ never imports torch or peer; the edges load when first used."""
    program = (
        "import sys, wire\n"
        "heavy = {'torch', 'numpy', 'peer', 'aiohttp', 'zeroconf', 'asyncio'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "wire.WebSocketTransport, wire.ZeroconfDiscovery\n"
        "assert 'aiohttp' in sys.modules and 'zeroconf' in sys.modules\n"
        "assert not {'torch', 'peer'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
