"""KnFu with ``beta=auto``: a client keeps what it learns best from, and says so to nobody."""

from types import SimpleNamespace as Some

import pytest
import torch
from fedkd.clients.base import Client
from fedkd.clients.choosing import CHOICE, choose
from fedkd.strategies import FusionStrategy
from fedkd.strategies.fusing import fuse_in_blocks
from fedkd.strategies.knfu import KnFu
from support import TINY, fedkd, stack_of
from torch import nn

from fedkd import ConfigError, resume, simulate
from fedkd.config.overrides import compose
from fedkd.distillation import Target
from fedkd.engine.base import InlineBlocks
from fedkd.errors import RunError
from fedkd.knowledge import Knowledge, to_tensor
from fedkd.rounds.protocol import Outcome
from fedkd.rounds.timing import Cost
from fedkd.run import estimate
from fedkd.rundir.recordings import Recordings

AUTO = {"name": "knfu", "beta": "auto"}
HELD = {**TINY, "data.validation": 0.2}
LEARNING = {**HELD, "data.alpha": 10.0, "fit.epochs": 5, "distil.epochs": 5}
"""Settings in which it pays to learn from others, mostly."""
MLPS = ["mlp", {"name": "mlp", "hidden": 16}]


class Number(nn.Module):
    """Predicts a number, whatever the sample is."""

    def __init__(self, start):
        super().__init__()
        self.number = nn.Parameter(torch.tensor(start))


def phase(start, wanted):
    """A client whose number should be `wanted`, and that learns whatever its teacher says."""
    model = Number(start)
    client = Client(0, model, torch.zeros(0), torch.zeros(0), torch.Generator().manual_seed(0))
    client.tensors["kept"] = torch.tensor([1.0])
    drawn = []

    def learn(phase, target):
        drawn.append((torch.rand(1, generator=client.generator).item(), torch.rand(1).item()))
        model.number.data.copy_(target.values.mean())
        client.tensors["kept"] = client.tensors["kept"] + target.values.mean()
        return {"loss_distil": target.values.mean().item()}

    held = torch.zeros(2, 1), torch.full((2,), wanted)
    parts = Some(
        exchange=Some(learn=learn),
        task=Some(loss=lambda outputs, y: (outputs - y).square().mean()),
    )
    own = Some(
        client=client,
        index=0,
        tools=Some(parts=parts),
        bench=Some(federation=Some(validation=lambda _: held)),
        loop=Some(predict=lambda clients, x: [clients[0].model.number.detach().expand(len(x))]),
    )
    return own, drawn


def teachers(*numbers):
    """Each says one number of both samples."""
    return Target(torch.tensor([[n] for n in numbers for _ in range(2)]), "logits")


@pytest.mark.parametrize(
    ("wanted", "choice", "number"), [(2.2, 1, 2.0), (0.6, 0, 1.0), (5.0, 2, 4.0), (-1.0, 3, 0.0)]
)
def test_the_teacher_with_the_least_held_out_loss_is_kept(wanted, choice, number):
    own, drawn = phase(0.0, wanted)
    numbers = choose(own, teachers(1.0, 2.0, 4.0), 3)
    assert numbers.pop(CHOICE) == choice
    assert own.client.model.number.item() == number
    assert own.client.tensors["kept"].tolist() == [1.0 + number]  # each began where the fit ended
    assert numbers == ({} if choice == 3 else {"loss_distil": number})
    assert len(drawn) == 3
    assert len(set(drawn)) == 1  # the same batches for all, and the same dropout


def test_of_equals_none_and_then_the_first_is_kept_and_no_number_is_the_worst():
    own, _ = phase(1.0, 2.0)
    assert choose(own, teachers(3.0, 1.0, 3.0), 3) == {CHOICE: 3}  # all as far as it is
    own, _ = phase(0.0, 2.0)
    assert choose(own, teachers(3.0, 1.0, 1.0), 3)[CHOICE] == 0
    own, _ = phase(0.0, 2.0)
    assert choose(own, teachers(float("nan"), 1.0), 2)[CHOICE] == 1


def test_clients_are_sent_the_mixture_of_each_beta_one_after_the_other():
    labels = torch.rand(3, 300, 4, generator=torch.Generator().manual_seed(1)) ** 3
    stack = stack_of(labels / labels.sum(-1, keepdim=True))
    auto = KnFu(beta="auto", betas=[0.5, 7.0])
    sent = auto.fused(Some(blocks=InlineBlocks()), stack, Outcome())
    each = [fuse_in_blocks(KnFu(beta=b), stack, InlineBlocks())[0].values for b in (0.5, 7.0)]
    assert torch.equal(sent.values, torch.cat(each, dim=1))
    assert to_tensor(sent.records()[2]["values"]).shape == (600, 4)


def test_a_subclass_may_have_one_teacher_a_beta_for_everybody_but_none_refined():
    class Shared(KnFu):
        def fuse(self, knowledge):
            return knowledge.soft_labels[0]

    class Refined(KnFu):
        def refine(self, plan, knowledge, teacher):
            return teacher

    stack = stack_of(torch.full((3, 5, 4), 0.25))
    sent = Shared(beta="auto", betas=[0.5, 7.0]).fused(
        Some(blocks=InlineBlocks()), stack, Outcome()
    )
    assert sent.shared
    assert sent.values.shape == (10, 4)
    with pytest.raises(ValueError, match=r"beta=auto.*refine"):
        Refined(beta="auto")
    assert Refined(beta=1.0).offered == 1


def test_a_method_that_offers_several_teachers_and_has_one_is_told_so():
    class Three(FusionStrategy):
        offered = 3

        def fuse(self, knowledge):
            return knowledge.soft_labels[0]

    ids = torch.arange(2)
    plan = Some(labels=None, sample_ids=ids, blocks=InlineBlocks())
    sent = [Knowledge(0, "soft_labels", torch.full((2, 4), 0.25), ids)]
    with pytest.raises(RunError, match=r"Three: offered=3, so fused\(\) must return 6 rows.*got 2"):
        Three().teach(plan, sent, Outcome())


def test_a_run_chooses_is_resumed_and_says_nothing_more(tmp_path):
    more = {**LEARNING, "fraction": 0.6, "model": MLPS, "rounds": 3}
    whole = simulate(AUTO, run_dir=tmp_path / "whole", **more)
    simulate(AUTO, run_dir=tmp_path / "part", **{**more, "rounds": 1})
    assert resume(tmp_path / "part", rounds=3).summary["digest"] == whole.summary["digest"]
    rows = whole.clients.to_pylist()
    found = [one for one in rows if one["metric"] == CHOICE]
    learnt = [
        one for one in rows if one["metric"] == "loss_distil"
    ]  # in the tables, and nowhere else
    assert len(learnt) == sum(one["value"] < 3 for one in found)
    assert len(found) == 3 * 3  # clients that were away chose nothing
    assert {one["value"] for one in found} <= {0.0, 1.0, 2.0, 3.0}
    assert len({one["value"] for one in found}) > 1
    fixed = simulate("knfu", **more)
    assert whole.summary["bytes_up"] == fixed.summary["bytes_up"]
    assert fixed.summary["bytes_down"] < whole.summary["bytes_down"]


def test_what_is_recorded_are_all_teachers_with_the_samples_of_each(tmp_path):
    simulate(AUTO, run_dir=tmp_path, **{**HELD, "record.knowledge": True, "rounds": 1})
    (record,) = Recordings(tmp_path)
    target = record.target(2)
    assert len(record.teacher_ids) == len(target.values) == 3 * 60
    assert record.teacher_ids[60:120].tolist() == list(range(60))


def test_a_grid_of_one_kind_of_mixture_is_that_beta_or_staying_alone():
    """With two betas that leave each client its own, learning changes nearly nothing."""
    alone = simulate("local", **HELD).summary["alma_local"]["last"]
    both = {**AUTO, "betas": [1e6, 1e7]}
    assert simulate(both, **HELD).summary["alma_local"]["last"] == pytest.approx(alone, abs=0.03)


def test_numbers_are_chosen_by_their_own_loss():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(400, 3, generator=generator)
    settings = {**HELD, "task": "regression", "transfer.size": 40}
    result = simulate(AUTO, data=(x, x.sum(dim=1)), **settings)
    assert CHOICE in set(result.clients["metric"].to_pylist())


def test_bytes_and_steps_are_foreseen(monkeypatch):
    monkeypatch.setattr(estimate, "measure", lambda *_: Cost(parameters=10, step=1.0, predict=0.0))
    base = {**HELD, "transfer.per_round": 32}
    words = [f"{key}={value}" for key, value in base.items()]
    one = estimate.plan(compose([*words, "strategy=knfu"]))
    auto = estimate.plan(compose([*words, "strategy=knfu", "strategy.beta=auto"]))
    assert auto.bytes_down - one.bytes_down == 2 * 4 * 32 * 10
    assert auto.bytes_up == one.bytes_up
    assert auto.bytes_knowledge == 2 * one.bytes_knowledge  # an upload, and three teachers
    small = estimate.plan(
        compose([*words, "strategy=knfu", "strategy.beta=auto", "compress=float16"])
    )
    assert auto.bytes_down - small.bytes_down == 3 * 2 * 32 * 10
    assert auto.seconds - one.seconds == pytest.approx(2 * 2 * 5)  # two teachers, rounds, clients


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["strategy.beta=auto"], "data.validation=0.0: knfu has clients choose on samples"),
        (["strategy.betas=[0,1]"], "strategy.betas=[0, 1]: has no effect"),
        (["strategy.beta=auto", "strategy.betas=[1]"], "at least two, and different"),
        (["strategy.beta=auto", "strategy.betas=[1,-1]"], "betas=[1, -1]: must be at least 0"),
        (["strategy.beta=often"], "strategy.beta"),
        (["strategy.beta=auto", "data.validation=0.01"], "none of client 0's 20 samples"),
        (
            ["strategy.beta=auto", "data.validation=0.2", "privacy=dp_sgd", "privacy.epsilon=8"],
            "privacy=dp_sgd: does not protect the samples on which knfu has clients choose",
        ),
        (["strategy.beta=auto", "data.validation=0.2", "secure.aggregation=true"], "secure."),
    ],
)
def test_what_cannot_be_chosen_is_refused_in_a_line(tmp_path, words, said):
    settings = [f"{key}={value}" for key, value in TINY.items()]
    done = fedkd("run", *settings, "strategy=knfu", *words, f"run_dir={tmp_path}/run")
    assert done.exit_code == 2, done.output
    assert said in done.stderr.replace("\n", " ")
    assert done.stderr.count("\n") == 1


def test_python_is_told_so_too():
    with pytest.raises(ConfigError, match=r"data\.validation"):
        simulate(KnFu(beta="auto"), **TINY)
