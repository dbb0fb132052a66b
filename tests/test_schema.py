"""What the fields of a configuration allow, they say, and nothing else is let through."""

import math
import subprocess
import sys
from dataclasses import replace

import pytest
from support import LIMIT

from fedkd.config import RunConfig
from fedkd.config.schema import FREE, keys
from fedkd.errors import ConfigError
from fedkd.plugins.table import SEAMS

KEYS = {entry.key: entry for entry in keys()}
BAD = {
    "at least 0": [-1],
    "at least 1": [0, -3],
    "greater than 0 and finite": [0.0, -1.0],
    "in (0, 1]": [0.0, 1.5],
    "in [0, 1)": [1.0, -0.1],
}
"""What is refused, by the words for what is allowed."""


def changed(key, value):
    """Return a configuration with one value, which nobody has looked at yet."""
    config, (group, _, name) = RunConfig(), key.rpartition(".")
    if not group:
        return replace(config, **{name: value})
    return replace(config, **{group: replace(getattr(config, group), **{name: value})})


@pytest.mark.parametrize("key", [key for key, entry in KEYS.items() if entry.allowed])
def test_what_a_field_does_not_allow_is_refused_in_its_words(key):
    entry = KEYS[key]
    for value in BAD.get(entry.allowed, ["nonsense"]):
        with pytest.raises(ConfigError) as caught:
            changed(key, value).check()
        assert str(caught.value).startswith(f"{key}={value}: ")
        if entry.allowed in BAD:
            assert str(caught.value) == f"{key}={value}: must be {entry.allowed}"
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("key", [key for key, entry in KEYS.items() if "float" in entry.type])
def test_no_number_may_be_infinite_or_none(key, value):
    with pytest.raises(ConfigError, match=rf"^{key}={value}: must be .*(finite|in |above 0.5)"):
        changed(key, value).check()


def test_choices_are_told():
    with pytest.raises(ConfigError, match=r"not available; did you mean 'adam'\? .*adam, sgd"):
        changed("fit.optimizer", "adm").check()
    with pytest.raises(ConfigError, match=r"secure\.bits=16: must be 32, 64 or null"):
        changed("secure.bits", 16).check()


def test_keys_that_choose_plug_ins_are_those_of_the_table():
    chosen = {seam.key for seam in SEAMS.values() if seam.name not in ("exchanges", "models")}
    assert chosen == set(FREE)


def test_actors_do_not_pay_for_pydantic():
    code = "import sys, fedkd.config.overrides; print('pydantic' in sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT)
    assert done.stdout.strip() == "False"
