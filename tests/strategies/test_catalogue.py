"""The table of methods says what the classes say, and is complete."""

import re
from dataclasses import replace

import pytest
import torch
from fedkd.clients.exchange import Exchange
from fedkd.strategies.catalogue import COLUMNS, PAGE, cited, documented_state, page, row
from fedkd.strategies.flower_adapter import FlowerStrategy
from fedkd.strategies.fusing import fuse_in_blocks
from fedkd.strategies.parametric import ParameterFusion

from fedkd.engine.base import InlineBlocks
from fedkd.knowledge import KnowledgeStack
from fedkd.models.mlp import MLP
from fedkd.plugins import available, create
from fedkd.rounds.protocol import Strategy

STRATEGIES = available("strategies", Strategy)


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"


def test_every_method_says_where_it_comes_from_and_how_sure_it_is() -> None:
    without = []
    for name, cls in STRATEGIES.items():
        cells = dict(zip(COLUMNS, row(name, cls), strict=True))
        if name != "local" and not (cells["confidence"] and cells["paper"]):
            without.append(name)
    assert not without, f"module docstrings without a citation or `Confidence:`: {without}"


def test_papers_have_authors_and_a_title() -> None:
    ours = ("local", "kafal_soft", "kafal_student", "geometric_median", "fedavg_kd")
    ours += ("edgefd", "kta")  # of whose papers no more than title and number is known to us
    papers = {name: row(name, cls)[-1] for name, cls in STRATEGIES.items() if name not in ours}
    form = re.compile(r'[A-Z][a-z]+.*, "[^"]+", .*(20\d\d|arXiv \d)')
    bad = [name for name, paper in papers.items() if not form.match(paper)]
    assert not bad


def test_the_page_knows_of_secure_aggregation() -> None:
    assert "secure.aggregation=true" in page()
    assert "has\n  none" not in page()


def test_what_secure_aggregation_could_carry_has_one_teacher_for_all() -> None:
    """From sums alone, a server can only make what is the same for everybody."""
    assert not [n for n, cls in STRATEGIES.items() if cls.sums_only and cls.personalised]


def test_confidence_and_paper_are_parsed() -> None:
    doc = 'X: y.\n\nA and B, "T", arXiv 1. **Certain** (z).\n\nMore. Confidence: **secondary**.'
    assert cited(doc) == ('A and B, "T", arXiv 1', "secondary")
    assert cited("X: y.") == ("", "")


def test_state_is_read_from_the_docstrings() -> None:
    assert documented_state(ParameterFusion) == ["shared.N", "fresh"]
    assert documented_state(STRATEGIES["twin_merging"]) == ["shared.N", "fresh"]
    assert documented_state(STRATEGIES["local"]) == []


def stack_for(strategy: Strategy, values: torch.Tensor) -> KnowledgeStack:
    """Knowledge of clients that are sure of everything alike, as the strategy's exchange has it."""
    node = strategy.exchange_node()
    assert node is not None
    exchange: Exchange = create(dict(node), "clients.exchange", Exchange, "exchange")
    n, rows, _ = values.shape
    model = MLP((4,), values.shape[-1])
    extras = exchange.extras(model, values.shape[-1])
    if exchange.kind == "soft_labels":
        values = values.softmax(dim=-1)
    if exchange.kind == "parameters":
        values = values.flatten(1)
    if exchange.kind == "masks":
        values = (values > 0).float().flatten(1)
    return KnowledgeStack(
        exchange.kind,
        values,
        list(range(n)),
        torch.arange(rows),
        mask=torch.ones(n, rows, dtype=torch.bool) if exchange.masked else None,
        scores=torch.ones(n, rows) if exchange.scored else None,
        extras={name: torch.ones(n, *shape) for name, shape in extras.items()},
    )


def redistributed(values: torch.Tensor) -> torch.Tensor:
    """The first two clients share what they have evenly: no sum over clients changes."""
    other = values.clone()
    other[:2] = values[:2].mean(dim=0)
    return other


def answers(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """What a method makes of knowledge, and of other knowledge with the same sums."""
    found = []
    for change in (lambda v: v, redistributed):
        strategy = STRATEGIES[name]()
        values = torch.randn(5, 6, 6, generator=torch.Generator().manual_seed(3))
        stack = stack_for(strategy, values)
        stack = replace(stack, values=change(stack.values))
        found.append(fuse_in_blocks(strategy, stack, InlineBlocks())[0].values)
    return found[0], found[1]


@pytest.mark.parametrize(
    "name",
    [n for n, c in STRATEGIES.items() if c.sums_only and not issubclass(c, FlowerStrategy)],
)
def test_where_sums_are_said_to_suffice_they_do(name: str) -> None:
    torch.testing.assert_close(*answers(name), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["knfu", "cronus", "coordinate_median", "ktpfl", "comet"])
def test_where_they_do_not_the_difference_shows(name: str) -> None:
    assert not STRATEGIES[name].sums_only
    one, two = answers(name)
    assert (one - two).abs().max() > 1e-3
