"""The pieces a client is made of: its model, its training loop, its objective."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..codecs import Codec
from ..codecs.none import NONE as FLOAT32
from ..config import DistilConfig, SecureConfig
from ..distillation.base import Objective
from ..distillation.weighing import Weighted
from ..models import factories
from ..plugins import parameters
from ..plugins.table import PARTS, SEAMS
from ..tasks import Task
from ..tasks.classification import Classification
from .attacks import Attack
from .attacks.none import NONE
from .base import ClientLoop
from .exchange import Exchange, SoftLabels
from .guarding import Guards
from .oracles.base import Oracle
from .privacy import Protection
from .samplers.base import Sampler
from .samplers.ksas import KSAS
from .secure import Masking


@dataclass
class Parts:
    """Objects that every process hosting clients needs.

    In a simulation they are made once, in the driver, and travel to the actors with the app, so
    that classes from a user's file need not exist there.

    Parameters
    ----------
    models : sequence
        One model factory (or zoo name) per client.
    loop : ClientLoop
        Trains and predicts.
    objective : Objective
        The prototype: each distillation phase works on a fresh one, see `objective_at`.
    guard : Guards
        What is learnt of a teacher; all of it by default.
    attack : Attack
        What hostile clients do; nobody is hostile by default.
    exchange : Exchange
        What is uploaded, and what is done with a teacher.
    codec : Codec
        What makes that smaller on its way; nothing does by default.
    privacy : Protection
        What protects private data; nothing does by default.
    sampler, oracle : Sampler, Oracle
        Which samples to label, and who labels them, in active learning.
    task : Task
        What samples mean.
    secure : SecureConfig
        How what is uploaded is hidden, where the run has secure aggregation.
    seed : int
        The run's.
    distil : DistilConfig
        How clients learn from teachers; of it, the weight of the objective over rounds.
    retempered : dict or None
        The objective's node without a temperature, where that changes over rounds.
    """

    models: Sequence[Any]
    loop: ClientLoop
    objective: Objective
    guard: Guards = field(default_factory=Guards)
    attack: Attack = field(default_factory=NONE)
    exchange: Exchange = field(default_factory=SoftLabels)
    codec: Codec = field(default_factory=FLOAT32)
    privacy: Protection = field(default_factory=Protection)
    sampler: Sampler = field(default_factory=KSAS)
    oracle: Oracle = field(default_factory=Oracle)
    task: Task = field(default_factory=Classification)
    secure: SecureConfig = field(default_factory=SecureConfig)
    seed: int = 0
    distil: DistilConfig = field(default_factory=DistilConfig)
    retempered: dict[str, Any] | None = None

    def objective_at(self, number: int) -> Objective:
        """Return a fresh objective with the temperature and the weight of a round."""
        if self.retempered is None:
            made: Objective = copy.deepcopy(self.objective)
        else:  # made anew: its temperature may be in what it consists of
            node = self.retempered | {"temperature": self.distil.temperature_at(number)}
            made = SEAMS["objectives"].build(type(self.objective), node)
        weight = self.distil.weight_at(number)
        return made if weight == 1 else Weighted(made, weight)

    @property
    def masking(self) -> Masking:
        """The client's end of secure aggregation."""
        return Masking(self.secure, self.seed, self.exchange)

    @property
    def guarded(self) -> ClientLoop:
        """The loop, with the guards before it."""
        return self.guard.around(self.loop)

    @classmethod
    def from_spec(
        cls,
        spec: dict[str, Any],
        models: Any = None,
        task: Task | None = None,
        guard: Guards | None = None,
        objective: Objective | None = None,
    ) -> "Parts":
        """Make the parts that a spec names.

        Objects may take the place of names: `models`, a `task`, a `guard`, an `objective`.

        Raises
        ------
        ConfigError
            For an unknown name or parameter.
        """
        privacy = Protection.from_node(spec["privacy"], spec["seed"])
        objects: dict[str, Any] = {"task": task, "objective": objective}
        made = {part: one for part, one in objects.items() if one is not None}
        made |= {
            seam.part: seam.create(spec[seam.key], spec)
            for seam in PARTS
            if not seam.several
            and seam.part not in made
            and (seam.key in spec or seam.key != "task")
        }
        made["guard"] = guard or Guards.from_node(spec.get("guard", {"name": "none"}))
        distil = DistilConfig(**spec.get("distil", {}))
        changing = (
            isinstance(distil.temperature, dict)
            and "temperature" not in spec["objective"]
            and "temperature" in parameters(type(made["objective"]))
        )
        return cls(
            **made | {"loop": privacy.loop(made["loop"]), "privacy": privacy},
            models=factories(models or spec["model"], spec["clients"]),
            secure=SecureConfig(**spec["secure"]),
            seed=spec["seed"],
            distil=distil,
            retempered=spec["objective"] if changing else None,
        )
