"""Who holds what, where the data say it: natural clients, row numbers, tests of one's own."""

import json

import numpy as np
import pytest
import yaml
from flwr_datasets.partitioner import IidPartitioner, NaturalIdPartitioner
from hypothesis import given, settings
from hypothesis import strategies as st
from support import fedkd as command

import fedkd
from fedkd.config import RunConfig
from fedkd.config.overrides import compose, merge
from fedkd.data import build_federation, partition_notes, partition_table, prepare
from fedkd.data.corpus import Corpus
from fedkd.errors import ConfigError

SITES = ("Bern", "Aarau", "Chur", "Davos")
TINY = {"rounds": 2, "engine": "inline", "transfer.size": 30, "evaluate.samples": 40}


def hospitals(size=300, missing=(), sites=SITES, seed=0, split="train"):
    """Return a table with a column of sites, the later ones with fewer rows."""
    import datasets

    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, size)
    columns = {f"f{k}": rng.normal(size=size) + y for k in range(4)}
    share = np.arange(len(sites), 0, -1.0)
    whose = rng.choice(len(sites), size, p=share / share.sum())
    named = [None if row in missing else sites[k] for row, k in enumerate(whose)]
    return datasets.Dataset.from_dict({**columns, "label": y, "site": named})


def built(data, tmp_path, objects=None, **changes):
    changes = {"transfer.size": 30} | changes
    config = merge(RunConfig(), **changes)
    return build_federation(config, corpus_of(data, config), None, tmp_path, objects)


def corpus_of(data, config):
    from fedkd.data import corpora

    return corpora(config, data)[0]


def held(federation):
    return [federation.indices(k) for k in range(federation.clients)]


def test_every_value_of_a_column_is_a_client_in_sorted_order(tmp_path):
    federation = built(hospitals(), tmp_path, **{"data.client": "site"})
    assert federation.client_names == sorted(SITES)
    whose = np.array(federation.corpus.columns("train")["site"].to_pylist())
    for name, rows in zip(federation.client_names, held(federation), strict=True):
        assert set(whose[rows]) == {name}
    taken = np.load(federation.path)["transfer"]
    assert len(taken) == 30
    assert np.array_equal(np.sort(np.r_[np.concatenate(held(federation)), taken]), np.arange(240))
    # every client loses the same share: within one sample a client
    everything = np.array([(whose == name).sum() for name in federation.client_names])
    assert np.abs(everything - federation.sizes - everything * 30 / 240).max() <= 1
    assert federation.corpus.features == ["f0", "f1", "f2", "f3"]
    assert [row["name"] for row in partition_table(federation)] == federation.client_names
    assert any(
        "4 clients (Aarau, Bern, Chur, Davos)" in note for note in partition_notes(federation)
    )


def test_they_are_those_of_flowers_partitioner(tmp_path):
    federation = built(hospitals(), tmp_path, **{"data.client": "site", "transfer.size": 1})
    flower = NaturalIdPartitioner(partition_by="site")
    import datasets

    table = federation.corpus.columns("train")
    flower.dataset = datasets.Dataset(table.append_column("index", [list(range(len(table)))]))
    taken = np.load(federation.path)["transfer"]
    for client, rows in enumerate(held(federation)):
        theirs = np.asarray(flower.load_partition(client)["index"][:])
        assert np.array_equal(rows, np.setdiff1d(theirs, taken))


def test_class_labels_are_called_by_their_names(tmp_path):
    import datasets

    table = hospitals()
    kind = datasets.ClassLabel(names=["Davos", "Chur", "Bern", "Aarau"])
    federation = built(table.cast_column("site", kind), tmp_path, **{"data.client": "site"})
    assert federation.client_names == ["Davos", "Chur", "Bern", "Aarau"]


def test_some_of_them_are_drawn_by_the_seed(tmp_path):
    seen = set()
    for seed in range(8):
        changes = {"data.client": "site", "clients": 2, "seed": seed}
        federation = built(hospitals(), tmp_path, **changes)
        assert federation.clients == 2
        assert any("2 of 4 clients take part" in note for note in partition_notes(federation))
        seen.add(tuple(federation.client_names))
    assert len(seen) > 1
    assert all(list(names) == sorted(names) for names in seen)


def test_a_run_is_told_what_it_is_and_resumes_from_elsewhere(tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    hospitals().to_parquet(data / "train-00000-of-00001.parquet")
    given = [f"data={data}", "data.client=site", "data.test=local", "engine=inline"]
    given += ["transfer.size=30", f"run_dir={tmp_path / 'run'}"]
    whole = command("run", *given, "rounds=4", f"run_dir={tmp_path / 'whole'}")
    assert whole.exit_code == 0, whole.output
    assert "each on its own test samples" in whole.output
    assert command("run", *given, "rounds=2", "checkpoint.every=1").exit_code == 0
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (saved["clients"], saved["data"]["alpha"]) == (4, None)
    monkeypatch.chdir(tmp_path / "data")
    again = command("run", f"resume={tmp_path / 'run'}", "rounds=4")
    assert again.exit_code == 0, again.output
    digests = [summary_of(tmp_path / name)["digest"] for name in ("run", "whole")]
    assert digests[0] == digests[1]
    shown = command("data", *given[:3], "transfer.size=30", "--out", tmp_path / "shares.png")
    assert shown.exit_code == 0, shown.output
    assert all(word in shown.output for word in (*SITES, "tested", "own test samples"))
    assert "Davos" in command("run", *given[:4], "transfer.size=30", "--dry-run").output


def summary_of(run_dir):
    return json.loads((run_dir / "summary.json").read_text())


def rows_in(split, name):
    return np.split(split[name], split[f"{name}_offsets"][1:-1])


def test_tests_of_ones_own_are_those_of_the_test_split_if_it_says_whose(tmp_path):
    changes = {"data.client": "site", "data.test": "local"}
    federation = built(hospitals(), tmp_path, **changes)
    whose = np.array(federation.corpus.columns("test")["site"].to_pylist())
    assert federation.tests.sum() == 60
    for client, name in enumerate(federation.client_names):
        x, y = federation.own_test(client)
        rows = np.flatnonzero(whose == name)
        assert np.array_equal(y, federation.corpus.y_test[rows])
        assert len(x) == len(y) == federation.tests[client]
    plain = built(hospitals(), tmp_path / "plain", **{"data.client": "site"})
    assert all(map(np.array_equal, held(federation), held(plain)))  # nothing is held out
    assert plain.own_test(0) is None


@pytest.mark.parametrize("how", [{"data.client": "site"}, {"data.partitioner": "iid"}])
def test_else_a_share_is_held_out_of_training_and_of_everything_else(tmp_path, how):
    changes = how | {"data.test": "local", "data.test_share": 0.3, "data.validation": 0.2}
    count = {} if "data.client" in how else {"clients": 4}
    federation = built(hospitals(), tmp_path, **changes, **count)
    split = np.load(federation.path)
    parts = [np.concatenate(rows_in(split, name)) for name in ("train", "validation", "test")]
    every = np.concatenate([*parts, split["transfer"]])
    assert np.array_equal(np.sort(every), np.arange(240))  # nobody's twice
    plain = built(hospitals(), tmp_path / "plain", **how, **count)
    assert np.abs(federation.tests - 0.3 * plain.sizes).max() <= 0.5
    assert np.array_equal(federation.sizes + federation.tests, plain.sizes)
    assert np.array_equal(federation.histograms.sum(axis=1), federation.sizes)


def test_who_has_one_sample_has_none_to_be_tested_on(tmp_path):
    rows = {"data.split": [[0, 1, 2, 3], [9]]}
    x, y = np.zeros((40, 2), np.float32), np.arange(40) % 2
    federation = built((x, y, x, y), tmp_path, rows, **{"data.test": "local"})
    assert federation.tests.tolist() == [1, 0]
    assert federation.sizes.tolist() == [3, 1]
    assert any("so no local accuracy: 1" in note for note in partition_notes(federation))


def test_local_accuracy_is_measured_on_them(tmp_path):
    changes = TINY | {"data.client": "site", "data.test": "local", "run_dir": str(tmp_path / "r")}
    result = fedkd.simulate("fedmd", data=hospitals(), **changes)
    corpus = next(iter(_corpora_of(result.run_dir)))
    whose = np.array(corpus.columns("test")["site"].to_pylist())
    rows = {
        (row["client"], row["metric"]): row["value"]
        for row in result.clients.to_pylist()
        if row["round"] == 2
    }
    for client, name in enumerate(sorted(SITES)):
        x, y = corpus.tensor("test", np.flatnonzero(whose == name))
        right = (result.model(client)(x).argmax(dim=1) == y).double().mean().item()
        assert rows[client, "local"] == right
        x, y = corpus.tensor("test")
        right = (result.model(client)(x).argmax(dim=1) == y).double().mean().item()
        assert rows[client, "global"] == right
    first, last = result.rounds.to_pylist()
    plain = fedkd.simulate("fedmd", data=hospitals(), **TINY | {"data.client": "site"})
    assert plain.summary["digest"] == result.summary["digest"]  # they learn from the same
    assert first["alma_local_se"] is None  # all of a client's own are tested, also in round 1
    assert first["alma_global_se"] > 0
    assert (first["evaluated"], last["evaluated"]) == (40, 60)
    assert result.summary["tested"] == "local"
    assert result.summary["evaluated"]["best_local"] is None
    assert fedkd.simulate("fedmd", **TINY, clients=3).summary["tested"] == "official"


def _corpora_of(run_dir):
    yield Corpus.open(json.loads((run_dir / "spec.json").read_text())["data"]["corpus"])


NFDP = {"name": "nfdp", "k": 5}


@pytest.mark.parametrize(
    ("strategy", "privacy"),
    [("kafal", "none"), ("fedavg", "none"), ("fedavg", NFDP), ("fedmd", NFDP)],
)
def test_whatever_learns_does_so_without_them(strategy, privacy):
    changes = TINY | {"data.client": "site", "data.test": "local", "data.test_share": 0.25}
    result = fedkd.simulate(strategy, data=hospitals(), privacy=privacy, **changes)
    values = [row["value"] for row in result.clients.to_pylist() if row["metric"] == "local"]
    assert all(0 <= value <= 1 for value in values)
    assert result.summary["alma_local"]["last"] is not None


def test_engines_agree():
    changes = TINY | {"data.client": "site", "data.test": "local"}
    runs = [
        fedkd.simulate("knfu", data=hospitals(), **changes | {"engine": name, "engine.actors": 2})
        for name in ("inline", "ray")
    ]
    assert runs[0].summary["digest"] == runs[1].summary["digest"]
    assert runs[0].summary["alma_local"] == runs[1].summary["alma_local"]


# -- row numbers ---------------------------------------------------------------------------------


def written(folder, rows):
    """Return files that hold the same rows, one of every form."""
    arrays = [np.array(one) for one in rows]
    names = [f"site {k}" for k in range(len(rows))]
    (folder / "list.json").write_text(json.dumps(rows))
    (folder / "dict.json").write_text(json.dumps(dict(zip(names, rows, strict=True))))
    np.savez(folder / "list.npz", *arrays)
    np.savez(folder / "dict.npz", **dict(zip(names, arrays, strict=True)))
    offsets = np.cumsum([0, *map(len, rows)])
    np.savez(folder / "offsets.npz", rows=np.concatenate(arrays), offsets=offsets)
    return [folder / name for name in ("list.json", "dict.json", "list.npz", "dict.npz")] + [
        folder / "offsets.npz"
    ]


@settings(max_examples=25)
@given(data=st.data())
def test_all_forms_of_row_numbers_are_one(tmp_path_factory, data):
    x = np.arange(40, dtype=np.float32)[:, None] * [1, 2]
    y = np.arange(40) % 2
    corpus, folder = prepare((x, y, x, y)), tmp_path_factory.mktemp("rows")
    order = data.draw(st.permutations(range(40)))
    ends = sorted(data.draw(st.sets(st.integers(1, 30), min_size=1, max_size=4)))
    rows = [one.tolist() for one in np.split(np.array(order[: ends[-1]]), ends[:-1])]
    config = RunConfig()
    objects = [rows, tuple(map(np.array, rows)), {str(k): one for k, one in enumerate(rows)}]
    found = [
        build_federation(config, corpus, None, folder / "out", {"data.split": one})
        for one in objects
    ]
    for file in written(folder, rows):
        config = merge(RunConfig(), **{"data.split": str(file)})
        found.append(build_federation(config, corpus, None, folder / f"out-{file.name}"))
    for federation in found:
        assert all(map(np.array_equal, held(federation), map(np.sort, rows)))
        free = np.setdiff1d(np.arange(40), np.concatenate(rows))
        assert np.isin(np.load(federation.path)["transfer"], free).all()


def test_row_numbers_are_of_the_data_as_given(tmp_path):
    import datasets

    table = hospitals().add_column("id", list(range(300)))
    rows = {"a": list(range(0, 100)), "b": list(range(100, 200))}
    federation = built(table, tmp_path, {"data.split": rows})
    assert isinstance(table, datasets.Dataset)
    ids = np.array(federation.corpus.columns("train")["id"].to_pylist())
    dropped = 200
    for name, own in zip("ab", held(federation), strict=True):
        assert set(ids[own]) <= set(rows[name])
        dropped -= len(own)
    assert dropped > 0
    said = [note for note in partition_notes(federation) if note.startswith("data.split")]
    assert said[0] == (
        f"data.split: {dropped} of its rows are in the test split, which was drawn from the data"
    )


def test_overlaps_and_gaps_are_said_and_nobody_is_tested_on_what_others_hold(tmp_path):
    rows = {"data.split": [list(range(60)), list(range(30, 90))], "transfer.split": range(20, 40)}
    x = np.random.default_rng(0).normal(size=(100, 3))
    y = np.arange(100) % 2
    changes = {"data.test": "local", "transfer.size": None}
    federation = built((x, y, x, y), tmp_path, rows, **changes)
    split = np.load(federation.path)
    assert partition_notes(federation)[:3] == [
        "data.split: 30 of 100 training samples are held by more than one client",
        "data.split: 10 of 100 training samples are held by no client",
        "transfer.split: 20 of its samples are held by clients, too",
    ]
    mine, theirs = rows_in(split, "test")
    assert set(mine) <= set(range(20))
    assert set(theirs) <= set(range(60, 90))


def test_transfer_rows_of_another_data_set(tmp_path):
    config = merge(RunConfig(clients=3), **{"transfer.data": "digits"})
    x, y = np.zeros((90, 1, 8, 8), np.float32), np.arange(90) % 10
    rows = {"transfer.split": np.array([5, 1700, 3])}
    other = prepare("digits")
    federation = build_federation(config, prepare((x, y, x, y)), other, tmp_path, rows)
    places = np.flatnonzero(np.isin(other.places, [3, 5, 1700]))
    assert np.array_equal(np.load(federation.path)["transfer"], places)


def test_files_are_found_from_anywhere_and_compared_on_resume(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.json").write_text(json.dumps({"a": list(range(80)), "b": [200, 201, 202]}))
    (tmp_path / "transfer.json").write_text(json.dumps(list(range(300, 340))))
    given = ["data.split=rows.json", "transfer.split=./transfer.json", "engine=inline"]
    done = command("run", *given, "rounds=1", "run_dir=run")
    assert done.exit_code == 0, done.output
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = command("run", "resume=../run", "rounds=2")
    assert again.exit_code == 0, again.output
    (tmp_path / "rows.json").write_text(json.dumps({"a": list(range(70)), "b": [200, 201, 202]}))
    changed = command("run", "resume=../run", "rounds=3")
    assert changed.exit_code == 2
    assert "the data changed since the run began" in changed.output


def test_objects_are_given_again_to_go_on(tmp_path):
    rows = {"data.split": [np.arange(50), np.arange(50, 90)], "transfer.split": range(200, 240)}
    plain = {"rounds": 1, "engine": "inline", "run_dir": str(tmp_path / "run")}
    first = fedkd.simulate("fedmd", **plain, **rows)
    assert first.summary["clients"] == 2
    again = fedkd.resume(tmp_path / "run", rounds=2, **rows)
    whole = fedkd.simulate("fedmd", **plain | {"rounds": 2, "run_dir": None}, **rows)
    assert again.summary["digest"] == whole.summary["digest"]
    nested = {"data": {"name": "digits", "split": rows["data.split"]}}
    nested["transfer"] = {"split": rows["transfer.split"]}
    same = fedkd.simulate("fedmd", **plain | {"rounds": 2, "run_dir": None}, **nested)
    assert same.summary["digest"] == whole.summary["digest"]


ROWS = [[0, 1, 2], [3, 4]]
IMPOSSIBLE = {
    "there is no row 1797; digits has rows 0 to 1796": [[0], [1797]],
    "there is no row -1": [[0], [-1]],
    "client 1 has no rows": [[0], []],
    "client 1: row 7 is there 2 times": [[0], [7, 3, 7]],
    "client b: must be a list of row numbers, not float64": {"a": [0], "b": [0.5]},
    "np.flatnonzero": [np.ones(9, bool), [3]],
    "must be a list of row numbers, not": [[[0, 1], [2, 3]], [4]],
    "must be a list of row numbers": ["one", [4]],
    "there is no row 9999999999999999999": [[9999999999999999999]],
    "has no clients": [],
    "must be a list of rows for each client": 7,
    "client 0: must be a list of row numbers, not int64": np.arange(9),
    "not object": [[None]],
}


@pytest.mark.parametrize("message", IMPOSSIBLE)
def test_impossible_rows_are_refused_in_a_line(message, tmp_path):
    with pytest.raises(ConfigError, match=message) as caught:
        built("digits", tmp_path, {"data.split": IMPOSSIBLE[message]})
    assert caught.value.key == "data.split"
    assert "\n" not in str(caught.value)


@settings(max_examples=60)
@given(
    rows=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner),
        max_leaves=12,
    )
)
def test_any_file_is_used_or_refused_in_a_line(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("any")
    file = folder / "rows.json"
    file.write_text(json.dumps(rows))
    refused = []
    for key in ("data.split", "transfer.split"):
        try:
            built("digits", folder, **{key: str(file), "clients": "auto", "transfer.size": None})
        except ConfigError as error:
            refused.append(error)
    assert {error.key for error in refused} <= {"data.split", "transfer.split", "transfer.size"}
    assert not [error for error in refused if "\n" in str(error)]


@settings(max_examples=30)
@given(content=st.binary(max_size=60), ending=st.sampled_from(["json", "npz", "npy", "csv"]))
def test_any_bytes_are_refused_in_a_line(tmp_path_factory, content, ending):
    folder = tmp_path_factory.mktemp("bytes")
    file = folder / f"rows.{ending}"
    file.write_bytes(content)
    for key in ("data.split", "transfer.split"):
        with pytest.raises(ConfigError) as caught:
            built("digits", folder, **{key: str(file)})
        assert caught.value.key == key


@pytest.mark.parametrize(
    ("changes", "key", "message"),
    [
        ({"data.client": "sit"}, "data.client", "did you mean 'site'"),
        ({"data.client": "site", "clients": 9}, "clients", "has 4; give at most as many"),
        ({"data.client": "site", "data.alpha": 0.5}, "data.alpha", "says who holds what"),
        (
            {"data.client": "site", "data.samples_per_client": 5},
            "data.samples_per_client",
            "says who holds what",
        ),
        ({"data.client": "site", "data.partitioner": "iid"}, "data.partitioner", "says who"),
        (
            {"data.client": "site", "data.min_partition_size": 5},
            "data.min_partition_size",
            "says who",
        ),
        ({"data.client": "f0"}, "transfer.size", "clients without samples"),
        ({"data.client": "site", "transfer.size": 240}, "transfer.size", "without samples"),
        ({"data.client": "site", "transfer.size": 900}, "transfer.size", "has 240 samples"),
        ({"data.split": "nowhere.npz"}, "data.split", "there is no such file"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(tmp_path, changes, key, message):
    with pytest.raises(ConfigError, match=message) as caught:
        built(hospitals(), tmp_path, **changes)
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (["data.client=a", "data.split=b.json"], "data.split"),
        (["data.test_share=0.3"], "data.test_share"),
        (["data.test_share=1", "data.test=local"], "data.test_share"),
        (["data.test=mine"], "data.test"),
        (["clients=0"], "clients"),
        (["clients=some"], "clients"),
    ],
)
def test_what_no_data_could_make_right_is_refused_before(given, key):
    with pytest.raises(ConfigError) as caught:
        compose(given)
    assert caught.value.key == key


def test_clients_without_a_value_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"training samples of dataset have no value") as caught:
        built(hospitals(missing=(3, 4, 5, 6, 7)), tmp_path, **{"data.client": "site"})
    assert caught.value.key == "data.client"


def test_arrays_have_no_columns(tmp_path):
    with pytest.raises(ConfigError, match=r"give row numbers with data\.split"):
        built("digits", tmp_path, **{"data.client": "site"})


def test_too_few_are_held_by_no_client(tmp_path):
    everything = {"data.split": [np.arange(900), np.arange(900, 1797)]}
    with pytest.raises(ConfigError, match="0 training samples are held by no client") as caught:
        built("digits", tmp_path, everything, **{"transfer.size": None})
    assert caught.value.key == "transfer.size"
    few = {"data.split": [np.arange(900), np.arange(900, 1750)]}
    assert 0 < built("digits", tmp_path, few, **{"transfer.size": None}).transfer_size < 47


def test_sizes_of_rounds_are_checked_once_clients_are_known(tmp_path):
    changes = {"data.client": "site", "min_clients": 5}
    with pytest.raises(ConfigError, match="it has only 4 clients"):
        fedkd.simulate("fedmd", data=hospitals(), **TINY, **changes)
    with pytest.raises(ConfigError, match="it has only 100 clients"):
        fedkd.simulate("fedmd", **TINY, min_clients=101)


def test_a_list_of_one_set_for_each_client_is_dealt_by_it(tmp_path):
    whole = hospitals().to_pandas()
    sets = [whole[whole.site == site].drop(columns="site") for site in SITES]
    federation = built(sets, tmp_path, **{"transfer.size": 20})
    assert federation.clients == 4
    owner = federation.corpus.columns("train").column(federation.corpus.client).to_numpy()
    assert [set(owner[federation.indices(k)]) for k in range(4)] == [{0}, {1}, {2}, {3}]
    result = fedkd.simulate("fedmd", data=sets, **TINY)
    assert result.summary["clients"] == 4
    with pytest.raises(ConfigError, match="the list of data sets says who holds what") as caught:
        built(sets, tmp_path, {"data.split": ROWS})
    assert caught.value.key == "data.split"
    with pytest.raises(ConfigError, match=r"^data\.client=site: the list of data sets says who"):
        built([whole[:100], whole[100:]], tmp_path, **{"data.client": "site"})


# -- partitioners --------------------------------------------------------------------------------


def test_a_partitioner_object_deals_and_says_how_many(tmp_path):
    own = IidPartitioner(num_partitions=6)
    for _ in range(2):  # it is not changed
        federation = built("digits", tmp_path, {"data.partitioner": own})
        assert federation.clients == 6
        assert np.ptp(federation.sizes) <= 1
    result = fedkd.simulate("fedmd", **TINY, **{"data.partitioner": own})
    assert result.summary["clients"] == 6
    natural = NaturalIdPartitioner(partition_by="site")
    result = fedkd.simulate("fedmd", data=hospitals(), **TINY, **{"data.partitioner": natural})
    assert result.summary["clients"] == 4
    with pytest.raises(ConfigError, match="makes 6 partitions: set it to that"):
        built("digits", tmp_path, {"data.partitioner": own}, clients=5)


@pytest.mark.parametrize("own", [IidPartitioner, 7, [1, 2]])
def test_what_is_no_partitioner_is_refused(own):
    with pytest.raises(ConfigError, match=r"an object such as IidPartitioner\(num_partitions=5\)"):
        fedkd.simulate("fedmd", **TINY, **{"data.partitioner": own})


@pytest.mark.parametrize("clients", ["auto", 3])
def test_one_that_has_dealt_before_is_refused(tmp_path, clients):
    import datasets

    own = IidPartitioner(num_partitions=3)
    own.dataset = datasets.Dataset.from_dict({"a": list(range(9))})
    with pytest.raises(ConfigError, match="has a data set of its own") as caught:
        built("digits", tmp_path, {"data.partitioner": own}, clients=clients)
    assert caught.value.key == "data.partitioner"


OWN = """
import numpy as np
from flwr_datasets.partitioner import Partitioner

class Stripes(Partitioner):
    \"\"\"Deal rows in turn.\"\"\"

    def __init__(self, num_partitions: int, offset: int = 0) -> None:
        super().__init__()
        self.count, self.offset = num_partitions, offset

    @property
    def num_partitions(self):
        return self.count

    def load_partition(self, partition_id):
        first = (partition_id + self.offset) % self.count
        return self.dataset.select(range(first, len(self.dataset), self.count))

class Other:
    pass
"""


def test_a_partitioner_of_ones_own_file(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    given = ["data.partitioner=mine.py:Stripes", "data.partitioner.offset=1", "clients=3"]
    federation = build_federation(compose(given), prepare("digits"), None, tmp_path)
    assert np.ptp(federation.sizes) <= 1
    monkeypatch.syspath_prepend(tmp_path)
    given = ["data.partitioner=mine:Stripes", "clients=3"]
    build_federation(compose(given), prepare("digits"), None, tmp_path)
    for given, message in (
        ("mine.py:Other", "subclasses"),
        ("mine.py:Strips", "has no"),
        ("nothing.py:Stripes", "there is no file"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            build_federation(
                compose([f"data.partitioner={given}"]), prepare("digits"), None, tmp_path
            )
        assert caught.value.key == "data.partitioner"
    done = command(
        "run",
        "data.partitioner=mine.py:Stripes",
        "clients=3",
        "rounds=1",
        "engine=inline",
        "run_dir=run",
    )
    assert done.exit_code == 0, done.output
    again = command("run", "resume=run", "rounds=2")
    assert again.exit_code == 0, again.output
