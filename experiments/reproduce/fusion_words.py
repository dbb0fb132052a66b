"""What the page of all methods says beside its numbers."""

from .fusion_plan import SEEDS, TRIALS

HEAD = f"""MNIST, 10 clients with 200 samples each, `mlp`, 500 transfer samples, 10 rounds: accuracy
after the last round in %, *local* and *global* as in [what the numbers mean](numbers.md), and the
mean of both with half of Student's 95 % interval over {SEEDS} seeds. First every method as it
comes, with its default parameters; then tuned: with the best of {TRIALS} settings, chosen for each
skew by that mean on a twelfth of the training split, with a seed of its own. The test split chose
nothing. Rows are in the order of the tuned mean, where there is one. Payload and CPU seconds are
a run's.
"""

TAIL = """Each method has four learning rates ({rates}),
then with the best of these four other values of its main parameter, as a rule the first number that
its constructor takes; one that has none has four rates more. That is a small budget, one data set
and one model: it shows how methods behave here, not which paper is right. Under Dirichlet(0.1)
*local* rewards whoever learns next to nothing from others; *global* rewards knowing the classes one
has never seen. Not in the table: {left}

The numbers are made from [a row a run](rows/fusion.csv). The first of these says how long what is
missing there takes, the second runs it, and the third writes the tables anew:

<!-- not run: takes hours, and the data -->
```sh
python -m fedkd.experiments.reproduce.fusion_table --plan --jobs 2
python -m fedkd.experiments.reproduce.fusion_table --jobs 2
python -m fedkd.experiments.reproduce.fusion_page
```
"""
