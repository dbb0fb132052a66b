"""Membership inference and the audit beat chance where there is something to find, and only there.

The runs are overfitted on purpose: few digits a client, many epochs.
"""

import json

import numpy as np
import pytest
import torch

import fedkd
from fedkd.distillation.guards.bsd import BSD
from fedkd.errors import ConfigError
from fedkd.leakage.audit import Audit
from fedkd.leakage.candidates import Pools
from fedkd.leakage.subject import Subject
from fedkd.privacy.audit import audit_lower_bound

OVERFITTED = {
    "clients": 5,
    "rounds": 1,
    "engine": "inline",
    "data.alpha": 1.0,
    "data.samples_per_client": 20,
    "transfer.size": 100,
    "fit.epochs": 40,
    "fit.lr": 0.1,
    "record.knowledge": True,
}
QUICK = {"shadows": 4, "ratio": 2, "population": 60}


def simulate(folder, strategy="fedmd", **settings):
    return fedkd.simulate(strategy, run_dir=str(folder), **OVERFITTED | settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("runs") / "a")


@pytest.fixture(scope="module")
def found(run):
    return fedkd.attack(run, "membership", **QUICK)


def test_attacks_beat_chance_on_an_overfitted_run(found):
    for variant in ("model / loss", "model / lira", "model / rmia", "model / coop"):
        assert found.results[variant]["auc_low"] > 0.6, variant
    for variant in ("knowledge / loss", "knowledge / lira", "knowledge / rmia"):
        assert found.results[variant]["auc_low"] > 0.5, variant
    assert found.results["model / lira"]["members"] == 100


def test_a_model_that_saw_no_candidate_is_at_chance(found):
    control = found.results["control / loss"]
    assert control["auc_low"] <= 0.5 <= control["auc_high"]


@pytest.mark.parametrize("objective", ["dkd", "ctkd"])
def test_shadows_learn_as_their_clients_did_by_labels_and_with_a_memory(tmp_path, objective):
    more = {"transfer.labelled": objective == "dkd", "fit.epochs": 2, "rounds": 2}
    run = simulate(tmp_path / "run", objective=objective, **more)
    found = fedkd.attack(run, "membership", **QUICK | {"shadows": 2})
    assert "model / lira" in found.results


def test_shadows_heed_the_guards_of_their_clients(tmp_path, monkeypatch):
    asked = []
    guarded = BSD.__call__

    def spy(self, teacher, own, y=None):
        asked.append(y)
        return guarded(self, teacher, own, y)

    run = simulate(tmp_path / "run", guard="bsd", **{"transfer.labelled": True, "rounds": 2})
    monkeypatch.setattr(BSD, "__call__", spy)
    found = fedkd.attack(run, "membership", **QUICK | {"shadows": 2})
    assert "model / lira" in found.results
    assert asked
    assert all(y is not None for y in asked)


def test_a_choice_among_teachers_that_no_shadow_can_repeat_is_said(tmp_path, found):
    more = {"strategy.beta": "auto", "data.validation": 0.2, "fit.epochs": 1}
    run = simulate(tmp_path / "a", "knfu", **more)
    notes = fedkd.attack(run, "membership", **QUICK | {"shadows": 2}).notes
    assert any("chose one of 3 teachers" in note for note in notes)
    assert not any("teachers" in note for note in found.notes)


def test_clients_that_learn_nothing_give_nothing_away(tmp_path):
    idle = simulate(tmp_path / "idle", **{"fit.epochs": 0})
    found = fedkd.attack(idle, "membership", **QUICK)
    for variant, row in found.results.items():
        assert row["auc_low"] <= 0.5 <= row["auc_high"], variant


def test_uploads_with_a_small_epsilon_give_nothing_away(tmp_path):
    private = simulate(tmp_path / "private", "knfu", privacy={"name": "gaussian", "epsilon": 1.0})
    found = fedkd.attack(private, "membership", **QUICK | {"shadows": 2})
    for name in ("loss", "lira", "rmia"):
        row = found.results[f"knowledge / {name}"]
        assert row["auc_low"] <= 0.5 <= row["auc_high"], name
    assert found.results["model / loss"]["auc_low"] > 0.5  # it is the upload that is protected
    shares = fedkd.attack(private, "label_distribution").results
    for variant in ("mean soft label", "debiased"):
        assert shares[variant]["kl"] >= shares["prior: population"]["kl"], variant


def test_the_answer_is_a_function_of_the_run(run, found):
    torch.manual_seed(1)
    np.random.seed(1)
    again = fedkd.attack(run, "membership", **QUICK)
    assert again.results == found.results
    written = json.loads((run.run_dir / "attacks" / "membership.json").read_text())
    assert written["schema"] == 1
    assert written["results"] == found.results
    assert written["parameters"] == QUICK
    assert set(written["curves"]) == set(found.results)


def test_what_cannot_be_resolved_is_said(found):
    assert any("0.1% FPR" in note for note in found.notes)
    assert not any("test split" in note for note in found.notes)  # enough training samples are left


def test_non_members_are_held_by_nobody_and_matched(run):
    subject = Subject(run.run_dir)
    pools, federation = Pools(subject, ratio=3), subject.federation
    with np.load(run.run_dir / "split.npz") as split:
        taken = np.r_[split["train"], split["validation"], split["transfer"]]
    for k in range(5):
        both = pools.of(k)
        assert set(both.members) <= set(federation.indices(k))
        assert not np.isin(both.others, taken).any()
        assert len(set(both.others)) == len(both.others)
        counts = [
            np.bincount(pools.labels[rows], minlength=10) for rows in (both.members, both.others)
        ]
        times = len(both.others) // len(both.members)
        assert (counts[0] * times == counts[1]).all()
        for s in range(2):
            assert not np.isin(pools.shadows(k, s), [*taken, *both.others]).any()
    x, y = pools.gather(both.others)
    late = both.others >= pools.train
    assert torch.equal(
        x[torch.from_numpy(late)], federation.test()[0][both.others[late] - pools.train]
    )
    assert y.tolist() == pools.labels[both.others].tolist()


def test_shared_parameters_are_attacked_as_uploaded(tmp_path):
    result = simulate(tmp_path / "a", "fedavg")
    found = fedkd.attack(result, "membership", shadows=0, clients=5)
    assert found.results["knowledge / loss"]["auc_low"] > 0.6
    assert "model / coop" not in found.results
    assert any("same one" in note for note in found.notes)


def test_class_knowledge_leaves_the_model_only(tmp_path):
    found = fedkd.attack(simulate(tmp_path / "a", "fd"), "membership", shadows=0)
    assert {variant.split(" / ")[0] for variant in found.results} == {"model"}
    assert any("class_knowledge" in note for note in found.notes)


def test_the_audit_bounds_an_undefended_run(run):
    found = fedkd.attack(run, "audit", access="model", shadows=4, guesses=0.4, use_test=True)
    (row,) = found.results.values()
    assert row["epsilon_at_least"] > 0.5
    share = audit_lower_bound(int(row["correct"]), int(row["guesses"]), canaries=int(row["pairs"]))
    assert row["epsilon_at_least"] == share
    assert row["epsilon_at_most"] is None


def test_the_audit_prints_the_accountants_bound_beside_its_own(run, tmp_path):
    import shutil

    shutil.copytree(run.run_dir, tmp_path / "copy")
    path = tmp_path / "copy" / "summary.json"
    summary = json.loads(path.read_text()) | {"privacy": {"epsilon": 3.5, "delta": 1e-5}}
    path.write_text(json.dumps(summary))
    found = fedkd.attack(tmp_path / "copy", "audit", score="loss", use_test=True)
    assert found.results["knowledge / loss"]["epsilon_at_most"] == 3.5
    assert any("delta 1e-05" in note for note in found.notes)


def test_an_audit_needs_samples_that_nobody_holds(tmp_path):
    rest = {"clients": 3, "data.samples_per_client": None, "fit.epochs": 0}
    rest["data.partitioner"] = "dirichlet"  # of all samples
    everything = simulate(tmp_path / "all", **rest)
    with pytest.raises(ConfigError, match="leave some over"):
        fedkd.attack(everything, "audit")


def test_pairs_of_an_audit_share_no_sample(run):
    subject = Subject(run.run_dir)
    pools = Pools(subject, ratio=1)
    pairs = pools.pairs(range(5))
    for rows in ("members", "others"):
        every = np.concatenate([getattr(own, rows) for own in pairs.values()])
        assert len(every) == len(set(every)) == 100
    for k, own in pairs.items():
        assert set(own.members) <= set(subject.federation.indices(k))
        assert pools.labels[own.members].tolist() == pools.labels[own.others].tolist()


@pytest.mark.slow
def test_an_audit_that_knows_nothing_finds_something_as_seldom_as_it_says(tmp_path, monkeypatch):
    """Scores are a random direction of the inputs, so nothing of who holds what is in them."""
    few = {"clients": 20, "transfer.size": 600, "fit.epochs": 0, "rounds": 1}
    subject = Subject(simulate(tmp_path / "a", **few).run_dir)
    rng, attack = np.random.default_rng(0), Audit(access="model", score="loss", clients=20)
    trials, bounds = 300, []
    for _ in range(trials):
        direction = torch.from_numpy(rng.normal(size=64)).float()

        def score(subject, model, x, y, direction=direction):
            return x.flatten(1) @ direction

        monkeypatch.setattr("fedkd.leakage.scoring.log_probability", score)
        finding = attack.run(subject)
        row = finding.results["model / loss"]
        bounds.append(row["epsilon_at_least"] > 0)
    assert 150 < row["pairs"] < 250  # of 400 samples
    assert any(f"{row['pairs']:.0f} of the clients' 400 samples" in note for note in finding.notes)
    assert np.mean(bounds) <= 0.05 + 3 * (0.05 * 0.95 / trials) ** 0.5


def test_label_distributions_are_inferred_better_than_by_a_prior(run):
    found = fedkd.attack(run, "label_distribution").results
    for metric in ("kl", "l1"):
        best_prior = min(found["prior: uniform"][metric], found["prior: population"][metric])
        assert found["mean soft label"][metric] < 0.9 * best_prior
