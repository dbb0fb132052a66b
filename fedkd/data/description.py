"""What is to be said of who holds which samples: in lines, and as a table."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .federation import Federation


def partition_notes(federation: Federation) -> list[str]:
    """Return what is worth saying of the data sets, a line each: columns, classes never tested."""
    both = [("data", federation.corpus)]
    if federation.transfer_corpus is not federation.corpus:
        both.append(("transfer.data", federation.transfer_corpus))
    found = [f"{key} {one.name}: {one.note}" for key, one in both if one.note]
    found += federation.arrays.get("notes", np.array([], str)).tolist()
    found += _transfer(federation)
    told = [*_only_one(federation), *_untested(federation)]
    return found + [f"data {federation.corpus.name}: {problem}" for problem in told]


def _transfer(federation: Federation) -> Iterator[str]:
    partner, size = federation.arrays.get("partner"), federation.transfer_size
    if partner is not None:
        mixed = int((partner != np.arange(size)).sum())
        yield f"transfer.mixup: {mixed} of {size} samples are mixed of two"
    if federation.views is not None:
        views = f"{size} samples have {federation.views.count} views each"
        yield f"transfer.hard: {views}, and rounds use those on which clients disagree"


def _only_one(federation: Federation) -> Iterator[str]:
    """Say so where there is nothing to tell apart."""
    seen = np.flatnonzero(federation.histograms.sum(axis=0))
    if len(seen) == 1 and not federation.targets.numeric and not federation.targets.tokens:
        name = federation.class_names[seen[0]]
        yield f"all its labels are one class ({name}): a good accuracy of that says nothing"


def _untested(federation: Federation) -> Iterator[str]:
    if federation.targets.tokens and federation.tests is None:
        yield "local is global, unless data.test=local gives each client a test of its own"
        return
    if federation.tests is not None:
        whose = "of the test split" if federation.arrays["test_split"] == "test" else "held out"
        few, many = federation.tests.min(), federation.tests.max()
        yield f"local accuracy is on each client's own samples, {few} to {many} ({whose})"
        if none := int((federation.tests == 0).sum()):
            yield f"clients without samples to test on, so no local accuracy: {none}"
        return
    held = federation.histograms > 0
    untested = held & (federation.test_counts() == 0)
    absent = np.flatnonzero(untested.any(axis=0))
    what, measure = ("values", "metrics") if federation.targets.numeric else ("classes", "accuracy")
    if len(absent):
        names = ", ".join(federation.class_names[label] for label in absent[:5])
        names += ", ..." if len(absent) > 5 else ""
        yield f"its test split lacks {what} of clients ({names}): not in local {measure}"
    if alone := int((untested == held).all(axis=1).sum()):
        yield f"clients with none of its test split's {what}, so no local {measure}: {alone}"


def partition_table(federation: Federation) -> list[dict[str, Any]]:
    """Return a row per client: ``client, samples, validation, classes, main_class, main_share``.

    ``classes`` counts those the client has; ``main_share`` in (0, 1] is that of its commonest one.
    ``name`` is there too where clients have names, and ``tested`` where each has tests of its own.
    """
    rows, names, tests = [], federation.client_names, federation.tests
    for client, counts in enumerate(federation.histograms):
        main = int(counts.argmax())
        samples = int(counts.sum())
        rows.append(
            {
                "client": client,
                "samples": samples,
                "validation": samples - len(federation.indices(client)),
                "classes": int((counts > 0).sum()),
                "main_class": federation.class_names[main],
                "main_share": float(counts[main] / samples),
                **({} if names is None else {"name": names[client]}),
                **({} if tests is None else {"tested": int(tests[client])}),
            }
        )
    return rows
