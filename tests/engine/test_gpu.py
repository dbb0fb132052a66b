"""What only a GPU can show: side by side is as alone, actors share it, memory really runs out."""

import logging
from typing import Any

import numpy as np
import pytest
import torch

import fedkd

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
SETTINGS: dict[str, Any] = {
    "data.alpha": 1.0,
    "data.samples_per_client": 50,
    "transfer.size": 200,
    "fit.epochs": 2,
    "clients": 8,
    "rounds": 2,
    "device": "cuda",
}


def run(strategy: Any, model: Any, data: Any = "digits", **engine: Any) -> fedkd.RunResult:
    return fedkd.simulate(strategy, data, model, engine={"name": "inline"} | engine, **SETTINGS)


def cohorts(result: fedkd.RunResult) -> set[float]:
    rows = result.clients.to_pylist()
    return {row["value"] for row in rows if row["metric"] == "cohort"}


@pytest.mark.parametrize("strategy", ["fedavg", "fedmd", "knfu"])
@pytest.mark.parametrize("model", ["mlp", "lenet5", "resnet8"])
def test_side_by_side_is_as_alone(strategy: str, model: str) -> None:
    together, alone = run(strategy, model), run(strategy, model, cohort="off")
    assert cohorts(together) == {8.0}
    gaps = [
        abs(together.summary[key]["last"] - alone.summary[key]["last"])
        for key in ("alma_local", "alma_global")
    ]
    assert max(gaps) < 0.05, "floats are added up in another order, and training amplifies it"


def test_actors_share_the_gpu_and_train_cohorts() -> None:
    result = run("fedavg", "lenet5", name="ray")
    assert result.summary["engine"] == "ray"
    assert cohorts(result) == {8.0 / 4}
    assert result.summary["alma_local"]["last"] > 0.3


def test_memory_that_runs_out_halves_the_cohort(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (1000, 64, 64), dtype=np.uint8), np.arange(1000) % 10
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    try:
        torch.cuda.set_per_process_memory_fraction(0.7e9 / total)
        with caplog.at_level(logging.WARNING, "fedkd"):
            result = run("local", "resnet8", (x, y, x[:100], y[:100]), cohort=8)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "out of memory with 8 clients side by side (fit); going on with 4" in caplog.text
    assert max(cohorts(result)) < 8
