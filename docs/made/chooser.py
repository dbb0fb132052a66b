"""The page that helps to choose a method, made from what the classes declare."""

from collections.abc import Iterator

from fedkd.strategies.traits import Traits, traits

from fedkd.knowledge.kinds import NUMBERS
from fedkd.plugins import describe
from fedkd.plugins.table import SEAMS
from fedkd.report.markdown import table

SECTIONS = {
    "no": ("No transfer set", "These need none, so they are also for who has one."),
    "yes": ("A transfer set", "These need samples that all clients have, without labels."),
    "labelled": (
        "A labelled transfer set",
        "These are also told the labels of these samples (`transfer.labelled=true`).",
    ),
}
"""Heading of each answer to whether there is a transfer set, and what it means."""

COLUMNS = (
    "method",
    "what travels",
    "models may differ",
    "who was away hears",
    "sums suffice",
    "teacher of one's own",
    "tasks",
    "what it is",
)

TEXT = """---
hide: [navigation, toc]
---

# Which method?

What your federation allows decides which [fusion methods](strategies.md) are left. All of this is
made from what their classes declare, with their default parameters; how they do is in
[under the same conditions](results.md). On the command line, `fedkd list strategies` takes such
answers, of a file of your own, too: `--no-transfer --mixed-models --secure --task regression`.

- **What may travel?** *Soft labels* and *logits* are about transfer samples, *class knowledge* is
  a vector or so for each class, *parameters* are a model or a part of it. Which exchange that is,
  and how many bytes, says `fedkd run strategy=NAME --dry-run`.
- **Is there a transfer set?** Samples that all clients may see; some methods want their labels.
- **Do models differ?** Then a method that averages whole models will not do.
- **Are clients often away?** Who was away hears of what it missed *before* its next fit, or *after*
  it, at the end of the round: that fit still begins where the client left off. `fedkd check` holds
  every method to that. What a client keeps for itself, such as a control variate or its last model,
  is in any case as old as its last visit.
- **Must sums suffice?** Then `secure.aggregation=true` shows the server sums over clients only.
- **A teacher of one's own**: clients may be sent different ones, by what each of them knows.

<form id="chooser" hidden>
{questions}
<p id="chosen" aria-live="polite"></p>
</form>

{sections}
<script src="chooser.js"></script>
"""


def page() -> str:
    """Return the page."""
    found = {name: (cls, traits(cls)) for name, cls in SEAMS["strategies"].shipped().items()}
    known = [one for _, one in found.values()]
    parts = []
    for need, (head, words) in SECTIONS.items():
        fit = {name: pair for name, pair in found.items() if pair[1].transfer == need}
        rows = [_cells(name, *pair) for name, pair in fit.items()]
        rows.sort(key=lambda cells: cells[1:-1])  # and those that are alike by name
        parts.append(f"## {head}\n\n{words}\n\n{table([COLUMNS, *rows])}")
    return TEXT.format(questions="\n".join(_questions(known)), sections="\n".join(parts))


def _cells(name: str, cls: type, found: Traits) -> tuple[str, ...]:
    return (
        f"[`{name}`]({name}.py)",
        ", ".join(kinds(found)) or "nothing",
        _yes(found.mixed_models),
        found.returns,
        _yes(found.secure) if found.exchange else "-",
        _yes(found.personalised),
        ", ".join(found.tasks),
        describe(cls)[0],
    )


def kinds(found: Traits) -> list[str]:
    """Return which kinds of knowledge a method's clients may exchange, where there are classes."""
    every = dict.fromkeys(found.exchanges.values())
    return [kind.replace("_", " ") for kind in every if kind not in NUMBERS]


def _questions(found: list[Traits]) -> Iterator[str]:
    """Yield a choice for each question; the script compares it with a column, or a section."""
    travel = sorted({kind for one in found for kind in kinds(one)} | {"nothing"})
    yield _choice("What may travel?", 1, {kind: kind for kind in travel})
    have = {"no": "no", "no yes": "without labels", "no yes labelled": "with labels"}
    yield _choice("Is there a transfer set?", "need", have)
    yield _choice("Do models differ?", 2, {"yes": "yes"})
    yield _choice("Are clients often away?", 3, {"before": "yes"})
    yield _choice("Must sums suffice?", 4, {"yes": "yes"})
    yield _choice("A teacher of one's own?", 5, {"yes": "yes"})
    yield _choice("Which task?", 6, {task: task for task in SEAMS["tasks"].shipped()})


def _choice(question: str, column: int | str, answers: dict[str, str]) -> str:
    options = "".join(f'<option value="{value}">{said}</option>' for value, said in answers.items())
    blank = '<option value="">any</option>' if len(answers) > 1 else '<option value="">no</option>'
    return f'<label>{question} <select data-of="{column}">{blank}{options}</select></label>'


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"
