"""The estimators of level 1 and their peers: one row each, fitted (or asked to predict) on both sides of a pair.

    Row                 one estimator: its data, sizes, factory, peers, quality
    table               the rows
    data                what both sides are given
    sides               an estimator of ours, and a peer's, behind one face
    quality             what is compared, computed alike for both sides

A row makes two pairs: at its size, and at a tenth of the rows, with `_tenth` behind the name.  There is no training
loop here: our side is `jax.jit(fit)`, compiled before the first turn, on arrays that lie on the device.
"""
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from tools.bench.forms import Pair, Peer, Quality

TENTH = '_tenth'
CORES = 'cores'         # in an option: the number of cores that this side may use


class Other(NamedTuple):
    """A peer of a row: a class (or a function, for `call`) by its path, its options, and what of them is found by
    trial: dicts of more options, `dtype` among them that of the data."""
    path: str
    options: Mapping[str, Any] | Callable = MappingProxyType({})
    choices: tuple[dict[str, Any], ...] = ({},)
    target: float | None = None
    one: float | None = None

    @property
    def library(self) -> str:
        return self.path.partition('.')[0]


class Row(NamedTuple):
    """do: 'fit'; 'predict' (after a fit that is not timed), 'neighbours' or 'call' (a function of the data), 'sweep' (a
    fit for each value of the options named in `sweep`: ours in one program, the peer's one after the other).

    `options`, ours and theirs, may be a function of the data.  `steps` fits in a turn of the full size; ten times as
    many, at most 10, at the tenth.
    """
    name: str
    what: str
    data: str
    sizes: dict[str, int]
    path: str
    options: Mapping[str, Any] | Callable
    others: tuple[Other, ...]
    quality: Quality
    do: str = 'fit'
    steps: int = 1
    repeats: int = 5
    sweep: tuple[str, ...] = ()
    alone: bool = False     # X is learned from without y, by which it is only judged


def tenth(sizes: dict[str, int]) -> dict[str, int]:
    return {k: v // 10 if k in ('rows', 'queries') else v for k, v in sizes.items()}


def pairs(rows: tuple[Row, ...]) -> tuple[Pair, ...]:
    """Both pairs of every row."""
    found = []
    for row in rows:
        peers = tuple(Peer(f'classical.{o.library}', o.target, o.one) for o in row.others)
        size = ', '.join(f'{v:,} {k}' for k, v in row.sizes.items())
        full = Pair(row.name, f'{row.what}; {size}', peers, 'fits' if row.do == 'fit' else 'calls', 1, row.steps,
                    row.repeats, row.quality, row.sizes, group='classical')
        small = ', '.join(f'{v:,} {k}' for k, v in tenth(row.sizes).items())
        found += [full, full._replace(name=row.name + TENTH, what=f'{row.what}; {small}', sizes=tenth(row.sizes),
                                      steps=min(10, 10 * row.steps), one_thread=False)]
    return tuple(found)


def row(name: str) -> Row:
    """The row of a pair."""
    from tools.bench.classical.table import ROWS
    return next(r for r in ROWS if r.name == name.removesuffix(TENTH))


def options(given: Mapping[str, Any] | Callable, d, cores: int = 1) -> dict[str, Any]:
    """The options of a row for its data."""
    found = given(d) if callable(given) else given
    return {k: cores if isinstance(v, str) and v == CORES else v for k, v in found.items()}
