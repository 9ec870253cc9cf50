"""The network of an actor-critic for flat observations: logits of the actions and a value."""
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from common import layers


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


class ActorCritic(nn.Module):
    """Two towers, or two heads on one.

    Formula: logits = W_a f_a(x) + b_a, value = W_v f_v(x) + b_v, with f_a = f_v if `shared`.
        orthogonal: kernels start orthogonal, scaled by sqrt 2 in hidden layers, 0.01 in the actor's last (so that the
        first policy is close to uniform) and 1 in the critic's; else Linen's default.
    Paper: Mnih et al. 2016, section 5 (one network with two heads); Andrychowicz et al. 2021, What matters in
        on-policy reinforcement learning, section 3.2 (two towers, small last actor layer).
    Shapes: [..., features] -> (logits [..., n_actions], value [...]).
    Errors: those of Linen.
    Example:
        net = ActorCritic(n_actions=2, hidden=(8,))
        variables = net.init(jax.random.key(0), jnp.zeros((1, 4)))
        logits, value = net.apply(variables, jnp.zeros((5, 3, 4)))
        assert logits.shape == (5, 3, 2) and value.shape == (5, 3)
        assert net.apply(variables, jnp.zeros((5, 4)), method=net.actor).shape == (5, 2)
    """
    n_actions: int
    hidden: Sequence[int] = (64, 64)
    activation: Callable = nn.tanh
    orthogonal: bool = True
    shared: bool = False

    def setup(self):
        self.actor_torso = Torso(self.hidden, self.activation, self.orthogonal)
        self.critic_torso = self.actor_torso if self.shared else Torso(self.hidden, self.activation, self.orthogonal)
        self.actor_head = _dense(self.n_actions, 0.01, self.orthogonal, None)
        self.critic_head = _dense(1, 1.0, self.orthogonal, None)

    def actor(self, x: Float[Array, '*rows features']) -> Float[Array, '*rows actions']:
        return self.actor_head(self.actor_torso(x))

    def critic(self, x: Float[Array, '*rows features']) -> Float[Array, '*rows']:
        return jnp.squeeze(self.critic_head(self.critic_torso(x)), -1)

    def __call__(self, x: Float[Array, '*rows features']) -> tuple[Array, Array]:
        return self.actor(x), self.critic(x)
