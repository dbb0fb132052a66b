"""What only a GPU can show: side by side is as alone, actors share it, memory really runs out."""

import logging
from typing import Any

import pytest
import torch
from fedkd.clients.base import Client
from fedkd.clients.side_by_side import side_by_side
from fedkd.clients.standard import Standard

import fedkd
from fedkd.models import build
from fedkd.rng import torch_generator

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


def stacks(result: fedkd.RunResult) -> set[float]:
    rows = result.clients.to_pylist()
    return {row["value"] for row in rows if row["metric"] == "stack"}


@pytest.mark.parametrize("strategy", ["fedavg", "fedmd", "knfu"])
@pytest.mark.parametrize("model", ["mlp", "lenet5", "resnet8"])
def test_side_by_side_is_as_alone(strategy: str, model: str) -> None:
    together, alone = run(strategy, model), run(strategy, model, stack="off")
    assert stacks(together) == {8.0}
    gaps = [
        abs(together.summary[key]["last"] - alone.summary[key]["last"])
        for key in ("alma_local", "alma_global")
    ]
    assert max(gaps) < 0.05, "floats are added up in another order, and training amplifies it"


def test_actors_share_the_gpu_and_train_stacks() -> None:
    actors, here = run("fedavg", "lenet5", name="ray"), run("fedavg", "lenet5", stack=2)
    assert stacks(actors) == stacks(here) == {2.0}
    assert actors.summary["alma_local"]["last"] == pytest.approx(
        here.summary["alma_local"]["last"], abs=0.05
    )


def test_memory_that_runs_out_halves_the_stack(caplog: pytest.LogCaptureFixture) -> None:
    settings = {"epochs": 1, "batch_size": 64, "optimizer": "sgd", "lr": 0.1, "momentum": 0.0}
    loop = Standard(fit=settings, distil=settings, device="cuda")
    clients = []
    for k in range(8):
        x = torch.rand(64, 1, 32, 32, generator=torch_generator(k))
        model = build("resnet8", (1, 32, 32), 10).to("cuda")
        clients.append(Client(k, model, x, torch.arange(64) % 10, torch_generator(k)))
    side_by_side(loop, None).fit(clients)
    needed = torch.cuda.max_memory_reserved()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    try:
        torch.cuda.set_per_process_memory_fraction(0.6 * needed / total)
        with caplog.at_level(logging.WARNING, "fedkd"):
            numbers = side_by_side(loop, None).fit(clients)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "out of memory with 8 clients side by side (fit); going on with 4" in caplog.text
    assert {one["stack"] for one in numbers} <= {1.0, 2.0, 4.0}
