"""Tree-structured Parzen estimator: new trials where good ones are dense and bad ones are not."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from levels.level2_neural.tuning import contract, parzen
from levels.level2_neural.tuning.contract import Objective, Trials, Tuner
from levels.level2_neural.tuning.space import Choice, Space
from levels.level2_neural.tuning.waves import in_waves


def split(trials: Trials, gamma: float) -> tuple[Bool[Array, ' T'], Bool[Array, ' T']]:
    """(good, bad) of the trials that were scored: the best ceil(gamma n), and the others.  Ties as they began."""
    n = trials.done.sum()
    rank = jnp.argsort(jnp.argsort(jnp.where(trials.done, trials.score, jnp.inf), stable=True), stable=True)
    good = trials.done & (rank < jnp.ceil(gamma * n))
    return good, trials.done & ~good


def propose(key: Key[Array, ''], space: Space, trials: Trials, *, gamma: float,
            candidates: int) -> tuple[Float[Array, 'C d'], Float[Array, ' C']]:
    """Candidates drawn from the density l of the good trials, and log l - log g of each; take the largest."""
    good, bad = split(trials, gamma)
    columns, gain = [], jnp.zeros(candidates)
    for i, (side, own) in enumerate(zip(space.values(), jax.random.split(key, len(space)))):
        u = trials.u[:, i]
        if isinstance(side, Choice):
            k = len(side.values)
            l, g = (jnp.log(parzen.shares(side.index(u), seen, k)) for seen in (good, bad))
            value = jax.random.categorical(own, l, shape=(candidates,))
            columns.append((value + 0.5) / k)
            gain += l[value] - g[value]
        else:
            l, g = (parzen.mixture(u, seen) for seen in (good, bad))
            x = parzen.draw(own, l, candidates)
            columns.append(x)
            gain += parzen.log_density(l, x) - parzen.log_density(g, x)
    return jnp.stack(columns, 1), gain


def tpe(objective: Objective, space: Space, *, trials: int, steps: int = 1, workers: int = 8, first: int = 16,
        gamma: float = 0.2, candidates: int = 24) -> Tuner:
    """Learns from the trials before: two densities, of good and of bad points, and new points by their ratio.

    Formula: the first `first` points are uniform. Then with l the density of the best ceil(gamma n) of n trials and g
        that of the others, each a product over dimensions of the mixtures of `parzen.py`, a new point is the one of
        `candidates` draws from l with the largest log l - log g (which maximises the expected improvement). The workers
        of a wave see the same trials and draw candidates of their own.
    Paper: Bergstra, Bardenet, Bengio, Kegl 2011, Algorithms for hyper-parameter optimization, section 4.
    Shapes: a Tuner of `trials` trials, each of `steps` steps; budget = trials x steps.
    Errors: ValueError for an empty space or dimension, a number below 1, gamma outside 0..1.
    Example:
        from common.task import train_fn
        from levels.level2_neural.tuning.contract import from_function, ranking
        from levels.level2_neural.tuning.space import Choice, Uniform
        objective = from_function(lambda key, h, data: (h['x'] - 1.0) ** 2 + (h['y'] != 3.0))
        space = {'x': Uniform(0.0, 4.0), 'y': Choice((2.0, 3.0, 5.0))}
        search = tpe(objective, space, trials=64)
        carry, _ = jax.jit(train_fn(search.task, search.rounds))(jax.random.key(0))
        best = ranking(search, carry.state).values
        assert abs(best['x'][0] - 1) < 0.2 and best['y'][0] == 3
    """
    contract.checked(space, trials=trials, steps=steps, workers=workers, first=first, candidates=candidates)
    if not 0 < gamma < 1:
        raise ValueError(f'gamma: expected a number between 0 and 1; found {gamma}')

    def points(key, state, at):
        def one(number):
            u, gain = propose(jax.random.fold_in(key, number), space, state.trials, gamma=gamma, candidates=candidates)
            return u[jnp.argmax(gain)]
        return jnp.where((at < first)[:, None], state.trials.u[at], jax.vmap(one)(at))

    uniform = lambda key: jax.random.uniform(key, (trials, len(space)))
    return in_waves(objective, space, trials, steps, workers, uniform, points)
