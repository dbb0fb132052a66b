"""The mean of a text's token embeddings, and a linear layer: the quickest model for texts.

Joulin et al., "Bag of Tricks for Efficient Text Classification", EACL 2017 (fastText), without
its n-grams.
"""

from torch import Tensor, nn

from ..tasks.samples import PAD
from .padded import mean_over, there
from .shapes import Shape, token_shape


class EmbeddingBag(nn.Module):
    """Embed, average over the text, linear.

    Parameters
    ----------
    shape : Tokens
        Shape of a text, and the vocabulary.
    outputs : int
        Numbers that it returns for a text: its logits.
    dim : int
        Numbers of an embedding.

    Examples
    --------
    >>> from fedkd.tasks.samples import Tokens
    >>> sum(p.numel() for p in EmbeddingBag(Tokens(128, 8192), 10).parameters())
    262474
    """

    def __init__(self, shape: Shape, outputs: int, *, dim: int = 32) -> None:
        super().__init__()
        _, vocabulary = token_shape("embedding_bag", shape)
        self.embedding = nn.Embedding(vocabulary, dim, padding_idx=PAD)
        self.head = nn.Linear(dim, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Token ids ``[batch, length]`` to ``[batch, outputs]``."""
        return self.head(mean_over(self.embedding(x), there(x)))
