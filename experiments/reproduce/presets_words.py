"""What the page of the presets says beside its numbers."""

from typing import NamedTuple


class Section(NamedTuple):
    """What stands before and after a preset's tables."""

    head: str
    tail: str


HEAD = """# Texts, tables, numbers, next tokens

Four presets whose samples are no pictures, each with clients that stay alone (`local`), FedMD, KnFu
and FedAvg, and the first three also with mixed models. Scores after the last round, mean ± standard
deviation over seeds; *local* and *global* are as in [what the numbers mean](numbers.md). *Sent up*
is what all clients together send in a run. CPU seconds are those of a whole run on one core, with
other work beside it. Methods have their default parameters unless it says otherwise.
Under each table: what is better or worse than staying alone with the same models and seed, where
Student's 95 % interval over the seeds leaves zero out; three seeds make it wide.
{progress}"""

SECTIONS = {
    "topics": Section(
        """## `topics`: texts of ten classes

Debian's package descriptions; 9 clients with 300 texts each, under Dirichlet(0.1) and Dirichlet(1).
*Alike* is an embedding bag, *mixed* an embedding bag, a TextCNN and a GRU in turn. Batches of 16
and the learning rate were chosen on texts held out of training (`data.validation=0.2`), seed 0:
alone, under Dirichlet(1), an embedding bag had 39 % of those right with batches of 64 and a rate of
0.005, 54 % with batches of 16, and 58 % with a rate of 0.01 as well; mixed models 49 and 53 % with
the two rates. A model that learns from all 4,797 texts gets 81 % of the test split.

FedAvg of one architecture is best on the whole test split at either skew. Under Dirichlet(0.1)
FedMD's mean of logits costs much local accuracy, most of it with mixed models, where it gains
nothing; KnFu in its published form leaves clients nearly alone there. Under Dirichlet(1) it is the
only one with which clients do better on their own texts than alone.
""",
        """<!-- not run: takes minutes, and the data -->
```sh
fedkd run -m experiment=topics strategy=local,fedmd,knfu data.alpha=0.1,1 seed=0,1,2
```
""",
    ),
    "letter": Section(
        """## `letter`: a table, 26 classes

Distorted capital letters, 16 numbers each; 10 clients with 600 rows each under Dirichlet(0.1).
*Alike* is an MLP of 128 hidden units, *mixed* has every other client with 32. FedMD and FedAvg give
up local accuracy for global accuracy. KnFu in its published form (soft labels, beta 10) leaves
clients that see so different letters nearly alone, as on [MNIST](numbers.md).
""",
        """<!-- not run: takes minutes, and the data -->
```sh
fedkd run -m experiment=letter strategy=local,fedmd,knfu,fedavg seed=0,1,2
```
""",
    ),
    "diamonds": Section(
        """## `diamonds`: a regression

Prices in US dollars; 10 clients with 500 diamonds each, every one with its own mix of ten price
ranges (quantiles). The models are those of `letter`. Prices differ so much in size that the local
error is above all a matter of which ranges a seed deals to whom: compare methods seed by seed. The
same network on all 43,025 diamonds that are left, ten epochs, has a global RMSE of 631.
""",
        """<!-- not run: takes minutes, and the data -->
```sh
fedkd run -m experiment=diamonds strategy=local,fedmd,knfu,fedavg seed=0,1,2
```
""",
    ),
    "novels": Section(
        """## `novels`: next tokens, twelve books as clients

Local perplexity is that on a client's own held-out chapters, global that on those of all books.
*Alike* is a GRU, *mixed* a GRU and a transformer in turn. What clients know travels as the 32
likeliest of 512 tokens at each place of the transfer windows, and the rest's mass. Two thirds
of the text are transfer text, of which 96 windows are drawn for each round.

What makes learning from so few tokens work is the objective. Alone, clients have perplexities of
67.8 (local) and 112.3 (global) after three rounds with a fifth of the text, tested on a thirtieth,
mixed models, one seed. FedMD then has:

| what clients send | objective | local | global | sent up |
| --- | --- | --- | --- | --- |
| top 32, logits (FedMD's default) | `l1` | 84.5 | 124.9 | 29.2 MB |
| top 32, probabilities | `kl` | 93.7 | 118.3 | 29.2 MB |
| top 32, probabilities | `topkld` with k = 32: the preset | 72.2 | 90.1 | 29.2 MB |
| all 512 probabilities | `kl` | 73.2 | 88.3 | 453.9 MB |

The codec makes all other tokens equal, and `l1` and `kl` have clients learn that they are.
`topkld` compares them as one lump, and is about as good as sending all. A smaller rate of
distillation trades one for the other: 69.1 and 99.8 with 0.0003 for 0.001.

With that objective, learning from one another lowers the perplexity of all books by about a fifth.
It costs KnFu's clients next to nothing on their own book and FedMD's a little more; FedAvg is best
on all books and worst on a client's own.
""",
        """<!-- not run: takes minutes, and the data -->
```sh
fedkd run -m experiment=novels strategy=local,knfu seed=0,1,2
fedkd run -m experiment=novels strategy=fedmd strategy.exchange=soft_labels seed=0,1,2
fedkd run -m experiment=novels strategy=fedavg model=gru compress=none seed=0,1,2
```
""",
    ),
}

TAIL = """## How this was made

From [a row a run](rows/presets.csv). This goes on with what is missing there and writes this page
anew:

<!-- not run: takes an hour, and the data sets -->
```sh
python -m fedkd.experiments.reproduce.presets --seeds 3
python -m fedkd.experiments.reproduce.presets_page
```
"""
