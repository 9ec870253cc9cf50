"""Rules that say how a state is split over a mesh, by the path of each leaf.

    rules = [('Dense_0/kernel', P(None, 'model')), ('kernel$', 'fsdp')]

The first rule whose regex is found in a leaf's path wins; no match means replicated.
"""
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.sharding import PartitionSpec as P

from common import trees
from common.errors import UsageError

PyTree = Any
Rules = Sequence[tuple[str, P | str]]     # (regex over a leaf's path, PartitionSpec or 'fsdp')
FSDP_MIN = 1024                           # smaller leaves stay whole: splitting them costs more than it saves


def spec_of(rules: Rules, path: str, leaf, sizes: dict[str, int]) -> P:
    """The PartitionSpec of a leaf: that of the first rule whose regex is found in the path and which fits the rank.

    'fsdp' splits the longest axis that divides over 'data', and leaves small arrays whole.
    Raises UsageError when an axis does not divide.
    """
    shape = np.shape(leaf)
    for pattern, where in rules:
        if not re.search(pattern, path) or (where != 'fsdp' and len(where) > len(shape)):
            continue
        if where == 'fsdp':
            dims = [d for d in range(len(shape)) if shape[d] % sizes['data'] == 0]
            if int(np.prod(shape)) < FSDP_MIN or not dims:
                return P()
            best = max(dims, key=lambda d: shape[d])
            return P(*(None,) * best, 'data')
        for d, names in enumerate(where):
            n = int(np.prod([sizes[a] for a in ((names,) if isinstance(names, str) else names or ())]))
            if shape[d] % n:
                raise UsageError(f'sharding: axis {d} of {path} {list(shape)} does not divide over {n} devices')
        return where
    return P()


def check_rules(rules: Rules, sizes: dict[str, int], state: PyTree):
    names = trees.named_leaves(state)
    for pattern, where in rules:
        if not any(re.search(pattern, p) for p in names):
            raise UsageError(f'sharding: no leaf of the state has a path that matches {pattern!r}, for example '
                             f'{next(reversed(names))}')
        axes = [a for part in (() if where == 'fsdp' else where) if part
                for a in ((part,) if isinstance(part, str) else part)]
        if unknown := [a for a in axes if a not in sizes]:
            raise UsageError(f'sharding: {pattern!r} names the axis {unknown[0]!r}, the mesh has {list(sizes)}')
