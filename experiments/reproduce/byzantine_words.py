"""What the page of hostile clients says in words."""

COUNTED = """
## What is counted

The mean of the honest clients' accuracies, after the last round on the whole test split (*global*)
or on their own mixes (*local*). A run's own headline, ALMA, counts all clients, hostile ones, too;
it stands beside. What attackers *cost* is by how much the same honest clients are better in the run
without attackers, seed by seed. FedAvg's clients have the model that they received. A soft label
has no length, so that beside updates of tenfold length stands LMA.

| hostile clients | send as soft labels | send as parameters |
| --- | --- | --- |
| flipped labels | what they learn from labels turned round | the same |
| by chance | one-hot at classes drawn by chance | numbers by chance, as large as the model's |
| against | one-hot where the last teacher is least sure (LMA) | their update turned round |
| against, tenfold | - | that update, ten times as long |
"""

TAIL = """
## How this was made

From [a row a run](rows/byzantine.csv), with each client's accuracies and who was hostile. Points
are paired by seed, with half of Student's 95 % interval; ± of an accuracy is the deviation over
seeds. CPU seconds are those of whole runs on one core of a two-core x86-64 machine, with other work
beside it. This goes on with what is missing and writes this page anew:

<!-- not run: takes minutes, and MNIST -->
```sh
python -m fedkd.experiments.reproduce.byzantine
python -m fedkd.experiments.reproduce.byzantine_page
```
"""
