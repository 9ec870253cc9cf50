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
from collections.abc import Callable, Mapping, Sequence
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
    in_turn: bool | str = False     # `model_selection.search`: for models that take much memory


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
    """(key, X, y, weight, masks [folds, rows], points [folds]) -> (the last fold's model, what each says of all rows).

    One program for both, as compiling a large model takes longer than fitting it; and one state in memory at a time.
    """
    def run(key, X, y, weight, masks, points):
        def fold(_, given):
            model = make(**given[1])
            state = model.fit(key, X, y, weight * given[0])
            return state, getattr(model, output)(state, X)
        first = jax.tree.map(lambda v: v[0], (masks, points))
        empty = jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype), jax.eval_shape(lambda: fold(None, first)[0]))
        return jax.lax.scan(fold, empty, (masks, points))
    return jax.jit(run)


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

    index = int(at_outer.mean(0).argmax())
    taken = {name: v[np.append(chosen, index)] for name, v in points.items()}
    masks = np.concatenate([split[0][:outer], np.ones_like(split[0][:1])])
    state, guesses = jax.device_get(_refit(make, output)(key, X, y, weight, masks, taken))
    best = {name: v[index] for name, v in points.items()}
    return Measured({n: np.asarray(v) for n, v in points.items()}, at_inner, chosen, at_outer[np.arange(outer), chosen],
                    guesses[parts.outer.test.argmax(0), np.arange(len(X))], named(recipe, best), state)


class Study(NamedTuple):
    """All models and seeds."""

    found: dict[str, list[Measured]]        # name -> one for each seed
    compile: float                          # seconds
    solve: float


def run(strategy: Any, recipes: Mapping[str, Recipe], X, y, parts: list[Folds], *, metric: str, seed: int,
        output: str = 'predict', tell: Callable[[str], None] = lambda line: None, keep: Path | None = None) -> Study:
    """Every model on the folds of every seed (seed, seed + 1, ...).

    tell: is given a line for people on each model that is done.
    keep: a folder for the scores of every model and seed, NAME_SEED.npy [folds, points]; what is there is not searched
        again, so that a study which was killed goes on, with the same bits.  One process only.
    """
    keep = keep if jax.process_count() == 1 else None       # all of several would have to find the same files
    found: dict[str, list[Measured]] = {}
    files = {name: [keep and keep / f'{name}_{seed + i}.npy' for i in range(len(parts))] for name in recipes}
    began = time.perf_counter()
    programs = {name: compile(strategy, r, X, y, parts[0], metric) for name, r in recipes.items()
                if not all(f and f.exists() for f in files[name])}
    compiled = time.perf_counter()
    tell(f'compiled {len(programs)} models in {compiled - began:.0f} s' + (
        f'; of {len(recipes) - len(programs)} the scores are there' if len(programs) < len(recipes) else ''))
    for name, recipe in recipes.items():
        since = time.perf_counter()
        found[name] = [measure(_kept(file, programs.get(name)), recipe, X, y, p, seed=seed + i, output=output)
                       for i, (p, file) in enumerate(zip(parts, files[name]))]
        tell(f'{name} ({len(found)} of {len(recipes)}): {metric} {np.mean([m.score for m in found[name]]):.4f}, '
             f'{time.perf_counter() - since:.1f} s')
    return Study(found, compiled - began, time.perf_counter() - compiled)


def _kept(path: Path | None, search: Callable | None) -> Callable:
    """`search`, or the scores that it left in that file."""
    def found(shared, split):
        if path is None:
            return search(shared, split)
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            tmp = path.with_suffix('.tmp')
            with tmp.open('wb') as file:
                np.save(file, np.asarray(search(shared, split)))
            tmp.replace(path)
        try:
            return np.load(path)
        except (OSError, ValueError) as error:
            raise DataError(f'{path}: not the scores of a study ({error}); fix: remove it') from error
    return found


def one_of(which: Any, models: Sequence[Estimator]) -> Estimator:
    """The model of that number, which may be traced: how a static hyperparameter comes into a grid.

    All must have states of the same shapes, as nearest neighbours do for any k.  (Under vmap all of them are computed:
    let such a recipe go `in_turn`.)
    """
    def of(name: str):
        fns = [getattr(model, name) for model in models]
        return None if None in fns else lambda *given: jax.lax.switch(which, fns, *given)
    return Estimator(*(of(name) for name in Estimator._fields[:7]))


def by_fold(metric: Callable[..., Array], y, guess, masks) -> Float[np.ndarray, ' folds']:
    """metric(y, guess, weight=) over the rows of each mask: what out-of-fold predictions are worth, fold by fold."""
    return np.asarray(_by_fold(metric)(y, guess, jnp.asarray(masks, jnp.float32)))


@functools.lru_cache(maxsize=64)
def _by_fold(metric: Callable[..., Array]) -> Callable:
    return jax.jit(jax.vmap(lambda y, guess, mask: metric(y, guess, weight=mask), (None, None, 0)))


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


def in_turn(one: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """(shared, problems) -> one(shared, problem) of each, stacked: what `spread.compile` takes, for problems that need
    much memory or end at different times.  Each device works through its share, one problem after the other."""
    return lambda shared, split: jax.lax.map(lambda problem: one(shared, problem), split)


def between(differences: Mapping[str, dict[str, float]], a: str, b: str) -> dict[str, float] | None:
    """a less b out of what `compare` gives, whichever way round it took the pair; None for a with itself."""
    if f'{a} - {b}' in differences:
        return differences[f'{a} - {b}']
    d = differences.get(f'{b} - {a}')
    return d and {'mean': -d['mean'], 'low': -d['high'], 'high': -d['low']}


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
