"""Texts as token ids: byte-level BPE, trained here (Sennrich et al., ACL 2016; GPT-2's variant).

A tokenizer tells what it was trained on: its vocabulary is of frequent words. Trained on texts
that all may see (`transfer.data`) it leaks nothing; trained on the clients' it is taken for public,
as the mean and deviation of pixels are. `tokenizers` is imported when texts are first encoded.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..tasks.samples import PAD

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FILE = "tokenizer.json"
"""The file of a corpus, or of a run directory, that has the tokenizer."""

_PAD_TOKEN = "\u2400"  # stands for no byte, so no text has it
_BATCH = 1000


@dataclass(frozen=True)
class Text:
    """How a column of texts becomes token ids.

    Attributes
    ----------
    column : str or None
        Its name; None = the only column of text, if there are no other features.
    vocabulary : int
        Token ids at most, padding among them.
    length : int
        Tokens of a text at most.
    tokenizer : str or None
        That of public texts, as JSON; None = train one.
    """

    column: str | None = None
    vocabulary: int = 8192
    length: int = 128
    tokenizer: str | None = None


def texts_of(column: "pa.ChunkedArray") -> NDArray[np.object_]:
    """Return a column's texts ``[n]``; missing ones are empty."""
    found = np.empty(len(column), dtype=object)
    found[:] = [value or "" for value in column.to_pylist()]
    return found


def encoded(
    splits: Mapping[str, NDArray[np.object_]], text: Text
) -> tuple[dict[str, NDArray[Any]], "Tokenizer", str]:
    """Return each split's token ids ``[n, length]``, the tokenizer, and what is worth saying.

    Parameters
    ----------
    splits : mapping
        ``train`` and others, ``[n]`` str; a tokenizer is trained on the first.
    text : Text
        How.

    Examples
    --------
    >>> texts = np.array(["a cat", "a dog and a cat"], dtype=object)
    >>> ids, tokenizer, _ = encoded({"train": texts}, Text(length=6))
    >>> ids["train"].shape, ids["train"].dtype
    ((2, 6), dtype('uint16'))
    >>> tokenizer.decode([number for number in ids["train"][0].tolist() if number])
    'a cat'
    """
    from tokenizers import Tokenizer

    public = text.tokenizer
    tokenizer = Tokenizer.from_str(public) if public else _trained(splits["train"], text)
    tokenizer.enable_truncation(text.length)
    tokenizer.enable_padding(length=text.length, pad_id=PAD, pad_token=_PAD_TOKEN)
    size = tokenizer.get_vocab_size()
    found: dict[str, NDArray[Any]] = {}
    cut = empty = 0
    for name, texts in splits.items():
        ids = np.zeros((len(texts), text.length), np.uint16 if size <= 2**16 else np.int32)
        for start in range(0, len(texts), _BATCH):
            rows = tokenizer.encode_batch(texts[start : start + _BATCH].tolist())
            ids[start : start + len(rows)] = [row.ids for row in rows]
            cut += sum(bool(row.overflowing) for row in rows)
        found[name] = ids
        empty += int((ids[:, 0] == PAD).sum())
    counts = f"cut to {text.length} tokens: {cut}" + (f", empty: {empty}" if empty else "")
    return found, tokenizer, f"{_learnt(size, public)}; texts {counts}"


def streams(
    splits: Mapping[str, NDArray[np.object_]], text: Text
) -> tuple[dict[str, list[NDArray[np.int64]]], "Tokenizer", str]:
    """Return the token ids of each text, a line feed at its end, the tokenizer, and its origin.

    Parameters
    ----------
    splits, text
        As for `encoded`; nothing is cut or padded.
    """
    from tokenizers import Tokenizer

    public = text.tokenizer
    tokenizer = Tokenizer.from_str(public) if public else _trained(splits["train"], text)
    found: dict[str, list[NDArray[np.int64]]] = {}
    for name, texts in splits.items():
        ended = ([f"{one}\n" for one in part] for part in _parts(texts))
        rows = (row for part in ended for row in tokenizer.encode_batch(part))
        found[name] = [np.array(row.ids, np.int64) for row in rows]
    return found, tokenizer, _learnt(tokenizer.get_vocab_size(), public)


def _learnt(size: int, public: str | None) -> str:
    origin = "those of transfer.data" if public else "its training texts, which all then know"
    return f"byte-level BPE of {size} tokens, learnt from {origin}"


def _trained(texts: NDArray[np.object_], text: Text) -> "Tokenizer":
    """Return a tokenizer trained on texts; the same texts have the same one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=text.vocabulary,
        special_tokens=[_PAD_TOKEN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_parts(texts), trainer, len(texts))
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = []  # a text in which the padding's name stands is no padding
    found: Tokenizer = Tokenizer.from_str(json.dumps(state))
    return found


def _parts(texts: NDArray[np.object_]) -> Iterator[list[str]]:
    for start in range(0, len(texts), _BATCH):
        yield texts[start : start + _BATCH].tolist()
