"""Runs on texts: every engine, a stop, mixed models; what computes with samples is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import fedkd as command
from support import mostly_slow, slow
from tokenizers import Tokenizer

import fedkd
from fedkd.check.models import some_texts
from fedkd.config.overrides import compose
from fedkd.errors import ConfigError
from fedkd.models.padded import last_of
from fedkd.plugins import parameters
from fedkd.plugins.table import SEAMS
from fedkd.run.estimate import plan

DATA = some_texts()
SHORT: dict[str, Any] = {
    "clients": 5,
    "rounds": 2,
    "engine": "inline",
    "data.samples_per_client": 20,
    "data.length": 8,
    "data.vocabulary": 300,
    "transfer.size": 60,
    "fit.epochs": 1,
}
MIXED = [
    "embedding_bag",
    {"name": "embedding_bag", "dim": 8},
    {"name": "gru", "dim": 8, "hidden": 8},
    {"name": "transformer", "dim": 8, "layers": 1},
    {"name": "textcnn", "dim": 8, "filters": 4},
]
RECKONING = {"dafkd", "dense", "edgefd", "fedaux", "fedcache"}
RECKONING |= {"kafal", "kafal_soft", "kafal_student", "selective_fd"}
"""Methods that compute with samples themselves, as they are by default."""


def run(strategy: Any = "fedmd", **settings: Any) -> Any:
    return fedkd.simulate(strategy, data=DATA, **SHORT | settings)


@pytest.mark.parametrize("strategy", ["knfu", slow("fedmd")])
def test_mixed_models_end_alike_on_every_engine(strategy: str) -> None:
    digests = {
        engine: run(strategy, model=MIXED, engine=engine, fraction=0.8).summary["digest"]
        for engine in ("inline", "ray")
    }
    assert digests["inline"] == digests["ray"]


@pytest.mark.slow
def test_flowers_engine_ends_alike() -> None:
    flowers = {"name": "flower", "actors": 1}
    inline, flower = (run("knfu", model=MIXED, engine=one) for one in ("inline", flowers))
    assert inline.summary["digest"] == flower.summary["digest"]


def test_a_run_is_resumed_and_its_tokenizer_is_kept(tmp_path: Path) -> None:
    whole = run("knfu", model=MIXED, rounds=3)
    run("knfu", model=MIXED, rounds=1, run_dir=str(tmp_path / "run"))
    kept = (tmp_path / "run" / "tokenizer.json").read_bytes()
    again = fedkd.resume(tmp_path / "run", rounds=3, data=DATA)
    assert again.summary["digest"] == whole.summary["digest"]
    assert (tmp_path / "run" / "tokenizer.json").read_bytes() == kept
    ids = torch.tensor([Tokenizer.from_str(kept.decode()).encode("word1 word2 word1").ids])
    assert again.model(0)(ids).shape == (1, 10)


def test_the_default_model_is_that_of_texts_and_is_written_down() -> None:
    result = run(**{"model.dim": 4})
    model = json.loads((result.run_dir / "spec.json").read_text())["model"]
    assert model == {"name": "embedding_bag", "dim": 4}
    plain = run("fedavg")
    assert json.loads((plain.run_dir / "spec.json").read_text())["model"] == "embedding_bag"
    digits = fedkd.simulate("fedmd", clients=2, rounds=1, engine="inline")
    assert json.loads((digits.run_dir / "spec.json").read_text())["model"] == "mlp"


STRATEGIES = SEAMS["strategies"].shipped()


@pytest.mark.parametrize("name", mostly_slow(STRATEGIES, "fedavg", "fedproto", "dafkd", "kafal"))
def test_every_method_works_on_texts_or_says_why_not(name: str) -> None:
    cls = STRATEGIES[name]
    node = {"name": name} | ({"dim": 8} if name == "fedmrl" else {})  # as narrow as the models
    if "mentee" in parameters(cls):
        with pytest.raises(ConfigError, match=r"strategy\.mentee=mlp: needs pictures or numbers"):
            run({"name": name, "mentee": "mlp"})
    model = "auto" if cls.homogeneous else MIXED[:3]
    settings = {"model": model, "transfer.labelled": cls.needs_labels}
    settings |= {"fit.epochs": max(1, cls().least_epochs)}
    if cls.usual_model != "mlp":  # the zoo has no such model for texts
        with pytest.raises(ConfigError, match=rf"^model=.*{name} .*EmbeddingBag has none"):
            run(node, **settings)
    elif name in RECKONING:
        with pytest.raises(ConfigError, match=rf"^strategy={name}: .*token ids of texts are no qu"):
            run(node, **settings)
    else:
        assert run(node, **settings).summary["rejected"] == 0


def test_without_compensation_active_learning_works_on_texts() -> None:
    learning = {"kd_weight": 0, "rounds_per_cycle": 1, "budget": 0.1, "initial": 0.2}
    for sampler in ("coreset", "badge", "logo", "ksas"):
        result = run({"name": "kafal_soft", **learning}, sampler=sampler, rounds=2)
        assert result.summary["rejected"] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fit.augment": True}, r"^fit\.augment=true: flips and crops pictures, and a sample is 8"),
        ({"model": "lenet5"}, r"^model=lenet5: needs pictures or numbers, and .*\(allowed: embed"),
        ({"model": ["gru", "mlp"]}, r"^model=mlp: needs pictures or numbers"),
        (
            {"model": "gru", "privacy": {"name": "dp_sgd", "noise_multiplier": 1.0}},
            r"^privacy=dp_sgd: cannot train GRU",
        ),
        (
            {"model": "huggingface", "privacy": {"name": "dp_sgd", "noise_multiplier": 1.0}},
            r"^privacy=dp_sgd: cannot train huggingface: Opacus has no gradient of model\.bert",
        ),
    ],
    ids=["augment", "pictures", "list", "gru", "huggingface"],
)
def test_what_does_not_fit_texts_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(**settings)


def test_augmentation_of_a_table_is_refused_too() -> None:
    table = ([[float(i), float(i % 3)] for i in range(200)], [i % 3 for i in range(200)])
    with pytest.raises(ConfigError, match=r"pictures, and a sample is \(2,\); set it to false"):
        fedkd.simulate("fedmd", data=table, clients=2, engine="inline", **{"fit.augment": True})


@pytest.mark.parametrize("model", ["embedding_bag", slow("textcnn"), slow("transformer")])
def test_dp_sgd_trains_models_of_texts(model: str) -> None:
    private = {"name": "dp_sgd", "noise_multiplier": 1.0}
    assert run(model=model, privacy=private).summary["privacy"]["epsilon"] > 0


@pytest.mark.parametrize("model", ["embedding_bag", "gru", slow("transformer")])
def test_clients_side_by_side_learn_as_one_by_one(model: str) -> None:
    alone, together = (run(model=model, **{"engine.stack": stack}) for stack in ("off", "3"))
    for client in range(SHORT["clients"]):
        models = alone.model(client), together.model(client)
        for one, other in zip(*(model.parameters() for model in models), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_attacks_on_texts_work_or_are_refused(tmp_path: Path) -> None:
    for strategy in ("fedmd", "fedavg"):
        run(strategy, run_dir=str(tmp_path / strategy), **{"record.knowledge": True})
    told = {}
    for name, cls in SEAMS["privacy_attacks"].shipped().items():
        brief = [f"{key}={value}" for key, value in getattr(cls, "brief", {}).items()]
        of = "fedavg" if "parameters" in (cls.kinds or ()) else "fedmd"
        done = command("attack", tmp_path / of, "--attack", name, *brief)
        told[name] = done.exit_code, done.output
    pictures = {"gradient_inversion", "paired_logits"}
    assert {name for name, (code, _) in told.items() if code} == pictures, told
    for name in pictures:
        assert told[name][0] == 2
        assert "shape (8,), are no pictures" in " ".join(told[name][1].split()), told[name]


def test_a_dry_run_and_the_data_command_know_texts(tmp_path: Path) -> None:
    from datasets import Dataset

    folder = tmp_path / "set"
    folder.mkdir()
    Dataset.from_dict({"text": DATA[0], "label": DATA[1]}).to_parquet(str(folder / "train.parquet"))
    words = [f"data={folder}", *(f"{k}={v}" for k, v in SHORT.items()), "model=[embedding_bag,gru]"]
    cost = plan(compose(words))
    assert set(cost.architectures) == {"embedding_bag", "gru"}
    assert cost.seconds > 0
    done = command("data", *words, "--out", tmp_path / "shares.png")
    assert done.exit_code == 0, done.output
    assert "byte-level BPE" in " ".join(done.output.split())


@pytest.mark.slow
def test_topics_are_learnt_as_well_as_is_known(real_data: Callable[[str], Path]) -> None:
    """One client, no federation: 0.79 to 0.81 for an embedding bag, 0.15 for a guess."""
    real_data("topics")
    result = fedkd.simulate(
        "local",
        data="topics",
        clients=1,
        rounds=10,
        engine="inline",
        fit={"epochs": 1, "optimizer": "adam", "lr": 5e-3, "batch_size": 64},
        **{"data.alpha": None, "transfer.size": 1},
    )
    assert result.summary["alma_global"]["last"] == pytest.approx(0.81, abs=0.03)


class EachToken(torch.nn.Module):
    """A classifier of texts whose head answers at every token; the last one's answer counts."""

    def __init__(self, vocabulary: int, classes: int) -> None:
        super().__init__()
        self.embedding, self.head = torch.nn.Embedding(vocabulary, 8), torch.nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return last_of(self.head(self.embedding(x)), x != 0)


@pytest.mark.parametrize(
    "more",
    [
        *({"strategy": name} for name in ("fedproto", "moon", "fedrod", "fedkd_wu", "uwa")),
        *({"strategy": "fedmd", "objective": name} for name in ("nd", "dhkd")),
    ],
    ids=str,
)
def test_a_head_that_answers_at_every_token_has_no_features_of_a_text(more: dict[str, Any]) -> None:
    words = "the last linear layer of EachToken answers at every place of a sample, not once"
    with pytest.raises(ConfigError, match=words):
        run(model=EachToken, **more)
