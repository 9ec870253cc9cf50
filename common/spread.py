"""Independent problems shared among devices under a strategy: what `loop.fit` is for steps, this is for solvers.

    run = spread.compile(strategies.mesh(rules=spread.RULES), fn, shared, split)
    results = run(shared, split)        # the results of fn(shared, split), on the host

Leaves of `split` and of the result have the problems as their first axis. Each device sees its own alone, and
nothing is sent between them; so their number changes no more than how a batch of problems is rounded. One process only.
"""
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from common import trees
from common.errors import UsageError
from common.strategies import Strategy

PyTree = Any
RULES = (('', P('data')),)      # every leaf of the result is split by its first axis


def compile(strategy: Strategy, fn: Callable[[PyTree, PyTree], PyTree], shared: PyTree, split: PyTree) -> Callable:
    """`fn` compiled for arguments of these shapes.  A device may get a problem twice, to fill its share.

    strategy: one that was made with RULES.
    Raises UsageError for several processes, ValueError for leaves of `split` that count different problems.
    """
    if jax.process_count() > 1:
        raise UsageError('--distributed: this project solves in one process')
    counts = {len(leaf) for leaf in jax.tree.leaves(split)}
    if len(counts) != 1:
        raise ValueError(f'split: expected leaves with the same first axis, found {sorted(counts)}')
    problems = counts.pop()
    which = np.arange(-(-problems // strategy.devices) * strategy.devices) % problems
    fill = lambda split: jax.tree.map(lambda x: np.asarray(x)[which], split)
    empty = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(fn, shared, fill(split)))
    given = lambda shared, split: (strategy.place({'result': empty}), strategy.resident(shared),
                                   strategy.batch(fill(split), 0))

    # The result takes the place of a state, which is what a strategy knows how to split.
    def call(_, shared, split):
        return {'result': strategy.apart(fn)(shared, split)}

    compiled = strategy.compile(call, *given(shared, split), 0)

    def solve(shared: PyTree, split: PyTree) -> PyTree:
        out = strategy.gather(compiled(*given(shared, split)))
        return jax.tree.map(lambda x: x[:problems], trees.to_host(out['result']))

    return solve
