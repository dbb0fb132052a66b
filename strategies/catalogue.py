"""The table of methods in ``strategies/README.md``, made from the classes themselves.

``make docs`` (or ``python -m fedkd.strategies.catalogue``) writes it.
"""

import inspect
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from ..plugins.table import SEAMS
from ..report.markdown import table
from ..rounds.protocol import Strategy
from .traits import Traits, traits

PAGE = Path(__file__).with_name("README.md")

COLUMNS = (
    "method",
    "exchanged",
    "personalised",
    "mixed models",
    "transfer set",
    "tasks",
    "sums suffice",
    "state",
    "confidence",
    "paper",
)

INTRODUCTION = """# Fusion methods

One row a method; `fedkd list strategies` has their parameters and chooses by these columns
(`--no-transfer --mixed-models`), and each file begins with its formula and says where it deviates.
Made by `make docs` from the classes: do not edit it here.

- **exchanged**: what clients send and are sent (`clients/exchange`), and which kind of knowledge
  that is.
- **personalised**: clients may learn from different teachers.
- **mixed models**: clients may have different architectures in one run.
- **transfer set**: the method needs transfer samples, or their labels too.
- **tasks**: what it makes sense for, as each class declares (`kinds`, `needs_classes`,
  `needs_numbers`); for any other task it is refused by name.
- **sums suffice**: the server needs only sums over clients of what each can compute by itself, so
  that secure aggregation (`secure.aggregation=true`), which reveals nothing else, carries the
  method; all others refuse it. A dash: nothing is exchanged.
- **state**: what the server remembers from round to round, beside the models of Flower's own
  strategies.
- **confidence**: how well the formula is known. *certain*: from code or the paper itself;
  *secondary*: from others' summaries; *inferred*, *reconstruction*: ours where the paper is not
  publicly confirmed. The file says which part is which.
"""


def page() -> str:
    """Return the whole page."""
    rows = [row(name, cls) for name, cls in SEAMS["strategies"].shipped().items()]
    return f"{INTRODUCTION}\n{table([COLUMNS, *rows])}"


def row(name: str, cls: type[Strategy]) -> tuple[str, ...]:
    """Return a method's cells, in the order of `COLUMNS`."""
    found = traits(cls)
    paper, confidence = cited(inspect.getdoc(sys.modules[cls.__module__]) or "")
    return (
        f"[`{name}`]({name}.py)",
        exchanged(found),
        _yes(found.personalised),
        _yes(found.mixed_models),
        found.transfer,
        ", ".join(found.tasks),
        _yes(found.secure) if found.exchange else "-",
        ", ".join(f"`{key}`" for key in documented_state(cls)) or "-",
        confidence,
        paper,
    )


def exchanged(found: Traits) -> str:
    """Return a cell about what a strategy's clients exchange by default, and its kind.

    Examples
    --------
    >>> exchanged(traits(SEAMS["strategies"].resolve("fedproto")))
    '`prototypes` (class_knowledge)'
    """
    if found.exchange is None:
        return "nothing"
    kind = found.kind
    return f"`{found.exchange}`" + (f" ({kind})" if kind != found.exchange else "")


def cited(doc: str) -> tuple[str, str]:
    r"""Return what a module's docstring cites, and how sure it is of the formula.

    The first sentence of the second paragraph is the citation; ``Confidence:`` may follow in any.
    What is said of it ends with the first comma, bracket, full stop or the like.

    Examples
    --------
    >>> cited('A: b.\n\nDoe,\n"Title", 2020. Confidence: certain (code)::\n\n    x = 1')
    ('Doe, "Title", 2020', 'certain')
    """
    paragraphs = [" ".join(part.split()) for part in doc.split("\n\n")]
    second = paragraphs[1] if len(paragraphs) > 1 else ""
    paper = re.split(r"\.\s+(?=[A-Z*])|\s*Confidence:|::$", second)[0].rstrip(".")
    found = re.search(r"Confidence:\s*([^(,;:.]+)", " ".join(paragraphs))
    return paper, found[1].replace("*", "").strip() if found else ""


def documented_state(cls: type) -> list[str]:
    """Return the names of a class's state tensors, as the docstrings of it and its bases say.

    They stand in double backticks in what the section Attributes says of ``state``; ``N`` is any
    number, ``*`` any name.
    """
    names: dict[str, None] = {}
    for owner in reversed(cls.__mro__):
        doc = inspect.cleandoc(vars(owner).get("__doc__") or "")
        entry = re.search(r"^state : dict.*\n((?:[ ]+.*\n?)*)", doc, re.MULTILINE)
        if entry is not None and owner is not Strategy:
            found = re.findall(r"``([a-z_]+(?:\.[a-z_0-9N*]+)*)``", entry[1])
            names |= dict.fromkeys(re.sub(r"\.\d+", ".N", name) for name in found)
    return list(names)


def matches(key: str, documented: Iterable[str]) -> bool:
    """Tell whether a state tensor is among those that are documented.

    Examples
    --------
    >>> [matches(key, ["shared.N", "net.*"]) for key in ("shared.12", "net.0.bias", "shared.a")]
    [True, True, False]
    """
    patterns = (re.escape(name).replace("N", r"\d+").replace(r"\*", ".*") for name in documented)
    return any(re.fullmatch(pattern, key) for pattern in patterns)


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
