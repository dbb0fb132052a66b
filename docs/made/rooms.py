"""The map of the rooms, drawn from the table that CONTRIBUTING shows and a test reads."""

import re
from html import escape
from itertools import pairwise
from pathlib import Path
from statistics import fmean

Table = dict[str, tuple[str, set[str]]]
"""A room -> what is in it, and the rooms that it may import."""

WIDTH, HIGH, WIDE, ROW, MARGIN = 1000, 26, 92, 84, 8


def table(path: Path) -> Table:
    """Read the table of a Markdown file."""
    rows = re.findall(
        r"^\| `(\w+)` \| ([^|]+) \|([^|]*)\|$", path.read_text(encoding="utf-8"), re.M
    )
    return {name: (about, set(allowed.split())) for name, about, allowed in rows}


def needed(rooms: Table) -> dict[str, set[str]]:
    """Return the arrows that do not follow from others.

    Examples
    --------
    >>> needed({"a": ("", set()), "b": ("", {"a"}), "c": ("", {"a", "b"})})
    {'a': set(), 'b': {'a'}, 'c': {'b'}}
    """
    below: dict[str, set[str]] = {}
    for name, (_, allowed) in rooms.items():
        below[name] = allowed.union(*(below[other] for other in allowed))
    return {
        name: {one for one in allowed if not any(one in below[other] for other in allowed)}
        for name, (_, allowed) in rooms.items()
    }


def floors(rooms: Table) -> dict[str, int]:
    """Return how many rooms lie below each, at most; the table's order is from the bottom."""
    found: dict[str, int] = {}
    for name, (_, allowed) in rooms.items():
        found[name] = 1 + max((found[other] for other in allowed), default=0)
    return found


Place = str | tuple[str, str, int]
"""A room, or where the arrow between two rooms crosses a floor."""


def crossings(rooms: Table) -> tuple[list[list[Place]], list[list[Place]]]:
    """Return what lies on each floor, from the ground, and the arrows as chains of places."""
    level, chains = floors(rooms), []
    layers: list[list[Place]] = [[] for _ in range(max(level.values()))]
    for name in rooms:
        layers[level[name] - 1].append(name)
    for name, others in needed(rooms).items():
        for other in sorted(others):
            between: list[Place] = []
            for floor in range(level[name] - 1, level[other], -1):
                between.append((name, other, floor))
                layers[floor - 1].append(between[-1])
            chains.append([name, *between, other])
    return layers, chains


def placed(layers: list[list[Place]], chains: list[list[Place]]) -> dict[Place, float]:
    """Return where on its floor each place is, so that arrows are short and cross little."""
    near: dict[Place, list[Place]] = {place: [] for layer in layers for place in layer}
    for chain in chains:
        for upper, lower in pairwise(chain):
            near[upper].append(lower)
            near[lower].append(upper)
    x: dict[Place, float] = {}
    for layer in layers:
        x |= _spread(layer, dict.fromkeys(layer, WIDTH / 2))
    for _ in range(60):
        for layer in [*layers, *reversed(layers)]:
            wish = {p: fmean(x[other] for other in near[p]) if near[p] else x[p] for p in layer}
            layer.sort(key=wish.__getitem__)
            x |= _spread(layer, wish)
    return x


def _spread(layer: list[Place], wish: dict[Place, float]) -> dict[Place, float]:
    """Put places side by side, each as near to where it would like to be as there is room."""
    wide = [WIDE + 12 if isinstance(place, str) else 14 for place in layer]
    left, right = [], []
    edge = MARGIN + 0.0
    for place, width in zip(layer, wide, strict=True):
        left.append(max(edge + width / 2, wish[place]))
        edge = left[-1] + width / 2
    edge = WIDTH - MARGIN + 0.0
    for place, width in reversed(list(zip(layer, wide, strict=True))):
        right.append(min(edge - width / 2, wish[place]))
        edge = right[-1] - width / 2
    middle = [(a + b) / 2 for a, b in zip(left, reversed(right), strict=True)]
    return dict(zip(layer, middle, strict=True))


def drawn(rooms: Table, pages: dict[str, str] | None = None) -> str:
    """Return the map as SVG: a room imports what its arrows lead to, and what is below those.

    Parameters
    ----------
    rooms : dict
        See `table`.
    pages : dict, optional
        Rooms that have a page of the API, which theirs leads to.
    """
    layers, chains = crossings(rooms)
    x = placed(layers, chains)
    y = {
        place: MARGIN + HIGH / 2 + (len(layers) - 1 - floor) * ROW
        for floor, layer in enumerate(layers)
        for place in layer
    }
    parts = [_arrow([(x[place], y[place]) for place in chain]) for chain in chains]
    parts += [
        _room(name, rooms[name][0], x[name], y[name], name in (pages or {})) for name in rooms
    ]
    low, far = min(x.values()) - WIDE / 2 - MARGIN, max(x.values()) + WIDE / 2 + MARGIN
    frame = f"{low:.0f} 0 {far - low:.0f} {2 * MARGIN + HIGH + (len(layers) - 1) * ROW}"
    head = f'<svg viewBox="{frame}" role="img" aria-label="The rooms of fedkd">'
    return f'<div class="rooms">{head}{"".join(parts)}</svg></div>'


def _arrow(points: list[tuple[float, float]]) -> str:
    x, y = points[0][0], points[0][1] + HIGH / 2
    path = f"M{x:.0f} {y:.0f}"
    for i, (right, below) in enumerate(points[1:], 2):
        end = below - HIGH / 2 if i == len(points) else below
        half = (y + end) / 2
        path += f"C{x:.0f} {half:.0f} {right:.0f} {half:.0f} {right:.0f} {end:.0f}"
        x, y = right, end
    return f'<path d="{path}"/>'


def _room(name: str, about: str, x: float, y: float, has_page: bool) -> str:
    left, top = x - WIDE / 2, y - HIGH / 2
    box = (
        f"<g><title>{escape(about)}</title>"
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{WIDE}" height="{HIGH}" rx="4"/>'
        f'<text x="{x:.0f}" y="{y + 4:.0f}">{name}</text></g>'
    )
    return f'<a href="api/{name}.html">{box}</a>' if has_page else box
