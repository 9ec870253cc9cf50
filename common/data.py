"""Data is a function of the step.  Nothing iterates, so nothing has to be saved: resume is exact by construction.

An `Order` says which records make up a step's batch.  A `Source` says how they become the batch, in two forms that
give the same batches: `resident` (arrays on the device, gathered inside the jitted step; only indices cross) and
`stream` (records read by index on host threads, ahead of the step).  `windows` are random parts of one long sequence,
`constant` is one batch for all steps.
"""
import collections
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from common.errors import ConfigError
from common.records import Records

PyTree = Any


def permutation(n: int, seed: int, epoch: int) -> Int[np.ndarray, 'n']:
    """A shuffle of range(n) that depends on (seed, epoch) alone.

    Sorts raw Philox words: NumPy promises that bit generators keep their streams, and promises no such thing
    for `Generator.permutation`.
    """
    words = np.random.Philox(key=np.array([seed % 2**64, epoch], np.uint64)).random_raw(n)
    return np.argsort(words, kind='stable')


class Order:
    """step -> the records of its batch, an int64 array [batch_size].

    Every epoch is a new shuffle of all `length` records, cut into whole batches; the remainder waits for the next
    shuffle.  `shuffle=False` keeps the records in order.  Raises ConfigError when one batch is longer than the data.
    """
    def __init__(self, length: int, batch_size: int, *, seed: int = 0, shuffle: bool = True):
        if not 1 <= batch_size <= length:
            raise ConfigError(f'batch_size: expected 1 to {length} (the number of records), found {batch_size}')
        self.length, self.batch_size, self.seed, self.shuffle = length, batch_size, seed, shuffle
        self._last = (-1, np.arange(length))    # one epoch's shuffle

    @property
    def steps_per_epoch(self) -> int:
        return self.length // self.batch_size

    def __call__(self, step: int) -> Int[np.ndarray, 'batch']:
        epoch, i = divmod(int(step), self.steps_per_epoch)
        last = self._last                       # one read: a prefetching thread may replace it
        if self.shuffle and last[0] != epoch:
            self._last = last = (epoch, permutation(self.length, self.seed, epoch))
        return last[1][i * self.batch_size:(i + 1) * self.batch_size]


class Source(NamedTuple):
    """What a step's batch is made of.

    host(step, rows) -> NumPy arrays that cross to the device: those rows (a slice) of the step's batch
    batch(resident, host) -> the batch; runs inside the jitted step
    rows: rows of the whole batch, what a strategy splits over devices; 0 when nothing crosses
    seeds: 0, or the number of seeds that `host` stacks in front of the rows
    """
    host: Callable[[int, slice], PyTree]
    batch: Callable[[PyTree, PyTree], PyTree]
    resident: PyTree = None
    rows: int = 0
    seeds: int = 0

    def __call__(self, step: int) -> PyTree:
        """The whole batch of a step, for looking at it."""
        return jax.tree.map(np.asarray, self.batch(self.resident, self.host(step, slice(None))))


def _take(arrays: PyTree, index) -> PyTree:
    return jax.tree.map(lambda a: jnp.take(jnp.asarray(a), index, axis=0, mode='clip'), arrays)


def _second(_, host):
    return host


def resident(arrays: PyTree, order: Order) -> Source:
    """Arrays [length, ...] that stay on the device; each step gathers its rows there."""
    sizes = {len(a) for a in jax.tree.leaves(arrays)}
    if sizes != {order.length}:
        raise ValueError(f'arrays: expected {order.length} rows in each (the order has as many), found {sorted(sizes)}')
    return Source(lambda step, rows: order(step)[rows].astype(np.int32), _take, arrays, order.batch_size)


def stream(records: Records, order: Order) -> Source:
    """Records read by index on the host, for data that does not fit on the device."""
    if records.length != order.length:
        raise ValueError(f'records: expected {order.length} (the order has as many), found {records.length}')
    return Source(lambda step, rows: records.read(order(step)[rows]), _second, rows=order.batch_size)


def windows(tokens: Int[np.ndarray, 'n'], length: int, batch_size: int, *, seed: int = 0) -> Source:
    """Batches {'tokens': int32 [batch_size, length]}: windows of one long sequence that starts anywhere, drawn anew
    at each step from Philox (seed, step). The sequence stays on the device; only starts cross."""
    starts = len(tokens) - length + 1
    if length < 1 or batch_size < 1 or not 1 <= starts < 2**31:
        raise ConfigError(f'tokens: expected at least length={length} of them (and below 2**31), found {len(tokens)}')

    def host(step, rows):
        words = np.random.Philox(key=np.array([seed % 2**64, step], np.uint64)).random_raw(batch_size)
        return (words % np.uint64(starts)).astype(np.int32)[rows]      # of the whole batch: alike on any devices
    take = lambda table, at: {'tokens': _take(table, at[:, None] + jnp.arange(length)[None]).astype(jnp.int32)}
    return Source(host, take, tokens, batch_size)


def constant(batch: PyTree = None) -> Source:
    """The same batch at every step (a graph, a full-batch problem), or none (reinforcement learning)."""
    return Source(lambda step, rows: None, lambda data, _: data, batch)


def for_seeds(sources: Sequence[Source]) -> Source:
    """Sources that differ only in their order -> one whose batches have a leading axis of seeds."""
    first = sources[0]
    if any(s.resident is not first.resident or s.rows != first.rows for s in sources):
        raise ValueError('sources: expected one set of resident arrays and one batch size for all seeds')
    stack = lambda *xs: np.stack(xs)
    return first._replace(host=lambda step, rows: jax.tree.map(stack, *(s.host(step, rows) for s in sources)),
                          seeds=len(sources))


def calls(source: Source, steps_per_call: int, rows: slice) -> Callable[[int], PyTree]:
    """call number -> host data of its steps, stacked [steps_per_call, (seeds,) rows, ...]."""
    def load(i):
        parts = [source.host(i * steps_per_call + j, rows) for j in range(steps_per_call)]
        return jax.tree.map(lambda *xs: np.stack(xs), *parts)
    return load


def whole(source: Source, steps: int) -> tuple[PyTree, Callable]:
    """(data, batch_fn) for `task.train_fn`: all of a run's host data at once, for runs that are one program."""
    data = (source.resident, calls(source, steps, slice(None))(0))
    return data, lambda d, step: source.batch(d[0], jax.tree.map(lambda x: x[step], d[1]))


def padded(arrays: dict[str, np.ndarray], batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """One pass in order; the last batch is filled up with its last row, and 'mask' [batch] is 0 there."""
    n = len(next(iter(arrays.values())))
    for low in range(0, n, batch_size):
        index = np.minimum(np.arange(low, low + batch_size), n - 1)
        mask = (np.arange(low, low + batch_size) < n).astype(np.float32)
        yield {**{k: np.asarray(v)[index] for k, v in arrays.items()}, 'mask': mask}


class Prefetch:
    """`load(i)` for each i, `depth` ahead on a thread; an error in it is raised here, at its place.

    The next one is begun by `more()`, so that its work in Python falls where the caller only waits for the device.
    """
    def __init__(self, load: Callable[[int], PyTree], numbers: Iterable[int], depth: int = 2):
        self._load, self._numbers = load, iter(numbers)
        self._pool, self._pending = ThreadPoolExecutor(1, thread_name_prefix='prefetch'), collections.deque()
        for _ in range(depth):
            self.more()

    def more(self) -> None:
        for i in itertools.islice(self._numbers, 1):
            self._pending.append(self._pool.submit(self._load, i))

    def __iter__(self) -> Iterator[PyTree]:
        try:
            while self._pending:
                yield self._pending.popleft().result()
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)
