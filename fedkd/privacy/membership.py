"""Scores of membership: from confidences of the model attacked and of others that never saw it.

A higher score says "member". Numbers are float64 numpy arrays.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def logit_confidence(log_probability: ArrayLike) -> Array:
    r"""Return the logit :math:`\phi = \log p - \log(1 - p)` of a model's confidence.

    For a Gaussian fit it is far better suited than p or the loss. Carlini et al., "Membership
    Inference Attacks From First Principles", S&P 2022, section V.

    Parameters
    ----------
    log_probability : array
        :math:`\log p` of each sample's true class; p is kept from 1 by float32's epsilon.

    Examples
    --------
    >>> logit_confidence(np.log([0.5, 0.9])).round(4)
    array([0.    , 2.1972])
    """
    log_p = np.minimum(np.asarray(log_probability, np.float64), np.log1p(-1.2e-7))
    return np.asarray(log_p - np.log(-np.expm1(log_p)), np.float64)


def likelihood_ratio(target: ArrayLike, out: ArrayLike, pooled: bool | None = None) -> Array:
    r"""Return offline LiRA's score: how unlikely a model that never saw the sample is so confident.

    .. math:: z = (\phi - \mu_{out}) / \sigma_{out}, \qquad \Lambda = P[N(0, 1) < z]

    z is returned: it orders as :math:`\Lambda` does, and does not saturate at 1. Carlini et al.,
    S&P 2022, section VI-B (certain).

    Parameters
    ----------
    target : array
        ``[samples]`` logit confidences of the model attacked.
    out : array
        ``[models, samples]``, those of models that did not train on the sample, NaN where one did;
        at least one number a sample.
    pooled : bool, optional
        Whether all samples share one standard deviation, which is steadier with few models; by
        default with fewer than 16 (the paper advises it below 64).

    Returns
    -------
    array
        ``[samples]``.

    Examples
    --------
    >>> likelihood_ratio([3.0], [[0.0], [2.0]])
    array([2.])
    """
    target, out = np.asarray(target, np.float64), np.asarray(out, np.float64)
    mean = np.nanmean(out, axis=0)
    variance = np.nanmean(np.square(out - mean), axis=0)
    if pooled if pooled is not None else len(out) < 16:
        variance = np.full_like(variance, variance.mean())
    return np.asarray((target - mean) / np.sqrt(np.maximum(variance, 1e-12)), np.float64)


def pairwise_ratio(
    target: ArrayLike,
    out: ArrayLike,
    target_population: ArrayLike,
    out_population: ArrayLike,
    gamma: float = 1.0,
    a: float = 0.3,
) -> Array:
    r"""Return offline RMIA's score: the share of a population that a sample beats.

    .. math:: \Pr_z\left[\frac{p(x|\theta) / p(x)}{p(z|\theta) / p(z)} \ge \gamma\right], \qquad
        p(x) \approx \frac{(1 + a)\, \bar p_{out}(x) + (1 - a)}{2}

    for candidates, and :math:`\bar p_{out}(z)` corrected alike for the population. Zarifzadeh, Liu
    and Shokri, "Low-Cost High-Power Membership Inference Attacks", ICML 2024 (the form of the
    offline correction: secondary).

    Parameters
    ----------
    target, target_population : array
        ``[samples]`` and ``[population]`` probabilities of the true class under the model attacked.
    out, out_population : array
        ``[models, samples]`` and ``[models, population]``, those of models that did not train on
        the sample, NaN where one did.
    gamma : float
        By what factor to beat, at least 1 for the paper's guarantee.
    a : float
        The offline correction, in [0, 1]; 1 = none.

    Returns
    -------
    array
        ``[samples]`` in [0, 1].

    Examples
    --------
    >>> pairwise_ratio([0.9, 0.5], [[0.5, 0.5]], [0.5, 0.7], [[0.5, 0.5]], a=1.0)
    array([1. , 0.5])
    """

    def ratio(under: ArrayLike, others: ArrayLike) -> Array:
        mean = np.nanmean(np.asarray(others, np.float64), axis=0)
        known = np.maximum(((1 + a) * mean + (1 - a)) / 2, 1e-12)
        return np.asarray(np.asarray(under, np.float64) / known, np.float64)

    mine, population = ratio(target, out), np.sort(ratio(target_population, out_population))
    beaten = np.searchsorted(population, mine / gamma, side="right")
    return np.asarray(beaten / len(population), np.float64)
