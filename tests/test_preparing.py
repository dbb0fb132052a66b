"""A run's pieces are made once, and what would do nothing is not there."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from fedkd import simulate
from fedkd.errors import ConfigError, RunError
from fedkd.plugins import create, finding

TINY: dict[str, Any] = {
    "clients": 3,
    "rounds": 1,
    "engine": "inline",
    "data.samples_per_client": 20,
    "transfer.size": 60,
}


@pytest.mark.parametrize(
    ("strategy", "more", "exchanges"),
    [
        ("knfu", {}, 1),
        ("fedmd", {"privacy": {"name": "gaussian", "epsilon": 5.0, "clip": 1.0}}, 1),
        ("fedproto", {}, 2),  # its width is settled by the models: the exchange is made again
    ],
)
def test_plug_ins_are_made_once(
    strategy: str, more: dict[str, Any], exchanges: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: Counter[str] = Counter()

    def counting(node: Any, room: str, base: type, key: str, *rest: Any) -> Any:
        made[key] += 1
        return create(node, room, base, key, *rest)

    monkeypatch.setattr(finding, "create", counting)
    simulate(strategy, **TINY, **more)
    once = (
        "strategy",
        "task",
        "client",
        "objective",
        "guard",
        "attack",
        "sampler",
        "oracle",
        "compress",
        "privacy",
    )
    assert made == {**dict.fromkeys(once, 1), "exchange": exchanges}


def test_mods_that_would_do_nothing_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def called(*args: Any) -> None:
        raise AssertionError("it is in the way of a message")

    names = ("attacks.Attack", "privacy.protection.Protection", "secure.Masking")
    for name in names:
        monkeypatch.setattr(f"fedkd.clients.{name}.__call__", called)
    monkeypatch.setattr("fedkd.clients.app.compressing", called)
    assert simulate("knfu", **TINY).summary["rejected"] == 0
    for key in ("attack", "compress"):  # and would fail if they were there
        name = {"attack": "lma", "compress": "float16"}[key]
        more = {"attack.fraction": 1.0} if key == "attack" else {}
        with pytest.raises(Exception, match="in the way"):
            simulate("knfu", **TINY, **{key: name}, **more)


KNOWN = {"task": "classification", "clients": 5}
"""What must be said for all parts to be made, and not only looked at, before data are read."""


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"objective": {"name": "kl", "nope": 1}}, "objective.nope"),
        ({"client": "nope"}, "client"),
        ({"attack": {"name": "lma", "fraction": "all"}}, "attack.fraction"),
        ({"guard": ["kd3", "nope"]}, "guard"),
        ({"privacy": {"name": "gaussian", "nope": 1}}, "privacy.nope"),
        ({"compress": {"name": "topk", "k": "five"}}, "compress.k"),
        ({"model": ["mlp", "nope"]}, "model"),
        ({"model": {"name": "mlp", "nope": 1}}, "model.nope"),
        ({"data.partitioner": "nope"}, "data.partitioner"),
        ({"data.client": "who", "data.alpha": 3.0}, "data.alpha"),
        ({"data.split": "nowhere.json"}, "data.split"),
        ({"transfer.split": "nowhere.txt"}, "transfer.split"),
        ({"transfer.data": "nowhere"}, "transfer.data"),
        ({"clients": 5, "system": "nowhere.csv"}, "system"),
        (KNOWN | {"objective": "gaussian_kl"}, "objective"),
        (KNOWN | {"task": "regression", "distil.temperature": 2.0}, "distil.temperature"),
        (KNOWN | {"task": "regression", "fit.align": True}, "fit.align"),
        (KNOWN | {"secure.aggregation": True}, "secure.aggregation"),
        (KNOWN | {"objective": "dkd"}, "transfer.labelled"),
        (KNOWN | {"compress": {"name": "topk", "k": 0}}, "compress.k"),
    ],
    ids=str,
)
def test_what_no_data_could_mend_is_refused_before_any_are_read(
    wrong: dict[str, Any], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def called(*args: Any) -> None:
        raise AssertionError("data are read")

    monkeypatch.setattr("fedkd.run.preparing.corpora", called)
    with pytest.raises(ConfigError) as caught:
        simulate("knfu", engine="inline", **wrong)
    assert caught.value.key == key


@pytest.mark.parametrize(
    "wrong",
    [
        {"strategy": "nope"},
        {"objective": {"name": "kl", "nope": 1}},
        {"data": "nope"},
        {"clients": 5000},
        {"transfer.size": 5000},
    ],
    ids="".join,
)
def test_ray_does_not_start_for_what_is_refused_at_a_glance(
    wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def called(*args: Any) -> None:
        raise AssertionError("Ray starts, or samples are dealt")

    monkeypatch.setattr("fedkd.run.runner.ray_ahead", called)
    monkeypatch.setattr("fedkd.run.preparing.build_federation", called)
    with pytest.raises(ConfigError):
        simulate(**{"strategy": "knfu"} | TINY | {"data.samples_per_client": None} | wrong)
    with pytest.raises(RunError, match="Ray starts"):
        simulate("knfu", **TINY)


@pytest.mark.parametrize("given", ["resnet8", ["mlp", "resnet8"], {"name": "resnet8"}])
def test_a_model_that_is_refused_is_called_as_it_was_given(given: Any) -> None:
    table = (np.zeros((600, 3), "float32"), np.arange(600) % 2)
    with pytest.raises(ConfigError, match=r"^model=resnet8: "):
        simulate("fedmd", **KNOWN | {"data": table, "model": given})
