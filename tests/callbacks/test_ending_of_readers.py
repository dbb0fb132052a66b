"""A pipe whose reader has gone ends no run."""

import os

from rich.console import Console
from support import TINY

import fedkd
from fedkd.callbacks import Progress
from fedkd.ending import outlasting


def test_a_run_outlasts_who_reads_it():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as file:
        console = outlasting(Console(file=file))
        result = fedkd.simulate("local", **TINY, callbacks=[Progress(console)])
        assert console.quiet
        print("later", file=file, flush=True)  # nor does what others write there
    assert result.summary["rounds"] == TINY["rounds"]
