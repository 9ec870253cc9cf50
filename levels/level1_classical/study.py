"""A study of several models on one table: nested cross-validation, comparison in pairs, the fitted models in files.

What the level's projects share. A model of a study is a `Recipe`; its preprocessing is inside (`preprocessing.chain`),
so that a fold's weights (0 for rows that it must not see) rule over means, scales and vocabularies as well.

Formula: each outer fold takes the hyperparameters that are best on its own inner folds; its test rows measure it.
Paper: Varma, Simon 2006, Bias in error estimation when using cross-validation for model selection; Nadeau, Bengio 2003,
    Inference for the generalization error.
"""

import functools
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from safetensors import safe_open
from safetensors.numpy import save_file

from common import folder, spread, trees
from common.errors import DataError
from levels.level1_classical import model_selection as ms
from levels.level1_classical.estimator import Estimator


class Recipe(NamedTuple):
    """A model and the values of its continuous hyperparameters that are tried; an empty grid is one point."""

    make: Callable[..., Estimator]
    grid: Mapping[str, np.ndarray]
    in_turn: bool = False       # `model_selection.search`: for models that take much memory


class Folds(NamedTuple):
    """Masks [outer, rows] and [outer, inner, rows] of one seed."""

    outer: ms.Splits
    inner: ms.Splits


class Measured(NamedTuple):
    """One model and one seed; a score is larger when better."""

    points: dict[str, np.ndarray]                   # what was tried, name -> [points]
    inner: Float[np.ndarray, 'outer points']        # mean score over the inner folds
    chosen: Int[np.ndarray, ' outer']               # the point that each outer fold took
    score: Float[np.ndarray, ' outer']              # its score on the outer test rows
    out_of_fold: Float[np.ndarray, 'rows *k']       # each row's prediction by the fold that did not see it
    best: dict[str, float]                          # the point of the final model, by the outer folds
    state: Any                                      # the final model, fitted on all rows


def folds(kind: str, n: int, y=None, *, outer: int, inner: int, seed: int) -> Folds:
    """The folds of one seed, shuffled: kind is 'kfold' or 'stratified' (which needs y)."""
    whole = ms.splits(kind, np.zeros(n), y, n_splits=outer, shuffle=True, random_state=seed)
    return Folds(whole, ms.nested(whole, kind, y, n_splits=inner, shuffle=True, random_state=seed))


def compile(strategy: Any, recipe: Recipe, X, y, parts: Folds, metric: str) -> Callable:
    """The program of `measure`: all folds times all points, folds shared among devices.  One for all seeds.

    strategy: a `common.strategies.Strategy` made with `spread.RULES`.
    """
    search = ms.search(_maker(recipe), metric, in_turn=recipe.in_turn)
    run = lambda shared, split: search(*shared[:4], *split, shared[4])
    return spread.compile(strategy, run, *_given(recipe, X, y, parts, 0))


def _maker(recipe: Recipe) -> Callable[..., Estimator]:
    return recipe.make if recipe.grid else _without_grid(recipe.make)


@functools.lru_cache(maxsize=64)
def _without_grid(make: Callable[..., Estimator]) -> Callable[..., Estimator]:
    return lambda nothing: make()


@functools.lru_cache(maxsize=64)
def _refit(make: Callable[..., Estimator], output: str) -> Callable:
    """(key, X, y, weight, masks [folds, rows], points [folds]) -> what each fold's model says of all rows."""
    def run(key, X, y, weight, masks, points):
        def fold(given):
            model = make(**given[1])
            return getattr(model, output)(model.fit(key, X, y, weight * given[0]), X)
        return jax.lax.map(fold, (masks, points))
    return jax.jit(run)


@functools.lru_cache(maxsize=64)
def _fit(make: Callable[..., Estimator]) -> Callable:
    return jax.jit(lambda key, X, y, point: make(**point).fit(key, X, y))


def _grid(recipe: Recipe) -> Mapping[str, np.ndarray]:
    return recipe.grid or {'nothing': np.zeros(1, np.float32)}


def _given(recipe: Recipe, X, y, parts: Folds, seed: int) -> tuple[tuple, tuple]:
    """(what all folds share, the folds: outer, then inner)."""
    both = ms.Splits(*(np.concatenate([o, i.reshape(-1, o.shape[1])]) for o, i in zip(*parts)))
    *data, fitted_on, measured_on, points = ms.arguments(X, y, both, _grid(recipe), key=jax.random.key(seed))
    return (*data, points), (fitted_on, measured_on)


def measure(search: Callable, recipe: Recipe, X, y, parts: Folds, *, seed: int, output: str = 'predict') -> Measured:
    """Nested cross-validation of one model by the program of `compile`: no row of an outer test has a say in its fold.

    output: the method whose values are kept out of fold, 'predict' or 'proba'.
    """
    shared, split = _given(recipe, X, y, parts, seed)
    scores = search(shared, split)
    outer = len(parts.outer.train)
    at_outer, at_inner = scores[:outer], scores[outer:].reshape(outer, -1, scores.shape[1]).mean(1)
    chosen = at_inner.argmax(1)
    key, X, y, weight, points = shared
    make = _maker(recipe)

    taken = {name: v[chosen] for name, v in points.items()}
    guesses = np.asarray(_refit(make, output)(key, X, y, weight, split[0][:outer], taken))
    index = int(at_outer.mean(0).argmax())
    best = {name: v[index] for name, v in points.items()}
    state = jax.device_get(_fit(make)(key, X, y, best))
    return Measured({n: np.asarray(v) for n, v in points.items()}, at_inner, chosen, at_outer[np.arange(outer), chosen],
                    guesses[parts.outer.test.argmax(0), np.arange(len(X))], named(recipe, best), state)


class Study(NamedTuple):
    """All models and seeds."""

    found: dict[str, list[Measured]]        # name -> one for each seed
    compile: float                          # seconds
    solve: float


def run(strategy: Any, recipes: Mapping[str, Recipe], X, y, parts: list[Folds], *, metric: str, seed: int,
        output: str = 'predict') -> Study:
    """Every model on the folds of every seed (seed, seed + 1, ...)."""
    began = time.perf_counter()
    programs = {name: compile(strategy, r, X, y, parts[0], metric) for name, r in recipes.items()}
    compiled = time.perf_counter()
    found = {name: [measure(programs[name], r, X, y, p, seed=seed + i, output=output) for i, p in enumerate(parts)]
             for name, r in recipes.items()}
    return Study(found, compiled - began, time.perf_counter() - compiled)


def by_fold(metric: Callable[..., Array], y, guess, masks) -> Float[np.ndarray, ' folds']:
    """metric(y, guess, weight=) over the rows of each mask: what out-of-fold predictions are worth, fold by fold."""
    return np.asarray(jax.jit(jax.vmap(lambda m: metric(y, guess, weight=m)))(jnp.asarray(masks, jnp.float32)))


def named(recipe: Recipe, point: Mapping[str, Array]) -> dict[str, float]:
    """A point of the grid as plain numbers; empty for a recipe without a grid."""
    return {name: float(point[name]) for name in recipe.grid}


def compare(scores: Mapping[str, np.ndarray], outer: int) -> dict[str, dict[str, float]]:
    """'a - b': mean difference with its 95 % interval, over the same folds of the same seeds, for all pairs.

    Shapes: scores name -> [seeds, outer].
    """
    names = list(scores)
    return {f'{a} - {b}': ms.paired_interval(scores[a] - scores[b], test_share=1 / outer)
            for i, b in enumerate(names) for a in names[i + 1:]}


def save(path: Path, state, about: Mapping[str, Any]) -> Path:
    """Writes a fitted model as safetensors, with what it is in the header, in one move.

    about: JSON, with at least `features` (names of the columns of X) and `rows` (how many it was fitted on).
    """
    leaves = {k: np.array(v, order='C') for k, v in trees.named_leaves(trees.to_host(state)).items()}
    tmp = path.with_name(path.name + '.tmp')
    save_file(leaves, tmp, {'about': json.dumps(folder.plain(dict(about)), sort_keys=True)})
    tmp.replace(path)
    return path


def load(path: Path, build: Callable[[dict], Estimator]) -> tuple[Estimator, Any, dict]:
    """(model, state, about) of a saved model; build(about) makes the estimator.  DataError if it is no such model."""
    try:
        with safe_open(path, 'np') as file:
            about = json.loads(file.metadata()['about'])
            leaves = {name: file.get_tensor(name) for name in file.keys()}      # noqa: SIM118
        model = build(about)
        n = about['rows']
        fit = functools.partial(model.fit, jax.random.key(0))
        empty = jax.eval_shape(fit, jnp.zeros((n, len(about['features']))), jnp.zeros(n), jnp.ones(n))
        if lines := trees.difference(trees.signature(empty), trees.signature(leaves)):
            raise ValueError(lines[0])
        return model, trees.map_named(lambda name, leaf: leaves[name], empty), about
    except Exception as error:      # safetensors raises its own kinds, and a header may be anything
        raise DataError(f'{path}: not a model of this project ({error}); fix: train it again') from error
