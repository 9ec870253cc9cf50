"""Where a network looks: class activation maps, Grad-CAM, Grad-CAM++, integrated gradients, occlusion; and their test.

| method               | needs                                        | resolution    |
| cam                  | mean over the last maps, then a linear layer | of the maps   |
| grad_cam             | any layer of maps; one gradient              | of the maps   |
| grad_cam_plus        | the same; better with several objects        | of the maps   |
| integrated_gradients | a score; `steps` gradients                   | of the pixels |
| occlusion            | a score; one forward pass for each position  | of the window |

Formula: each function's own. Maps become pictures with `upsample`; `pointing_game` says whether they point at a thing.
Paper: Zhou et al. 2016; Selvaraju et al. 2017; Chattopadhay et al. 2018; Sundararajan et al. 2017; Zeiler, Fergus 2014;
    Zhang et al. 2016 (see the functions).
Shapes: x [batch, height, width, channels]; heat [batch, h, w].

Example:
    from levels.level3_vision.cam import grad_cam, pointing_game, upsample
    heat = upsample(grad_cam(model, variables, x, labels=labels, layer='block_2'), x.shape[1:3])
    pointing_game(heat, masks).mean()
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from levels.level3_vision.features import map_gradients


def cam(
    maps: Float[Array, 'b h w k'], weights: Float[Array, 'k n'], *, labels: Int[Array, ' b']
) -> Float[Array, 'b h w']:
    """The part of each place in the logit of a class, for networks that end in a mean and a linear layer.

    Formula: M[b, i, j] = sum_k A[b, i, j, k] W[k, label_b]; its mean over i, j is the logit without its bias.
    Paper: Zhou, Khosla, Lapedriza, Oliva, Torralba 2016, Learning deep features for discriminative localization, eq. 2.
    Shapes: maps [b, h, w, k], weights [k, n], labels [b] -> [b, h, w].
    Errors: ValueError when the channels of maps and weights differ; nan for a label that is none.
    Example:
        maps = jnp.arange(8.0).reshape(1, 2, 2, 2)
        weights = jnp.array([[1.0, 0.0], [0.0, -1.0]])
        assert cam(maps, weights, labels=jnp.array([0])).tolist() == [[[0, 2], [4, 6]]]
        assert cam(maps, weights, labels=jnp.array([1])).tolist() == [[[-1, -3], [-5, -7]]]
    """
    if maps.ndim != 4 or weights.ndim != 2 or maps.shape[3] != weights.shape[0]:
        raise ValueError(f'maps, weights: expected [b, h, w, k] and [k, n]; found {maps.shape} and {weights.shape}')
    chosen = jnp.take(weights, labels, axis=1, mode='fill').T
    return jnp.einsum('bhwk,bk->bhw', maps, chosen)


def grad_cam(
    model: nn.Module, variables: Mapping[str, Any], x: Float[Array, 'b h w c'], *, labels: Int[Array, ' b'], layer: str
) -> Float[Array, 'b h w']:
    """Class activation maps of any layer: a map counts by the mean of the logit's gradient over it.

    Formula: M = relu(sum_k a_k A_k), a_k = mean_ij(d logit_label / d A[i, j, k]).
    Paper: Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra 2017, Grad-CAM: visual explanations from deep networks via
        gradient-based localization, equations 1 and 2.
    Shapes: x [b, h, w, c], labels [b]; layer: a module's path whose output is [b, h', w', k] -> [b, h', w'].
    Errors: ValueError for a layer that is not there or whose output is no stack of maps.
    Example:
        model, x = nn.Sequential([nn.Conv(4, (3, 3)), nn.relu, lambda x: x.mean((1, 2))]), jnp.ones((2, 8, 8, 3))
        variables = model.init(jax.random.key(0), x)
        heat = grad_cam(model, variables, x, labels=jnp.array([0, 1]), layer='layers_0')
        assert heat.shape == (2, 8, 8)
        assert (heat >= 0).all()
    """
    found = _maps(model, variables, x, labels, layer)
    return jax.nn.relu(jnp.einsum('bhwk,bk->bhw', found.maps, found.gradients.mean((1, 2))))


def grad_cam_plus(
    model: nn.Module, variables: Mapping[str, Any], x: Float[Array, 'b h w c'], *, labels: Int[Array, ' b'], layer: str
) -> Float[Array, 'b h w']:
    """Grad-CAM++: places count by how well they explain the score, so that a small second object is not outvoted.

    Formula: M = relu(sum_k w_k A_k), w_k = sum_ij alpha_ijk relu(g_ijk), g = d logit_label / d A,
        alpha = g^2 / (2 g^2 + g^3 sum_ij A_ijk), and 0 where g = 0. The paper's score is e^logit, whose factor e^logit
        in w is the same for a whole picture and left out here.
    Paper: Chattopadhay, Sarkar, Howlader, Balasubramanian 2018, Grad-CAM++: generalized gradient-based visual
        explanations for deep convolutional networks, equations 5, 6 and 19.
    Shapes: as `grad_cam`.
    Errors: as `grad_cam`.
    Example:
        model, x = nn.Sequential([nn.Conv(4, (3, 3)), nn.relu, lambda x: x.mean((1, 2))]), jnp.ones((2, 8, 8, 3))
        variables = model.init(jax.random.key(0), x)
        heat = grad_cam_plus(model, variables, x, labels=jnp.array([0, 1]), layer='layers_0')
        assert heat.shape == (2, 8, 8)
        assert (heat >= 0).all()
    """
    A, g = (found := _maps(model, variables, x, labels, layer)).maps, found.gradients
    below = 2 * g**2 + g**3 * A.sum((1, 2), keepdims=True)
    alpha = jnp.where(below == 0, 0.0, g**2 / jnp.where(below == 0, 1.0, below))
    return jax.nn.relu(jnp.einsum('bhwk,bk->bhw', A, (alpha * jax.nn.relu(g)).sum((1, 2))))


def _maps(model, variables, x, labels, layer):
    found = map_gradients(model, variables, x, labels=labels, layer=layer)
    if found.maps.ndim != 4:
        raise ValueError(f'layer: expected one with an output [batch, h, w, k]; found {layer!r}: {found.maps.shape}')
    return found


def integrated_gradients(
    score: Callable[[Array], Array], x: Float[Array, 'b *rest'], *, baseline: Float[Array, '*rest'] | float = 0.0,
    steps: int = 128,
) -> Float[Array, 'b *rest']:
    """What each pixel adds to a score, along the straight line from a baseline to the image.

    Formula: IG_i = (x_i - x'_i) int_0^1 d score(x' + t (x - x')) / d x_i dt, by the midpoint rule.
    Completeness: the sum over pixels is score(x) - score(x'), up to the error of the rule.
    Paper: Sundararajan, Taly, Yan 2017, Axiomatic attribution for deep networks, equation 1.
    Shapes: score: [b, ...] -> [b], each of its own example; x [b, ...]; baseline: a number or one example -> as x.
    Errors: ValueError when score gives another shape, or for steps below 1.
    Example:
        x = jnp.array([[1.0, 2.0], [3.0, 4.0]])
        parts = integrated_gradients(lambda x: jnp.sum(x**2, 1), x)
        assert jnp.allclose(parts, x**2, atol=1e-4)
        assert jnp.allclose(parts.sum(1), jnp.sum(x**2, 1), atol=1e-4)
    """
    _scores(score, x)
    if steps < 1:
        raise ValueError(f'steps: expected 1 or more; found {steps}')
    start = jnp.broadcast_to(jnp.asarray(baseline, x.dtype), x.shape[1:])[None]
    slope = jax.grad(lambda x: jnp.sum(score(x)))

    def add(total, t):
        return total + slope(start + t * (x - start)), None

    nodes = (jnp.arange(steps, dtype=x.dtype) + 0.5) / steps
    total, _ = jax.lax.scan(add, jnp.zeros_like(x), nodes)
    return (x - start) * total / steps


def occlusion(
    score: Callable[[Array], Array], x: Float[Array, 'b h w c'], *, window: Sequence[int] = (8, 8),
    strides: Sequence[int] = (4, 4), fill: float = 0.0,
) -> Float[Array, 'b h w']:
    """How far a score falls when a window over each pixel is covered.

    Formula: M[i, j] = mean over the windows that hold (i, j) of score(x) - score(x with the window filled).
    Paper: Zeiler, Fergus 2014, Visualizing and understanding convolutional networks, section 4.2.
    Shapes: score: [b, h, w, c] -> [b]; x [b, h, w, c] -> [b, h, w]. Windows stand `strides` apart; the last ones end
        with the image.
    Errors: ValueError when score gives another shape, or a window is larger than the image or smaller than its stride.
    Example:
        x = jnp.zeros((1, 8, 8, 1)).at[0, 2, 3, 0].set(5.0)
        heat = occlusion(lambda x: x.sum((1, 2, 3)), x, window=(2, 2), strides=(1, 1))
        assert heat[0, 2, 3] == 5
        assert heat[0, 6, 6] == 0
    """
    _scores(score, x)
    sizes = x.shape[1:3]
    if not all(1 <= s <= w <= n for s, w, n in zip(strides, window, sizes)):
        raise ValueError(f'window, strides: expected 1 <= stride <= window <= side {sizes}; found {window}, {strides}')
    starts = [sorted({*range(0, n - w + 1, s), n - w}) for n, w, s in zip(sizes, window, strides)]
    corners = jnp.asarray(np.stack(np.meshgrid(*starts, indexing='ij'), -1).reshape(-1, 2))
    rows, cols = jnp.arange(sizes[0])[:, None], jnp.arange(sizes[1])[None]
    whole = score(x)

    def add(carry, corner):
        heat, count = carry
        inside = ((rows >= corner[0]) & (rows < corner[0] + window[0])
                  & (cols >= corner[1]) & (cols < corner[1] + window[1]))
        fall = whole - score(jnp.where(inside[None, :, :, None], jnp.asarray(fill, x.dtype), x))
        return (heat + fall[:, None, None] * inside[None], count + inside), None

    empty = jnp.zeros((x.shape[0], *sizes), whole.dtype), jnp.zeros(sizes, jnp.int32)
    (heat, count), _ = jax.lax.scan(add, empty, corners)
    return heat / count[None]


def _scores(score: Callable[[Array], Array], x: Array) -> None:
    shape = jax.eval_shape(score, x).shape
    if shape != x.shape[:1]:
        raise ValueError(f'score: expected one number an example, shape {x.shape[:1]}; found {shape}')


def upsample(heat: Float[Array, 'b h w'], size: Sequence[int]) -> Float[Array, 'b oh ow']:
    """A map at the size of the image, between its places linearly.

    Formula: bilinear at half-pixel centres (torch's align_corners=False); the border repeats.
    Paper: Selvaraju et al. 2017, section 3 (maps are upsampled and laid over the image).
    Shapes: [b, h, w] -> [b, *size], sizes not below those of the map.
    Errors: ValueError for a smaller size.
    Example:
        heat = jnp.array([[[0.0, 4.0]]])
        large = upsample(heat, (2, 4))
        assert large.shape == (1, 2, 4)
        assert large[0, 0].tolist() == [0, 1, 3, 4]
    """
    if heat.ndim != 3 or len(size) != 2 or any(m < n for n, m in zip(heat.shape[1:], size)):
        raise ValueError(f'size: expected two sizes not below those of [b, h, w] {heat.shape}; found {tuple(size)}')
    return jax.image.resize(heat, (heat.shape[0], *size), 'bilinear')


def pointing_game(heat: Float[Array, 'b h w'], masks: Bool[Array, 'b h w']) -> Bool[Array, ' b']:
    """Whether the hottest pixel of each map lies on the thing itself; the mean is the score.

    Formula: hit = mask[argmax heat].
    Paper: Zhang, Lin, Brandt, Shen, Sclaroff 2016, Top-down neural attention by excitation backprop, section 4.1
        (there with a tolerance of 15 pixels; here none).
    Shapes: heat [b, h, w], masks [b, h, w], true on the thing -> [b].
    Errors: ValueError when the shapes differ.
    Example:
        heat = jnp.array([[[0.0, 3.0], [1.0, 2.0]]])
        mask = jnp.array([[[False, True], [False, False]]])
        assert pointing_game(heat, mask).tolist() == [True]
        assert pointing_game(-heat, mask).tolist() == [False]
    """
    if heat.shape != masks.shape or heat.ndim != 3:
        raise ValueError(f'heat, masks: expected equal shapes [b, h, w]; found {heat.shape} and {masks.shape}')
    flat = heat.reshape(heat.shape[0], -1)
    return jnp.take_along_axis(masks.reshape(flat.shape), jnp.argmax(flat, 1)[:, None], axis=1)[:, 0]
