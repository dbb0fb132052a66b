"""What an objective declares of itself: nonsense is one line, in runs and in `fedkd check`."""

from pathlib import Path
from typing import Any

import pytest
from fedkd.clients.attacks.base import Attack
from support import TINY

from fedkd import ConfigError, simulate
from fedkd.check.objectives import SUITE, subject
from fedkd.check.promises import checked
from fedkd.codecs.float16 import Float16
from fedkd.distillation.kl import KL
from fedkd.plugins.table import SEAMS
from fedkd.run.declared import DECLARED, undeclarable


class Own(KL):
    """Its declarations are put there by the tests."""


class Raising(KL):
    @property
    def fewest(self) -> int:  # type: ignore[override]
        raise OSError("gone")


def raises(*about: Any) -> Any:
    raise KeyError("x")


def none(*about: Any) -> Any:
    return None


WRONG: list[tuple[str, Any, str]] = [
    ("kinds", "soft_labels", "must be None, for all, or a tuple of kinds"),
    ("kinds", (), "must be None, for all, or a tuple of kinds"),
    ("kinds", ("zzz",), "kind=zzz must be soft_labels"),
    ("kinds", (["logits"],), "unhashable"),
    ("layers", "head", "must be a tuple of names of layers"),
    ("layers", None, "must be a tuple of names of layers"),
    ("layers", (1,), "must be a tuple of names of layers"),
    *((name, 1, "must be True or False") for name in ("per_sample", "needs_labels", "remembers")),
    ("one_row", None, "must be True or False"),
    *((name, "a", "must be a whole number") for name in ("most_rows", "tells_apart", "fewest")),
    *((name, 0, "must be a whole number") for name in ("most_rows", "tells_apart", "fewest")),
    ("fewest", None, "must be a whole number"),
    ("fewest", True, "must be a whole number"),
]


@pytest.mark.parametrize(("name", "value", "problem"), WRONG)
def test_what_it_declares_must_be_what_it_is_for(
    name: str, value: Any, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Own, name, value, raising=False)
    with pytest.raises(ConfigError, match=problem) as caught:
        simulate("fedmd", objective=Own, **TINY)
    assert str(caught.value).startswith(f"objective=Own: declares {name}={value!r}: ")


def test_every_declaration_is_looked_at() -> None:
    """But the one that has a check of its own."""
    declared = {name for name in KL.__mro__[1].__annotations__ if name != "made_with"}
    assert declared == DECLARED.keys() | {"trained_with"}
    assert {name for name, _, _ in WRONG} == DECLARED.keys()


@pytest.mark.parametrize(
    ("name", "told"), [("tempers", r"tempers\('soft_labels'\)"), ("looks_at", r"looks_at\(MLP\)")]
)
@pytest.mark.parametrize(("answer", "problem"), [(raises, "raises KeyError: 'x'"), (none, "None")])
def test_what_it_answers_must_be_that_too(
    name: str, told: str, answer: Any, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Own, name, answer)
    with pytest.raises(ConfigError, match=rf"^objective=Own: its {told} .*{problem}"):
        simulate("fedmd", objective=Own, **TINY)


def test_a_declaration_that_raises_is_named() -> None:
    assert undeclarable(Raising()) == "declares fewest, which raises OSError: gone"


def test_what_is_shipped_declares_what_can_be() -> None:
    for cls in SEAMS["objectives"].shipped().values():
        assert undeclarable(cls()) is None, cls


@pytest.mark.parametrize("kinds", ["logits", (), ("zzz",)])
@pytest.mark.parametrize(("key", "cls"), [("attack", Attack), ("compress", Float16)])
def test_kinds_of_other_parts_are_held_to_the_same(
    key: str, cls: Any, kinds: Any, tmp_path: Path
) -> None:
    path = tmp_path / "own.py"
    path.write_text(
        f"from {cls.__module__} import {cls.__name__}\n"
        f"class Own({cls.__name__}):\n    kinds = {kinds!r}\n"
    )
    with pytest.raises(ConfigError, match=rf"^{key}=.*own.py:Own: declares kinds="):
        simulate("fedmd", **TINY, **{key: f"{path}:Own"})


def written(folder: Path, line: str) -> str:
    """Return an objective of a file, with one declaration."""
    path = folder / "own.py"
    path.write_text(f"from fedkd.distillation.kl import KL\nclass Own(KL):\n    {line}\n")
    return f"{path}:Own"


@pytest.mark.parametrize("kinds", ["soft_labels", ("zzz",), ()])
def test_a_check_refuses_kinds_that_are_none(kinds: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"own\.py:Own: declares kinds="):
        subject(SEAMS["objectives"], written(tmp_path, f"kinds = {kinds!r}"))


def test_a_check_wants_a_strategy_for_a_kind_that_none_of_ours_has(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name one that does: strategy="):
        subject(SEAMS["objectives"], written(tmp_path, "kinds = ('kernels',)"))


def test_a_check_ends_where_a_declaration_cannot_be(tmp_path: Path) -> None:
    found = list(checked(subject(SEAMS["objectives"], written(tmp_path, "fewest = 'a'")), SUITE))
    assert [one.held for one in found[:3]] == [True, True, False]
    assert found[2].remark == "declares fewest='a': must be a whole number of at least 1"
    assert {one.remark for one in found[3:]} == {"not tested, see declares"}
