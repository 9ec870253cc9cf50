"""The roadmap's levels: every topic an importable component.

Each level package ends with a literal table `MEMBERS` of `Member` rows; `levels.catalogue` joins them, and tests, docs
and benchmarks iterate over the join. A row is written by hand beside the code it names, never by a decorator.

    from levels.catalogue import members
    for row in members(kind='linen module'):
        print(row.name, row.topic, row.import_path)
"""

from typing import NamedTuple

# The contracts of design.md section 4, and three for what none of them fits. 'tuner': a search for hyperparameters
# as a Task; 'op': a pure array function (convolution,
# pooling) with no state and no hyperparameters to bind; 'lesson': exercises that check themselves (Python to Git).
KINDS = (
    'estimator',
    'scikit-learn face',
    'optimiser',
    'linen module',
    'cell',
    'loss',
    'rl agent',
    'gnn layer',
    'generative',
    'tuner',
    'op',
    'lesson',
)


class Member(NamedTuple):
    """One public component: a row of the catalogue."""

    name: str
    kind: str  # one of KINDS
    import_path: str  # dotted, ends with the object: 'levels.level2_neural.mlp.MLP'
    level: int
    topic: str  # exactly as docs/roadmap.toml writes it
    oracle: str  # the peer its parity test compares with
    paper: str
