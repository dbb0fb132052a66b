"""Privacy in whole runs: what is spent, what is refused, what composes, what resumes."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from support import TINY, fedkd

from fedkd import ConfigError, simulate
from fedkd.config.overrides import compose
from fedkd.privacy.accounting import Release, guarantee
from fedkd.run.python import resume

SMALL = TINY | {"clients": 4, "rounds": 3, "transfer.size": 40, "evaluate.samples": 50}
GAUSSIAN = {"name": "gaussian", "epsilon": 50.0}


def run(privacy, strategy="knfu", **more):
    return simulate(strategy, privacy=privacy, **SMALL | more)


def epsilons(result):
    """Return ``{(round, client): epsilon}``."""
    rows = result.clients.to_pylist()
    return {(r["round"], r["client"]): r["value"] for r in rows if r["metric"] == "epsilon"}


@pytest.fixture(scope="module")
def plain():
    return simulate("knfu", **SMALL).summary["digest"]


def test_noise_is_calibrated_to_the_planned_rounds():
    result = run(GAUSSIAN)
    summary = result.summary["privacy"]
    assert 49.5 < summary["epsilon"] <= 50
    assert summary["delta"] == 1e-5
    assert (summary["mechanism"], summary["accountant"]) == ("gaussian", "rdp")
    assert summary["protects"] == "any change of all that one client holds"
    by_round = result.rounds["epsilon"].to_pylist()
    assert by_round == sorted(by_round)
    assert by_round[-1] == summary["epsilon"]
    assert len(epsilons(result)) == 3 * 4


def test_without_a_mechanism_nothing_is_said_to_be_private(plain):
    result = run("none", **{"privacy.clip": 1.0, "privacy.epsilon": 1.0})
    assert result.summary["digest"] == plain
    wanted = {"epsilon": None, "delta": None, "mechanism": "none", "accountant": None}
    assert result.summary["privacy"] == wanted
    assert "epsilon" not in result.rounds.column_names


@pytest.mark.parametrize("name", ["label_only", "top_k", "rounding", "temperature", "swing"])
def test_coarse_knowledge_runs_and_claims_nothing(name, plain):
    result = run(name)
    assert result.summary["privacy"]["epsilon"] is None
    assert result.summary["digest"] != plain
    with pytest.raises(ConfigError, match="no formal guarantee"):
        run({"name": name, "epsilon": 1.0})


def test_label_only_uploads_one_hot_rows(tmp_path):
    run("label_only", **{"record.knowledge": True, "run_dir": str(tmp_path / "run")})
    files = sorted((tmp_path / "run" / "knowledge").iterdir())
    from safetensors.torch import load_file

    values = next(v for k, v in load_file(files[0]).items() if "values" in k)
    assert set(values.unique().tolist()) == {0.0, 1.0}


def test_dp_sgd_and_noise_are_accounted_together():
    node = {"name": ["dp_sgd", "gaussian"], "noise_multiplier": 2.0, "dp_sgd": {"clip": 0.5}}
    result = run(node, **{"fit.batch_size": 5, "fit.epochs": 2})
    history = {Release("gaussian", 2.0, 0.25): 3 * 8, Release("gaussian", 2.0): 3}
    assert result.summary["privacy"]["epsilon"] == pytest.approx(guarantee(history, 1e-5)[0])
    assert result.summary["privacy"]["mechanism"] == "dp_sgd+gaussian"


def test_absent_clients_spend_nothing_and_late_ones_do():
    more = {"fraction": 0.5, "rounds": 5, "faults.straggler": 0.4, "faults.dropout": 0.2}
    result = run({"name": "laplace", "noise_multiplier": 4.0}, **more)
    rows = result.clients.to_pylist()
    idle = {(r["round"], r["client"]) for r in rows if r["metric"] == "dropped_out"}
    took = {(r["round"], r["client"]) for r in rows if r["metric"] in ("loss_fit", "late")} - idle
    spent = epsilons(result)
    for client in range(4):
        times = 0
        for number in range(1, 6):
            times += (number, client) in took
            wanted = guarantee({Release("laplace", 4.0): times}, 1e-5)[0]
            assert spent[number, client] == pytest.approx(wanted)
    assert any(r["metric"] == "late" for r in rows)
    assert idle


def test_noise_knows_who_will_be_away():
    result = run(GAUSSIAN, **{"fraction": 0.5, "rounds": 4, "faults.crash": 0.2})
    assert 49.5 < result.summary["privacy"]["epsilon"] <= 50


def test_nfdp_spends_once_and_reports_its_delta():
    result = run({"name": "nfdp", "k": 5})
    assert set(epsilons(result).values()) == {result.summary["privacy"]["epsilon"]}
    assert result.summary["privacy"]["epsilon"] == pytest.approx(np.log(21 / 16))
    assert result.summary["privacy"]["delta"] == pytest.approx(5 / 20)


def test_pate_answers_where_clients_agree():
    node = {"name": "pate", "noise_multiplier": 0.05, "threshold": 0.4}
    strategy = {"name": "fedmd", "exchange": "soft_labels"}
    result = run(node, strategy, **{"fit.epochs": 5, "data.alpha": None})
    rounds = result.rounds.to_pylist()
    assert all(0 < row["answered"] <= 40 for row in rounds)
    assert rounds[-1]["epsilon_data_dependent"] < rounds[-1]["epsilon"]
    silent = run(node | {"threshold": 1.0, "noise_multiplier": 50.0}, strategy)
    assert silent.summary["privacy"]["epsilon"] < result.summary["privacy"]["epsilon"]


@pytest.mark.parametrize("threshold", [0.3, 0.6])
def test_a_sum_of_votes_counts_every_vote(threshold):
    node = {"name": "pate", "noise_multiplier": 0.05, "threshold": threshold}
    strategy = {"name": "fedmd", "exchange": "soft_labels"}
    more = {"clients": 7, "fit.epochs": 5, "faults.dropout": 0.2, "rounds": 2, "data.alpha": None}
    plain = run(node, strategy, **more)
    summed = run(node, strategy, **more, **{"secure.aggregation": True})
    assert sum(plain.rounds["rejected"].to_pylist()) > 0
    for column in ("answered", "epsilon_data_dependent", "epsilon"):
        assert summed.rounds[column].to_pylist() == plain.rounds[column].to_pylist()
    assert summed.rounds["answered"].to_pylist()[0] > 0
    assert summed.summary["digest"] == plain.summary["digest"]


@pytest.mark.parametrize("replacement", [False, True])
def test_a_subset_from_the_operating_system_is_drawn_once(replacement, monkeypatch):
    from fedkd.clients.privacy.nfdp import NFDP

    drawn, original = [], NFDP.select

    def select(self, client, seed):
        everything = client.x
        original(self, client, seed)
        same = (client.x.flatten(1).unsqueeze(1) == everything.flatten(1)).all(dim=-1)
        drawn.append((client.index, tuple(same.int().argmax(dim=1).tolist())))

    monkeypatch.setattr(NFDP, "select", select)
    node = {"name": "nfdp", "k": 5, "secure_rng": True, "replacement": replacement}
    first = run(node, clients=3, rounds=2)
    subsets = dict(drawn)
    assert first.summary["rejected"] == 0
    assert len(drawn) > 2 * len(subsets) == 6  # of many phases
    assert set(drawn) == set(subsets.items())  # each client's is the same in all
    assert all(len(rows) == 5 for rows in subsets.values())
    run(node, clients=3, rounds=2)
    assert dict(drawn) != subsets


def test_delta_is_small_enough_for_the_largest_client(png_folder):
    more = {"data.partitioner": "dirichlet", "data.samples_per_client": None, "data.alpha": 0.3}
    more |= {"data": str(png_folder), "data.min_partition_size": 5, "transfer.size": 20}
    with pytest.raises(ConfigError, match=r"privacy.delta=0.015: .*the largest client has n="):
        run(GAUSSIAN | {"delta": 0.015}, rounds=1, **more)
    assert run(GAUSSIAN | {"delta": 1e-5}, rounds=1, **more).summary["privacy"]["delta"] == 1e-5


@pytest.mark.parametrize("accountant", ["rdp", "pld"])
def test_either_accountant(accountant):
    result = run(GAUSSIAN | {"accountant": accountant})
    assert result.summary["privacy"]["accountant"] == accountant
    assert 49.5 < result.summary["privacy"]["epsilon"] <= 50


@pytest.mark.parametrize(
    ("privacy", "strategy", "words"),
    [
        ({"name": "gaussian", "epsilon": 0}, "knfu", r"privacy.epsilon=0: must be greater than 0"),
        (GAUSSIAN | {"delta": 0.05}, "knfu", r"privacy.delta=0.05: must be in \(0, 1/n\).*n=20"),
        (GAUSSIAN | {"delta": 0.0}, "knfu", r"privacy.delta=0.0: must be in \(0, 1/n\)"),
        (GAUSSIAN | {"clip": -1.0}, "knfu", r"privacy.clip=-1.0: must be greater than 0"),
        ({"name": "gaussian"}, "knfu", r"privacy.noise_multiplier=null: must be given, or else"),
        (GAUSSIAN, "fedmd", r"privacy=gaussian: has no bound on logits; give privacy.clip"),
        (GAUSSIAN, "fedavg", r"or logits or predictions, and there is parameters.*fedavg"),
        (GAUSSIAN, "selective_fd", r"there is also which samples it chose \(strategy selective_fd"),
        ("label_only", "fedmd", r"privacy=label_only: is for soft_labels, and there is logits"),
        ({"name": "dp_sgd", "epsilon": 1.0}, "fd", r"privacy=dp_sgd: protects the model and what"),
        ({"name": "nfdp", "epsilon": 1e-4}, "knfu", r"does not allow a single record"),
        ({"name": "nfdp", "k": 5}, "kafal_soft", r"active learning chooses them"),
        ({"name": "pate", "epsilon": 1.0}, "knfu", r"takes the place of a mean, and knfu needs"),
        ("gausian", "knfu", r"privacy=gausian: no such .*did you mean 'gaussian'"),
        (GAUSSIAN | {"clop": 1}, "knfu", r"privacy.clop=1: unknown key.*did you mean 'privacy.cl"),
        ({"name": ["gaussian", "gaussian"]}, "knfu", r"must name mechanisms, each once"),
        (GAUSSIAN | {"accountant": "gdp"}, "knfu", r"privacy.accountant=gdp: must be one of"),
        (
            {"name": "gaussian", "epsilon": 1.0, "noise_multiplier": 1.0},
            "knfu",
            r"privacy.epsilon=1.0: 3 rounds cost 9\.\d+, and 0 of them keep to it",
        ),
    ],
)
def test_what_cannot_be_private_is_refused_with_its_reason(privacy, strategy, words):
    with pytest.raises(ConfigError, match=words):
        run(privacy, strategy)


def test_models_that_opacus_cannot_handle_are_refused():
    with pytest.raises(ConfigError, match="cannot train ResNet8: BatchNorm cannot support"):
        run({"name": "dp_sgd", "epsilon": 1.0}, model=["mlp", "resnet8"])


def test_a_run_stops_after_the_last_round_that_it_can_afford(tmp_path):
    node = {"name": "gaussian", "noise_multiplier": 1.0, "epsilon": 9.0, "on_exhausted": "stop"}
    result = run(node, run_dir=str(tmp_path / "run"))
    assert result.rounds.num_rows == result.summary["rounds"] == 2
    assert result.summary["privacy"]["epsilon"] <= 9
    assert result.summary["privacy"]["exhausted"] == "2 of 3 rounds keep to the budget"
    assert result.summary["alma_local"]["last"] is not None


def test_a_finished_run_is_not_extended_beyond_its_budget(tmp_path):
    run_dir = str(tmp_path / "run")
    before = run(GAUSSIAN, run_dir=run_dir).summary
    with pytest.raises(ConfigError, match="are spent already"):
        resume(run_dir, rounds=5)
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == before
    assert resume(run_dir).summary["digest"] == before["digest"]


@pytest.mark.parametrize(
    "privacy",
    [
        {"name": "gaussian", "noise_multiplier": 0.05},
        {"name": ["dp_sgd", "laplace"], "epsilon": 100.0},
        {"name": "nfdp", "k": 9},
    ],
    ids=["gaussian", "both", "nfdp"],
)
def test_a_stopped_run_resumes_with_the_same_noise_and_epsilon(privacy, tmp_path):
    more = {"checkpoint.every": 1, "fraction": 0.7, "rounds": 4}
    whole = run(privacy, run_dir=str(tmp_path / "whole"), **more)

    from fedkd.callbacks import Callback

    class Stop(Callback):
        def on_round(self, record):
            if record.round == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(privacy, run_dir=str(tmp_path / "cut"), callbacks=[Stop()], **more)
    again = resume(tmp_path / "cut")
    assert again.summary["digest"] == whole.summary["digest"]
    assert again.summary["privacy"] == whole.summary["privacy"]
    assert epsilons(again) == epsilons(whole)


def test_noise_from_the_operating_system_does_not_repeat_and_does_not_resume(tmp_path):
    node = GAUSSIAN | {"secure_rng": True}
    first = run(node, run_dir=str(tmp_path / "run"))
    assert first.summary["digest"] != run(node).summary["digest"]
    with pytest.raises(ConfigError, match=r"privacy.secure_rng=true: a resumed run would release"):
        resume(tmp_path / "run")
    for checkpoint in (tmp_path / "run" / "checkpoint").iterdir():
        shutil.rmtree(checkpoint)
    with pytest.raises(ConfigError, match="with other noise"):  # not even from the start
        resume(tmp_path / "run")


def test_protection_composes_with_compression_attacks_and_other_methods():
    digests = set()
    for more in (
        {},
        {"compress": "float16"},
        {"attack": {"name": "lma", "fraction": 0.5}},
        {"attack": {"name": "label_flip", "fraction": 0.5}},
    ):
        result = run(GAUSSIAN, **more)
        assert result.summary["rejected"] == 0
        assert 49.5 < result.summary["privacy"]["epsilon"] <= 50
        digests.add(result.summary["digest"])
    assert len(digests) == 4
    for strategy in ("dsfl", "scarlet", "cfd"):
        assert run(GAUSSIAN, strategy).summary["rejected"] == 0


def test_an_attacker_does_not_keep_to_the_protection(tmp_path):
    more = {"attack": {"name": "random_one_hot", "fraction": 0.5}, "record.knowledge": True}
    run(GAUSSIAN, run_dir=str(tmp_path / "run"), **more)
    from safetensors.torch import load_file

    file = sorted((tmp_path / "run" / "knowledge").iterdir())[0]
    values = load_file(file)["values"]
    sure = [bool(((rows == 0) | (rows == 1)).all()) for rows in values]
    assert sum(sure) == 2


@pytest.mark.parametrize(
    ("strategy", "model"), [("fedprox", "mlp"), ("lg_fedavg", "mlp"), ("local", "lenet5")]
)
def test_dp_sgd_works_with_parameters_and_convolutions(strategy, model):
    result = run({"name": "dp_sgd", "epsilon": 20.0, "clip": 1.0}, strategy, model=model, rounds=1)
    assert 19.8 < result.summary["privacy"]["epsilon"] <= 20
    assert all(torch.isfinite(p).all() for p in result.model(0).parameters())


def test_overrides_take_lists_and_parameters_of_one():
    config = compose(
        ["privacy=[dp_sgd,gaussian]", "privacy.epsilon=4", "privacy.gaussian.clip=0.5"]
    )
    assert config.privacy["name"] == ["dp_sgd", "gaussian"]
    assert config.privacy["gaussian"] == {"clip": 0.5}


def test_the_command_line_lists_runs_and_refuses(tmp_path):
    listed = fedkd("list", "privacy").output
    assert all(word in listed for word in ("dp_sgd", "nfdp", "swing", "on_exhausted", "(all)"))
    small = [f"{k}={v}" for k, v in SMALL.items()]
    folder = tmp_path / "run"
    done = fedkd("run", "privacy=gaussian", "privacy.epsilon=50", f"run_dir={folder}", *small)
    assert done.exit_code == 0, done.output
    assert "(gaussian, rdp)" in done.output
    assert "epsilon" in pq.read_table(folder / "rounds.parquet").column_names
    wrong = fedkd("run", "privacy=gaussian", "privacy.epsilon=-1", *small)
    assert wrong.exit_code == 2
    dry = fedkd("run", "--dry-run", "privacy=dp_sgd", "privacy.epsilon=2", *small)
    assert "epsilon 2 for" in dry.output


def test_without_the_extra_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "dp_accounting", None)
    from fedkd.privacy import curves

    with pytest.raises(ConfigError, match=r"pip install fedkd\[privacy\]"):
        curves.library()
    monkeypatch.setitem(__import__("sys").modules, "opacus", None)
    with pytest.raises(ConfigError, match=r"pip install fedkd\[privacy\]"):
        run({"name": "dp_sgd", "noise_multiplier": 1.0})
