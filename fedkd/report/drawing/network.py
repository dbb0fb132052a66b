"""Who learns from whom as a graph: clients near those of like labels, an arrow a large weight."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from ..reader import Run
from ..statistics import Group
from .drawn import Drawn
from .maps import class_colours
from .style import INK, WIDTH, canvas, legend_below, styled

LEAST, MOST = 3, 300
"""Clients of which there is a graph: fewer are no picture, of more it would be a blot."""

NAMED = 60
"""Clients up to which nodes have numbers, and arrows heads."""

EDGES = 3, 1
"""Edges a client, on average, that are drawn at most: up to `NAMED` clients, and beyond."""

GOLDEN = np.pi * (3 - 5**0.5)


@dataclass(frozen=True)
class Network:
    """What the graph shows.

    Attributes
    ----------
    clients : array ``[n]``
        Their numbers.
    places : array ``[n, 2]``
        The nearer, the more alike the clients' labels; no two coincide.
    main : array ``[n]``
        The class that a client has most of.
    edges : list of (int, int, float)
        Source and learner, as places in `clients`, and the weight, the largest first.
    threshold : float
        No larger weight between two clients is left out.
    """

    clients: np.ndarray
    places: np.ndarray
    main: np.ndarray
    edges: list[tuple[int, int, float]]
    threshold: float


def network(run: Run) -> Network | None:
    """Return the graph of the last round that has weights.

    None where there is none: no weights, all clients learn alike, the labels are not known, or
    there are fewer than `LEAST` clients or more than `MOST`.
    """
    found = run.weights()
    if found is None or run.histogram is None:
        return None
    clients, weights = found
    shares = np.asarray(run.histogram, np.float64)[clients]
    alike = bool(np.allclose(weights, weights[:1], atol=1e-6))
    if alike or not LEAST <= len(clients) <= MOST:
        return None
    shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1)
    edges, threshold = strongest(weights)
    return Network(clients, positions(shares), shares.argmax(axis=1), edges, threshold)


def strongest(weights: np.ndarray) -> tuple[list[tuple[int, int, float]], float]:
    """Return edges (source, learner, weight), the largest first, and the least weight of an edge.

    An edge is a weight above ``1 / n``, an equal share, that is among the largest: three a client
    on average, or one where there are more than `NAMED` clients. Nobody's weight for itself counts.

    Parameters
    ----------
    weights : array ``[n, n]``
        Row: the learner.

    Examples
    --------
    >>> strongest(np.array([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0], [0.6, 0.1, 0.3]]))
    ([(0, 2, 0.6), (1, 0, 0.5)], 0.3333333333333333)
    """
    n = len(weights)
    others = np.where(np.eye(n, dtype=bool), 0, weights).astype(np.float64)
    limit = EDGES[n > NAMED] * n
    ranked = np.sort(others, axis=None)[::-1]
    threshold = max(1 / n, float(ranked[limit]) if limit < ranked.size else 0.0)
    found = [(int(j), int(i), float(others[i, j])) for i, j in np.argwhere(others > threshold)]
    return sorted(found, key=lambda edge: (-edge[2], edge)), threshold


def positions(shares: np.ndarray) -> np.ndarray:
    """Return places ``[n, 2]`` in the unit square, by the likeness of rows ``[n, classes]``.

    Multidimensional scaling of total variation distances (SMACOF, from the first two principal
    components); rows that are nearly equal are then moved apart a little, to be seen.

    Examples
    --------
    >>> places = positions(np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]))
    >>> apart = np.linalg.norm(places[0] - places, axis=1)
    >>> bool(apart[1] < apart[2])
    True
    """
    from scipy.spatial.distance import pdist, squareform
    from sklearn.decomposition import PCA
    from sklearn.manifold import smacof

    places = np.zeros((len(shares), 2))
    distances = squareform(pdist(shares, "cityblock")) / 2
    if distances.max() > 1e-9:
        components = min(2, *shares.shape)
        places[:, :components] = PCA(components).fit_transform(shares)
        places, _ = smacof(distances, init=places, n_init=1, random_state=0)
    return parted(places)


def parted(places: np.ndarray) -> np.ndarray:
    """Return places scaled into the unit square, nearly all of them a node's width apart."""
    low, span = places.min(axis=0), float(np.ptp(places, axis=0).max()) or 1.0
    n, found = len(places), (places - low - np.ptp(places, axis=0) / 2) / span
    gap = 0.6 / np.sqrt(n) if n > NAMED else 0.09
    spiral = np.arange(n)[:, None] ** 0.5 * np.stack(
        [np.cos(turn := GOLDEN * np.arange(n)), np.sin(turn)], 1
    )
    found = found + 1e-3 * spiral  # those who coincide leave each other in different directions
    for _ in range(60):
        between = found[:, None] - found[None]
        apart = np.linalg.norm(between, axis=-1) + np.eye(n)
        push = np.clip(gap - apart, 0, None) / apart
        found = found + 0.25 * (push[..., None] * between).sum(axis=1)
    low, high = found.min(axis=0), found.max(axis=0)
    return (found - (low + high) / 2) / float((high - low).max() or 1.0) + 0.5


def drawn(groups: Sequence[Group]) -> Iterator[Drawn]:
    """Yield the graph of the first seed, where one group is shown and has personal weights."""
    run = groups[0].runs[0]
    found = network(run) if len(groups) == 1 else None
    if found is None:
        return
    kind = "class" if run.summary["task"] == "classification" else "bin of the target"
    seed = f", seed {run.config['seed']}" if len(groups[0].runs) > 1 else ""
    edge = "Line" if len(found.clients) > NAMED else "Arrow, from source to learner"
    caption = (
        f"Mixing weights as a graph, last round{seed}. Near: like labels; colour: main {kind}. "
        f"{edge}: a weight above {found.threshold:.3g}."
    )
    yield Drawn(network_figure(found, run.class_names, kind), caption, _told(found))


def _told(found: Network) -> str:
    same = sum(found.main[source] == found.main[learner] for source, learner, _ in found.edges)
    told = f"{len(found.clients)} clients, {len(found.edges)} weights above {found.threshold:.3g}"
    if not found.edges:
        return f"{told} between two clients."
    source, learner, weight = found.edges[0]
    return (
        f"{told}, {same} of them between clients of one colour. The largest: client "
        f"{found.clients[learner]} learns from client {found.clients[source]} with {weight:.2f}."
    )


@styled
def network_figure(found: Network, class_names: Sequence[str] | None, kind: str) -> Figure:
    """Draw clients as dots in the colour of their main class, and edges as wide as the weight."""
    many = len(found.clients) > NAMED
    figure, (axes,) = canvas(WIDTH, 5.0)
    axes.set(xlim=(-0.06, 1.06), ylim=(-0.06, 1.06), aspect="equal")
    axes.set_axis_off()
    largest = max((weight for *_, weight in found.edges), default=1.0)
    for source, learner, weight in reversed(found.edges):  # the largest on top
        style = "-" if many else "-|>,head_length=3,head_width=1.6"
        axes.add_patch(
            FancyArrowPatch(
                found.places[source], found.places[learner], arrowstyle=style,
                connectionstyle="arc3,rad=0.12", shrinkA=3 if many else 8, shrinkB=3 if many else 8,
                lw=0.4 + (1.2 if many else 2.2) * weight / largest, color=INK,
                alpha=0.25 + 0.5 * weight / largest,
            )
        )  # fmt: skip
    classes = int(found.main.max()) + 1
    colours = class_colours(max(classes, len(class_names or ())))
    for label in np.unique(found.main):
        own = found.main == label
        name = str(class_names[label]) if class_names is not None else str(label)
        (across, up), size = found.places[own].T, 25 if many else 170
        axes.scatter(across, up, size, color=colours[label], label=name, zorder=3)
    if not many:
        for client, place, label in zip(found.clients, found.places, found.main, strict=True):
            _number(axes, place, str(client), colours[label])
    if len(np.unique(found.main)) <= 20:
        legend_below(figure, axes)
        figure.legends[0].set_title(f"main {kind}")
    return figure


def _number(axes: Axes, place: np.ndarray, text: str, ground: str) -> None:
    red, green, blue = to_rgb(ground)
    ink = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"
    axes.text(place[0], place[1], text, ha="center", va="center", fontsize=7, color=ink, zorder=4)
