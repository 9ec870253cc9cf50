"""Losses that compare points: what belongs together shall lie closer than what does not.

The mean is the caller's, as for the losses in `losses.py`.

Example:
    from levels.level2_neural.losses_metric import info_nce
    loss = (info_nce(images, texts) + info_nce(texts, images)).mean() / 2       # CLIP
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

TINY = 1e-12        # torch.nn.functional.normalize leaves shorter points shorter than 1


def _points(a: tuple[str, Any], b: tuple[str, Any], *others: Any) -> tuple[Array, ...]:
    """The arrays in their common dtype, float32 at least.  ValueError unless the first two have one shape [*, dim]."""
    x, y, *rest = (jnp.asarray(v) for v in (a[1], b[1], *others))
    if x.shape != y.shape or x.ndim < 1:
        raise ValueError(f'{a[0]}, {b[0]}: expected equal shapes [*batch, dim]; found {x.shape} and {y.shape}')
    dtype = jnp.promote_types(jnp.result_type(x, y, *rest), jnp.float32)
    return tuple(v.astype(dtype) for v in (x, y, *rest))


def _distance(x: Array, y: Array, power: int) -> Float[Array, '*batch']:
    """(sum |x - y|^power)^(1 / power) over the last axis; its slope at 0 is 0."""
    size = jnp.abs(x - y)
    if power == 1:
        return jnp.sum(size, -1)
    # over the largest entry, so that squares neither overflow nor vanish
    most = jax.lax.stop_gradient(jnp.max(size, -1, keepdims=True, initial=0))
    some = most > 0
    most = jnp.where(some, most, 1)
    square = jnp.sum(jnp.where(some, size / most, 1) ** 2, -1)
    return jnp.where(some[..., 0], jnp.sqrt(square) * most[..., 0], 0)


def triplet_loss(
    anchors: Float[Array, '*batch dim'], positives: Float[Array, '*batch dim'], *,
    negatives: Float[Array, '*batch dim'] | Float[Array, ' dim'], margin: float = 1.0, power: int = 2,
    swap: bool = False,
) -> Float[Array, '*batch']:
    """An anchor shall be nearer to its positive than to its negative, by a margin.

    Formula: max(0, d(a, p) - d(a, n) + margin), d the Euclidean distance (power 1: the sum of absolute differences).
        With swap the smaller of d(a, n) and d(p, n) counts. The slope of d at 0 is 0.
    Paper: Schroff, Kalenichenko, Philbin 2015, FaceNet, equation 3 (there with squares); swap: Balntas et al. 2016,
        Learning local feature descriptors with triplets.
    Shapes: anchors, positives, negatives [*batch, dim], negatives also [dim] for all -> [*batch].
    Errors: ValueError when shapes differ, for a margin below 0, a power that is not 1 or 2.
    Example:
        anchors, positives = jnp.zeros((2, 2)), jnp.array([[3.0, 4.0], [0.3, 0.4]])
        negatives = jnp.array([[0.0, 2.0], [0.0, 2.0]])
        triplet_loss(anchors, positives, negatives=negatives)               # [4., 0.]: 5 - 2 + 1, and 0.5 - 2 + 1 < 0
        triplet_loss(anchors, positives, negatives=negatives, swap=True)    # |p - n| = 3.6 is no smaller than 2
    """
    a, p, n = _points(('anchors', anchors), ('positives', positives), negatives)
    if n.shape not in (a.shape, a.shape[-1:]):
        raise ValueError(f'negatives: expected shape {a.shape} or {a.shape[-1:]}; found {n.shape}')
    if not margin >= 0 or power not in (1, 2):
        raise ValueError(f'margin, power: expected margin >= 0 and power 1 or 2; found {margin} and {power}')
    n = jnp.broadcast_to(n.reshape((1,) * (a.ndim - n.ndim) + n.shape), a.shape)
    away = _distance(a, n, power)
    if swap:
        away = jnp.minimum(away, _distance(p, n, power))
    return jax.nn.relu(_distance(a, p, power) - away + margin)


def _unit(x: Float[Array, '*batch dim']) -> Float[Array, '*batch dim']:
    """x over its length, as torch's normalize; a point at 0 stays there."""
    length = _distance(x, jnp.zeros_like(x), 2)[..., None]
    return x / jnp.maximum(length, TINY)


def info_nce(
    queries: Float[Array, '*batch dim'], keys: Float[Array, '*batch dim'], *,
    negatives: Float[Array, 'candidates dim'] | None = None, temperature: float = 0.1, normalize: bool = True,
    exclude: Bool[Array, 'rows rows'] | None = None,
) -> Float[Array, '*batch']:
    """Each query shall know its own key among others: cross-entropy of their similarities.

    Formula: -log(exp(q' k / t) / (exp(q' k / t) + sum_n exp(q' n / t))), over the negatives that are given, or, with
        none, over the keys of the other rows; q, k, n over their lengths if normalize; t the temperature.
    Paper: van den Oord, Li, Vinyals 2018, Representation learning with contrastive predictive coding, equation 4;
        within a batch: Chen, Kornblith, Norouzi, Hinton 2020, A simple framework for contrastive learning; Radford et
        al. 2021, Learning transferable visual models (CLIP); given negatives: He et al. 2020, Momentum contrast.
    Shapes: queries, keys [*batch, dim]; negatives [candidates, dim], or None and then *batch is one axis of rows;
        exclude [rows, rows], True where key j is no negative of query i (never the row's own) -> [*batch].
    Errors: ValueError when shapes differ, for a temperature that is not above 0, exclude beside negatives.
    Example:
        a = jnp.array([[1.0, 0.0], [0.0, 1.0]])                 # two views of two images, as in SimCLR
        z = jnp.concatenate([a, a])
        keys = jnp.roll(z, 2, 0)                                # the other view; key i + 2 is query i itself
        same = jnp.roll(jnp.eye(4, dtype=bool), 2, 1)
        loss = info_nce(z, keys, temperature=1.0, exclude=same)
        assert jnp.allclose(loss, jnp.log(1 + 2 * jnp.exp(-1.0)))
    """
    q, k = _points(('queries', queries), ('keys', keys))
    if not temperature > 0:
        raise ValueError(f'temperature: expected a number above 0; found {temperature}')
    ready = _unit if normalize else lambda x: x
    q, k = ready(q), ready(k)
    if negatives is not None:
        others = jnp.asarray(negatives, q.dtype)
        if exclude is not None or others.ndim != 2 or others.shape[1] != q.shape[-1]:
            raise ValueError(f'negatives: expected [candidates, {q.shape[-1]}] and no exclude; found {others.shape}')
        own = jnp.sum(q * k, -1, keepdims=True)
        logits = jnp.concatenate([own, q @ ready(others).T], -1) / temperature
        return jax.nn.logsumexp(logits, -1) - logits[..., 0]
    if q.ndim != 2:
        raise ValueError(f'queries: expected [rows, dim] where no negatives are given; found {q.shape}')
    logits = q @ k.T / temperature
    own = jnp.eye(len(q), dtype=bool)
    if exclude is not None:
        if exclude.shape != logits.shape:
            raise ValueError(f'exclude: expected shape {logits.shape}; found {exclude.shape}')
        logits = jnp.where(exclude & ~own, -jnp.inf, logits)
    return jax.nn.logsumexp(logits, -1) - jnp.diagonal(logits)
