"""FedDistill (group distillation): clients learn from the global model group by group.

Song et al., "FedDistill: Global Model Distillation for Local Model De-Biasing in Non-IID Federated
Learning", 2024. Confidence: certain for the formulas (the paper's text), inferred for defaults; no
code was found::

    rich   = classes with a share of the client's samples above gamma = 1 / C; few = all others
    GD     = a_t TC + a_r RC + a_f FC       of the global model's softmax q and the client's, where
    TC     = divergence of (q_t, 1 - q_t), t the true class; q'_i = q_i / (1 - q_t) for the others
    RC     = divergence of (q'_i of the rich, sum of q' over the few), t left out
    FC     = divergence of (q'_i of the few, sum of q' over the rich), t left out
    loss_n = CE(z_ll) + b_L GD(z_gg || z_ll) + b_E CE(z_lg) + b_FC GD(z_gg || z_gl)
    w      = sum_n samples_n * w_n / sum_n samples_n                    Flower's FedAvg

z_ll and z_gg are the client's and the received model's logits, z_lg the received head on the
client's features, z_gl the client's head on the received features. The received model stays as it
is, in evaluation mode; gradients pass through its head. Shares are counted at the client and do not
leave it. Nothing is remembered.

The paper searches each a in 0 to 1, b_L in 0.5 to 1.4, b_E and b_FC in 0.1 to 0.5, and does not say
what it chose; its figure is best at a_t = 0, a_f = 0.8 to 1 and a_r between. So ours are 0, 0.5, 1,
and 1, 0.3, 0.3. Its temperature is not stated: ours is 1. Its remark that a = (1, 1 - q_t, 1 - q_t)
makes GD the divergence of q is not so: RC + FC counts the masses of the two groups twice.
"""

from .local_losses import LocalLossFedAvg


class FedDistillGroup(LocalLossFedAvg):
    """FedAvg with group distillation from the received model, and both models' heads exchanged.

    Parameters
    ----------
    alpha_t, alpha_r, alpha_f : float
        Weights of the true class, of the rich and of the few classes, >= 0.
    beta_l, beta_e, beta_fc : float
        Weights, >= 0, of the divergence of the client's logits, of cross-entropy by the received
        head, and of the divergence of the client's head on received features.
    gamma : float or None
        A class with a larger share of the client's samples is rich, in [0, 1); None = ``1 / C``.

    Examples
    --------
    >>> FedDistillGroup(beta_e=0.1).exchange_node()["beta_e"]
    0.1
    """

    exchange = "group_distillation"
    needs_classes = True

    def __init__(
        self,
        alpha_t: float = 0.0,
        alpha_r: float = 0.5,
        alpha_f: float = 1.0,
        beta_l: float = 1.0,
        beta_e: float = 0.3,
        beta_fc: float = 0.3,
        gamma: float | None = None,
    ) -> None:
        alphas = {"alpha_t": alpha_t, "alpha_r": alpha_r, "alpha_f": alpha_f}
        betas = {"beta_l": beta_l, "beta_e": beta_e, "beta_fc": beta_fc}
        super().__init__(**alphas, **betas, gamma=gamma)
