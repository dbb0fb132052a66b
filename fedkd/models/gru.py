"""A gated recurrent unit over a text (Cho et al., EMNLP 2014)."""

from typing import Literal

from torch import Tensor, nn

from ..tasks.samples import PAD
from .padded import last_of, mean_over, there
from .shapes import Shape, token_shape


class GRU(nn.Module):
    """Embed, read from left to right, linear on the mean state or the last one.

    Parameters
    ----------
    shape : Tokens
        Shape of a text, and the vocabulary.
    outputs : int
        Numbers that it returns for a text: its logits.
    dim : int
        Numbers of an embedding.
    hidden : int
        Numbers of the state.
    pooling : {"mean", "last"}
        Which state the last layer gets: the mean over the text, or that after its last token.
    per_token : bool
        Whether the last layer gets every state: logits of what follows each token.

    Examples
    --------
    >>> from fedkd.tasks.samples import Tokens
    >>> sum(p.numel() for p in GRU(Tokens(128, 8192), 10).parameters())
    549898
    """

    def __init__(
        self,
        shape: Shape,
        outputs: int,
        *,
        dim: int = 64,
        hidden: int = 64,
        pooling: Literal["mean", "last"] = "mean",
        per_token: bool = False,
    ) -> None:
        super().__init__()
        _, vocabulary = token_shape("gru", shape)
        self.embedding = nn.Embedding(vocabulary, dim, padding_idx=PAD)
        self.gru = nn.GRU(dim, hidden, batch_first=True)
        self.head = nn.Linear(hidden, outputs)
        self.pooled = None if per_token else {"mean": mean_over, "last": last_of}[pooling]

    def forward(self, x: Tensor) -> Tensor:
        """Token ids ``[batch, length]`` to ``[batch, outputs]``, or one for each token."""
        states, _ = self.gru(self.embedding(x))  # padding comes after all states that count
        return self.head(states if self.pooled is None else self.pooled(states, there(x)))
