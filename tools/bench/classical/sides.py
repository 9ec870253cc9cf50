"""One fit, ours and a peer's, behind one face: `run` does it again, the rest is asked for once, by `quality`."""
import functools
import importlib
import inspect

import numpy as np

from tools.bench.classical import Other, Row, options

HERE = 'levels.level1_classical.'


def found(path: str):
    """What stands at a dotted path."""
    module, _, name = path.rpartition('.')
    return getattr(importlib.import_module(module), name)


def flat(coef, intercept, d: int):
    """(coefficients [features, outputs], intercepts [outputs]) in double precision."""
    coef = np.asarray(coef, np.float64)
    coef = coef.reshape(d, -1) if coef.shape[0] == d else coef.T.reshape(d, -1)
    return coef, np.asarray(intercept, np.float64).reshape(-1)


class Ours:
    """An estimator of level 1, its fit (or what the row asks for) compiled; compile_s is what that took."""

    def __init__(self, row: Row, d):
        import jax
        import jax.numpy as jnp
        self.row, self.d = row, d
        given = options(row.options, d)
        make = found(HERE + row.path)
        X, key = jnp.asarray(d.X), jax.random.key(0)
        y = None if d.y is None or row.alone else jnp.asarray(d.y)
        if row.do in ('fit', 'sweep', 'predict'):
            self.model = make(**{k: v for k, v in given.items() if k not in row.sweep})
        if row.do == 'fit':
            work, self.given = self.model.fit, (key, X, y)
        elif row.do == 'predict':
            self.state = jax.block_until_ready(jax.jit(self.model.fit)(key, X, y))
            work, self.given = self.model.predict, (self.state, jnp.asarray(d.queries))
        elif row.do == 'sweep':
            fixed = {k: v for k, v in given.items() if k not in row.sweep}
            one = lambda key, X, y, at: make(**fixed, **at).fit(key, X, y)
            work = jax.vmap(one, (None, None, None, 0))
            self.given = (key, X, y, {k: jnp.asarray(given[k], X.dtype) for k in row.sweep})
        else:
            takes_y = 'y' in inspect.signature(make).parameters
            more = (jnp.asarray(d.queries),) if row.do == 'neighbours' else (y,) if takes_y else ()
            work, self.given = functools.partial(make, **given), (X, *more)
        self.call = jax.jit(work).lower(*self.given).compile()
        self.result = None

    def run(self, n: int) -> None:
        import jax
        for _ in range(n):
            self.result = jax.block_until_ready(self.call(*self.given))

    def fitted(self):
        return self.result if self.row.do == 'fit' else self.state

    def plane(self):
        return flat(self.fitted().coef, self.fitted().intercept, self.d.X.shape[1])

    def predict(self, X):
        return np.asarray(self.result) if self.row.do == 'predict' else np.asarray(self.model.predict(self.fitted(), X))

    def proba(self, X):
        return np.asarray(self.model.proba(self.fitted(), X))

    def labels(self):
        state = self.fitted()
        return np.asarray(state.labels if hasattr(state, 'labels') else self.model.predict(state, self.d.X))

    def read(self, name: str):
        return np.asarray(getattr(self.result, name))

    def planes(self):
        """Of a sweep: [points, features], [points]."""
        return np.asarray(self.result.coef, np.float64), np.asarray(self.result.intercept, np.float64)


class Theirs:
    """The same of a peer: scikit-learn's face, or a function."""

    def __init__(self, row: Row, other: Other, d, cores: int, choice: dict):
        choice = dict(choice)
        kind = choice.pop('dtype', None)
        cast = lambda v: v.astype(kind) if kind and v is not None and v.dtype.kind == 'f' else v
        self.row, self.d = row, d
        self.X, self.y = cast(d.X), None if row.alone else cast(d.y)
        self.queries = cast(d.queries) if row.do in ('predict', 'neighbours') else None
        self.make, self.options = found(other.path), options({**options(other.options, d), **choice}, d, cores)
        self.library, self.result, self.model = other.library, None, None
        if row.do in ('predict', 'neighbours'):
            self.model = self.make(**self.options).fit(self.X, *([] if self.y is None else [self.y]))

    def once(self):
        row = self.row
        if row.do == 'predict':
            return self.model.predict(self.queries)
        if row.do == 'neighbours':
            return self.model.kneighbors(self.queries)
        if row.do == 'call':
            takes_y = self.y is not None and 'y' in inspect.signature(self.make).parameters
            return self.make(self.X, *([self.y] if takes_y else []), **self.options)
        if row.do == 'sweep':
            fixed = {k: v for k, v in self.options.items() if k not in row.sweep}
            points = zip(*(self.options[k] for k in row.sweep), strict=True)
            return [self.make(**fixed, **dict(zip(row.sweep, point, strict=True))).fit(self.X, self.y)
                    for point in points]
        self.model = self.make(**self.options)
        return self.model.fit(self.X, *([] if self.y is None else [self.y]))

    def run(self, n: int) -> None:
        import sklearn
        with sklearn.config_context(assume_finite=True):        # our side, compiled, does not look either
            for _ in range(n):
                self.result = self.once()

    def plane(self):
        return flat(self.model.coef_, self.model.intercept_, self.d.X.shape[1])

    def predict(self, X):
        return self.result if self.row.do == 'predict' else self.model.predict(X)

    def proba(self, X):
        return self.model.predict_proba(X)

    def labels(self):
        return self.model.labels_

    def read(self, name: str):
        if name == 'embedding' and self.library == 'openTSNE':
            return np.asarray(self.result)
        return np.asarray(getattr(self.model, {'centers': 'cluster_centers'}.get(name, name) + '_'))

    def planes(self):
        return (np.stack([m.coef_ for m in self.result]).astype(np.float64),
                np.array([m.intercept_ for m in self.result], np.float64))
