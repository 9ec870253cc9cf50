"""What is computed: how good and how stable each number of segments is, and what each way of making them predicts.

A problem is a key and the mask of the customers that may be learned from; all other customers are only looked up.
"""
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from common import spread
from levels.level1_classical import study
from levels.level1_classical.metrics_clusters import adjusted_rand, silhouette
from levels.level1_classical.unsupervised.kmeans import kmeans
from projects.level1_customer_segments import models


class Problems(NamedTuple):
    """Seeds times folds, and the fold of all customers last of each seed."""

    key: np.ndarray                         # [problems, 2]
    train: Float[np.ndarray, 'problems n']


class Choice(NamedTuple):
    """Of each problem and number of segments; `kmeans` and `rule` are what they say of every customer's target."""

    silhouette: Float[np.ndarray, 'problems ks']
    stability: Float[np.ndarray, 'problems ks']
    kmeans: Float[np.ndarray, 'problems ks n']
    rule: Float[np.ndarray, 'problems ks n']


class Found(NamedTuple):
    """What a run found; states are those of the fold of all customers, one for each seed."""

    choice: Choice
    picked: Int[np.ndarray, ' problems']    # the number of segments
    said: dict[str, np.ndarray]             # name -> [problems, n]
    states: dict[str, list[Any]]
    compile: float                          # seconds
    solve: float


def problems(c, seeds: list[int], n: int) -> tuple[Problems, np.ndarray]:
    """(problems, test masks [seeds, folds, n])."""
    parts = [study.folds('kfold', n, outer=c.folds, inner=2, seed=s).outer for s in seeds]
    train = np.concatenate([[*p.train, np.ones(n, bool)] for p in parts]).astype(np.float32)
    key = lambda s: jax.random.key_data(jax.random.split(jax.random.key(s), c.folds + 1))
    return Problems(np.concatenate([np.asarray(key(s)) for s in seeds]), train), np.stack([p.test for p in parts])


def sizes(c, n: int) -> tuple[int, int]:
    """(customers in a sample, in a small one), no more than a fold's training part has."""
    most = n - -(-n // c.folds)
    return min(c.sample, most), min(c.small, most)


def stability(key, Z, labels, k: int, refits: int):
    """Mean adjusted Rand index between labels and those of refits on resampled rows."""
    def refit(key):
        draw_key, fit_key = jax.random.split(key)
        weight = jnp.zeros(len(Z)).at[jax.random.randint(draw_key, (len(Z),), 0, len(Z))].add(1)
        model = kmeans(n_clusters=k, n_init=3)
        return adjusted_rand(model.predict(model.fit(fit_key, Z, weight=weight), Z), labels, n_clusters=k)

    return jnp.mean(jax.vmap(refit)(jax.random.split(key, refits)))


def chooser(c, sample: int):
    """one(shared, problem) -> (Choice, name -> the fitted models, one for each number), for `study.in_turn`."""
    def one(shared, problem):
        (X, y), key, train = shared, jax.random.wrap_key_data(problem.key), problem.train
        rows = models.drawn(key, train, sample)
        out, states = [], {'kmeans': [], 'rule': []}
        for k in range(c.least, c.most + 1):
            fit_key, stable_key = jax.random.split(jax.random.fold_in(key, k))
            model, simple = models.segments('kmeans', k, sample), models.rule(k)
            state, plain = model.fit(fit_key, X, y, train), simple.fit(key, X, y, train)
            labels = model.predict(state, X)
            Z = (jnp.log1p(X[rows]) - state.mean[None]) / state.std[None]
            out.append(Choice(silhouette(Z, labels[rows], n_clusters=k),
                              stability(stable_key, Z, labels[rows], k, c.refits), state.value[labels],
                              models.later(plain, simple, X)))
            states['kmeans'].append(state)
            states['rule'].append(plain)
        return jax.tree.map(lambda *v: jnp.stack(v), *out), states

    return one


def comparer(k: int, small: int):
    """one(shared, problem) -> (name -> what a model says of every customer's target, name -> the fitted models)."""
    def one(shared, problem):
        (X, y), key, train = shared, jax.random.wrap_key_data(problem.key), problem.train
        chance = jax.random.randint(jax.random.fold_in(key, 1), (len(X),), 0, k)
        line = models.regression()
        states = {'regression': line.fit(key, X, y, train)}
        said = {'random': models.value_of(chance, y, train, k)[chance],
                'regression': line.predict(states['regression'], X)}
        for i, name in enumerate(models.NAMES[1:]):
            model = models.segments(name, k, small)
            states[name] = model.fit(jax.random.fold_in(key, 100 + i), X, y, train)
            said[name] = models.later(states[name], model, X)
        return said, states

    return one


def choose(ks, silhouettes: Float[np.ndarray, ' ks'], stabilities: Float[np.ndarray, ' ks'], stable: float) -> int:
    """The stable number of segments with the best silhouette; the most stable one where none is stable enough."""
    good = stabilities >= stable
    return int(ks[np.argmax(np.where(good, silhouettes, -2))] if good.any() else ks[np.argmax(stabilities)])


def run(strategy, c, X, y, tasks: Problems) -> Found:
    """Every problem: the number of segments is chosen by its own training part, then all models are fitted there."""
    shared, ks, spent = (X, y), np.arange(c.least, c.most + 1), [0.0, 0.0]
    sample, small = sizes(c, len(X))

    def solve(one, mine):
        began = time.perf_counter()
        program = spread.compile(strategy, study.in_turn(one), shared, mine)
        compiled = time.perf_counter()
        out = program(shared, mine)
        spent[0], spent[1] = spent[0] + compiled - began, spent[1] + time.perf_counter() - compiled
        return out

    choice, fitted = solve(chooser(c, sample), tasks)
    picked = np.array([choose(ks, *both, c.stable) for both in zip(choice.silhouette, choice.stability)])
    at = np.arange(len(picked)), picked - c.least
    said = {'kmeans': choice.kmeans[at], 'rule': choice.rule[at]}
    last = range(c.folds, len(picked), c.folds + 1)
    states = {name: [jax.tree.map(lambda v, i=i: v[i], fitted[name][picked[i] - c.least]) for i in last]
              for name in fitted}
    for k in np.unique(picked):
        which = np.flatnonzero(picked == k)
        more, fitted = solve(comparer(int(k), small), jax.tree.map(lambda v, which=which: v[which], tasks))
        for name, values in more.items():
            said.setdefault(name, np.zeros((len(picked), len(X)), np.float32))[which] = values
        for name, state in fitted.items():
            kept = states.setdefault(name, [None] * len(last))
            for place in np.flatnonzero(picked[list(last)] == k):
                kept[place] = jax.tree.map(lambda v, i=list(which).index(last[place]): v[i], state)
    return Found(choice, picked, said, states, *spent)
