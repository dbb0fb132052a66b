"""A tiny transformer (Vaswani et al., NeurIPS 2017; normalised before each sublayer).

Of linear layers and torch's attention: Opacus and `torch.func` can handle both.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError
from ..tasks.samples import PAD
from .padded import mean_over, there
from .shapes import Shape, token_shape


class Block(nn.Module):
    """Attention and a feed-forward net, each around a shortcut."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(dim)
        self.project = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.feed = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim)
        )

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """``[batch, length, dim]`` to the same; `seen` ``[batch, 1, any, length]`` says of whom."""
        parts = self.project(self.before(x)).unflatten(-1, (3, self.heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind()
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.feed(x)


class Transformer(nn.Module):
    """Embed tokens and places, some blocks, the mean over the text, linear.

    Parameters
    ----------
    shape : Tokens
        Shape of a text, and the vocabulary.
    outputs : int
        Numbers that it returns for a text: its logits.
    dim : int
        Numbers of an embedding, a multiple of `heads`.
    layers : int
        Blocks.
    heads : int
        Heads of attention.
    per_token : bool
        Whether it returns logits of what follows each token; then none attends to later ones.

    Examples
    --------
    >>> from fedkd.tasks.samples import Tokens
    >>> sum(p.numel() for p in Transformer(Tokens(128, 8192), 10).parameters())
    633226
    """

    def __init__(
        self,
        shape: Shape,
        outputs: int,
        *,
        dim: int = 64,
        layers: int = 2,
        heads: int = 2,
        per_token: bool = False,
    ) -> None:
        super().__init__()
        length, vocabulary = token_shape("transformer", shape)
        if heads < 1 or dim % heads:
            raise ConfigError("model.heads", heads, f"must divide model.dim ({dim})")
        self.embedding = nn.Embedding(vocabulary, dim, padding_idx=PAD)
        self.places = nn.Embedding(length, dim)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, outputs)
        self.per_token = per_token
        for layer in (self.embedding, self.places):
            nn.init.normal_(layer.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Token ids ``[batch, length]`` to ``[batch, outputs]``, or one for each token."""
        mask, place = there(x), torch.arange(x.shape[1], device=x.device)
        seen = (mask | (place == 0))[:, None, None]  # who attends to nothing gets no numbers
        if self.per_token:
            seen = seen & (place <= place[:, None])
        states = self.embedding(x) + self.places(place.expand_as(x))
        for block in self.blocks:
            states = block(states, seen)
        states = self.norm(states)
        return self.head(states if self.per_token else mean_over(states, mask))
