"""Client state in bounded memory: what does not fit waits on disk.

Phases go through the clients in one order again and again. So the one just used goes, who is needed
again last of all; were it the one not used for the longest time, nothing would be here when its
turn comes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

from flwr.app import Context
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..errors import RunError
from .state import Build, LiveState, Memory

MODEL, TENSORS = "model.", "tensors."
"""Prefixes of names in a file: the model's state dict, and what a method keeps beside it."""


class SpillingState(LiveState):
    """Keeps memories in this process up to a budget, and the others in files.

    A memory comes back as a fresh model that its file is loaded into, bit for bit what it was; as
    from a checkpoint, what a model holds outside of its state dict does not. A client in the middle
    of a message is never written. Each instance has a folder of its own and reads only what it
    wrote itself.

    Parameters
    ----------
    budget : int
        Bytes of models' and methods' tensors that may stay, at least 1.
    folder : Path
        Where to make the folder for the files; it goes with this object.

    Examples
    --------
    >>> from tempfile import gettempdir
    >>> from flwr.app import RecordDict
    >>> state = SpillingState(budget=20, folder=Path(gettempdir()))
    >>> for node in (1, 2):
    ...     context = Context(1, node, {}, RecordDict(), {})
    ...     state.commit(context, state.load(context, lambda: nn.Linear(2, 1)))  # 12 bytes
    >>> list(state.memories)
    [1]
    """

    def __init__(self, budget: int, folder: Path) -> None:
        super().__init__()
        folder.mkdir(parents=True, exist_ok=True)
        self.budget, self._folder = budget, TemporaryDirectory(dir=folder)
        self._sizes: dict[int, int] = {}  # of the memories here, the least recently used first
        self._held = 0  # their sum
        self._spilled: dict[int, Path] = {}

    def load(self, context: Context, build: Build) -> Memory:
        """Return the memory, read from its file if it was written to one."""
        node = context.node_id
        if node in self._spilled:
            with _on_disk(self._spilled[node]):
                self.memories[node] = _read(self._spilled[node], build())
                self._spilled.pop(node).unlink()
        memory = super().load(context, build)
        self._note(node, memory)
        return memory

    def commit(self, context: Context, memory: Memory) -> None:
        """Keep the memory; others make room for it if they must."""
        super().commit(context, memory)
        self._note(context.node_id, memory)
        self._make_room()

    def rollback(self, context: Context) -> None:
        """Put back what `load` found."""
        super().rollback(context)
        self._make_room()

    def forget(self, context: Context) -> None:
        """Drop the memory, or its file."""
        super().forget(context)
        self._held -= self._sizes.pop(context.node_id, 0)
        if (path := self._spilled.pop(context.node_id, None)) is not None:
            path.unlink()

    def _note(self, node: int, memory: Memory) -> None:
        self._held -= self._sizes.pop(node, 0)
        self._sizes[node] = sum(tensor.nbytes for tensor in _named(memory).values())
        self._held += self._sizes[node]

    def _make_room(self) -> None:
        """Write memories until the others fit."""
        while self._held > self.budget:
            free = (node for node in reversed(self._sizes) if node not in self._before)
            node = next(free, None)
            if node is None:  # all are in the middle of a message
                return
            path = Path(self._folder.name) / f"{node}.safetensors"
            with _on_disk(path):
                save_file(_packed(self.memories[node]), path)
            self._spilled[node] = path
            self._held -= self._sizes.pop(node)
            del self.memories[node]


@contextmanager
def _on_disk(path: Path) -> Iterator[None]:
    """End the run if the disk fails: it is not the client that did, and more would follow."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        problem = f"client state in {path.parent} cannot be written or read ({error})"
        remedy = "free some space and resume the run, or raise engine.state_memory"
        raise RunError(f"{problem}; {remedy}") from error


def _named(memory: Memory) -> dict[str, Tensor]:
    """Return all tensors of a memory under the names that they have in a file."""
    named = {MODEL + name: tensor for name, tensor in memory.model.state_dict().items()}
    return named | {TENSORS + name: tensor for name, tensor in memory.tensors.items()}


def _packed(memory: Memory) -> dict[str, Tensor]:
    """Return them as a file takes them: one block each, none shared."""
    seen: set[int] = set()
    packed = {}
    for name, tensor in _named(memory).items():
        plain = tensor.detach().contiguous()
        whole = plain.nbytes == plain.untyped_storage().nbytes()
        where = plain.untyped_storage().data_ptr()
        packed[name] = plain if whole and where not in seen else plain.clone()
        seen.add(where)
    return packed


def _read(path: Path, model: nn.Module) -> Memory:
    stored = load_file(path)
    own = {k.removeprefix(MODEL): v for k, v in stored.items() if k.startswith(MODEL)}
    model.load_state_dict(own)
    kept = {k.removeprefix(TENSORS): v for k, v in stored.items() if k.startswith(TENSORS)}
    return Memory(model, kept)


@contextmanager
def spill_folder(run_dir: Path) -> Iterator[Path]:
    """Yield the folder of a run's spilled state; it is gone afterwards, whoever was killed."""
    folder = run_dir / "state"
    rmtree(folder, ignore_errors=True)  # of a run that was killed and is resumed now
    try:
        yield folder
    finally:
        rmtree(folder, ignore_errors=True)


def state_factory(budget: int | None, folder: Path) -> Callable[[int], LiveState]:
    """Return what makes the client state of one of several processes that share a budget.

    Parameters
    ----------
    budget : int or None
        Bytes for all of them together; None = no limit.
    folder : Path
        Where files go.
    """
    if budget is None:
        return lambda processes: LiveState()
    return lambda processes: SpillingState(max(1, budget // processes), folder)
