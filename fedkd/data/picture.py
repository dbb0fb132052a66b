"""The partition as a table and as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .federation import Federation

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


def draw_histogram(histogram: ArrayLike, class_names: Sequence[str]) -> "Figure":
    """Draw the class counts of each client as stacked bars.

    Parameters
    ----------
    histogram : array, shape [clients, classes]
        Sample counts.
    class_names : sequence of str, length classes

    Returns
    -------
    matplotlib.figure.Figure
        Independent of pyplot: nothing to close.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    counts = np.asarray(histogram, dtype=float)
    clients = len(counts)
    figure = Figure(figsize=(min(14.0, 5.5 + 0.06 * clients), 3.8), layout="constrained")
    axes = figure.subplots()
    tops = np.cumsum(counts, axis=1)
    edges = np.arange(clients + 1) - 0.5
    for label, (name, colour) in enumerate(
        zip(class_names, _colours(len(class_names)), strict=True)
    ):
        base = tops[:, label] - counts[:, label]
        axes.stairs(tops[:, label], edges, baseline=base, fill=True, color=colour, label=name)
    # One outline per class draws fast for any number of clients; white lines make bars of it.
    axes.vlines(edges, 0, tops[:, -1].max() * 1.04, color="white", lw=min(3.0, 90 / clients))
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, tops[:, -1].max() * 1.04))
    axes.set(xlabel="client", ylabel="samples")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    _explain(figure, axes, class_names)
    return figure


def _colours(count: int) -> Any:
    from matplotlib import colormaps

    if count <= 20:
        return colormaps["tab10" if count <= 10 else "tab20"](range(count))
    return colormaps["turbo"](np.linspace(0.03, 0.97, count))


def _explain(figure: "Figure", axes: Any, class_names: Sequence[str]) -> None:
    """Add a legend, or a colour scale where a legend would be longer than the picture."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    count = len(class_names)
    if count <= 20:
        handles, names = axes.get_legend_handles_labels()
        figure.legend(
            handles[::-1], names[::-1], loc="outside right upper", frameon=False, fontsize="small"
        )
        return
    scale = ScalarMappable(Normalize(0, count - 1), ListedColormap(_colours(count)))
    figure.colorbar(scale, ax=axes, label="class", pad=0.01)


def draw_partition(federation: Federation, path: Path | str) -> Path:
    """Write the picture of who holds which classes, in the format of the suffix (.png, .svg).

    Examples
    --------
    >>> import tempfile
    >>> from fedkd.config import RunConfig
    >>> from fedkd.data import build_federation, prepare
    >>> with tempfile.TemporaryDirectory() as out:
    ...     federation = build_federation(RunConfig(clients=5), prepare("digits"), None, out)
    ...     draw_partition(federation, f"{out}/partition.png").stat().st_size > 5000
    True
    """
    figure = draw_histogram(federation.histograms, federation.class_names)
    figure.axes[0].set_title(f"{federation.corpus.name}: {federation.clients} clients", loc="left")
    figure.savefig(path, dpi=150)
    return Path(path)
