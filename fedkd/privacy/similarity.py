"""How alike two pictures are."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Picture = NDArray[np.float64]


def ssim(first: Picture, second: Picture) -> float:
    r"""Return the structural similarity of two pictures.

    .. math:: SSIM = \frac{(2 \mu_a \mu_b + c_1)(2 \sigma_{ab} + c_2)}
        {(\mu_a^2 + \mu_b^2 + c_1)(\sigma_a^2 + \sigma_b^2 + c_2)}

    averaged over pixels and channels; local moments by a Gaussian window with a standard deviation
    of 1.5 pixels, mirrored at the border; :math:`c_1 = 0.01^2, c_2 = 0.03^2`. Wang, Bovik, Sheikh
    and Simoncelli, "Image Quality Assessment", IEEE TIP 2004.

    Parameters
    ----------
    first, second : ndarray
        ``[height, width, channels]`` in [0, 1].

    Returns
    -------
    float
        In [-1, 1]; 1 = the same.

    Examples
    --------
    >>> black, white = np.zeros((8, 8, 1)), np.ones((8, 8, 1))
    >>> ssim(white, white), round(ssim(black, white), 6)
    (1.0, 0.0001)
    """

    def mean(values: Picture) -> Picture:
        return np.asarray(gaussian_filter(values, (1.5, 1.5, 0)), np.float64)

    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    both = mean(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    light = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return float((light * (2 * both + c2) / (var_a + var_b + c2)).mean())


def total_variation(picture: Picture) -> float:
    """Return the mean absolute difference of neighbouring pixels of ``[height, width, channels]``.

    Examples
    --------
    >>> total_variation(np.zeros((4, 4, 1)))
    0.0
    """
    down, across = np.abs(np.diff(picture, axis=0)), np.abs(np.diff(picture, axis=1))
    return float(down.mean() + across.mean())
