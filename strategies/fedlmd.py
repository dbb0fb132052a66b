"""FedLMD: clients keep what the global model thinks of wrong classes that they have few of.

Lu, Li, Wang, Pan, Zhang, "Federated Learning with Label-Masking Distillation", ACM MM 2023.
Confidence: certain (official code)::

    M_n    = classes of which client n has more samples than of a class on average, of all C
    loss_n = CE(z_n, y) + beta tau^2 KL( s(z_g without y, M_n / tau) || s(z_n without y / tau) )
    w      = sum_n samples_n * w_n / sum_n samples_n                    Flower's FedAvg

z_g are the logits of the received model, in evaluation mode; ``teacher=uniform`` is FedLMD-Tf,
whose teacher finds all of those classes equally likely. beta and tau are 1. M_n is counted anew in
each fit and never leaves the client. Nothing is remembered.

The released code has two faults that are not here. Where y is the only minority class, every logit
of the teacher is masked alike and the loss jumps to about 1000; such samples are skipped here. And
its FedLMD-Tf cannot run, and would divide by C less the batch size in place of the number of
masked classes.
"""

from typing import Literal

from .local_losses import LocalLossFedAvg


class FedLMD(LocalLossFedAvg):
    """FedAvg with a divergence from the received model, among wrong minority classes.

    Parameters
    ----------
    beta : float
        Weight of the divergence, >= 0; 0 is FedAvg.
    tau : float
        Softmax temperature of both models, > 0.
    teacher : {"received", "uniform"}
        Who says how likely those classes are: the received model, or nobody (FedLMD-Tf).

    Examples
    --------
    >>> FedLMD(teacher="uniform").exchange_node()
    {'name': 'label_masking', 'beta': 1.0, 'tau': 1.0, 'teacher': 'uniform'}
    """

    exchange = "label_masking"
    needs_classes = True

    def __init__(
        self,
        beta: float = 1.0,
        tau: float = 1.0,
        teacher: Literal["received", "uniform"] = "received",
    ) -> None:
        super().__init__(beta=beta, tau=tau, teacher=teacher)
        self.frozen = int(teacher == "received")
