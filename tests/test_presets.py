"""Presets whose samples are no pictures run on their real data, in small."""

import pytest

from fedkd.config.overrides import compose
from fedkd.run.runner import run

DEALT = "data.samples_per_client=200"
SMALL = ("rounds=1", "clients=3", "transfer.size=100")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "task", "architectures"),
    [
        ("topics", "classification", {"embedding_bag", "textcnn", "gru"}),
        ("letter", "classification", {"mlp"}),
        ("diamonds", "regression", {"mlp"}),
        ("novels", "tokens", {"gru", "transformer"}),
    ],
)
def test_presets_run_on_what_they_name(name, task, architectures, real_data, tmp_path):
    real_data(name)
    own = ["evaluate.samples=100"] if task == "tokens" else [DEALT]
    given = [f"experiment={name}", "strategy=knfu", *SMALL, *own, f"run_dir={tmp_path / 'a'}"]
    config = compose(given)
    given = config.model if isinstance(config.model, list) else [config.model]
    named = {one if isinstance(one, str) else one["name"] for one in given}
    summary = run(config).summary
    assert (summary["data"], summary["task"], named) == (name, task, architectures)
    last = summary["score_local"]["last"]
    trivial = {  # the commonest class, the target's deviation, each token alike
        "classification": last > 0.3,
        "regression": last < 3990,
        "tokens": last < 250,
    }
    assert trivial[task]
