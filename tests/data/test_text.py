"""Texts become token ids: which column they are, the tokenizer, and who learns what from it."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pytest
import torch
from tokenizers import Tokenizer

from fedkd.config.overrides import compose
from fedkd.data import Corpus, build_federation, corpora, prepare
from fedkd.data.columns import Choice
from fedkd.data.text import Text, encoded
from fedkd.errors import ConfigError
from fedkd.tasks.samples import PAD, Tokens

WORDS = ["alpha", "beta", "gamma", "delta"]
SMALL = Text(vocabulary=300, length=8)


def texts(count: int = 40, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, 1 + i % 6)) for i in range(count)]


def rows(count: int = 40, **more: Any) -> dict[str, Any]:
    return {"text": texts(count), "label": [i % 4 for i in range(count)]} | more


def opened(data: Any, text: Text = SMALL, **choice: Any) -> Corpus:
    given = datasets.Dataset.from_dict(data) if type(data) is dict else data
    return prepare(given, choice=Choice(text=text, **choice))


def test_a_table_of_texts_is_token_ids() -> None:
    corpus = opened(rows(package=[f"p{i}" for i in range(40)]))
    assert corpus.shape == Tokens(8, corpus.vocabulary or 0)
    assert isinstance(corpus.x_train, np.memmap)
    assert corpus.x_train.dtype == np.uint16
    x, y = corpus.tensor("train", [3, 1])
    assert (x.dtype, x.shape, y.dtype) == (torch.int64, (2, 8), torch.int64)
    told = "label 'label', texts text; left out: package (beside it); byte-level BPE of"
    assert told in str(corpus.note)
    assert "learnt from its training texts, which all then know" in str(corpus.note)
    tokenizer = Tokenizer.from_str(corpus.tokenizer)
    back = [tokenizer.decode([i for i in row if i]) for row in corpus.x_train.tolist()]
    assert set(back) <= set(texts())


def test_padding_is_on_the_right_and_nowhere_else() -> None:
    """Also where a text has the padding's own name in it, or what other tokenizers call it."""
    given = ["\u2400 a \u2400", "[PAD] <pad> b", "\x00", "", "é 字 🙂"]
    splits = {"train": np.array(given, dtype=object)}
    assert "cut to 8 tokens: 3, empty: 1" in encoded(splits, Text(vocabulary=257, length=8))[2]
    ids, tokenizer, _ = encoded(splits, Text(vocabulary=257, length=20))
    for row, text in zip(ids["train"], given, strict=True):
        there = row != PAD
        assert there.sum() == len(text.encode())
        assert not (np.diff(there.astype(int)) > 0).any()
        assert tokenizer.decode(row[there].tolist()) == text


def test_the_same_texts_have_the_same_tokenizer_and_others_another() -> None:
    splits = {"train": np.array(texts(), dtype=object)}
    (_, one, _), (_, again, _) = (encoded(splits, SMALL) for _ in range(2))
    assert one.to_str() == again.to_str()
    assert (
        encoded({"train": splits["train"][:5]}, SMALL)[1].get_vocab_size() <= one.get_vocab_size()
    )
    test = {"train": splits["train"], "test": np.array(["zeta " * 50], dtype=object)}
    assert encoded(test, SMALL)[1].to_str() == one.to_str()  # it sees training texts only


def test_large_vocabularies_take_four_bytes() -> None:
    tokenizer = encoded({"train": np.array(texts(), dtype=object)}, SMALL)[1]
    tokenizer.add_tokens([f"<{i}>" for i in range(2**16)])
    text = Text(length=3, tokenizer=tokenizer.to_str())
    ids, _, told = encoded({"train": np.array(["<65000>"], dtype=object)}, text)
    assert ids["train"].dtype == np.int32
    assert ids["train"][0, 0] > 2**16 - 600
    assert "learnt from those of transfer.data" in told


@pytest.mark.parametrize(
    ("data", "column"),
    [
        (rows(), "text"),
        (rows(id=list(range(40))), "text"),
        ({"review": texts(), "label": [0, 1] * 20}, "review"),
        ({"title": texts(), "sentence": texts(), "label": [0, 1] * 20}, "sentence"),
        ({"text": texts(), "genre": ["a", "b"] * 20, "target": [0, 1] * 20}, "text"),
    ],
)
def test_the_only_usable_column_is_the_text(data: dict[str, Any], column: str) -> None:
    corpus = opened(data)
    assert corpus.vocabulary
    assert f"texts {column}" in str(corpus.note)


def test_a_table_with_numbers_is_no_text_unless_it_is_named() -> None:
    data = rows(age=[float(i) for i in range(40)])
    assert opened(data, Text()).vocabulary is None
    named = opened(data, Text("text", 300, 8))
    assert named.vocabulary
    assert "left out: age (beside it)" in str(named.note)


@pytest.mark.parametrize(
    ("data", "text", "message"),
    [
        (rows(), Text("body"), r"data.text=body: .* has no such column \(allowed: text\)"),
        (rows(age=[1.0] * 40), Text("age"), "data.text=age: is no text but double"),
        (
            {"title": texts(), "body": texts(), "label": [0, 1] * 20},
            Text(),
            r"data.text=null: which column of .* is the text\? .* \(allowed: body, title\)",
        ),
        (([[1.0], [2.0]] * 5, [0, 1] * 5), Text("text"), "data.text=text: arrays has no columns"),
    ],
    ids=["no column", "no text", "which", "arrays"],
)
def test_what_cannot_be_the_text_is_refused(data: Any, text: Text, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        opened(data, text)


def test_lists_and_frames_of_texts_are_taken_too() -> None:
    """And hashed by what they say: other texts are another data set."""
    labels = [i % 4 for i in range(40)]
    listed = opened((texts(), labels))
    frame = opened((pandas.DataFrame({"body": texts(), "n": range(40)})[["body"]], labels))
    assert listed.vocabulary == frame.vocabulary
    assert np.array_equal(listed.x_train, frame.x_train)
    other = opened((texts(seed=1), labels))
    assert other.content != listed.content
    split = opened((texts(), labels, texts(8, seed=2), labels[:8]))
    assert len(split.y_test) == 8
    with pytest.raises(ConfigError, match=r"data=x \[40\] of <U\d+: must be"):
        opened(([*texts(39), 3.5], labels))


def test_missing_texts_are_empty_and_counted() -> None:
    corpus = opened({"text": [None, "", *texts(38)], "label": [0, 1] * 20})
    assert "empty: 2" in str(corpus.note)


def test_the_test_split_must_have_the_column() -> None:
    splits = datasets.DatasetDict(
        train=datasets.Dataset.from_dict(rows()),
        test=datasets.Dataset.from_dict({"body": texts(8), "label": [0, 1] * 4}),
    )
    with pytest.raises(ConfigError, match=r"test split: lacks the text column 'text'"):
        opened(splits)


def folder(path: Path, data: dict[str, Any]) -> str:
    path.mkdir()
    datasets.Dataset.from_dict(data).to_parquet(str(path / "train.parquet"))
    return str(path)


def both(tmp_path: Path, *more: str) -> Any:
    public = {"content": ["epsilon zeta eta"] * 20, "label": [0, 1] * 10}
    data, transfer = folder(tmp_path / "own", rows()), folder(tmp_path / "public", public)
    settings = ["clients=2", "transfer.size=8", "data.length=8", "data.vocabulary=300", *more]
    return compose([f"data={data}", f"transfer.data={transfer}", *settings])


def test_with_public_texts_the_tokenizer_knows_none_of_the_clients(tmp_path: Path) -> None:
    config = both(tmp_path)
    corpus, other = corpora(config)
    assert other is not None
    assert corpus.shape == other.shape
    assert corpus.tokenizer == other.tokenizer
    vocabulary = Tokenizer.from_str(corpus.tokenizer).get_vocab()
    assert "epsilon" in "".join(vocabulary)
    assert not any("alph" in token or "gam" in token for token in vocabulary)
    assert "learnt from those of transfer.data" in str(corpus.note)
    federation = build_federation(config, corpus, other, tmp_path / "run")
    kept = Tokenizer.from_file(str(tmp_path / "run" / "tokenizer.json"))
    row = kept.encode("alpha beta").ids
    assert len(row) == 8
    assert row in corpus.x_train.tolist() or "alpha beta" not in texts()
    assert federation.transfer().dtype == torch.int64


def test_a_transfer_set_of_numbers_is_refused(tmp_path: Path) -> None:
    config = both(tmp_path)
    config.transfer.data = folder(
        tmp_path / "table", {f"x{i}": [*range(9)] for i in range(8)} | {"label": [0, 1, 2] * 3}
    )
    corpus, other = corpora(config)
    message = rf"its samples are \(8,\) and those of the clients 8 tokens of {corpus.vocabulary}"
    with pytest.raises(ConfigError, match=message):
        build_federation(config, corpus, other, tmp_path)


@pytest.mark.parametrize("key", ["vocabulary=300", "length=8"])
def test_settings_of_texts_are_refused_where_there_are_none(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^data\.{key}: the samples of digits are no texts"):
        corpora(compose([f"data.{key}"]))


def test_settings_of_texts_have_bounds() -> None:
    for bad in ("data.vocabulary=256", "data.length=0"):
        with pytest.raises(ConfigError, match="must be at least"):
            compose([bad])


def test_other_settings_are_another_corpus() -> None:
    paths = {opened(rows(), text).path for text in (SMALL, Text(None, 300, 9), Text(None, 301, 8))}
    assert len(paths) == 3
    assert opened(rows(), SMALL).path in paths
