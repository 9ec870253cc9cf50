"""Returns and advantages of one trajectory [time], which may hold several episodes; vmap over environments.

A name that ends in `_t` belongs to step t, one that ends in `_tp1` to the observation after it, before any reset:
`value_tp1[t]` is the value of step t's final observation where an episode ended there.  The two ends are told apart:

    terminated_t    nothing follows: the bootstrap is zero
    ended_t         terminated or truncated: what comes next in the array belongs to another episode

A trajectory that stops in the middle of an episode bootstraps from its last `value_tp1`, as a truncated one does.
"""
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Reals = Float[Array, 'time']
Flags = Bool[Array, 'time']


def _checked(**arrays) -> None:
    shapes = {name: jnp.shape(x) for name, x in arrays.items()}
    if len(set(shapes.values())) != 1 or len(next(iter(shapes.values()))) != 1:
        raise ValueError(f'{", ".join(shapes)}: expected [time] for all (vmap over environments), found {shapes}')


def _backwards(step, init, xs):
    # unroll: the body is a handful of scalars, and the loop costs as much as they do.
    return jax.lax.scan(step, init, xs, reverse=True, unroll=8)[1]


def gae(reward_t: Reals, value_t: Reals, value_tp1: Reals, terminated_t: Flags, ended_t: Flags, *, gamma: float,
        lam: float) -> Reals:
    """Generalised advantage estimates: exponentially weighted sums of temporal differences, cut at every end.

    Formula: d_t = r_t + gamma (1 - terminated_t) v_{t+1} - v_t;  A_t = d_t + gamma lam (1 - ended_t) A_{t+1}.
        lam = 0 is the one-step advantage, lam = 1 `discounted_returns` less the value.
    Paper: Schulman et al. 2016, High-dimensional continuous control using generalized advantage estimation, eq. 16.
    Shapes: five arrays [time] -> [time].
    Errors: ValueError unless all five are [time].
    Example:
        no, ones = jnp.zeros(3, bool), jnp.ones(3)
        advantage = gae(ones, 0 * ones, 0 * ones, no, no, gamma=0.5, lam=1.0)
        assert jnp.allclose(advantage, jnp.array([1.75, 1.5, 1.0]))
        many = jax.vmap(lambda r: gae(r, 0 * ones, 0 * ones, no, no, gamma=0.5, lam=1.0))(jnp.ones((4, 3)))
        assert many.shape == (4, 3)
    """
    _checked(reward_t=reward_t, value_t=value_t, value_tp1=value_tp1, terminated_t=terminated_t, ended_t=ended_t)
    difference_t = reward_t + gamma * jnp.where(terminated_t, 0, value_tp1) - value_t

    def back(advantage_tp1, x):
        difference, ended = x
        advantage = difference + gamma * lam * jnp.where(ended, 0, advantage_tp1)
        return advantage, advantage

    return _backwards(back, jnp.zeros_like(difference_t[0]), (difference_t, ended_t))


def discounted_returns(reward_t: Reals, value_tp1: Reals, terminated_t: Flags, ended_t: Flags, *,
                       gamma: float) -> Reals:
    """The discounted sum of rewards to the end of each episode, or to a bootstrap where it was cut.

    Formula: G_t = r_t + gamma G_{t+1} within an episode; at its last step in the array
        G_t = r_t + gamma (1 - terminated_t) v_{t+1}.
    Paper: Sutton, Barto 2018, Reinforcement Learning, eq. 3.8 and 3.9; cut episodes as in Pardo et al. 2018, eq. 6.
    Shapes: four arrays [time] -> [time].
    Errors: ValueError unless all four are [time].
    Example:
        reward, ended = jnp.ones(4), jnp.array([False, True, False, True])
        value = jnp.full(4, 10.0)
        whole = discounted_returns(reward, value, ended, ended, gamma=0.5)
        assert jnp.allclose(whole, jnp.array([1.5, 1.0, 1.5, 1.0]))
        cut = discounted_returns(reward, value, jnp.zeros(4, bool), ended, gamma=0.5)
        assert jnp.allclose(cut, jnp.array([4.0, 6.0, 4.0, 6.0]))
    """
    _checked(reward_t=reward_t, value_tp1=value_tp1, terminated_t=terminated_t, ended_t=ended_t)
    tail_t = jnp.where(terminated_t, 0, value_tp1)

    def back(return_tp1, x):
        reward, tail, ended = x
        return_t = reward + gamma * jnp.where(ended, tail, return_tp1)
        return return_t, return_t

    return _backwards(back, tail_t[-1], (reward_t, tail_t, ended_t))


def n_step_returns(reward_t: Reals, value_tp1: Reals, terminated_t: Flags, ended_t: Flags, *, gamma: float,
                   n: int) -> Reals:
    """n rewards and the value after them; fewer rewards where the episode or the array ends before.

    Formula: G_t = r_t + ... + gamma^{m-1} r_{t+m-1} + gamma^m (1 - terminated_{t+m-1}) v_{t+m}, with m = n or the
        number of steps that are left in the episode or in the array.
    Paper: Sutton, Barto 2018, Reinforcement Learning, eq. 7.1.
    Shapes: four arrays [time] -> [time].
    Errors: ValueError unless all four are [time] and n >= 1.
    Example:
        reward, no = jnp.ones(4), jnp.zeros(4, bool)
        two = n_step_returns(reward, jnp.full(4, 8.0), no, no, gamma=0.5, n=2)
        assert jnp.allclose(two, jnp.array([3.5, 3.5, 3.5, 5.0]))
        one = n_step_returns(reward, jnp.full(4, 8.0), no, no, gamma=0.5, n=1)
        assert jnp.allclose(one, 5.0)
    """
    _checked(reward_t=reward_t, value_tp1=value_tp1, terminated_t=terminated_t, ended_t=ended_t)
    if n < 1:
        raise ValueError(f'n: expected at least 1, found {n}')
    tail_t = jnp.where(terminated_t, 0, value_tp1)
    last_t = ended_t.at[-1].set(True)

    def longer(_, return_t):
        """k-step returns -> (k + 1)-step returns."""
        return reward_t + gamma * jnp.where(last_t, tail_t, jnp.roll(return_t, -1))

    return jax.lax.fori_loop(1, n, longer, reward_t + gamma * tail_t)


def running_returns(reward_t: Reals, ended_t: Flags, return_tm1: Float[Array, ''], *, gamma: float
                    ) -> tuple[Float[Array, ''], Reals]:
    """Looking back: the discounted sum of the rewards so far in the episode, whose spread scales rewards.

    Formula: R_t = gamma R_{t-1} (1 - ended_{t-1}) + r_t.
    Paper: Engstrom et al. 2020, Implementation matters in deep policy gradients, section 3, reward scaling.
    Shapes: two arrays [time] and the sum before them [] -> (the sum to continue with [], [time]).
    Errors: ValueError unless both are [time].
    Example:
        after, sums = running_returns(jnp.ones(3), jnp.array([False, True, False]), jnp.zeros(()), gamma=0.5)
        assert jnp.allclose(sums, jnp.array([1.0, 1.5, 1.0]))
        assert float(after) == 1.0
    """
    _checked(reward_t=reward_t, ended_t=ended_t)

    def forward(return_tm1, x):
        reward, ended = x
        return_t = gamma * return_tm1 + reward
        return jnp.where(ended, 0, return_t), return_t

    return jax.lax.scan(forward, return_tm1, (reward_t, ended_t), unroll=8)
