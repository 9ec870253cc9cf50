"""RandAugment, and the affine map that its shears, shifts and turns are.

The fourteen operations of the paper are three families, and each family costs once, whichever of its members was
drawn: five affine maps are one resampling, four colours one blend, the tones a choice of values. So a batch under
vmap, where every branch of a choice is computed, pays for three operations and not for fourteen.

Formula: each function's own.
Paper: Cubuk, Zoph, Shlens, Le 2020, RandAugment: practical automated data augmentation with a reduced search space;
    the operations and their ranges: Cubuk et al. 2019, AutoAugment, table 6.
Shapes: key, image [h, w, c] -> [h, w, c], values in 0 ... 1.

Example:
    from levels.level3_vision.rand_augment import rand_augment
    task = wrappers.with_augment(task, functools.partial(rand_augment, n=2, magnitude=9))
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from levels.level3_vision import photometric

OPERATIONS = ('identity', 'shear_x', 'shear_y', 'translate_x', 'translate_y', 'rotate', 'brightness', 'color',
              'contrast', 'sharpness', 'posterize', 'solarize', 'autocontrast', 'equalize')
_AFFINE, _BLENDS = OPERATIONS[1:6], OPERATIONS[6:10]
LEVELS = 30


def affine(
    image: Float[Array, 'h w c'], matrix: Float[Array, '2 3'], *, fill: float = 0.0, order: int = 1
) -> Float[Array, 'h w c']:
    """The image seen through an affine map about its middle.

    Formula: y[p] = x[A (p - m) + t + m], p = (row, column), [A | t] the matrix, m = ((h - 1) / 2, (w - 1) / 2);
        between pixels linear (order 1) or the nearest (0); `fill` outside.
    Paper: Jaderberg, Simonyan, Zisserman, Kavukcuoglu 2015, Spatial transformer networks, equations 1 and 3.
    Shapes: [h, w, c], matrix [2, 3] from output to input, in pixels -> [h, w, c].
    Errors: ValueError for other shapes, or an order other than 0 and 1.
    Example:
        image = jnp.arange(9.0).reshape(3, 3, 1)
        quarter = jnp.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
        assert jnp.allclose(affine(image, quarter), jnp.rot90(image), atol=1e-5)
        assert (affine(image, jnp.eye(2, 3)) == image).all()
    """
    if image.ndim != 3 or jnp.shape(matrix) != (2, 3) or order not in (0, 1):
        raise ValueError(f'image, matrix, order: expected [h, w, c], [2, 3] and 0 or 1; '
                         f'found {image.shape}, {jnp.shape(matrix)}, {order}')
    h, w, _ = image.shape
    rows, cols = jnp.meshgrid(jnp.arange(h) - (h - 1) / 2, jnp.arange(w) - (w - 1) / 2, indexing='ij')
    at = [row[0] * rows + row[1] * cols + row[2] + (n - 1) / 2 for row, n in zip(matrix, (h, w))]
    one = lambda channel: jax.scipy.ndimage.map_coordinates(channel, at, order, mode='constant', cval=fill)
    return jax.vmap(one, in_axes=2, out_axes=2)(image)


def rand_augment(
    key: Key[Array, ''], image: Float[Array, 'h w c'], *, n: int = 2, magnitude: float = 9.0, fill: float = 0.5
) -> Float[Array, 'h w c']:
    """`n` operations, each drawn from `OPERATIONS` alike, all of one magnitude.

    Formula: with m = magnitude / 30: shears +-0.3 m; shifts +-0.45 m of the side; turns +-30 m degrees; brightness,
        color, contrast, sharpness by a factor 1 +- 0.9 m; posterize to 8 - round(4 m) bits; solarize from 1 - m on;
        signs are drawn; autocontrast, equalize and the identity have no magnitude.
    Paper: Cubuk, Zoph, Shlens, Le 2020, RandAugment, section 3 and algorithm in figure 2.
    Shapes: [h, w, 3] or [h, w, 1], values in 0 ... 1 -> the same.
    Errors: ValueError for another number of channels, n below 0, a magnitude outside 0 ... 30.
    Example:
        image = jnp.linspace(0, 1, 75).reshape(5, 5, 3)
        keys = jax.random.split(jax.random.key(0), 8)
        out = jax.vmap(lambda key: rand_augment(key, image))(keys)
        assert out.shape == (8, 5, 5, 3)
        assert (out >= 0).all() and (out <= 1).all()
    """
    if n < 0 or not 0 <= magnitude <= LEVELS:
        raise ValueError(f'n, magnitude: expected n >= 0 and 0 <= magnitude <= {LEVELS}; found {n} and {magnitude}')

    def body(image, key):
        which, sign = jax.random.split(key)
        strength = magnitude / LEVELS * jax.random.rademacher(sign, (), image.dtype)
        return operate(image, jax.random.randint(which, (), 0, len(OPERATIONS)), strength, fill=fill), None

    return jax.lax.scan(body, image, jax.random.split(key, n))[0] if n else image


def operate(image: Float[Array, 'h w c'], which: Array | int, strength: Array | float, *, fill: float = 0.5) -> Array:
    """Operation number `which` of `OPERATIONS` with a strength in -1 ... 1 (see `rand_augment`)."""
    photometric._channels(image)
    is_ = lambda *names: sum((which == OPERATIONS.index(name)) for name in names) > 0
    m, s = jnp.abs(jnp.asarray(strength, image.dtype)), jnp.asarray(strength, image.dtype)
    moved = affine(image, _matrix(which, s, image.shape), fill=fill)
    luma = jnp.broadcast_to(photometric.gray(image), image.shape)
    other = jnp.select([is_('color'), is_('contrast')], [luma, jnp.full_like(luma, jnp.mean(luma))], 0.0)
    factor = 1 + 0.9 * s
    blended = jnp.where(is_('sharpness'), photometric.sharpen(image, factor),
                        jnp.clip(other + factor * (image - other), 0, 1))
    return jnp.select(
        [is_(*_AFFINE), is_(*_BLENDS), is_('posterize'), is_('solarize'), is_('autocontrast'), is_('equalize')],
        [moved, blended, photometric.posterize(image, 8 - jnp.round(4 * m)), photometric.solarize(image, 1 - m),
         photometric.autocontrast(image), photometric.equalize(image)], image)


def _matrix(which: Array | int, s: Array, shape: tuple[int, ...]) -> Array:
    """[2, 3] from output to input pixels (row, column)."""
    which = jnp.asarray(which)
    one = lambda name: (which == OPERATIONS.index(name)).astype(s.dtype) * s
    angle = one('rotate') * (jnp.pi / 6)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([
        jnp.stack([cos, 0.3 * one('shear_y') + sin, 0.45 * shape[0] * one('translate_y')]),
        jnp.stack([0.3 * one('shear_x') - sin, cos, 0.45 * shape[1] * one('translate_x')]),
    ])
