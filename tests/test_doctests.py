"""Every example in a docstring runs.

``pytest --doctest-modules`` cannot collect the folders that `setup.cfg` maps into the package, so
the modules are found by import.
"""

import doctest
import signal
from importlib import import_module
from pkgutil import walk_packages

import pytest

import fedkd

PACKAGES = ("fedkd", "fedkd.strategies", "fedkd.clients", "fedkd.experiments")
ELSEWHERE = "fedkd.experiments.benchmarks.peer_"  # import what only their own environments have


def modules():
    found = {"fedkd"}
    for package in map(import_module, PACKAGES):
        found |= {info.name for info in walk_packages(package.__path__, f"{package.__name__}.")}
    return sorted(name for name in found if not name.startswith(ELSEWHERE))


@pytest.fixture(autouse=True)
def ctrl_c_interrupts():
    """Heed SIGINT, which what a shell starts in the background ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("name", modules())
def test_examples_run(name):
    module = import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0


def test_all_rooms_are_searched():
    names = modules()
    assert fedkd.__name__ in names
    assert {"fedkd.engine.fleet", "fedkd.strategies.knfu", "fedkd.clients.app"} <= set(names)
