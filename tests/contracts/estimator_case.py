"""What the laws of estimators run on: the data, and how a member says what it is (`Case`)."""
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

N, D = 24, 3
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D)).astype(np.float32)
Y = (X @ np.float32([2, -1, 0.5]) + 3 + 0.3 * RNG.normal(size=N)).astype(np.float32)
BLOBS = (X / 4 + np.float32([[0, 0, 0], [4, 0, 0], [0, 4, 0]])[np.arange(N) % 3]).astype(np.float32)
LABELS = (X[:, 0] - X[:, 1] + RNG.normal(size=N) > 0).astype(np.int32)       # two classes that overlap
WEIGHT = (np.arange(N) % 3).astype(np.float32)      # 0, 1 and 2


class Case(NamedTuple):
    """How a member is built for the laws, and what is known of it."""

    fixed: dict[str, Any]
    continuous: dict[str, tuple[float, float]]      # hyperparameters and two values of each, for vmap
    data: np.ndarray = X
    y: np.ndarray | None = Y                        # None: unsupervised, y is not looked at
    objective: Callable | None = None               # (state, X, y) -> what its iterations make smaller
    steps: str = ''                                 # name of the limit of its iterations
    solver: dict[str, Any] = MappingProxyType({})                     # how to get the iterative form
    hard: np.ndarray | None = None                  # data on which its iterations take a while, if `data` does not
    random_rows: bool = False                       # draws rows, so that repeated rows are equal in distribution only
    summary: Callable | None = None                 # (model, state) -> what repeated rows leave alike, if not the state
    allow_nan: bool = False                         # missing values are welcome
    weights: bool = True                            # False: rows have no weights, and giving some is refused
    loose: tuple[str, ...] = ()                     # leaves of the state that rounding may move
    rounds: dict[str, tuple[int, ...]] = MappingProxyType({})         # its number of rounds, where nothing converges
    direct: str = ''                                # why it has no iterations: one of steps, rounds, direct is given
    discrete: str = ''                              # why it has no `continuous`
