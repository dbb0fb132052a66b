"""The map of KnFu's phase diagram: who wins, by local data size and skew."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ...report.drawing.style import GROUPS, INK, canvas, styled
from .knfu_phase_compared import Rows
from .knfu_phase_plan import ALPHAS, METHODS, SIZES
from .paired import PLACES

COLOURS = dict(zip(METHODS, GROUPS, strict=True))


@styled
def figure(rows: Rows) -> Figure:
    """Draw a map for each place; hatched where the winner is not told from all others."""
    drawn, every = canvas(7.0, 3.1, columns=len(PLACES))
    for axes, (place, column) in zip(every, PLACES.items(), strict=True):
        _map(axes, rows, column)
        axes.set_title(place, fontsize=10)
        axes.set_xlabel("Dirichlet alpha")
    every[0].set_ylabel("samples a client")
    shown = [Patch(color=colour, label=name) for name, colour in COLOURS.items()]
    shown.append(Patch(facecolor="none", edgecolor=INK, hatch="///", label="undecided"))
    drawn.legend(handles=shown, loc="outside lower center", ncols=4)
    return drawn


def _map(axes: Axes, rows: Rows, column: str) -> None:
    axes.grid(visible=False)
    for y, samples in enumerate(SIZES):
        for x, alpha in enumerate(ALPHAS):
            if (winner := rows.winner(column, samples, alpha)) is None:
                continue
            hatch = None if winner.decided else "///"
            colour = COLOURS[winner.name]
            axes.add_patch(
                Rectangle((x - 0.5, y - 0.5), 1, 1, fc=colour, ec="white", hatch=hatch, lw=0.5)
            )
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
            axes.text(x, y, f"{winner.mean:.0f}", ha="center", va="center", fontsize=8, bbox=box)
    axes.set_xticks(range(len(ALPHAS)), [f"{alpha:g}" for alpha in ALPHAS])
    axes.set_yticks(range(len(SIZES)), [str(size) for size in SIZES])
    axes.set_xlim(-0.5, len(ALPHAS) - 0.5)
    axes.set_ylim(-0.5, len(SIZES) - 0.5)
