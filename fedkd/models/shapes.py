"""What the zoo's image models need to know of an input shape."""

from ..errors import ConfigError

Shape = tuple[int, ...]


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
    if len(shape) != 3:
        problem = "needs images (channels, height, width), but a sample has shape"
        raise ConfigError("model", model, f"{problem} {tuple(shape)}; model=mlp takes any shape")
    channels, height, width = shape
    if min(height, width) < smallest:
        problem = f"needs images of at least {smallest} x {smallest} pixels, these are"
        raise ConfigError(
            "model", model, f"{problem} {height} x {width}; model=mlp takes any shape"
        )
    return channels, height, width
