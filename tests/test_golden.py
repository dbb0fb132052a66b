"""Each strategy still gives what it gave when its golden file was recorded."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from fedkd.clients.exchange import Exchange
from fedkd.strategies.catalogue import documented_state, matches

from fedkd.plugins import available, create
from fedkd.rounds.protocol import Strategy

HERE = Path(__file__).parent / "golden"
STRATEGIES = available("strategies", Strategy)


def load() -> ModuleType:
    """Return ``tests/golden/record.py``: tests are no package."""
    spec = importlib.util.spec_from_file_location("golden_record", HERE / "record.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


record = load()


def exchange_of(strategy: Strategy) -> Exchange | None:
    node = strategy.exchange_node()
    if node is None:
        return None
    found: Exchange = create(dict(node), "clients.exchange", Exchange, "exchange")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_numbers_are_the_golden_ones(name: str) -> None:
    golden = record.read(name)
    if golden is None:
        pytest.fail(
            f"strategy {name} has no golden file: run `python tests/golden/record.py {name}`, look "
            f"whether the numbers are plausible, and commit tests/golden/{name}.json"
        )
    found, strategy, personal = record.measured(name)
    exchange = exchange_of(strategy)
    masked = exchange is not None and exchange.masked
    problems = record.differences(golden, found, record.MASKED if masked else 0.0)
    assert not problems, (
        f"{name}: {', '.join(problems)}. If that is meant: `python tests/golden/record.py {name}`, "
        "and say why in the commit"
    )
    assert strategy.personalised or not personal, f"{name} sends lessons that differ"
    documented = documented_state(type(strategy))
    unknown = [key for key in strategy.state if not matches(key, documented)]
    assert not unknown, f"{name}: state {unknown} is not described in the class's docstring"


def test_no_golden_file_is_left_over() -> None:
    assert {file.stem for file in HERE.glob("*.json")} <= set(STRATEGIES)


def test_a_difference_is_noticed() -> None:
    golden = {"alma_local": 0.5, "bytes_up": 100, "rejected": 0}
    assert not record.differences(golden, golden | {"alma_local": 0.519}, 0.0)
    assert not record.differences(golden, golden | {"bytes_up": 104}, 0.05)
    for change in ({"alma_local": 0.47}, {"bytes_up": 101}, {"rejected": 1}, {"more": 1}):
        (problem,) = record.differences(golden, golden | change, 0.0)
        assert problem.startswith(next(iter(change)))


def test_golden_files_hold_what_is_compared() -> None:
    names = {"alma_local", "alma_global", "bytes_up", "bytes_down", "rejected"}
    for file in HERE.glob("*.json"):
        numbers = json.loads(file.read_text())
        assert set(numbers) == names, file.name
        assert 0 < numbers["alma_local"] <= 1


def test_defaults_are_the_golden_ones() -> None:
    """Whoever changes one changes everybody's runs: `make golden` if that is meant."""
    assert record.defaults() == yaml.safe_load(record.DEFAULTS.read_text())
