"""What columns hold is looked at, whatever they are called: numbers of rows, dates as text."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedkd.data import prepare
from fedkd.data.columns import Choice

RNG = np.random.default_rng(0)
ROWS = 60
OWN = "each row has its own; name it in data.features to use it"


def frame(**more):
    y = np.arange(ROWS) % 2
    return pd.DataFrame({"a": RNG.normal(size=ROWS) + y, "b": y * 2, "label": y} | more)


CODES = {
    "rising": np.arange(100_000, 100_000 + ROWS),
    "in any order": RNG.permutation(100_000 + np.arange(ROWS)),
    "far apart": RNG.choice(10**9, ROWS, replace=False),
    "a patient came twice": np.sort([*range(ROWS - 3), 5, 9, 11]),
    "falling": np.arange(ROWS)[::-1],
    "unsigned": np.arange(ROWS, dtype=np.uint16),
    "some missing": pd.array([None, *range(1, ROWS)], "Int64"),
    "codes": [f"P-{row:04}" for row in range(ROWS)],
    "hashes": [f"{row:032x}" for row in RNG.permutation(ROWS)],
}
USED = {
    "numbers with a fraction": np.arange(ROWS) + 0.5,
    "whole floats": np.arange(ROWS, dtype=float),
    "counts": np.arange(ROWS) % 50,
    "nearly all differ, in no order": RNG.permutation([*range(ROWS - 3), 5, 9, 11]),
}


@pytest.mark.parametrize("values", CODES.values(), ids=list(CODES))
def test_a_column_that_tells_rows_apart_is_no_feature(values):
    corpus = prepare(frame(patient=values))
    assert corpus.features == ["a", "b"]
    assert f"left out: patient ({OWN})" in corpus.note
    assert "patient" in corpus.columns("train").column_names  # clients may be told by it


@pytest.mark.parametrize("values", USED.values(), ids=list(USED))
def test_numbers_that_some_rows_share_are_features(values):
    assert prepare(frame(patient=values)).features == ["a", "b", "patient"]


def test_few_rows_may_differ_by_chance():
    assert prepare(frame(patient=range(ROWS))[:20]).features == ["a", "b", "patient"]


def test_the_user_has_the_last_word():
    choice = Choice(features=("a", "patient"))
    assert prepare(frame(patient=range(ROWS)), choice=choice).features == ["a", "patient"]


def test_what_the_training_rows_say_holds_for_the_test_split():
    splits = {"train": frame(patient=range(ROWS)), "test": frame(patient=7)}
    assert prepare(splits).features == ["a", "b"]
    splits = {"train": frame(patient=7 * np.arange(ROWS) % 9), "test": frame(patient=range(ROWS))}
    assert prepare(splits).features == ["a", "b", "patient"]


def test_codes_beside_texts_are_not_asked_about():
    table = pd.DataFrame(
        {
            "uid": [f"u{row}" for row in range(ROWS)],
            "visit": range(ROWS),
            "review": [f"was it good, or {row}" for row in range(ROWS)],
            "label": np.arange(ROWS) % 2,
        }
    )
    corpus = prepare(table)
    assert corpus.vocabulary
    assert "texts review" in corpus.note
    assert prepare(table, choice=Choice(text=type(Choice().text)("uid"))).vocabulary  # as asked


DAYS = [datetime.datetime(2020, 1, 1) + datetime.timedelta(days=int(d)) for d in RNG.choice(900, 9)]
WRITTEN = {
    "days": [day.date().isoformat() for day in DAYS],
    "times": [day.isoformat(" ") for day in DAYS],
    "zones": [day.isoformat() + "Z" for day in DAYS],
    "some missing": [None, *(day.isoformat() for day in DAYS[1:])],
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=list(WRITTEN))
def test_dates_are_dates_whatever_the_file(tmp_path, written):
    text = [written[row % 9] for row in range(ROWS)]
    table = frame(seen=text)
    dates = table.assign(seen=pd.to_datetime(table["seen"]))
    table.to_csv(tmp_path / "own.csv", index=False)
    table.to_parquet(tmp_path / "text.parquet")
    dates.to_parquet(tmp_path / "own.parquet")
    known = prepare(tmp_path / "own.parquet")
    assert known.features == ["a", "b", "seen"]
    for other in ("own.csv", "text.parquet"):
        corpus = prepare(tmp_path / other)
        assert np.array_equal(corpus.x_train, known.x_train)
        assert np.array_equal(corpus.x_test, known.x_test)
        assert corpus.note == known.note


def test_a_date_is_no_text_and_no_identifier(tmp_path):
    """Days that all differ are a feature; a text that is called so is one beside them."""
    days = pd.date_range("2020-01-01", periods=ROWS).astype(str)
    assert prepare(frame(seen=days)).features == ["a", "b", "seen"]
    texts = pd.DataFrame({"seen": days, "text": [f"how was {row}" for row in range(ROWS)]})
    assert prepare(texts.assign(label=[0, 1] * 30)).vocabulary
    left = prepare(frame(seen=[*days[1:], "soon"]))
    assert left.features == ["a", "b"]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=21, max_size=40, unique=True))
def test_any_integers_that_all_differ_are_recognised(values):
    import pyarrow as pa

    from fedkd.data.recognising import identifies

    assert identifies(pa.chunked_array([values]))
    assert not identifies(pa.chunked_array([values * 2]))
