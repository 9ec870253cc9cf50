"""How weights begin: an initialiser is a function of (key, shape, dtype), for `kernel_init` of any Linen module.

    model = MLP(hidden=(512, 512), n_out=10, kernel_init=he_normal)

Standard deviations of a kernel with n = fan_in inputs and m = fan_out outputs of each unit; the last axis of a kernel
are the outputs, the one before it the inputs, and what comes before counts as inputs and outputs both (convolution):

    lecun_*     1 / sqrt(n)             keeps the variance of linear layers
    glorot_*    sqrt(2 / (n + m))       a compromise with the variance of gradients; for tanh
    he_*        sqrt(2 / n)             keeps the mean square of relu layers
    torch_*     1 / sqrt(3 n)           torch's default for Linear and Conv, kernels and biases: 0.577 of LeCun's
    orthogonal  about 1 / sqrt(max(n, m))    keeps lengths of all vectors, not only on average

`*_uniform` is drawn between +-sqrt(3) standard deviations. `*_normal` is a normal distribution cut at two of its own
standard deviations and widened, so that its standard deviation is the one above (torch's are not cut).
`propagation` measures what a choice does to signals and gradients in a deep network.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from matplotlib.figure import Figure

from common import layers, plots
from levels.level2_neural.mlp import activation_fn

Init = Callable[..., Array]

glorot_uniform: Init = jax.nn.initializers.glorot_uniform()
glorot_normal: Init = jax.nn.initializers.glorot_normal()
he_uniform: Init = jax.nn.initializers.he_uniform()
he_normal: Init = jax.nn.initializers.he_normal()
lecun_uniform: Init = jax.nn.initializers.lecun_uniform()
lecun_normal: Init = jax.nn.initializers.lecun_normal()


def fan_in(shape: Sequence[int]) -> int:
    """Inputs of each unit of a kernel [*window, in, out]; ValueError where it has no such axes or they are empty."""
    if len(shape) < 2 or min(shape) < 1:
        raise ValueError(f'shape: expected [*window, in, out], each 1 or more; found {tuple(shape)}')
    return math.prod(shape[:-1])


def truncated_normal(
    key: Key[Array, ''], shape: Sequence[int], dtype: Any = jnp.float32, *, std: float = 0.02, cut: float = 2.0
) -> Float[Array, '*shape']:
    """A normal distribution without its tails, whose standard deviation after the cut is `std`.

    Formula: w = s z, z normal given |z| < cut; s = std / sqrt(1 - 2 cut phi(cut) / (2 Phi(cut) - 1)), with the density
        phi and distribution Phi of z: for cut = 2 s is 1.137 std.
    Paper: Devlin et al. 2019, BERT (std 0.02); the moments: Johnson, Kotz, Balakrishnan 1994, Continuous univariate
        distributions 1, section 13.10.1. torch's `trunc_normal_` cuts at +-2 (not 2 standard deviations) and does not
        widen; Flax's cuts at 2 standard deviations and does not widen.
    Shapes: key, shape -> [*shape], |w| < cut s.
    Errors: ValueError unless std >= 0 and cut > 0.
    Example:
        w = truncated_normal(jax.random.key(0), (200, 200), std=0.5)
        assert abs(w.std() - 0.5) < 0.01
        init = functools.partial(truncated_normal, std=0.1)           # for kernel_init
        assert init(jax.random.key(0), (3, 4)).shape == (3, 4)
    """
    if not (std >= 0 and cut > 0):
        raise ValueError(f'std, cut: expected std >= 0 and cut > 0; found {std} and {cut}')
    density = math.exp(-(cut**2) / 2) / math.sqrt(2 * math.pi)
    scale = std / math.sqrt(1 - 2 * cut * density / math.erf(cut / math.sqrt(2)))
    return jax.random.truncated_normal(key, -cut, cut, tuple(shape), dtype) * jnp.asarray(scale, dtype)


def torch_uniform(
    key: Key[Array, ''], shape: Sequence[int], dtype: Any = jnp.float32, *, inputs: int | None = None
) -> Float[Array, '*shape']:
    """What torch's Linear and Conv layers begin with, kernels and biases.

    Formula: uniform in +-1 / sqrt(n), n = fan_in: He's uniform with a = sqrt(5), as torch writes it. Its standard
        deviation is 1 / sqrt(3 n), 0.577 of Flax's default, so that relu layers lose 5/6 of the mean square each.
    Paper: LeCun, Bottou, Orr, Mueller 1998, Efficient backprop, section 4.6, is what it goes back to.
    Shapes: key, shape [*window, in, out] -> [*window, in, out]. A bias [out] knows no fan_in: give `inputs`, that
        of its kernel.
    Errors: ValueError for a shape of fewer than two axes without `inputs`, or inputs < 1.
    Example:
        kernel = torch_uniform(jax.random.key(0), (100, 50))
        assert abs(kernel).max() <= 0.1 and abs(kernel.std() - 0.1 / 3**0.5) < 0.002
        bias = torch_uniform(jax.random.key(1), (50,), inputs=100)
        assert abs(bias).max() <= 0.1
    """
    n = fan_in(shape) if inputs is None else inputs
    if n < 1:
        raise ValueError(f'inputs: expected 1 or more; found {n}')
    bound = 1 / math.sqrt(n)
    return jax.random.uniform(key, tuple(shape), dtype, -bound, bound)


def orthogonal(
    key: Key[Array, ''], shape: Sequence[int], dtype: Any = jnp.float32, *, scale: float = 1.0
) -> Float[Array, '*shape']:
    """A kernel whose columns (or rows, where those are fewer) are orthogonal and of length `scale`.

    Formula: W = scale Q, Q^T Q = I from the QR decomposition of a normal matrix, with signs that make it uniform over
        all such matrices.
    Paper: Saxe, McClelland, Ganguli 2014, Exact solutions to the nonlinear dynamics of learning in deep linear neural
        networks; the signs: Mezzadri 2007, How to generate random matrices from the classical compact groups.
    Shapes: key, shape [*window, in, out], its window and inputs taken as one axis -> [*window, in, out].
    Errors: ValueError for fewer than two axes.
    Example:
        w = orthogonal(jax.random.key(0), (5, 3))
        assert jnp.abs(w.T @ w - jnp.eye(3)).max() < 1e-5
        many = jax.vmap(lambda key: orthogonal(key, (4, 4)))(jax.random.split(jax.random.key(0), 3))
        assert many.shape == (3, 4, 4)
    """
    fan_in(shape)
    return layers.orthogonal(scale)(key, tuple(shape), dtype)


INITIALISERS: dict[str, Init] = {
    'glorot_uniform': glorot_uniform, 'glorot_normal': glorot_normal, 'he_uniform': he_uniform, 'he_normal': he_normal,
    'lecun_uniform': lecun_uniform, 'lecun_normal': lecun_normal, 'torch_uniform': torch_uniform,
    'orthogonal': orthogonal, 'truncated_normal': truncated_normal,
}


def initialiser(name: str | Init) -> Init:
    """A name of `INITIALISERS`, or a callable as it is; ValueError for an unknown name."""
    if callable(name):
        return name
    if name not in INITIALISERS:
        raise ValueError(f'init: expected a callable or one of {", ".join(INITIALISERS)}; found {name!r}')
    return INITIALISERS[name]


class Propagation(NamedTuple):
    """Mean squares, over units, examples and networks: [depth + 1] from the input (0) to the last layer.

    signal: of what leaves each layer, after the activation.  gradient: of d loss / d that, where the loss is a random
    linear function of the last layer.
    """

    signal: Float[np.ndarray, ' layers']
    gradient: Float[np.ndarray, ' layers']


@functools.partial(jax.jit, static_argnames=('init', 'activation', 'depth', 'width', 'networks', 'batch'))
def _propagate(key, *, init, activation, depth, width, networks, batch):
    def network(key):
        x_key, w_key, out_key = jax.random.split(key, 3)
        x = jax.random.normal(x_key, (batch, width))
        kernels = jax.lax.map(lambda k: init(k, (width, width), jnp.float32), jax.random.split(w_key, depth))
        layer = lambda h, w: activation(h @ w)
        _, before = jax.lax.scan(lambda h, w: (layer(h, w), h), x, kernels)      # the input of each layer
        last = layer(before[-1], kernels[-1])

        def back(g, at):
            g = jax.vjp(layer, *at)[1](g)[0]
            return g, g
        out = jax.random.normal(out_key, last.shape)
        _, grads = jax.lax.scan(back, out, (before, kernels), reverse=True)
        square = lambda first, rest: jnp.mean(jnp.concatenate([first, rest])**2, (1, 2))
        return square(before, last[None]), square(grads, out[None])
    return jax.tree.map(lambda v: v.mean(0), jax.lax.map(network, jax.random.split(key, networks)))


def propagation(key: Key[Array, ''], init: str | Init, *, activation: str | Callable = 'relu', depth: int = 20,
                width: int = 128, networks: int = 8, batch: int = 32) -> Propagation:
    """What `init` does to the signal and to the gradient through `depth` square layers without biases, on normal data.

    For relu, one layer multiplies the mean square of both by width std^2 / 2: by 1 for He's, 1/2 for LeCun's and
    Glorot's, 1/6 for torch's (He et al. 2015, Delving deep into rectifiers, section 2.2).
    Raises ValueError for an unknown name or sizes below 1.
    """
    sizes = {'depth': depth, 'width': width, 'networks': networks, 'batch': batch}
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f'{name}: expected 1 or more; found {value}')
    got = _propagate(key, init=initialiser(init), activation=activation_fn(activation), **sizes)
    return Propagation(*(np.asarray(v) for v in got))


def draw(found: dict[str, Propagation], title: str) -> Figure:
    """Signal and gradient over the layers, one line for each entry of `found`, both on a logarithmic axis."""
    figure = Figure(figsize=(10.4, 3.9), layout='constrained')
    styles = [(color, dash) for dash in ('-', '--', ':') for color in (*plots.COLORS, '#6a4c93', '#00798c')]
    for ax, part, text in zip(figure.subplots(1, 2), Propagation._fields, ('of the signal', 'of the gradient')):
        for (name, values), (color, dash) in zip(found.items(), styles):
            ax.plot(np.maximum(getattr(values, part), 1e-30), color=color, ls=dash, label=name)
        ax.set(yscale='log', xlabel='layer (0: input)', ylabel=f'mean square {text}')
        ax.grid(alpha=0.25)
    figure.axes[0].legend(fontsize=8)
    figure.suptitle(title, fontsize=11)
    return figure
