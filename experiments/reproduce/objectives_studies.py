"""The studies of objectives: on which data, in which settings, and where their rows are kept."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path

Setting = tuple[str, float, str]
"""Models, alpha of Dirichlet, and strategy."""

STRATEGIES = {
    "knfu": "{name:knfu,exchange:logits,beta:1}",
    "fedmd": "{name:fedmd,exchange:logits}",
}

ALPHAS = (0.1, 1.0)

QUICK = ("clients=4", "data.samples_per_client=40", "transfer.size=64")
"""What ``--quick`` makes smaller, beside the rounds."""


@dataclass(frozen=True)
class Study:
    """Every objective on one data set.

    Parameters
    ----------
    name : str
        How it is asked for.
    title : str
        The page's.
    models : dict
        What clients may have, and what it is called.
    fixed : tuple of str
        Overrides of every run.
    said : str
        What the page says of the data and the clients.
    rounds : int
        Rounds of a run.
    remark : str
        What else was found, with other runs than the page's.
    """

    name: str
    title: str
    models: dict[str, str]
    fixed: tuple[str, ...]
    said: str
    rounds: int = 5
    remark: str = ""

    @property
    def rows(self) -> Path:
        """CSV file, a row a run."""
        return Path(f"docs/rows/objectives_{self.name}.csv")

    @property
    def page(self) -> Path:
        """What the rows say, in Markdown."""
        return Path("docs", f"objectives_{self.name}.md")

    @property
    def figure(self) -> Path:
        """What the rows say, drawn."""
        return Path(f"experiments/figures/objectives_{self.name}.png")

    @property
    def settings(self) -> list[Setting]:
        """All of them, in the order in which they are run."""
        return list(product(self.models, ALPHAS, STRATEGIES))


MNIST = Study(
    "mnist",
    "Objectives under the same conditions",
    {"mlp": "mlp", "mlp+lenet5": "[mlp,mlp,mlp,lenet5]"},
    ("experiment=objectives_mnist",),
    "MNIST, 20 clients with 200 samples each, {rounds} rounds, 500 transfer samples; clients of\n"
    "one architecture (`mlp`), and with every fourth a `lenet5`.",
    remark="""
KnFu mixes logits here, with beta 1. In its published form (soft labels, beta 10) it fuses next to
nothing under Dirichlet(0.1), so that there is little to learn well or badly: with `mlp`, one seed,
local and global accuracy are 95.1 and 27.7 with `kl`, 95.0 and 27.9 with `dist`, and 95.0 and 27.6
for clients that stay alone. `mlkd` does harm there, too (82.6 and 18.6).

All clients step as far on their teacher as on their own samples (0.05), which suits some losses and
not others: [the same with a fifth of that](objectives_mnist_steps.md).
""",
)

MNIST_STEPS = Study(
    "mnist_steps",
    "Objectives with smaller steps on the teacher",
    {"mlp": "mlp"},
    ("experiment=objectives_mnist", "distil.lr=0.01"),
    "MNIST, 20 clients with 200 samples each, {rounds} rounds, 500 transfer samples, all as on\n"
    "[the page of objectives](objectives_mnist.md), but with steps on the teacher a fifth as long\n"
    "as on private data (`distil.lr=0.01`). Clients have one architecture (`mlp`).",
    remark="""
Losses differ in how long their gradients are, so that no one rate is fair to all. Who is worse than
`kl` on one of the two pages and not on the other is so because of its steps. `cross_correlation` is
trained with Adam, whose steps of 0.01 are ten times its own: of it the other page tells.
""",
)

TOPICS = Study(
    "topics",
    "Objectives on texts",
    {"embedding_bag": "embedding_bag"},
    ("experiment=topics", "evaluate.every=5"),
    "Texts: package descriptions of 10 sections, 9 clients with 300 texts each, {rounds} rounds,\n"
    "500 transfer texts; all clients have an `embedding_bag` (others take minutes a run).",
)

STUDIES = {study.name: study for study in (MNIST, MNIST_STEPS, TOPICS)}
