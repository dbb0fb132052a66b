"""The partition as a table."""

from typing import Any

from .federation import Federation


def partition_table(federation: Federation) -> list[dict[str, Any]]:
    """Return a row per client: ``client, samples, validation, classes, main_class, main_share``.

    ``classes`` counts those the client has; ``main_share`` in (0, 1] is that of its commonest one.
    """
    rows = []
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
            }
        )
    return rows
