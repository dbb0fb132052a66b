"""Laplace noise on knowledge.

Dwork, McSherry, Nissim, Smith, "Calibrating Noise to Sensitivity in Private Data Analysis", TCC
2006. Certain. With U rows of C classes, c the clip in L1, z the noise multiplier::

    soft labels   P( F + Lap(z s) ),    s = 2 U, or 2 c U where that is less
    logits        F' + Lap(z s),        s = 2 c U

A release has epsilon ``1 / z``, with delta 0, for any change of all that a client holds. Its
sensitivity grows with U, the Gaussian's with its root: it is for few samples.
"""

from .gaussian import Gaussian


class Laplace(Gaussian):
    """Clips rows and adds Laplace noise, calibrated to the L1 sensitivity of all rows together.

    Parameters
    ----------
    **gaussian
        See `Gaussian`; the clip bounds L1 norms.
    """

    norm = 1
