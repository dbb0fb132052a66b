"""TextCNN (Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP 2014)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..tasks.samples import PAD
from .padded import max_over, there
from .shapes import Shape, token_shape


class TextCNN(nn.Module):
    """Convolutions of several widths over the embeddings, the maximum of each filter, linear.

    The paper's, but for fewer and shorter embeddings and filters, which are learnt from scratch. A
    window counts if it lies in the text; the first one always does.

    Parameters
    ----------
    shape : Tokens
        Shape of a text, and the vocabulary.
    outputs : int
        Numbers that it returns for a text: its logits.
    dim : int
        Numbers of an embedding.
    filters : int
        Filters of each width.
    widths : sequence of int
        Tokens that a filter sees.
    dropout : float
        Of what the last layer gets, in [0, 1).

    Examples
    --------
    >>> from fedkd.tasks.samples import Tokens
    >>> sum(p.numel() for p in TextCNN(Tokens(128, 8192), 10).parameters())
    575562
    """

    def __init__(
        self,
        shape: Shape,
        outputs: int,
        *,
        dim: int = 64,
        filters: int = 64,
        widths: Sequence[int] = (3, 4, 5),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        _, vocabulary = token_shape("textcnn", shape)
        self.widths = tuple(widths)
        self.embedding = nn.Embedding(vocabulary, dim, padding_idx=PAD)
        self.filters = nn.ModuleList(nn.Conv1d(dim, filters, width) for width in self.widths)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(filters * len(self.widths), outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Token ids ``[batch, length]`` to ``[batch, outputs]``."""
        mask = there(x)
        embedded = (self.embedding(x) * mask.unsqueeze(-1)).transpose(1, 2)
        lengths = mask.sum(dim=1, keepdim=True)
        found = []
        for width, layer in zip(self.widths, self.filters, strict=True):
            windows = layer(F.pad(embedded, (0, width - 1))).relu().transpose(1, 2)
            place = torch.arange(windows.shape[1], device=x.device)
            found.append(max_over(windows, place < (lengths - width + 1).clamp_min(1)))
        return self.head(self.dropout(torch.cat(found, dim=1)))
