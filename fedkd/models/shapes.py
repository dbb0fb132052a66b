"""What the zoo's models need to know of a sample's shape, and what they refuse."""

from ..errors import ConfigError
from ..tasks.samples import Shape, Tokens

__all__ = ["FOR_TEXTS", "Shape", "image_shape", "numbers_shape", "token_shape"]

FOR_TEXTS = ("embedding_bag", "gru", "huggingface", "textcnn", "transformer")
"""The zoo's models whose samples are texts."""

ANSWERING = ("gru", "huggingface", "transformer")
"""Those that say what follows each token."""

_ANY = "model=mlp takes any shape"


def image_shape(model: str, shape: Shape, smallest: int) -> tuple[int, int, int]:
    """Return `shape` as ``(channels, height, width)``, or say why `model` cannot take it.

    Parameters
    ----------
    model : str
        Zoo name, for the message.
    shape : tuple of int
        Shape of one sample.
    smallest : int
        Least height and width, in pixels.

    Raises
    ------
    ConfigError
        If the samples are not images, or smaller than `smallest`.

    Examples
    --------
    >>> image_shape("lenet5", (1, 28, 28), 4)
    (1, 28, 28)
    >>> image_shape("lenet5", (64,), 4)
    Traceback (most recent call last):
        ...
    fedkd.errors.ConfigError: model=lenet5: needs images (channels, height, width), but a sample \
has shape (64,); model=mlp takes any shape
    """
    shape = numbers_shape(model, shape)
    if len(shape) != 3:
        problem = "needs images (channels, height, width), but a sample has shape"
        raise ConfigError("model", model, f"{problem} {tuple(shape)}; {_ANY}")
    channels, height, width = shape
    if min(height, width) < smallest:
        problem = f"needs images of at least {smallest} x {smallest} pixels, these are"
        raise ConfigError("model", model, f"{problem} {height} x {width}; {_ANY}")
    return channels, height, width


def numbers_shape(model: str, shape: Shape) -> Shape:
    """Return `shape`; refuse texts.

    Examples
    --------
    >>> numbers_shape("mlp", Tokens(8, 300))
    Traceback (most recent call last):
        ...
    fedkd.errors.ConfigError: model=mlp: needs pictures or numbers, and the samples are texts \
(allowed: embedding_bag, gru, huggingface, textcnn, transformer)
    """
    if isinstance(shape, Tokens):
        problem = "needs pictures or numbers, and the samples are texts"
        raise ConfigError("model", model, problem, FOR_TEXTS)
    return shape


def token_shape(model: str, shape: Shape) -> tuple[int, int]:
    """Return the length of a text and the size of the vocabulary; refuse anything but texts.

    Examples
    --------
    >>> token_shape("gru", Tokens(8, 300))
    (8, 300)
    >>> token_shape("gru", (1, 28, 28))
    Traceback (most recent call last):
        ...
    fedkd.errors.ConfigError: model=gru: needs texts (data.text=COLUMN), but a sample has shape \
(1, 28, 28); model=mlp takes any shape
    """
    if not isinstance(shape, Tokens):
        problem = f"needs texts (data.text=COLUMN), but a sample has shape {tuple(shape)}; {_ANY}"
        raise ConfigError("model", model, problem)
    return shape[0], shape.vocabulary
