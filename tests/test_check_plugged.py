"""`fedkd check` on every kind of plug-in: what is shipped holds, what is broken is named."""

import re

import pytest
from typer.testing import CliRunner

from fedkd.check.checking import line, subject_for
from fedkd.check.common import IN_RUNS
from fedkd.check.promises import checked
from fedkd.cli.app import app
from fedkd.errors import ConfigError
from fedkd.plugins.table import PARTS, SEAMS, seams_of

ELSEWHERE = ("strategies", "samplers")  # in tests of their own
SHIPPED = [
    (seam.name, name)
    for seam in SEAMS.values()
    if seam.name not in ELSEWHERE
    for name in seam.shipped()
]
COUPLED = ("dist", "mlkd", "rkd", "sinkd", "taid", "trg")
COUPLED += ("cross_correlation", "instance_similarity")
"""Objectives of whole batches, or with a state."""
UNTOLD = {
    **{("objectives", name): {"remembers"} for name in SEAMS["objectives"].shipped()},
    **{("objectives", name): {"remembers", "per_sample"} for name in COUPLED},
    **{("objectives", name): {"per_sample"} for name in ("ctkd", "dhkd", "nd", "tgeo")},
    **{("objectives", name): {"remembers", "effective"} for name in ("l1", "mse")},
    ("privacy", "dp_sgd"): {"releases"},
    ("privacy", "nfdp"): {"releases"},
    ("privacy", "none"): {"releases"},
    ("privacy_attacks", "paired_logits"): {"finds"},  # needs a second data set
}
"""Promises that do not apply."""


def judged(seam, target, suite=None, overrides=()):
    subject, promises = subject_for(SEAMS[seam], target, overrides)
    return list(checked(subject, [one for one in promises if suite is None or one in suite]))


@pytest.mark.parametrize(("seam", "name"), SHIPPED)
def test_what_is_shipped_keeps_every_promise(seam, name):
    _, promises = subject_for(SEAMS[seam], name)
    found = judged(seam, name, [one for one in promises if one not in IN_RUNS])
    assert [str(line(verdict)) for verdict in found if verdict.held is False] == []
    untold = {verdict.promise.name for verdict in found if verdict.held is None}
    assert untold == UNTOLD.get((seam, name), set())


@pytest.mark.slow
@pytest.mark.parametrize(("seam", "name"), [one for one in SHIPPED if one[0] != "privacy_attacks"])
def test_what_is_shipped_can_be_repeated_and_resumed(seam, name):
    found = judged(seam, name, IN_RUNS)
    assert [str(line(verdict)) for verdict in found if verdict.held is False] == []
    assert [verdict.promise.name for verdict in found if verdict.held] == ["repeats", "resumes"]


def test_the_table_is_whole():
    from dataclasses import fields

    from fedkd.clients import Parts

    assert len(SEAMS) == 14
    assert {seam.part for seam in PARTS} < {item.name for item in fields(Parts)}
    for seam in SEAMS.values():
        assert seam.shipped(), seam.name
        classes = [found for found in seam.shipped().values() if isinstance(found, type)]
        assert all(issubclass(cls, seam.cls) for cls in classes), seam.name
        makers = [name for name, found in seam.shipped().items() if not isinstance(found, type)]
        assert makers == (["huggingface"] if seam.name == "models" else [])  # makes others' models


BROKEN = """
import torch
from fedkd.clients.attacks import Attack
from fedkd.clients.exchange import SoftLabels
from fedkd.clients.oracles import Oracle
from fedkd.clients.privacy import Mechanism
from fedkd.clients.samplers import ScoreSampler
from fedkd.clients.standard import Standard
from fedkd.codecs.float16 import Float16
from fedkd.codecs.none import NONE
from fedkd.distillation import Objective
from fedkd.distillation.guards import Guard
from flwr_datasets.partitioner import Partitioner
from fedkd.distillation.kl import KL
from fedkd.leakage import Finding, PrivacyAttack
from fedkd.models.mlp import MLP


class NoTemperature(KL):
    def __init__(self): super().__init__()


class Deaf(KL):
    def __call__(self, *batch):
        self.temperature = 1.0
        return super().__call__(*batch)


class Away(KL):
    def __call__(self, *batch): return -super().__call__(*batch)


class Infinite(Objective):
    def __call__(self, student, teacher, batch=None): return (student / 0).sum()


class Memory(KL):
    seen = 0
    def __call__(self, *batch):
        self.seen += 1
        return super().__call__(*batch) * self.seen


class Summed(KL):
    def __call__(self, student, *rest): return super().__call__(student, *rest) * len(student)


class Chance(KL):
    def __call__(self, *batch): return super().__call__(*batch) + torch.rand(())


class Careless(Guard):
    def __call__(self, teacher, own, y=None):
        return teacher.values + own.values, torch.ones(len(own.values)) > 0


class Weighing(Guard):
    def __call__(self, teacher, own, y=None):
        return teacher.values, torch.ones(len(own.values))


class Blind(Guard):
    def __call__(self, teacher, own, y=None):
        p = teacher.values.exp() / teacher.values.exp().sum(-1, keepdim=True)
        values = p.log() if teacher.kind == "logits" else p
        return values, torch.ones(len(own.values)) > 0


class Moved(Guard):
    def __call__(self, teacher, own, y=None):
        return teacher.values.copy_(own.values), torch.ones(len(own.values)) > 0


class Lucky(Guard):
    def __call__(self, teacher, own, y=None):
        return teacher.values, torch.rand(len(own.values)) > 0.5


class Mindful(Guard):
    last = None
    def __call__(self, teacher, own, y=None):
        before, self.last = self.last, own.values
        values = teacher.values if before is None else own.values
        return values, torch.ones(len(own.values)) > 0


class Naive(Objective):
    def __call__(self, student, teacher, batch=None):
        return -(teacher.probabilities() * student.softmax(-1).log()).sum(-1).mean()


class Holding(KL):
    remembers = True
    def __call__(self, student, teacher, batch=None):
        batch.memory["loss"] = loss = super().__call__(student, teacher, batch)
        return loss


class Elsewhere(KL):
    remembers = True
    phases = 0
    def start(self, student): self.phases += 1
    def __call__(self, *batch): return super().__call__(*batch) / self.phases


class Secretive(KL):
    def __call__(self, student, teacher, batch=None):
        batch.memory["seen"] = student.detach()
        return super().__call__(student, teacher, batch)


class Summing(KL):
    needs_labels = True
    def __call__(self, student, teacher, batch=None):
        return super().__call__(student, teacher) * (1 + (batch.y > 3).float().mean())


class Wide(Float16):
    def encode(self, values): return {"more": values.double().numpy(), **super().encode(values)}


class Doubled(Float16):
    def decode(self, parts, limit): return 2 * super().decode(parts, limit)


class Trusting(NONE):
    def decode(self, parts, limit):
        return torch.tensor(parts["values"]) if parts else torch.zeros(1)


class Shouting(Attack):
    def poison(self, view): return 3 * view.own


class Spiteful(Attack):
    def options(self): return {}
    def __call__(self, message, context, call_next):
        message.content["config"]["flip-labels"] = True
        return call_next(message, context)


class Guessing(Oracle):
    def label(self, ids, true_labels, generator):
        labels, answered = super().label(ids, true_labels, generator)
        return torch.randint(10, labels.shape), answered


class Silent(Oracle):
    def label(self, ids, true_labels, generator):
        labels, answered = super().label(ids, true_labels, generator)
        return labels, ~answered


class Counting(Oracle):
    asked = 0
    def label(self, ids, true_labels, generator):
        labels, answered = super().label(ids, true_labels, generator)
        Counting.asked += 1
        return (labels + Counting.asked) % 10, answered


class Restless(ScoreSampler):
    picked = 0
    def score(self, pool):
        Restless.picked += 1
        return (torch.arange(len(pool.x)) * Restless.picked % 7).float()


class Loud(Mechanism):
    def release(self, values, kind, source): return values + torch.randn(values.shape)


class Claims(Mechanism):
    protects = "everything"


class Undeclared(SoftLabels):
    def upload(self, phase):
        made = super().upload(phase)
        made.values[:] = 2.0
        return made


class Idle(Standard):
    def distil(self, clients, x, teachers, objective): return [{} for _ in clients]


class Company(Standard):
    def fit(self, clients):
        for one in clients:
            one.x = clients[0].x[:7]
            one.y = clients[0].y[:7]
        return super().fit(clients)


class Unused(MLP):
    def __init__(self, shape, classes):
        super().__init__(shape, classes)
        self.spare = torch.nn.Parameter(torch.zeros(3))


class Crowd(MLP):
    def forward(self, x): return super().forward(x - x.mean(dim=0))


class Dice(PrivacyAttack):
    access = "Nobody."
    def run(self, subject): return Finding({"a": {"b": __import__("time").time()}})


class Nothing(PrivacyAttack):
    def run(self, subject): return Finding()


class Greedy(Partitioner):
    def __init__(self, num_partitions: int = 5) -> None:
        super().__init__()
        self.count = num_partitions

    @property
    def num_partitions(self):
        return self.count

    def load_partition(self, partition_id):
        return self.dataset.select(range(partition_id, partition_id + 30))

class Moody(Greedy):
    seen = 0

    def load_partition(self, partition_id):
        Moody.seen += 1
        return self.dataset.shard(self.count, partition_id).select(range(Moody.seen))

class Nameless:
    pass
"""


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    path = tmp_path_factory.mktemp("plug-ins") / "broken.py"
    path.write_text(BROKEN)
    return path


@pytest.mark.parametrize(
    ("name", "seam", "promise", "words"),
    [
        ("NoTemperature", "objectives", "finite", "has no such parameter"),
        ("Infinite", "objectives", "finite", "the loss is "),
        ("Away", "objectives", "teaches", "lead away from the teacher"),
        ("Memory", "objectives", "forgets", "remembers something of one client for the next"),
        ("Naive", "objectives", "finite", "logits of +-1e4"),
        ("Holding", "objectives", "remembers", "memory['loss'] is no tensor without gradient"),
        ("Elsewhere", "objectives", "remembers", "keep all of it in the memory"),
        ("Secretive", "objectives", "finite", "does not support item assignment"),
        ("Summing", "objectives", "per_sample", "a batch is off its samples by "),
        ("Summed", "objectives", "per_sample", "a batch is off its samples by "),
        ("Chance", "objectives", "pure", "draws from (or seeds) a global random generator"),
        ("Wide", "codecs", "small", "soft labels of 12000 bytes take 30"),
        ("Doubled", "codecs", "returns", "numbers beyond its smallest and largest"),
        ("Careless", "guards", "answers", "returns no soft_labels for soft labels: simplex: "),
        ("Weighing", "guards", "answers", "returns a mask [12] of torch.float32 for logits"),
        ("Blind", "guards", "answers", "returns values that are not finite for logits of +-1e4"),
        ("Moved", "guards", "pure", "a guard changes teacher"),
        ("Deaf", "objectives", "tempers", "the temperature changes nothing; say so in tempers()"),
        ("Lucky", "guards", "pure", "draws from (or seeds) a global random generator"),
        ("Mindful", "guards", "pure", "answers in two ways, or remembers what it was asked before"),
        ("Trusting", "codecs", "hostile", "decode() takes no arrays at all"),
        ("Shouting", "attacks", "poisons", "off the simplex, which no server admits"),
        ("Spiteful", "attacks", "honest", "is honest, and fits otherwise"),
        ("Guessing", "oracles", "pure", "draws from (or seeds) a global random generator"),
        ("Silent", "oracles", "answers", "labels without an answer are not -1"),
        ("Counting", "oracles", "repeats", "the same run ends with "),
        ("Restless", "samplers", "repeats", "the same run ends with "),
        ("Loud", "privacy", "releases", "draws from (or seeds) a global random generator"),
        ("Claims", "privacy", "spends", "protects everything, and spends nothing"),
        ("Undeclared", "exchanges", "admitted", "every client failed in train.fit"),
        ("Idle", "clients", "trains", "distil() does not change the model"),
        ("Company", "clients", "alone", "fit() of client 1 differs by "),
        ("Unused", "models", "learns", "spare has no gradient: no layer uses it"),
        ("Crowd", "models", "apart", "logits depend on the others, by "),
        ("Dice", "privacy_attacks", "finds", "finds something else the second time"),
        ("Greedy", "partitioners", "deals", "samples go to more than one client"),
        ("Moody", "partitioners", "repeated", "the same seed deals in two ways"),
        ("Nothing", "privacy_attacks", "finds", "finds nothing: results is empty"),
    ],
)
def test_what_is_broken_is_named(name, seam, promise, words, broken):
    target = f"{broken}:{name}"
    assert [one.name for one in seams_of(target)] == [seam]
    subject, promises = subject_for(SEAMS[seam], target)
    (wanted,) = [one for one in promises if one.name == promise]
    (verdict,) = checked(subject, (wanted,))
    assert verdict.held is False
    assert words in verdict.remark
    assert "\n" not in verdict.remark


def fedkd(*args):
    done = CliRunner().invoke(app, ["check", *args])
    return done.exit_code, done.output


def test_all_that_have_one_name_are_checked():
    code, output = fedkd("none")
    assert code == 0, output
    titles = [line for line in output.splitlines() if line.startswith("none")]
    assert titles == [f"none ({kind})" for kind in ("guards", "attacks", "codecs", "privacy")]
    assert output.count(" 0 broken") == 4


def test_parameters_can_be_given():
    assert fedkd("topk", "compress.k=12")[1].count("it takes none of what was tried") == 4
    code, output = fedkd("topk", "compress.kk=12")
    assert (code, "did you mean 'compress.k'?" in output) == (2, True)
    code, output = fedkd("label_distribution", "strength=2", "clients=4")
    assert code == 0, output


def test_what_is_no_plug_in_is_refused_in_one_line(broken):
    code, output = fedkd(f"{broken}:Nameless")
    assert code == 2
    assert "Nameless subclasses none of Strategy, Task, Exchange, Objective" in output
    assert len(output.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("seam", "name", "key"),
    [
        ("privacy", "nfdp", "epsilon"),
        ("exchanges", "mentor", "energy_start"),
        ("oracles", "noisy", "p"),
    ],
)
def test_no_parameter_may_be_nan(seam, name, key):
    node = {"name": name, key: float("nan")}
    with pytest.raises(ConfigError, match=rf"{SEAMS[seam].key}\.{key}=nan: must be a number"):
        SEAMS[seam].create(node)


HALLS = """
from flwr_datasets.partitioner import Partitioner


class Halls(Partitioner):
    num_partitions = 3

    def load_partition(self, partition_id):
        return self.dataset.shard(3, partition_id)
"""


def test_a_partitioner_that_makes_so_many_clients_deals_to_so_many(tmp_path):
    path = tmp_path / "halls.py"
    path.write_text(HALLS)
    code, output = fedkd(f"{path}:Halls")
    assert code == 0, output
    assert "600 of 600 to 3 clients" in output
    code, output = fedkd(f"{path}:Halls", "clients=4")
    assert code == 2
    assert f"clients=4: {path}:Halls makes 3 partitions: set it to that" in output


@pytest.mark.parametrize("seam", [name for name in SEAMS if name != "strategies"])
def test_what_the_user_sets_is_not_set_otherwise(seam):
    words = {"clients": 4, "transfer.size": 71, "data.samples_per_client": 13, "engine.actors": 1}
    own = {"partitioners": "iid", "privacy_attacks": "label_distribution"}
    name = own.get(seam) or next(iter(SEAMS[seam].shipped()))
    given = [f"{key}={value}" for key, value in words.items()]
    config = subject_for(SEAMS[seam], name, given)[0].config
    seen = config.clients, config.transfer.size, config.data.samples_per_client
    assert (*seen, config.engine.name) == (4, 71, 13, "inline")


@pytest.mark.parametrize("name", ["taid", "kd3"])
@pytest.mark.parametrize("given", ["strategy=fedavg", "distil.epochs=0"])
def test_runs_in_which_nobody_is_taught_tell_nothing_of_what_teaches(name, given):
    seam = seams_of(name)[0].name
    found = judged(seam, name, IN_RUNS[:1], [given])
    assert found[0].held is False
    assert re.search("has nothing to do in these runs|teaches parameters; leave", found[0].remark)


@pytest.mark.parametrize(
    ("name", "given"), [("kl", "objective=js"), ("kd3", "guard.name=bsd"), ("mlp", "+model=lenet5")]
)
def test_another_of_its_kind_is_not_what_is_checked(name, given):
    done = CliRunner().invoke(app, ["check", name, given])
    assert done.exit_code == 2
    assert f"what is checked is {name}; leave it out" in done.output
