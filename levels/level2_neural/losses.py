"""Losses, one value per example and never reduced: classification, regression, distances of distributions.

The mean is the caller's, because only the caller knows its mask: `common.metrics.mean(loss(...), mask)`. Values are
float32 at least, whatever the logits are, and finite with finite gradients at logits of +-1e4. `*batch` stands for any
number of leading axes. On the device nothing can be raised: a label outside its range gives nan.

Example:
    from levels.level2_neural.losses import softmax_cross_entropy
    loss = softmax_cross_entropy(logits, labels, label_smoothing=0.1).mean()
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def _floats(*arrays: Any) -> tuple[Array, ...]:
    """The arrays in their common dtype, float32 at least."""
    dtype = jnp.promote_types(jnp.result_type(*arrays), jnp.float32)
    return tuple(jnp.asarray(a).astype(dtype) for a in arrays)


def _same(ours: tuple[str, Any], theirs: tuple[str, Any]) -> None:
    """Refuses two shapes that differ: their difference would broadcast without a word."""
    (a, x), (b, y) = ours, theirs
    if jnp.shape(x) != jnp.shape(y):
        raise ValueError(f'{a}, {b}: expected equal shapes; found {jnp.shape(x)} and {jnp.shape(y)}')


def _classes(logits: Array, labels: Array) -> None:
    """Refuses anything but logits [*batch, classes] with integer labels [*batch]."""
    if logits.ndim < 1 or logits.shape[:-1] != labels.shape or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError('logits, labels: expected [*batch, classes] and integers [*batch]; found '
                         f'{logits.shape} and {labels.dtype} {labels.shape}')


def _pick(values: Array, labels: Array) -> Array:
    """values[..., label] for each example; nan for a label that is none, negative ones among them."""
    labels = jnp.where(labels < 0, values.shape[-1], labels)        # negative indices would count from the end
    return jnp.take_along_axis(values, labels[..., None], axis=-1, mode='fill', fill_value=jnp.nan)[..., 0]


def softmax_cross_entropy(
    logits: Float[Array, '*batch classes'],
    labels: Int[Array, '*batch'],
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    class_weights: Float[Array, ' classes'] | Sequence[float] | None = None,
) -> Float[Array, '*batch']:
    """Cross-entropy of the softmax of logits with the class of each example.

    Formula: (1 - s) w_y (-log p_y) + s/K sum_k w_k (-log p_k), p = softmax(logits), s the smoothing, w_k = 1 by
        default; 0 where the label is `ignore_index`. A weighted mean divides by the sum of w_y of those that count.
    Paper: Bridle 1990, Probabilistic interpretation of feedforward classification network outputs; smoothing: Szegedy
        et al. 2016, Rethinking the Inception architecture, section 7.
    Shapes: logits [*batch, K], labels [*batch] in 0..K-1 or ignore_index, class_weights [K] -> [*batch].
    Errors: ValueError for other shapes, labels that are no integers, a smoothing outside 0..1, weights not [K].
    Example:
        logits = jnp.array([[0.0, jnp.log(3.0)]] * 2)
        labels = jnp.array([0, -100])
        softmax_cross_entropy(logits, labels)                           # [1.3862944, 0.] = log 4, ignored
        softmax_cross_entropy(logits, labels, label_smoothing=0.5)      # [1.1116412, 0.]
    """
    logits, labels = _floats(logits)[0], jnp.asarray(labels)
    _classes(logits, labels)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f'label_smoothing: expected 0 <= smoothing <= 1; found {label_smoothing}')
    k = logits.shape[-1]
    weights = jnp.ones(k, logits.dtype) if class_weights is None else jnp.asarray(class_weights, logits.dtype)
    if weights.shape != (k,):
        raise ValueError(f'class_weights: expected shape ({k},); found {weights.shape}')
    real = labels != ignore_index
    penalty = -jax.nn.log_softmax(logits) * weights.reshape((1,) * labels.ndim + (k,))
    loss = (1 - label_smoothing) * _pick(penalty, jnp.where(real, labels, 0))
    if label_smoothing:
        loss += label_smoothing / k * jnp.sum(penalty, -1)
    return jnp.where(real, loss, 0)


def binary_cross_entropy(
    logits: Float[Array, '*batch'], labels: Float[Array, '*batch'] | Int[Array, '*batch'] | Bool[Array, '*batch'], *,
    pos_weight: float = 1.0,
) -> Float[Array, '*batch']:
    """Cross-entropy of independent yes-or-no labels with the sigmoid of logits, element by element.

    Formula: -w y log p - (1 - y) log(1 - p), p = sigmoid(logit), w the weight of the positive ones; computed as
        w y softplus(-logit) + (1 - y) softplus(logit).
    Paper: Cox 1958, The regression analysis of binary sequences (the likelihood).
    Shapes: logits [*batch], labels [*batch], 0 or 1 or a probability -> [*batch].
    Errors: ValueError when the shapes differ or pos_weight is negative.
    Example:
        logits = jnp.array([0.0, jnp.log(3.0)])
        labels = jnp.array([1, 0])
        binary_cross_entropy(logits, labels)                    # [0.6931472, 1.3862944] = log 2, log 4
        binary_cross_entropy(logits, labels, pos_weight=2.0)    # [1.3862944, 1.3862944]
    """
    _same(('logits', logits), ('labels', labels))
    if not pos_weight >= 0:
        raise ValueError(f'pos_weight: expected 0 or more; found {pos_weight}')
    x, y = _floats(logits, labels)
    return pos_weight * y * jax.nn.softplus(-x) + (1 - y) * jax.nn.softplus(x)


def focal_loss(
    logits: Float[Array, '*batch'], labels: Int[Array, '*batch'] | Bool[Array, '*batch'], *, gamma: float = 2.0,
    alpha: float | None = 0.25,
) -> Float[Array, '*batch']:
    """Binary cross-entropy that counts less the better an element is classified already, element by element.

    Formula: -a_t (1 - p_t)^gamma log p_t; p_t = p and a_t = alpha where the label is 1, else 1 - p and 1 - alpha;
        p = sigmoid(logit); alpha=None: a_t = 1. With q = (1 - 2 label) logit it is a_t exp(-gamma softplus(-q))
        softplus(q), which has no power of a number that rounds to 0.
    Paper: Lin, Goyal, Girshick, He, Dollar 2017, Focal loss for dense object detection, equation 5.
    Shapes: logits [*batch], labels [*batch] of 0 and 1 -> [*batch].
    Errors: ValueError when the shapes differ, gamma is negative, alpha lies outside 0..1.
    Example:
        logits = jnp.array([0.0, 4.0])
        labels = jnp.array([1, 1])
        focal_loss(logits, labels, alpha=None)                  # [0.1732868, 5.8701e-06] = log(2)/4, almost nothing
        focal_loss(logits, labels, gamma=0.0, alpha=None)       # [0.6931472, 0.01814993], the cross-entropy
    """
    _same(('logits', logits), ('labels', labels))
    if not gamma >= 0 or not (alpha is None or 0 <= alpha <= 1):
        raise ValueError(f'gamma, alpha: expected gamma >= 0 and 0 <= alpha <= 1 or None; found {gamma} and {alpha}')
    x, y = _floats(logits, labels)
    q = (1 - 2 * y) * x
    weight = 1 if alpha is None else alpha * y + (1 - alpha) * (1 - y)
    return weight * jnp.exp(-gamma * jax.nn.softplus(-q)) * jax.nn.softplus(q)


def squared_error(predictions: Float[Array, '*batch'], targets: Float[Array, '*batch']) -> Float[Array, '*batch']:
    """The square of the difference, element by element; its mean is the MSE.

    Formula: (prediction - target)^2, with no factor 1/2.
    Paper: Gauss 1809, Theoria motus, section 179 (least squares as the likelihood of normal errors).
    Shapes: predictions [*batch], targets [*batch] -> [*batch].
    Errors: ValueError when the shapes differ.
    Example:
        predictions = jnp.array([1.0, 2.0])
        targets = jnp.array([4.0, 2.0])
        squared_error(predictions, targets)                     # [9., 0.]
        squared_error(predictions, targets).mean()              # 4.5
    """
    _same(('predictions', predictions), ('targets', targets))
    x, y = _floats(predictions, targets)
    return jnp.square(x - y)


def huber_loss(
    predictions: Float[Array, '*batch'], targets: Float[Array, '*batch'], *, delta: float = 1.0
) -> Float[Array, '*batch']:
    """Half the square of a small difference, linear in a large one, element by element.

    Formula: d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2); d = prediction - target.
    Paper: Huber 1964, Robust estimation of a location parameter.
    Shapes: predictions [*batch], targets [*batch] -> [*batch].
    Errors: ValueError when the shapes differ or delta is not positive.
    Example:
        predictions = jnp.array([0.5, -3.0])
        targets = jnp.zeros(2)
        huber_loss(predictions, targets)                        # [0.125, 2.5]
        huber_loss(predictions, targets, delta=4.0)             # [0.125, 4.5]
    """
    _same(('predictions', predictions), ('targets', targets))
    if not delta > 0:
        raise ValueError(f'delta: expected a positive number; found {delta}')
    x, y = _floats(predictions, targets)
    size = jnp.abs(x - y)
    near = jnp.minimum(size, delta)         # a square of it cannot overflow, and its gradient has no kink at delta
    return 0.5 * near ** 2 + delta * (size - near)


def hinge_loss(
    scores: Float[Array, '*batch'], labels: Int[Array, '*batch'] | Float[Array, '*batch'], *, margin: float = 1.0,
    power: int = 1,
) -> Float[Array, '*batch']:
    """The loss of a support vector machine for two classes, -1 and +1.

    Formula: max(0, margin - label * score)^power.
    Paper: Cortes, Vapnik 1995, Support-vector networks (the slack of an example).
    Shapes: scores [*batch], labels [*batch], each -1 or +1 (a label 0 would cost a constant) -> [*batch].
    Errors: ValueError when the shapes differ or power is not 1 or 2.
    Example:
        scores = jnp.array([2.0, 0.5, 0.5])
        labels = jnp.array([1, 1, -1])
        hinge_loss(scores, labels)                              # [0., 0.5, 1.5]
        hinge_loss(scores, labels, power=2)                     # [0., 0.25, 2.25]
    """
    _same(('scores', scores), ('labels', labels))
    if power not in (1, 2):
        raise ValueError(f'power: expected 1 or 2; found {power}')
    x, y = _floats(scores, labels)
    return jax.nn.relu(margin - y * x) ** power


def multi_margin_loss(
    logits: Float[Array, '*batch classes'], labels: Int[Array, '*batch'], *, margin: float = 1.0, power: int = 1,
) -> Float[Array, '*batch']:
    """The hinge loss for many classes: every wrong class must stay a margin below the right one.

    Formula: 1/K sum_{k != y} max(0, margin - logit_y + logit_k)^power.
    Paper: Weston, Watkins 1999, Support vector machines for multi-class pattern recognition (there without the 1/K).
    Shapes: logits [*batch, K], labels [*batch] in 0..K-1 -> [*batch].
    Errors: ValueError for other shapes, labels that are no integers, a power that is not 1 or 2.
    Example:
        logits = jnp.array([[3.0, 2.5, 0.0, 5.0]])
        labels = jnp.array([0])
        multi_margin_loss(logits, labels)                       # [0.875] = (0.5 + 0 + 3) / 4
        multi_margin_loss(logits, labels, power=2)              # [2.3125]
    """
    logits, labels = _floats(logits)[0], jnp.asarray(labels)
    _classes(logits, labels)
    if power not in (1, 2):
        raise ValueError(f'power: expected 1 or 2; found {power}')
    terms = jax.nn.relu(margin - _pick(logits, labels)[..., None] + logits) ** power
    right = jnp.expand_dims(jnp.arange(logits.shape[-1]), tuple(range(labels.ndim))) == labels[..., None]
    return jnp.sum(jnp.where(right, 0, terms), -1) / logits.shape[-1]


def kl_divergence(
    logits: Float[Array, '*batch classes'], targets: Float[Array, '*batch classes']
) -> Float[Array, '*batch']:
    """Relative entropy of given distributions with respect to the softmax of logits.

    Formula: KL(p || q) = sum_k p_k (log p_k - log q_k), p = targets, q = softmax(logits), 0 log 0 = 0.
    Paper: Kullback, Leibler 1951, On information and sufficiency.
    Shapes: logits [*batch, K], targets [*batch, K], each row a distribution -> [*batch].
    Errors: ValueError when the shapes differ or have no axis.
    Example:
        logits = jnp.zeros((2, 2))
        targets = jnp.array([[0.5, 0.5], [1.0, 0.0]])
        kl_divergence(logits, targets)                          # [0., 0.6931472]
        kl_divergence(logits + 7, targets)                      # the same: a softmax knows differences only
    """
    _same(('logits', logits), ('targets', targets))
    if jnp.ndim(logits) < 1:
        raise ValueError('logits, targets: expected [*batch, classes]; found shape ()')
    x, p = _floats(logits, targets)
    some = p > 0
    log_p = jnp.log(jnp.where(some, p, 1))      # log 0 would put a nan into the gradient, even where it is not taken
    return jnp.sum(jnp.where(some, p * log_p, 0) - p * jax.nn.log_softmax(x), -1)
