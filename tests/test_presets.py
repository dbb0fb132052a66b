"""Presets whose samples are no pictures run on their real data, in small."""

import pytest

from fedkd.config.overrides import compose
from fedkd.run.runner import run

SMALL = ("rounds=1", "clients=3", "data.samples_per_client=200", "transfer.size=100")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "task", "architectures"),
    [
        ("topics", "classification", {"embedding_bag", "textcnn", "gru"}),
        ("letter", "classification", {"mlp"}),
        ("diamonds", "regression", {"mlp"}),
    ],
)
def test_presets_run_on_what_they_name(name, task, architectures, real_data, tmp_path):
    real_data(name)
    config = compose([f"experiment={name}", "strategy=knfu", *SMALL, f"run_dir={tmp_path / 'a'}"])
    given = config.model if isinstance(config.model, list) else [config.model]
    named = {one if isinstance(one, str) else one["name"] for one in given}
    summary = run(config).summary
    assert (summary["data"], summary["task"], named) == (name, task, architectures)
    last = summary["score_local"]["last"]
    trivial = {"classification": last > 0.3, "regression": last < 3990}  # the target's deviation
    assert trivial[task]
