"""The network of an actor-critic for flat observations: what `actions` makes actions of, and a value."""
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from common import layers
from levels.level6_reinforcement import actions


def _dense(width: int, gain: float, orthogonal: bool, name: str) -> nn.Dense:
    init = layers.orthogonal(gain) if orthogonal else nn.initializers.lecun_normal()
    return nn.Dense(width, kernel_init=init, name=name)


class Torso(nn.Module):
    """Hidden layers, each with its activation.  Shapes: [..., features] -> [..., hidden[-1]]."""
    hidden: Sequence[int]
    activation: Callable = nn.tanh
    orthogonal: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, '*rows features']) -> Float[Array, '*rows width']:
        for i, width in enumerate(self.hidden):
            x = self.activation(_dense(width, 2 ** 0.5, self.orthogonal, f'dense_{i}')(x))
        return x


class Heads(nn.Module):
    """The last layers of actor and critic, and the fields that every actor-critic has."""
    n_actions: int | tuple[int, ...]
    hidden: Sequence[int] = (64, 64)
    activation: Callable = nn.tanh
    orthogonal: bool = True
    shared: bool = False
    continuous: bool = False

    def make_heads(self):
        width = self.n_actions if self.continuous else self.head.width
        self.actor_head = _dense(width, 0.01, self.orthogonal, None)
        self.critic_head = _dense(1, 1.0, self.orthogonal, None)
        if self.continuous:
            self.log_std = self.param('log_std', nn.initializers.zeros, (width,))

    @property
    def head(self) -> actions.Head:
        """What the outputs mean."""
        return actions.head(self.n_actions, self.continuous)

    def outputs(self, features: Float[Array, '*rows width']) -> Float[Array, '*rows outputs']:
        out = self.actor_head(features)
        if not self.continuous:
            return out
        log_std = jnp.expand_dims(self.log_std, range(out.ndim - 1))
        return jnp.concatenate([out, jnp.broadcast_to(log_std, out.shape)], -1)

    def values(self, features: Float[Array, '*rows width']) -> Float[Array, '*rows']:
        return jnp.squeeze(self.critic_head(features), -1)


class ActorCritic(Heads):
    """Two towers, or two heads on one.

    Formula: outputs = W_a f_a(x) + b_a, value = W_v f_v(x) + b_v, with f_a = f_v if `shared`.  The outputs are logits;
        where the actions are `continuous`, means, followed by log deviations, which are parameters and start at 0.
        orthogonal: kernels start orthogonal, scaled by sqrt 2 in hidden layers, 0.01 in the actor's last (so that the
        first policy is close to uniform) and 1 in the critic's; else Linen's default.
    Paper: Mnih et al. 2016, section 5 (one network with two heads); Andrychowicz et al. 2021, What matters in
        on-policy reinforcement learning, section 3.2 (two towers, small last actor layer).
    Shapes: [..., features] -> (outputs [..., head.width], value [...]).
    Errors: those of Linen.
    Example:
        net = ActorCritic(n_actions=2, hidden=(8,))
        variables = net.init(jax.random.key(0), jnp.zeros((1, 4)))
        logits, value = net.apply(variables, jnp.zeros((5, 3, 4)))
        assert logits.shape == (5, 3, 2) and value.shape == (5, 3)
        assert net.apply(variables, jnp.zeros((5, 4)), method=net.actor).shape == (5, 2)
    """
    def setup(self):
        self.actor_torso = Torso(self.hidden, self.activation, self.orthogonal)
        self.critic_torso = self.actor_torso if self.shared else Torso(self.hidden, self.activation, self.orthogonal)
        self.make_heads()

    def actor(self, x: Float[Array, '*rows features']) -> Float[Array, '*rows outputs']:
        return self.outputs(self.actor_torso(x))

    def critic(self, x: Float[Array, '*rows features']) -> Float[Array, '*rows']:
        return self.values(self.critic_torso(x))

    def __call__(self, x: Float[Array, '*rows features']) -> tuple[Array, Array]:
        return self.actor(x), self.critic(x)
