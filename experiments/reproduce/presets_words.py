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
other work beside it: they may be a third less on an idle machine. Methods have their default
parameters unless it says otherwise. Under each table: what is better or worse than staying alone
with the same models and seed, where Student's 95 % interval over the seeds leaves zero out; three
seeds make it wide.
{progress}"""

SECTIONS = {
    "topics": Section(
        """## `topics`: texts of ten classes

Debian's package descriptions; 9 clients with 300 texts each, under Dirichlet(0.1) and Dirichlet(1).
*Alike* is an embedding bag, *mixed* an embedding bag, a TextCNN and a GRU in turn.
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
*Alike* is an MLP of 128 hidden units, *mixed* has every other client with 32.
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
ranges (quantiles). The models are those of `letter`.
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
likeliest of 512 tokens at each place of the transfer windows, and the rest's mass.
""",
        """<!-- not run: takes minutes, and the data -->
```sh
fedkd run -m experiment=novels 'strategy={name:fedmd,exchange:soft_labels},knfu' seed=0,1,2
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
