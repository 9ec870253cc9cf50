"""Activation functions by name: exact and approximate forms have names of their own.

`gelu` alone is refused: torch means `gelu_erf` by it and jax `gelu_tanh`, 5e-4 apart. Slopes at kinks are
torch's. Values and slopes are finite at +-1e4, in float32 and bfloat16. Where `jax.nn` is exact and has torch's slopes
it is used; each function carries its card (`help(mish)`), made from its entry.

Formula: y = f(x), element by element; softmax, log_softmax and glu along an axis.
Paper: see each card.
Shapes: [*shape] -> [*shape], in the dtype of x; glu halves its axis.

Example:
    from levels.level2_neural.activations import ACTIVATIONS, mish
    y = mish(x)
    ACTIVATIONS['gelu_erf'](x)
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from levels.level2_neural.backprop_slopes import SLOPES

Activation = Callable[..., Array]
POINTS = (-1.0, 0.0, 2.0)       # where the cards show values
_CARD = """{what}

    Formula: {formula}.
    Paper: {paper}.
    Shapes: [*shape] -> [*shape], element by element, in the dtype of x.{options}
    Errors: ValueError unless x holds floating point numbers.
    Example:
        x = jnp.array({points})
        y = {name}(x)
        assert jnp.allclose(y, jnp.array({values}), atol=1e-5)
        assert ACTIVATIONS['{name}'] is {name}
    """


def _floating(x: Any) -> None:
    if not jnp.issubdtype(jnp.result_type(x), jnp.floating):
        raise ValueError(f'x: expected floating point numbers, found {jnp.result_type(x)}')


def _named(name: str, fn: Activation, values: Sequence[float], what: str, formula: str, paper: str,
           options: str = '') -> Activation:
    """`fn` with a name, a check and a card; `values` are those at POINTS."""

    def activation(x: Float[Array, '*shape'], **keywords: Any) -> Float[Array, '*shape']:
        _floating(x)
        return fn(x, **keywords)

    activation.__name__ = activation.__qualname__ = name
    activation.__doc__ = _CARD.format(name=name, what=what, formula=formula, paper=paper, points=list(POINTS),
                                      values=list(values), options=f'\n    {options}' if options else '')
    return activation


def _sloped(name: str, fn: Activation) -> Activation:
    """`fn` with its slope worked out: that of autodiff, 1 - tanh^2, is 3e-6 off in float32."""
    f = jax.custom_jvp(fn)
    f.defjvp(lambda primals, tangents: (f(*primals), tangents[0] * SLOPES[name](*primals, None)))
    return f


def _celu(x, *, alpha=1.0):
    # not jnp.minimum: at 0 it would give half of the slope to either side
    return jnp.where(x > 0, x, alpha * jnp.expm1(jnp.where(x > 0, 0, x) / alpha))


identity = _named(
    'identity', lambda x: x, (-1, 0, 2), 'The input as it is.', 'x',
    'Widrow, Hoff 1960, Adaptive switching circuits (the adaline: a linear unit)')
relu = _named(
    'relu', jax.nn.relu, (0, 0, 2), 'Rectifier: zero below zero; its slope at 0 is 0.', 'max(x, 0)',
    'Nair, Hinton 2010, Rectified linear units improve restricted Boltzmann machines')
relu6 = _named(
    'relu6', lambda x: jnp.where((x > 0) & (x < 6), x, jnp.where(x > 0, 6, 0).astype(x.dtype)), (0, 0, 2),
    'Rectifier cut at 6; its slope at 0 and 6 is 0.', 'min(max(x, 0), 6)',
    'Krizhevsky 2010, Convolutional deep belief networks on CIFAR-10')
squared_relu = _named(
    'squared_relu', lambda x: jnp.square(jax.nn.relu(x)), (0, 0, 4), 'Square of the rectifier.', 'max(x, 0)^2',
    'So et al. 2021, Primer: searching for efficient transformers')
leaky_relu = _named(
    'leaky_relu', lambda x, *, slope=0.01: jnp.where(x > 0, x, slope * x), (-0.01, 0, 2),
    'Rectifier with a small slope below zero; its slope at 0 is the small one.', 'x for x > 0, else slope x',
    'Maas, Hannun, Ng 2013, Rectifier nonlinearities improve neural network acoustic models',
    'slope: 0.01; an array that broadcasts to x may be given, and learned (the PReLU of He et al. 2015).')
elu = _named(
    'elu', lambda x, *, alpha=1.0: jnp.where(x > 0, x, alpha * jnp.expm1(jnp.where(x > 0, 0, x))), (-0.632121, 0, 2),
    'Exponential linear unit.', 'x for x > 0, else alpha (exp(x) - 1)',
    'Clevert, Unterthiner, Hochreiter 2016, Fast and accurate deep network learning by exponential linear units',
    'alpha: 1, minus the value far to the left.')
celu = _named(
    'celu', _celu, (-0.632121, 0, 2), 'Exponential linear unit that is smooth at 0 for every alpha.',
    'x for x > 0, else alpha (exp(x / alpha) - 1)',
    'Barron 2017, Continuously differentiable exponential linear units',
    'alpha: 1, minus the value far to the left.')
selu = _named(
    'selu', jax.nn.selu, (-1.111331, 0, 2.101402), 'Exponential linear unit that keeps mean 0 and variance 1.',
    'b x for x > 0, else b a (exp(x) - 1); a = 1.6732632, b = 1.0507010',
    'Klambauer, Unterthiner, Mayr, Hochreiter 2017, Self-normalizing neural networks')
sigmoid = _named(
    'sigmoid', jax.nn.sigmoid, (0.268941, 0.5, 0.880797), 'Logistic function: from 0 to 1.', '1 / (1 + exp(-x))',
    'Verhulst 1845, Recherches mathematiques sur la loi d\'accroissement de la population')
log_sigmoid = _named(
    'log_sigmoid', jax.nn.log_sigmoid, (-1.313262, -0.693147, -0.126928),
    'Logarithm of the logistic function, exact in both tails.', '-log(1 + exp(-x))',
    'Cox 1958, The regression analysis of binary sequences (its log-likelihood)')
tanh = _named(
    'tanh', jnp.tanh, (-0.761594, 0, 0.964028), 'Hyperbolic tangent: from -1 to 1, odd.',
    '(exp(x) - exp(-x)) / (exp(x) + exp(-x))',
    'LeCun, Bottou, Orr, Muller 1998, Efficient backprop, section 4.4')
softplus = _named(
    'softplus', lambda x, *, beta=1.0: jax.nn.softplus(beta * x) / beta, (0.313262, 0.693147, 2.126928),
    'Smooth rectifier, the integral of the logistic function.', 'log(1 + exp(beta x)) / beta',
    'Dugas et al. 2001, Incorporating second-order functional knowledge for better option pricing',
    'beta: 1; the larger, the nearer to the rectifier.')
soft_sign = _named(
    'soft_sign', lambda x: x / (1 + jnp.abs(x)), (-0.5, 0, 0.666667), 'From -1 to 1, with tails that fall slowly.',
    'x / (1 + |x|)', 'Bergstra, Desjardins, Lamblin, Bengio 2009, Quadratic polynomials learn better image features')
silu = _named(
    'silu', jax.nn.silu, (-0.268941, 0, 1.761594), 'Sigmoid-weighted linear unit, or swish.', 'x sigmoid(x)',
    'Elfwing, Uchibe, Doya 2018, Sigmoid-weighted linear units for neural network function approximation')
mish = _named(
    'mish', _sloped('mish', lambda x: x * jnp.tanh(jax.nn.softplus(x))), (-0.303401, 0, 1.943959),
    'Smooth, not monotone, a little below zero on the left.', 'x tanh(log(1 + exp(x)))',
    'Misra 2020, Mish: a self regularized non-monotonic activation function')
gelu_erf = _named(
    'gelu_erf', lambda x: jax.nn.gelu(x, approximate=False), (-0.158655, 0, 1.9545),
    'Gaussian error linear unit, exact: what torch calls gelu.', 'x (1 + erf(x / sqrt(2))) / 2',
    'Hendrycks, Gimpel 2016, Gaussian error linear units')
gelu_tanh = _named(
    'gelu_tanh', _sloped('gelu_tanh', lambda x: jax.nn.gelu(x, approximate=True)), (-0.158808, 0, 1.954598),
    'Gaussian error linear unit by a hyperbolic tangent (GPT-2): within 5e-4 of the exact one.',
    'x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2', 'Hendrycks, Gimpel 2016, Gaussian error linear units')
quick_gelu = _named(
    'quick_gelu', lambda x: x * jax.nn.sigmoid(1.702 * x), (-0.154202, 0, 1.935654),
    'Gaussian error linear unit by a sigmoid (CLIP): within 0.021 of the exact one.', 'x sigmoid(1.702 x)',
    'Hendrycks, Gimpel 2016, Gaussian error linear units, section 2')
hard_tanh = _named(
    'hard_tanh', lambda x: jnp.where(jnp.abs(x) < 1, x, jnp.sign(x)), (-1, 0, 1),
    'Straight between -1 and 1, level outside; its slope at -1 and 1 is 0.', 'min(max(x, -1), 1)',
    'Collobert 2004, Large scale machine learning, chapter 5')
hard_sigmoid = _named(
    'hard_sigmoid', lambda x: jnp.where(jnp.abs(x) < 3, x / 6 + 0.5, jnp.where(x > 0, 1, 0).astype(x.dtype)),
    (0.333333, 0.5, 0.833333), 'Straight between -3 and 3, 0 and 1 outside; its slope at -3 and 3 is 0.',
    'min(max(x + 3, 0), 6) / 6', 'Courbariaux, Bengio, David 2015, BinaryConnect; in this form Howard et al. 2019')
hard_swish = _named(
    'hard_swish', lambda x: jnp.where(x >= 3, x, jnp.where(x > -3, x * (x + 3) / 6, 0)),
    (-0.333333, 0, 1.666667), 'Swish with a straight sigmoid; its slope at -3 is 0, at 3 it is 1.',
    'x min(max(x + 3, 0), 6) / 6', 'Howard et al. 2019, Searching for MobileNetV3, section 5.2')
soft_shrink = _named(
    'soft_shrink', lambda x, *, at=0.5: jnp.where(jnp.abs(x) > at, x - jnp.sign(x) * at, 0), (-0.5, 0, 1.5),
    'Zero near zero, elsewhere nearer to zero: the proximal step of an L1 penalty.',
    'sign(x) max(|x| - at, 0)', 'Donoho, Johnstone 1994, Ideal spatial adaptation by wavelet shrinkage',
    'at: 0.5, the half width of what becomes zero.')
hard_shrink = _named(
    'hard_shrink', lambda x, *, at=0.5: jnp.where(jnp.abs(x) > at, x, 0), (-1, 0, 2),
    'Zero near zero, elsewhere as it is: hard thresholding.', 'x where |x| > at, else 0',
    'Donoho, Johnstone 1994, Ideal spatial adaptation by wavelet shrinkage',
    'at: 0.5, the half width of what becomes zero.')
tanh_shrink = _named(
    'tanh_shrink', lambda x: x - jnp.tanh(x), (-0.238406, 0, 1.035972), 'What the hyperbolic tangent leaves over.',
    'x - tanh(x)', 'Kavukcuoglu, Ranzato, LeCun 2008, Fast inference in sparse coding algorithms')

ACTIVATIONS: dict[str, Activation] = {f.__name__: f for f in (
    relu, tanh, sigmoid, gelu_erf, gelu_tanh, quick_gelu, silu, mish, elu, celu, selu, leaky_relu, relu6, squared_relu,
    softplus, soft_sign, log_sigmoid, hard_tanh, hard_sigmoid, hard_swish, soft_shrink, hard_shrink, tanh_shrink,
    identity)}


def activation_fn(activation: str | Activation) -> Activation:
    """A name of `ACTIVATIONS`, or a callable as it is; ValueError for an unknown name."""
    if callable(activation):
        return activation
    if activation not in ACTIVATIONS:
        raise ValueError(f'activation: expected a callable or one of {", ".join(ACTIVATIONS)}; found {activation!r}')
    return ACTIVATIONS[activation]


def softmax(x: Float[Array, '*shape'], *, axis: int = -1) -> Float[Array, '*shape']:
    """Positive numbers that add up to 1 along an axis; a constant that is added to x changes nothing.

    Formula: exp(x_i - m) / sum_k exp(x_k - m), m = max_k x_k.
    Paper: Bridle 1990, Probabilistic interpretation of feedforward classification network outputs.
    Shapes: [*shape] -> [*shape], in the dtype of x.
    Errors: ValueError unless x holds floating point numbers.
    Example:
        x = jnp.log(jnp.array([[1.0, 2.0, 5.0]]))
        y = softmax(x)
        assert jnp.allclose(y, jnp.array([[0.125, 0.25, 0.625]]), atol=1e-6)
        assert jnp.allclose(softmax(x + 1e3), y, atol=1e-4)
    """
    _floating(x)
    return jax.nn.softmax(x, axis)


def log_softmax(x: Float[Array, '*shape'], *, axis: int = -1) -> Float[Array, '*shape']:
    """The logarithm of `softmax`, exact where that rounds to 0.

    Formula: x_i - m - log sum_k exp(x_k - m), m = max_k x_k.
    Paper: Bridle 1990, Probabilistic interpretation of feedforward classification network outputs.
    Shapes: [*shape] -> [*shape], in the dtype of x.
    Errors: ValueError unless x holds floating point numbers.
    Example:
        x = jnp.array([[0.0, 1e4]])
        y = log_softmax(x)
        assert jnp.allclose(y, jnp.array([[-1e4, 0.0]]))
        assert softmax(x)[0, 0] == 0
    """
    _floating(x)
    return jax.nn.log_softmax(x, axis)


def glu(x: Float[Array, '*shape'], *, axis: int = -1, gate: str | Activation = 'sigmoid') -> Float[Array, '*half']:
    """Gated linear unit: one half of the features says how much of the other half passes.

    Formula: a f(b), (a, b) the two halves of x along the axis, f the gate: sigmoid (GLU), gelu_erf (GEGLU), silu
        (SwiGLU), relu (ReGLU).
    Paper: Dauphin, Fan, Auli, Grangier 2017, Language modeling with gated convolutional networks; the other gates:
        Shazeer 2020, GLU variants improve transformer.
    Shapes: [..., 2 n, ...] -> [..., n, ...], in the dtype of x.
    Errors: ValueError unless x holds floating point numbers, for an axis of odd length, an unknown gate.
    Example:
        x = jnp.array([[3.0, 5.0, 0.0, jnp.log(4.0)]])
        y = glu(x)
        assert jnp.allclose(y, jnp.array([[1.5, 4.0]]), atol=1e-6)
        glu(x, gate='silu').shape                            # (1, 2)
    """
    _floating(x)
    if x.shape[axis] % 2:
        raise ValueError(f'x: expected an even length along axis {axis}, found shape {x.shape}')
    a, b = jnp.split(x, 2, axis)
    return a * activation_fn(gate)(b)
