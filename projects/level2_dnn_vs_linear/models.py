"""The two models: one network per fold and table, all in one program, and least squares."""
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from common import optim, tasks
from common.metrics import Mean
from common.task import Task
from common.wrappers import with_ema
from levels.level1_classical.regression.linear import ols
from levels.level2_neural.dnn import DNN
from levels.level2_neural.regularisation import with_decay
from projects.level2_dnn_vs_linear.tables import NAMES, Folds

PyTree = Any


class Networks(NamedTuple):
    """State: the seed's place among the seeds of the run, and a state for each fold and table, [folds * tables]."""

    which: Int[Array, '']
    inner: PyTree


def network(c) -> DNN:
    """The network of a config."""
    return DNN(width=c.width, depth=c.depth, n_out=1, kind='regression', activation='gelu_tanh', residual=c.residual,
               norm=c.norm, dropout=c.dropout, dtype=jnp.dtype(c.dtype))


def build(c) -> Task:
    """Training of all networks side by side: each sees the rows that its fold may learn from."""
    rate = optax.warmup_cosine_decay_schedule(0.0, c.rate, min(50, c.steps // 2), c.steps, end_value=c.rate / 100)
    tx = optax.chain(optax.clip_by_global_norm(1.0), with_decay(optax.adam(rate), rate, c.weight_decay))
    task = with_ema(tasks.regressor(network(c), tx, policy=optim.Policy(jnp.dtype(c.dtype))), c.ema)
    problems = c.folds * len(NAMES)

    def each(batch):
        """[batch, folds, tables, ...] -> [batch, folds * tables, ...]."""
        return {k: batch[k].reshape(len(batch[k]), problems, *batch[k].shape[3:]) for k in ('x', 'y', 'mask')}

    def init(key, batch):
        return Networks(batch['which'][0], jax.vmap(task.init, (0, 1))(jax.random.split(key, problems), each(batch)))

    def step(key, state, batch):
        inner, metrics = jax.vmap(task.step, (0, 0, 1))(jax.random.split(key, problems), state.inner, each(batch))
        return Networks(state.which, inner), {k: Mean(m.total.sum(), m.weight.sum()) for k, m in metrics.items()}

    return Task(init, step)


def guesses(c, folds: Folds):
    """state -> what each network says of every row, in the units of the table: [rows, folds, tables]."""
    model = network(c)

    @jax.jit
    def guess(state: Networks, x, mean, std):
        x = x[:, state.which]
        flat = x.reshape(len(x), -1, x.shape[-1])
        said = jax.vmap(lambda p, x: model.apply({'params': p}, x), (0, 1), 1)(state.inner.ema, flat)
        return said.astype(jnp.float32).reshape(x.shape[:-1]) * std[state.which][None] + mean[state.which][None]

    mean, std = (jnp.asarray(v, jnp.float32) for v in (folds.mean, folds.std))
    return lambda state: guess(state, folds.x, mean, std)


def linear(folds: Folds) -> Float[np.ndarray, 'seeds rows folds tables']:
    """What least squares says of every row, fitted on the training rows of each seed, fold and table."""
    def one(x, y, train, mean, std):
        model = ols()
        state = model.fit(jax.random.key(0), x, y, train)
        return model.predict(state, x) * std + mean

    by_table = jax.vmap(one, (1, 1, None, 0, 0), 1)                             # x [rows, tables, columns]
    by_fold = jax.vmap(by_table, (1, 1, 1, 0, 0), 1)
    fit = jax.jit(jax.vmap(by_fold, (1, 1, 1, 0, 0), 0))
    return np.asarray(fit(folds.x, folds.y, (~folds.test).astype(np.float32), folds.mean.astype(np.float32),
                          folds.std.astype(np.float32)))


def constant(folds: Folds) -> Float[np.ndarray, 'seeds rows folds tables']:
    """What one says who looks at no column: the mean of the training rows of each seed, fold and table."""
    return np.broadcast_to(folds.mean[:, None], (len(folds.mean), len(folds.y), *folds.mean.shape[1:]))


def errors(y: Float[np.ndarray, 'rows tables'], guess: Float[np.ndarray, 'rows folds tables'],
           test) -> Float[np.ndarray, 'folds tables']:
    """RMSE of each fold's test rows."""
    square = (np.asarray(guess, np.float64) - y[:, None]) ** 2 * test[..., None]
    return np.sqrt(square.sum(0) / test.sum(0)[:, None])
