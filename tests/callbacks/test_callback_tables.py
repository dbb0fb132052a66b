import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open

from fedkd.atomic import replacing
from fedkd.callbacks import KnowledgeRecorder, RoundRecord, Tables, TensorBoard
from fedkd.callbacks import tables as tables_module
from fedkd.errors import ConfigError
from fedkd.knowledge import KnowledgeStack


def record(number, n=3, weights=True, **scalars):
    mixing = (list(range(n)), torch.full((n, n), 1 / n)) if weights else None
    rows = [(k, "local", k / n) for k in range(n)] + [(k, "global", 0.5) for k in range(n)]
    return RoundRecord(number, 5, scalars, rows, mixing)


def test_schemas(tmp_path):
    tables = Tables(tmp_path)
    tables.on_round(record(1, bytes_up=2**40, alma_local=0.5, rejected=0))
    tables.on_run_end({}, None)
    rounds = pq.read_table(tmp_path / "rounds.parquet")
    assert rounds.schema.field("round").type == pa.int32()
    assert rounds.schema.field("bytes_up").type == pa.int64()
    assert rounds.schema.field("alma_local").type == pa.float64()
    clients = pq.read_table(tmp_path / "clients.parquet")
    types = [field.type for field in clients.schema]
    assert types[:2] == [pa.int32(), pa.int32()]
    assert pa.types.is_dictionary(types[2])
    assert types[3] == pa.float64()
    assert clients["metric"].to_pylist() == ["local"] * 3 + ["global"] * 3
    assert clients["value"].to_pylist() == [0.0, 1 / 3, 2 / 3, 0.5, 0.5, 0.5]


def test_rounds_are_the_union_of_their_columns(tmp_path):
    tables = Tables(tmp_path)
    tables.on_round(record(1, alma_local=None, only_first=1))
    tables.on_round(record(2, alma_local=torch.tensor(0.5), late=np.float32(2)))
    tables.on_round(record(3, alma_local=None, nothing=None))
    assert tables.rounds.to_pylist()[1] == {
        "round": 2, "alma_local": 0.5, "only_first": None, "late": 2.0, "nothing": None
    }  # fmt: skip
    assert tables.rounds["alma_local"].to_pylist() == [None, 0.5, None]
    assert tables.rounds.schema.field("nothing").type == pa.float64()


def test_a_view_does_not_stop_the_collection(tmp_path):
    tables = Tables(tmp_path)
    tables.on_round(record(1))
    before = tables.clients
    tables.on_round(record(2))
    assert (before.num_rows, tables.clients.num_rows) == (6, 12)


def test_an_interrupted_run_is_readable(tmp_path):
    tables = Tables(tmp_path, seconds=0)
    tables.on_round(record(1))
    assert pq.read_table(tmp_path / "rounds.parquet").num_rows == 1
    tables.on_round(record(2))
    tables.on_run_end(None, KeyboardInterrupt())
    assert pq.read_table(tmp_path / "rounds.parquet").num_rows == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "clients.parquet", "rounds.parquet", "weights.npz"
    ]  # fmt: skip


def test_writes_are_not_more_often_than_asked(tmp_path):
    tables = Tables(tmp_path, seconds=60)
    tables.on_round(record(1))
    tables.on_round(record(2))
    assert pq.read_table(tmp_path / "rounds.parquet").num_rows == 1


def test_a_run_without_rounds_is_readable(tmp_path):
    Tables(tmp_path / "new").on_run_end(None, RuntimeError())
    assert pq.read_table(tmp_path / "new" / "rounds.parquet").column_names == ["round"]
    assert pq.read_table(tmp_path / "new" / "clients.parquet").num_rows == 0
    assert not (tmp_path / "new" / "weights.npz").exists()


def test_weights_of_all_rounds_of_small_federations(tmp_path):
    tables = Tables(tmp_path)
    for number in (1, 2):
        tables.on_round(record(number))
    tables.write()
    with np.load(tmp_path / "weights.npz") as arrays:
        assert sorted(arrays) == ["clients_0001", "clients_0002", "round_0001", "round_0002"]
        assert arrays["round_0001"].dtype == np.float32
        np.testing.assert_allclose(arrays["round_0002"].sum(axis=1), 1)


def test_weights_of_the_last_round_of_large_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(tables_module, "ALL_ROUNDS_UP_TO", 4)
    tables = Tables(tmp_path)
    for number, n in ((1, 5), (2, 5)):
        tables.on_round(record(number, n))
    tables.write()
    with np.load(tmp_path / "weights.npz") as arrays:
        assert sorted(arrays) == ["clients_0002", "round_0002"]


def test_weights_are_copied(tmp_path):
    tables, one = Tables(tmp_path), record(1)
    tables.on_round(one)
    one.weights[1].zero_()
    tables.write()
    with np.load(tmp_path / "weights.npz") as arrays:
        assert arrays["round_0001"].sum() == pytest.approx(3)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")

    def write():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_knowledge_is_recorded(tmp_path):
    stack = KnowledgeStack("logits", torch.randn(2, 3, 4), [1, 5], torch.arange(3))
    recorder = KnowledgeRecorder(tmp_path)
    recorder.on_round(RoundRecord(1, 1, {}))
    assert not (tmp_path / "knowledge").exists()
    recorder.on_round(RoundRecord(2, 2, {}, knowledge=stack))
    with safe_open(tmp_path / "knowledge" / "round_0002.safetensors", "pt") as file:
        assert file.metadata() == {"kind": "logits", "round": "2"}
        assert torch.equal(file.get_tensor("values"), stack.values)
        assert file.get_tensor("clients").tolist() == [1, 5]
        assert file.get_tensor("sample_ids").tolist() == [0, 1, 2]


def test_tensorboard_gets_scalars_and_histograms(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = TensorBoard(tmp_path)
    board.on_round(record(1, alma_local=0.5, alma_global=None))
    board.on_run_end(None, None)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert events.Tags()["scalars"] == ["alma_local"]
    assert set(events.Tags()["histograms"]) == {"clients/local", "clients/global"}


def test_tensorboard_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"pip install 'fedkd\[tensorboard\]'"):
        TensorBoard(tmp_path)
