"""What a run keeps of what was exchanged, and what is read back."""

import numpy as np
import pytest
import torch

import fedkd
from fedkd.callbacks import KnowledgeRecorder, RoundRecord
from fedkd.errors import ConfigError
from fedkd.knowledge import Exchanged, KnowledgeStack, Teacher
from fedkd.models.flat import flatten, size
from fedkd.rundir.recordings import Recordings

TINY = {"clients": 4, "rounds": 2, "engine": "inline", "transfer.size": 30, "fit.epochs": 1}


def simulate(strategy, **settings):
    return fedkd.simulate(strategy, **TINY | {"record.knowledge": True} | settings)


def record(folder, stack, teacher, number=1, ids=None):
    sent = Exchanged(lessons=teacher.records(), sample_ids=ids)
    KnowledgeRecorder(folder).on_round(RoundRecord(number, 9, {}, knowledge=stack, exchanged=sent))


def test_a_shared_teacher_is_kept_once_and_personal_ones_each(tmp_path):
    ids, values = torch.tensor([4, 7]), torch.randn(3, 2, 5)
    stack = KnowledgeStack("logits", values, [0, 2, 5], ids)
    record(tmp_path, stack, Teacher("logits", values.mean(dim=0), [0, 2, 5]), 1, ids)
    record(tmp_path, stack, Teacher("logits", 2 * values, [0, 2, 5]), 2, ids)
    kept = Recordings(tmp_path)
    shared, personal = kept.read(1), kept.read(2)
    assert sum(name.endswith(".values") for name in shared.tensors) == 1
    assert torch.equal(shared.target(5).values, values.mean(dim=0))
    assert torch.equal(personal.target(2).values, 2 * values[1])
    assert personal.target(1) is None
    assert kept.clients == [0, 2, 5]
    soft, which = kept.taught(5)
    assert torch.allclose(soft, (2 * values[2]).softmax(dim=-1))
    assert which.tolist() == [4, 7]


def test_the_newest_label_of_every_sample_counts(tmp_path):
    first = KnowledgeStack("soft_labels", torch.full((1, 2, 2), 0.5), [3], torch.tensor([0, 1]))
    mask = torch.tensor([[True, False]])
    values = torch.tensor([[[0.9, 0.1], [0.0, 0.0]]])
    second = KnowledgeStack("soft_labels", values, [3], torch.tensor([1, 2]), mask=mask)
    for number, stack in enumerate((first, second), 1):
        KnowledgeRecorder(tmp_path).on_round(RoundRecord(number, 9, {}, knowledge=stack))
    soft, ids = Recordings(tmp_path).uploaded(3)
    assert ids.tolist() == [0, 1]
    assert torch.equal(soft, torch.tensor([[0.5, 0.5], [0.9, 0.1]]))
    assert Recordings(tmp_path).uploaded(0) is None


def test_fusion_is_recorded_as_it_was(tmp_path):
    result = simulate("fedmd")
    last = Recordings(result.run_dir).last
    assert last.kind == "logits"
    assert last.clients == [0, 1, 2, 3]
    assert torch.allclose(last.target(2).values, last.values.mean(dim=0), atol=1e-6)


@pytest.mark.parametrize("strategy", ["fedavg", "twin_merging"])
def test_parameters_have_a_start_and_a_reply(strategy):
    result = simulate(strategy)
    kept = Recordings(result.run_dir)
    numbers = size(result.model(0))
    for number in (1, 2):
        start, reply = kept.update(number, 1)
        assert start.shape == reply.shape == (numbers,)
        assert not torch.equal(start, reply)
    if strategy == "fedavg":
        sizes = np.full(4, 12.0)
        mean = (kept.last.values * torch.tensor(sizes / sizes.sum())[:, None].float()).sum(dim=0)
        assert torch.allclose(flatten(result.model(0)), mean, atol=1e-6)
        assert torch.equal(kept.update(2, 0)[0], kept.update(2, 3)[0])


def test_recording_changes_nothing():
    for strategy in ("fedavg", "fedmd"):
        digests = [
            simulate(strategy, **{"record.knowledge": flag}).summary["digest"]
            for flag in (True, False)
        ]
        assert digests[0] == digests[1]


def test_class_knowledge_is_recorded():
    assert Recordings(simulate("fd").run_dir).kind == "class_knowledge"


def test_a_damaged_recording_is_named(tmp_path):
    (tmp_path / "knowledge").mkdir()
    (tmp_path / "knowledge" / "round_0001.safetensors").write_bytes(b"no")
    with pytest.raises(ConfigError, match="cannot be read"):
        _ = Recordings(tmp_path).last
