"""Eight environments small enough that the right values are known, each of which fails for one kind of mistake.

    constant      one step, reward 1                                       is the value learned at all?
    observed      one step, reward = observation                           does the value see the observation?
    delayed       two steps, reward 1 at the second                        is the discount right?
    chosen        one step, reward 1 for action 1, else -1                 is the advantage's sign right?
    matched       one step, reward 1 if the action fits the observation    do observations and actions stay in line?
    truncated     endless reward, cut off after one step                   does truncation bootstrap, from final_obs?
    terminated    the same, and the cut is an end                          does termination not?
    interrupted   as truncated, cut off at random                          the same of agents that remember: what they
                                                                           saw before a final observation, they also
                                                                           see where the episode goes on
    recall        a cue, to be named some steps later                      does it remember?  Not in `PROBES`: no
                                                                           agent without a memory can learn it
    aimed         one step, the nearer to half the observation the better  are real actions drawn, clipped, learned?
    both          one step, two choices, each of which has to fit          are several choices?

Source of the idea: Andy Jones 2021, Debugging reinforcement learning systems, probe environments.
"""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from levels.level6_reinforcement.envs.env import Env, clipped


class Probe(NamedTuple):
    """An environment with its answers: `values(gamma)` maps an observation to its value under the best policy, `best`
    an observation to the best action (None where every action is as good)."""
    env: Env
    values: Callable[[float], dict[float, float]]
    best: dict[float, int] | None = None


def _env(name: str, *, start, move, n_actions: int | tuple[int, ...] = 2, max_steps: int = 1,
         interrupt: float = 0.0) -> Env:
    """An Env whose state is one number, and whose observation is that number.

    start(key) -> state;  move(state, action) -> (state, reward, terminated, truncated)
    interrupt: probability that a step is truncated, whatever it was
    """
    def reset(key):
        state = jnp.asarray(start(key), jnp.float32)
        return state, state[None]

    def transition(key, state, action):
        state, reward, terminated, truncated = move(state, action)
        if interrupt:
            truncated = truncated | jax.random.bernoulli(key, interrupt)
        state = jnp.asarray(state, jnp.float32)
        return state, state[None], jnp.asarray(reward, jnp.float32), jnp.asarray(terminated), jnp.asarray(truncated)

    return Env(name, n_actions, (1,), max_steps, reset, transition)


def _coin(low: float, high: float) -> Callable:
    return lambda key: jnp.where(jax.random.bernoulli(key), high, low)


def _zero(key):
    return 0.0


def _sign(hit):
    return jnp.where(hit, 1.0, -1.0)


def _chain(name: str, *, cut: bool, interrupt: float = 0.0) -> Env:
    """0 -> 1 -> 1 -> ... with a reward of 1 for every step from 1, seen one step at a time from a random start.

    The three ways to treat the cut give different values, here for discount 1/2 at (0, 1): bootstrap from the final
    observation (1, 2); from the observation after the reset (0.5, 1.5); not at all (0, 1).  With a cut at three steps
    of four, in place of all: (1, 2); (0.625, 1.625); (1/7, 8/7).
    """
    return _env(name, start=_coin(0.0, 1.0), move=lambda s, a: (jnp.ones_like(s), s, not (cut or interrupt), cut),
                max_steps=1000 if interrupt else 1, interrupt=interrupt)


def recall(steps: int) -> Env:
    """A cue, -1 or 1, is seen at the first of `steps` >= 2 steps only; at the last one, which shows itself, reward 1
    for naming it (action 1 for cue 1) and -1 for the other.  Observations are (cue or 0, 1 at the last step).

    Without a memory every policy has an expected return of 0.  With one, it is 1 at best.
    """
    def see(cue, t):
        return jnp.stack([jnp.where(t == 0, cue, 0.0), jnp.where(t == steps - 1, 1.0, 0.0)])

    def reset(key):
        cue, t = _coin(-1.0, 1.0)(key), jnp.zeros((), jnp.int32)
        return (cue, t), see(cue, t)

    def transition(key, state, action):
        cue, t = state
        last = t == steps - 1
        reward = jnp.where(last, _sign((action == 1) == (cue > 0)), 0.0)
        return (cue, t + 1), see(cue, t + 1), reward, last, jnp.asarray(False)

    return Env('recall', 2, (2,), steps, reset, transition)


def aimed() -> Env:
    """The observation is drawn from [-1, 1]; two numbers in [-1/4, 1/4] are to be half of it and minus half of it, as
    far as they may.  The reward is minus the sum of their squared errors: 0 at best where the observation is within
    [-1/2, 1/2], and less by 2 (|obs| / 2 - 1/4)^2 beyond."""
    bounds = (-0.25, 0.25)

    def reset(key):
        at = jax.random.uniform(key, (1,), minval=-1.0, maxval=1.0)
        return at, at

    def transition(key, state, action):
        goal = state * jnp.array([0.5, -0.5])
        return state, state, -jnp.square(action - goal).sum(), jnp.asarray(True), jnp.asarray(False)

    return Env('aimed', 2, (1,), 1, reset, clipped(transition, bounds), bounds)


def both() -> Env:
    """The observation is -1 or 1; of the two choices the first has to be 0 or 1 with it, and the second, of three, 2 or
    0.  Reward 1 if both fit, 0 if one does, -1 if none: the value is 1 at best, -1/6 by chance."""
    return _env('both', start=_coin(-1.0, 1.0), n_actions=(2, 3), move=lambda s, a: (
        s, (_sign((a[0] == 1) == (s > 0)) + _sign(a[1] == jnp.where(s > 0, 0, 2))) / 2, True, False))


PROBES = {
    'constant': Probe(_env('constant', start=_zero, move=lambda s, a: (s, 1.0, True, False)), lambda g: {0: 1}),
    'observed': Probe(_env('observed', start=_coin(-1.0, 1.0), move=lambda s, a: (s, s, True, False)),
                      lambda g: {-1: -1, 1: 1}),
    'delayed': Probe(_env('delayed', start=_zero, move=lambda s, a: (s + 1, s, s > 0, False), max_steps=2),
                     lambda g: {0: g, 1: 1}),
    'chosen': Probe(_env('chosen', start=_zero, move=lambda s, a: (s, _sign(a == 1), True, False)),
                    lambda g: {0: 1}, {0: 1}),
    'matched': Probe(_env('matched', start=_coin(-1.0, 1.0),
                          move=lambda s, a: (s, _sign((a == 1) == (s > 0)), True, False)),
                     lambda g: {-1: 1, 1: 1}, {-1: 0, 1: 1}),
    'truncated': Probe(_chain('truncated', cut=True), lambda g: {0: g / (1 - g), 1: 1 / (1 - g)}),
    'terminated': Probe(_chain('terminated', cut=False), lambda g: {0: 0, 1: 1}),
    'interrupted': Probe(_chain('interrupted', cut=False, interrupt=0.75), lambda g: {0: g / (1 - g), 1: 1 / (1 - g)}),
}
