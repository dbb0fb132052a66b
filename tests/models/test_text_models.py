"""Models for texts: what is behind a text's end never counts, and they refuse what is no text."""

import copy
import sys
from typing import Any

import pytest
import torch
from support import PICTURES
from torch import Tensor, nn

from fedkd.errors import ConfigError
from fedkd.models import ZOO, build, check_model, settled
from fedkd.models.counting import operations, products
from fedkd.models.shapes import FOR_TEXTS
from fedkd.rng import torch_generator
from fedkd.tasks.samples import PAD, Tokens, blank, made_up

SHAPE = Tokens(12, 300)
OWN = [name for name in FOR_TEXTS if name != "huggingface"]
ALSO = [{"name": "gru", "pooling": "last"}, {"name": "textcnn", "widths": [2, 12]}]
ALSO += [{"name": "huggingface", "architecture": name} for name in ("gpt2", "llama")]


def samples() -> Tensor:
    return made_up(SHAPE, 9, torch_generator(1))


def test_for_texts_are_the_models_of_the_zoo_that_take_tokens() -> None:
    assert set(FOR_TEXTS) == set(ZOO) - set(PICTURES)
    for name in ZOO:
        if name in FOR_TEXTS:
            check_model(name, SHAPE, 7)
        else:
            with pytest.raises(ConfigError, match=r"the samples are texts \(allowed: embedding_"):
                check_model(name, SHAPE, 7)


@pytest.mark.parametrize("spec", [*FOR_TEXTS, *ALSO], ids=str)
def test_what_is_behind_the_end_changes_nothing(spec: Any) -> None:
    """Neither longer padding, nor what the padding's embedding is, nor the other texts."""
    x, model = samples(), check_model(spec, SHAPE, 7).eval()
    with torch.no_grad():
        logits = model(x)
        each = torch.cat([model(one[None]) for one in x])
        torch.testing.assert_close(each, logits)
        if spec not in ("transformer",) and "huggingface" not in str(spec):  # these count places
            longer = torch.cat([x, torch.full((len(x), 5), PAD)], dim=1)
            torch.testing.assert_close(model(longer), logits)
        full = x[(x != PAD).any(dim=1)]
        before = model(full)
        for module in model.modules():
            if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                module.weight[PAD] += 100.0
        torch.testing.assert_close(model(full), before)


@pytest.mark.parametrize("spec", [*FOR_TEXTS, *ALSO], ids=str)
def test_every_token_and_an_empty_text_count(spec: Any) -> None:
    model = check_model(spec, SHAPE, 7).eval()
    with torch.no_grad():
        assert model(torch.full((2, 12), PAD)).isfinite().all()
        x = blank(SHAPE, 1)
        for place in range(12):
            other = x.clone()
            other[0, place] = 7
            assert not torch.equal(model(other), model(x)), place


@pytest.mark.parametrize("name", OWN)
def test_they_refuse_pictures_and_tables(name: str) -> None:
    for shape in ((1, 28, 28), (12,)):
        with pytest.raises(ConfigError, match=rf"^model={name}: needs texts \(data\.text=COLUMN\)"):
            build(name, shape, 7)


def test_auto_takes_what_there_is() -> None:
    assert (settled("auto", SHAPE), settled("auto", (12,))) == ("embedding_bag", "mlp")
    listed = settled(["auto", {"name": "auto", "dim": 3}, "gru"], SHAPE)
    assert listed == ["embedding_bag", {"name": "embedding_bag", "dim": 3}, "gru"]
    assert type(build("auto", (12,), 7)) is type(build("mlp", (12,), 7))


def test_a_missing_library_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    problem = r"needs transformers, which is not installed: pip install 'fedkd\[text\]'$"
    with pytest.raises(ConfigError, match=problem):
        build("huggingface", SHAPE, 7)
    with pytest.raises(ConfigError, match="needs texts"):
        build("huggingface", (12,), 7)


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^model\.architecture=brt: transformers knows no such"):
        build({"name": "huggingface", "architecture": "brt"}, SHAPE, 7)


class Answer:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class Theirs(nn.Module):
    """Take and return what transformers do."""

    def __init__(self, shape: tuple[int, ...], outputs: int, vocabulary: int, task: str) -> None:
        super().__init__()
        assert isinstance(shape, Tokens)
        assert (vocabulary, task) == (300, "classification")
        self.embedding, self.head = nn.Embedding(vocabulary, 4), nn.Linear(4, outputs)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Answer:
        weights = attention_mask.unsqueeze(-1).float()
        return Answer(self.head((self.embedding(input_ids) * weights).sum(dim=1)))


class Mislabelled(Theirs):
    def forward(self, x: Tensor) -> Answer:  # type: ignore[override]
        return super().forward(x, x != PAD)


def test_models_that_take_input_ids_and_return_logits_work() -> None:
    model = check_model(Theirs, SHAPE, 7).eval()
    assert model(samples()).shape == (9, 7)
    with pytest.raises(ConfigError, match="call its input input_ids, or return its logits"):
        check_model(Mislabelled, SHAPE, 7)


def test_what_they_compute_is_counted() -> None:
    """An embedding looks rows up, whatever the vocabulary; a recurrent layer takes every token."""
    for name in OWN:
        small, large = (build(name, Tokens(12, size), 7) for size in (300, 3000))
        assert products(small, SHAPE) == products(large, Tokens(12, 3000))
        assert operations(small, SHAPE) == operations(large, Tokens(12, 3000)) > 0
    one, two = (build("gru", Tokens(length, 300), 7) for length in (12, 24))
    assert 1.8 < products(two, Tokens(24, 300)) / products(one, SHAPE) < 2
    recurrent = products(nn.GRU(3, 5, batch_first=True), (12, 3))
    assert recurrent == 12 * sum(p.numel() for p in nn.GRU(3, 5).parameters())


def test_shapes_of_tokens_travel_and_are_no_shapes_of_numbers() -> None:
    assert copy.deepcopy(SHAPE) == SHAPE != (12,)
    assert len({SHAPE, Tokens(12, 300), Tokens(12, 301), Tokens(13, 300), (12,)}) == 4
    assert repr(SHAPE) == "12 tokens of 300"
