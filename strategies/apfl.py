"""APFL: each client predicts with a mixture of the shared model and its own.

Deng, Kamani, Mahdavi, "Adaptive Personalized Federated Learning", arXiv 2003.13461. Confidence:
certain (the authors' FedTorch)::

    measured z = a * z_v + (1 - a) * z_w                 v the client's own model, w the shared one
    shared   w <- w - lr * grad CE(z_w)                   as in FedAvg
    own      v <- v - lr * grad_v CE(z)
    server   w = sum_n samples_n * w_n / sum_n samples_n
    adaptive a <- clip(a - lr * (<v - w, a g_v + (1 - a) g_w> + 0.02 a), 0, 1)     once a fit

g_v and g_w are the gradients of CE(z) on the fit's first batch. As in that code outputs are mixed;
the paper mixes parameters, which is the same for linear models only. Both models take their steps
at once, where the code steps w first. What is measured is the mixture; `RunResult.model` returns v.
"""

from .twins import TwinFusion


class APFL(TwinFusion):
    """A shared model and one for each client, which predict together.

    Parameters
    ----------
    mix : float
        a, the own model's share, in [0, 1]; at first, where it is learnt.
    adaptive : bool
        Whether each client learns its share.
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> APFL(adaptive=True).exchange_node()
    {'name': 'mixture', 'mix': 0.5, 'adaptive': True}
    """

    exchange = "mixture"

    def __init__(self, mix: float = 0.5, adaptive: bool = False, **base: float | None) -> None:
        super().__init__(**base)
        self.pass_on(mix=mix, adaptive=adaptive)
