import pickle
import subprocess
import sys
from collections.abc import Sequence
from typing import Literal

import pytest
from fedkd.clients import ClientLoop
from fedkd.clients.attacks import Attack
from fedkd.clients.oracles import Oracle
from support import LIMIT

from fedkd.config import RunConfig
from fedkd.config.hints import fits, spoken
from fedkd.config.overrides import merge
from fedkd.data.partitioners import SHIPPED, keywords
from fedkd.errors import ConfigError
from fedkd.plugins import REQUIRED, available, create, describe, load_object, parameters, resolve
from fedkd.rounds.protocol import Strategy


class Base:
    def __init__(self, *, temperature: float = 1.0):
        self.temperature = temperature


class Nearest(Base):
    """Nearest clients.

    More.
    """

    def __init__(
        self,
        beta=1,
        name: "str | None" = None,
        mode: Literal["mean", "sum"] = "mean",
        sizes: Sequence[int] = (1, 2),
        **base,
    ):
        super().__init__(**base)
        self.beta, self.mode, self.sizes = beta, mode, sizes
        if beta < 0:
            raise ValueError("beta must be at least 0")


class Closed(Base):
    def __init__(self, needed: int):
        super().__init__()
        self.needed = needed


FILE = """
import torch
from fedkd.rounds.protocol import Strategy

CONSTANT = 3

class Median(Strategy):
    "Coordinate-wise median."
    def __init__(self, beta=1.0):
        self.beta = beta
    def round(self, plan):
        return None

class Unrelated:
    pass

def make():
    return None
"""


@pytest.fixture
def plug_in(tmp_path):
    path = tmp_path / "median.py"
    path.write_text(FILE)
    return path


def error_of(call, *args, **kwargs):
    with pytest.raises(ConfigError) as caught:
        call(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_class_comes_from_a_file_relative_to_the_working_directory(plug_in, monkeypatch):
    monkeypatch.chdir(plug_in.parent)
    found = load_object("./median.py:Median")
    assert found.__name__ == "Median"
    assert load_object(f"{plug_in}:Median") is found
    assert sys.modules[found.__module__].Median is found


@pytest.mark.parametrize("compiled", [False, True])
def test_a_changed_file_is_imported_anew(compiled, plug_in, monkeypatch):
    """Also within the second, and where Python keeps what it has compiled."""
    monkeypatch.setattr(sys, "dont_write_bytecode", not compiled)
    before = load_object(f"{plug_in}:Median")
    plug_in.write_text(FILE.replace("beta=1.0", "beta=2.0"))
    after = load_object(f"{plug_in}:Median")
    assert after is not before
    assert parameters(after) == {"beta": 2.0}


def test_files_of_one_name_are_different_modules(tmp_path):
    for folder, value in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "my plug.py").write_text(f"class C:\n    value = {value}\n")
    assert load_object(f"{tmp_path}/a/my plug.py:C").value == 1
    assert load_object(f"{tmp_path}/b/my plug.py:C").value == 2


def test_an_object_of_a_plug_in_file_unpickles_where_the_file_is_not(plug_in):
    cloudpickle = pytest.importorskip("ray.cloudpickle")
    data = cloudpickle.dumps(load_object(f"{plug_in}:Median")(beta=7))
    plug_in.unlink()
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).beta)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=data, capture_output=True, check=True, timeout=LIMIT)
    assert done.stdout.strip() == b"7"
    assert pickle.loads(data).beta == 7


def test_a_module_may_lie_in_the_working_directory(tmp_path, monkeypatch):
    package = tmp_path / "plugpack_of_this_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "median.py").write_text(FILE)
    (package / "broken.py").write_text("import nowhere_to_be_found\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    name = package.name
    assert load_object(f"{name}.median:Median").__module__ == f"{name}.median"
    assert "there is no module" in error_of(load_object, f"{name}.absent:Median")
    message = error_of(load_object, f"{name}.broken:Median")
    assert "No module named 'nowhere_to_be_found'" in message


def test_load_errors_say_what_is_wrong(plug_in, tmp_path):
    assert "there is no file" in error_of(load_object, f"{tmp_path}/none.py:X")
    message = error_of(load_object, f"{plug_in}:Medain", "client")
    assert message.startswith(f"client={plug_in}:Medain: ")
    assert f"did you mean '{plug_in}:Median'?" in message
    for own in ("Median", "Unrelated", "make"):
        assert f"{plug_in}:{own}" in message
    assert f"{plug_in}:Strategy" not in message
    assert "after a colon" in error_of(load_object, str(plug_in))
    assert "after a colon" in error_of(resolve, str(plug_in), "strategies", Strategy)
    assert "there is no module nowhere_at_all" in error_of(load_object, "nowhere_at_all.x:Y")
    assert "neither FILE.py:Name" in error_of(load_object, "not a module:Y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import torch\n\nx = 1 / 0\n", "ZeroDivisionError: division by zero (line 3)"),
        ("def f(:\n    pass\n", "SyntaxError: invalid syntax (line 1)"),
        ("import nowhere_to_be_found\n", "ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)\n", "SystemExit: 3 (line 1)"),
    ],
)
def test_a_file_that_does_not_import(tmp_path, text, message):
    path = tmp_path / "broken.py"
    path.write_text(text)
    assert f"does not import: {message}" in error_of(load_object, f"{path}:X")


def test_rooms_name_classes_by_module():
    found = available("strategies", Strategy)
    assert {"knfu", "fedmd", "local"} <= set(found)
    assert not {"base", "fusing", "flower_adapter"} & set(found)
    assert resolve("knfu", "strategies", Strategy) is found["knfu"]
    message = error_of(resolve, "knf", "strategies", Strategy)
    assert message.startswith("strategy=knf: no such strategy; did you mean 'knfu'? (allowed: ")
    error_of(resolve, "../x", "strategies", Strategy)
    error_of(resolve, "base", "strategies", Strategy)


def test_a_plug_in_must_be_of_the_rooms_family(plug_in):
    assert issubclass(resolve(f"{plug_in}:Median", "strategies", Strategy), Strategy)
    message = error_of(resolve, f"{plug_in}:Unrelated", "strategies", Strategy)
    assert "Unrelated is not a subclass of fedkd.rounds.protocol.Strategy" in message
    assert "not a class" in error_of(resolve, f"{plug_in}:make", "strategies", Strategy)
    adapted = resolve(
        f"{plug_in}:Unrelated", "strategies", Strategy, adapt=lambda kind: type("A", (kind,), {})
    )
    assert adapted.__name__ == "A"
    error_of(resolve, f"{plug_in}:Unrelated", "strategies", Strategy, adapt=lambda kind: None)


def test_parameters_follow_open_signatures():
    assert list(parameters(Nearest)) == ["beta", "name", "mode", "sizes", "temperature"]
    assert parameters(Closed) == {"needed": REQUIRED}
    assert parameters(type("Sub", (Nearest,), {})) == parameters(Nearest)
    assert describe(Nearest)[0] == "Nearest clients."
    assert describe(type("Bare", (), {})) == ("", [])


def test_an_adapter_may_declare_the_signature_it_speaks_for():
    import inspect

    class Adapter(Base):
        __signature__ = inspect.signature(Closed)

        def __init__(self, **given):
            super().__init__()

    assert parameters(Adapter) == {"needed": REQUIRED}


def made(monkeypatch, cls, **params):
    monkeypatch.setattr("fedkd.plugins.finding.resolve", lambda *args: cls)
    return create({"name": "it", **params}, "strategies", object, "strategy")


def test_create_passes_checked_parameters(monkeypatch):
    nearest = made(monkeypatch, Nearest, beta=0.5, temperature=2, mode="sum", sizes=[3])
    assert (nearest.beta, nearest.temperature, nearest.mode) == (0.5, 2.0, "sum")
    assert isinstance(nearest.temperature, float)


@pytest.mark.parametrize(
    ("cls", "given", "message"),
    [
        (Nearest, {"bta": 1}, "strategy.bta=1: unknown key"),
        (Nearest, {"bta": 1}, "did you mean 'strategy.beta'?"),
        (Nearest, {"beta": "high"}, "strategy.beta=high: must be a number or an integer"),
        (Nearest, {"beta": True}, "must be a number"),
        (Nearest, {"temperature": "x"}, "strategy.temperature=x: must be a number"),
        (Nearest, {"mode": "max"}, "must be one of 'mean', 'sum'"),
        (Nearest, {"name_": 1}, "unknown key"),
        (Nearest, {"sizes": "12"}, "must be a list"),
        (Nearest, {"beta": -1}, "strategy=it: beta must be at least 0"),
        (Closed, {}, "strategy.needed=null: it needs this parameter"),
        (Closed, {"needed": 1.5}, "must be an integer"),
    ],
)
def test_create_refuses(monkeypatch, cls, given, message):
    assert message in error_of(made, monkeypatch, cls, **given)


@pytest.mark.parametrize(
    ("node", "room", "base"),
    [
        ("client", "clients", ClientLoop),
        ("attack", "clients.attacks", Attack),
        ("oracle", "clients.oracles", Oracle),
    ],
)
def test_what_the_run_fills_in_is_no_key(node, room, base):
    """Such a key would change nothing, so it is neither taken nor offered."""
    assert base.from_run
    for name, cls in available(room, base).items():
        for key in {*base.from_run, "qwertz"} & {*parameters(cls), "qwertz"}:
            with pytest.raises(ConfigError, match=f"{node}.{key}=1: unknown key") as caught:
                create({"name": name, key: 1}, room, base, node)
            offered = {one.removeprefix(f"{node}.") for one in caught.value.allowed}
            assert offered == set(parameters(cls)) - set(base.from_run)


def test_an_unknown_parameter_of_a_partitioner_lists_its_keys():
    config = merge(RunConfig(), **{"data.partitioner": {"name": "shard", "qwertz": 1}})
    with pytest.raises(ConfigError) as caught:
        keywords(config, "shard", SHIPPED["shard"], {"qwertz": 1}, None)
    assert all(key.startswith("data.partitioner.") for key in caught.value.allowed)


def test_create_needs_a_name():
    message = error_of(create, {"name": None}, "strategies", Strategy, "strategy")
    assert message.startswith("strategy.name=null: must be given (allowed: ")


def test_hints():
    assert fits([1], tuple[int, ...])
    assert not fits("ab", list[str])
    assert fits({"a": 1}, dict[str, int])
    assert not fits([1], dict)
    assert fits(object(), object)
    assert fits(None, None)
    assert spoken(list[int]) == "a list such as [1, 2]"
