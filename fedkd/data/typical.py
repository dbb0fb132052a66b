"""What texts are about: their lengths, and the words that some have more often than all."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..tasks.samples import PAD
from .corpus import Corpus

_BLOCK = 4096  # texts looked at together


class Texts:
    """The training texts of a corpus.

    Words are those that are one token, with three letters or more: frequent ones, all in all. The
    first of a text and what was cut off are not counted.

    Parameters
    ----------
    corpus : Corpus
        With a tokenizer.
    """

    def __init__(self, corpus: Corpus) -> None:
        from tokenizers import Tokenizer

        self.ids, tokenizer = corpus.x_train, Tokenizer.from_str(corpus.tokenizer or "")
        every = [[number] for number in range(corpus.vocabulary or 0)]
        self.tokens = tokenizer.decode_batch(every, skip_special_tokens=False)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each text, ``[n]``."""
        blocks = range(0, len(self.ids), _BLOCK)
        each = [(self.ids[start : start + _BLOCK] != PAD).sum(axis=1) for start in blocks]
        return np.concatenate(each).astype(np.int64)

    @cached_property
    def _words(self) -> NDArray[np.bool_]:
        """Which tokens are a space and three letters or more."""
        spaced = ((token[:1], token[1:]) for token in self.tokens)
        return np.array([space == " " and len(w) > 2 and w.isalpha() for space, w in spaced])

    @cached_property
    def _ends(self) -> NDArray[np.bool_]:
        """Which tokens, or padding, end the word before them."""
        found = np.array([not token[:1].isalnum() for token in self.tokens])
        found[PAD] = True
        return found

    def counts(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return how often texts have each token that is a word, ``[vocabulary]``."""
        found = np.zeros(len(self.tokens))
        for start in range(0, len(rows), _BLOCK):
            ids = np.asarray(self.ids[rows[start : start + _BLOCK]], dtype=np.int64)
            here = ids[:, :-1][self._words[ids[:, :-1]] & self._ends[ids[:, 1:]]]
            found += np.bincount(here, minlength=len(found))
        return found

    def typical(self, own: NDArray[np.float64], every: NDArray[np.float64], most: int) -> list[str]:
        """Return the words that tell texts from all texts, the most telling first.

        They have the largest part in the Kullback-Leibler divergence of their words from all:
        ``p log(p / q)``, which asks for many as well as for a high ratio.

        Parameters
        ----------
        own, every : ndarray
            `counts` of some texts, and of all, those among them.
        most : int
            How many words at most; none that is as frequent in all texts.
        """
        p, q = (counts / max(counts.sum(), 1) for counts in (own, every))
        ratio = np.divide(p, q, out=np.ones_like(p), where=(p > 0) & (q > 0))
        gain = p * np.log(ratio)
        order = np.argsort(-gain, kind="stable")[:most]
        return [self.tokens[token].strip() for token in order if gain[token] > 0]
