"""An actor-critic with memory: what `ppo` is made of when its `core` is not ''.

Memory is a pytree [n, ...] per environment: the state of the actor's cell and, unless they share one, of the critic's.
It is zero at the beginning of an episode.  A rollout keeps the memory of its first step, and updates go through its
whole sequences again from there, with the weights as they are by then.
"""
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from common import layers
from levels.level4_sequence.gru import GRU
from levels.level4_sequence.lstm import LSTM
from levels.level6_reinforcement.networks import Heads, Torso

PyTree = Any
CORES = {'lstm': LSTM, 'gru': GRU}


def forget(memory: PyTree, ended: Bool[Array, 'n']) -> PyTree:
    """Memory for the next step: that of an episode's beginning where one `ended`."""
    return jax.tree.map(lambda m: jnp.where(ended.reshape(-1, *(1,) * (m.ndim - 1)), 0, m), memory)


def cell(core: str, width: int, orthogonal: bool) -> nn.Module:
    """The cell of that name; orthogonal: weights of each gate orthogonal, biases 0, as in the known details."""
    if not orthogonal:
        return CORES[core](width)
    more = {'forget_bias': 0.0} if core == 'lstm' else {}
    return CORES[core](width, kernel_init=layers.orthogonal(1.0), recurrent_init=layers.orthogonal(1.0), **more)


class Tower(nn.Module):
    """Hidden layers, then a cell that remembers what it saw in this episode."""
    torso: Torso
    core: nn.Module

    def __call__(self, memory: PyTree, x: Float[Array, 'n features']) -> tuple[PyTree, Float[Array, 'n width']]:
        return self.core(memory, self.torso(x))

    def unroll(self, memory: PyTree, x: Float[Array, 'n time features'], ended: Bool[Array, 'n time']
               ) -> tuple[PyTree, Float[Array, 'n time width']]:
        """(memory after each step [n, time, ...], before any reset; outputs)."""
        projected, weights = self.core.inputs(self.torso(x))        # all products with x at once, not in the scan

        def one(memory, at):
            now, ended = at
            memory, y = self.core.step(weights, memory, now)
            return forget(memory, ended), (memory, y)

        first = lambda x: jnp.swapaxes(x, 0, 1)
        return jax.tree.map(first, jax.lax.scan(one, memory, (first(projected), first(ended)))[1])


class RecurrentActorCritic(Heads):
    """Two towers with a memory each, or two heads on one.

    Formula: m_t, f_t = cell(m_{t-1} (1 - ended_{t-1}), torso(x_t)); outputs = W_a f_a + b_a, value = W_v f_v + b_v,
        with f_a = f_v if `shared`; what the outputs are, as in `ActorCritic`.
    Paper: Huang et al. 2022, The 37 implementation details of proximal policy optimization, the five of LSTM; the idea
        of a memory that starts at zero in each episode: Wierstra et al. 2007, Solving deep memory POMDPs with recurrent
        policy gradients, section 3.
    Shapes: `unroll`: memory as `initial(n)`, x [n, time, features], ended [n, time] -> (memory after each step
        [n, time, ...], outputs [n, time, head.width], value [n, time]).  A call is one step of it: memory, x
        [n, features] -> (memory, outputs [n, head.width], value [n]).
    Errors: ValueError for an unknown core, those of the cell and of Linen.
    Example:
        net, x = RecurrentActorCritic(2, (8,), core='gru', width=4), jnp.ones((3, 5, 1))
        params = net.init(jax.random.key(0), net.initial(3), x[:, 0])
        memory, logits, value = net.apply(params, net.initial(3), x, jnp.zeros((3, 5), bool), method=net.unroll)
        step, at_0, _ = net.apply(params, net.initial(3), x[:, 0])
        assert logits.shape == (3, 5, 2) and jnp.allclose(logits[:, 0], at_0, atol=1e-6)
    """
    core: str = 'lstm'
    width: int = 64

    def setup(self):
        if self.core not in CORES:
            raise ValueError(f'core: expected one of {", ".join(CORES)}; found {self.core!r}')
        tower = lambda: Tower(Torso(self.hidden, self.activation, self.orthogonal),
                              cell(self.core, self.width, self.orthogonal))
        self.actor_tower = tower()
        self.critic_tower = self.actor_tower if self.shared else tower()
        self.make_heads()

    @nn.nowrap
    def initial(self, n: int) -> PyTree:
        """The memory at the beginning of n episodes."""
        zeros = CORES[self.core](self.width).initial_carry(n)
        return (zeros,) if self.shared else (zeros, zeros)

    def __call__(self, memory: PyTree, x: Float[Array, 'n features']) -> tuple[PyTree, Array, Array]:
        return self._through(memory, lambda tower, m: tower(m, x))

    def unroll(self, memory: PyTree, x: Float[Array, 'n time features'], ended: Bool[Array, 'n time']
               ) -> tuple[PyTree, Array, Array]:
        return self._through(memory, lambda tower, m: tower.unroll(m, x, ended))

    def after(self, memory: PyTree, x: Float[Array, 'n time features']) -> Float[Array, 'n time']:
        """The value of what followed each step, given `unroll`'s memory after it."""
        flat = lambda x: x.reshape(-1, *x.shape[2:])
        return self(jax.tree.map(flat, memory), flat(x))[2].reshape(x.shape[:2])

    def _through(self, memory: PyTree, run: Callable) -> tuple[PyTree, Array, Array]:
        towers = (self.actor_tower, self.critic_tower)[:len(memory)]
        memory, features = zip(*[run(tower, m) for tower, m in zip(towers, memory, strict=True)])
        return memory, self.outputs(features[0]), self.values(features[-1])
