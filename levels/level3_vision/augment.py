"""Random changes of one image on the device: crop, flip, erase, colours.

Each is a function of a key and an image, so `common.wrappers.with_augment(task, fn)` gives every row of every step a
key of its own: the same pixels after a resume, on any number of devices. Options are bound by `functools.partial`, and
`chain` puts several in a row.

Formula: each function's own.
Paper: crop and flip: Krizhevsky, Sutskever, Hinton 2012, ImageNet classification with deep convolutional neural
    networks, section 4.1; erase: Zhong et al. 2017; colours: Howard 2013.
Shapes: key, image [h, w, c] -> [h, w, c].

Example:
    from functools import partial
    from levels.level3_vision.augment import chain, random_crop, random_erase, random_flip
    task = wrappers.with_augment(task, chain(partial(random_crop, padding=4), random_flip, random_erase))
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from levels.level3_vision.photometric import adjust_color

Augmentation = Callable[[jax.Array, Array], Array]
_AXES = {'horizontal': 1, 'vertical': 0}


def chain(*fns: Augmentation) -> Augmentation:
    """One augmentation after the other, each with a key of its own."""
    def apply(key, image):
        for i, fn in enumerate(fns):
            image = fn(jax.random.fold_in(key, i), image)
        return image
    return apply


def random_crop(
    key: Key[Array, ''], image: Float[Array, 'h w c'], *, padding: int = 4, size: Sequence[int] | None = None,
    mode: str = 'constant',
) -> Float[Array, 'oh ow c']:
    """A part of the image that begins anywhere, after `padding` on all sides.

    Formula: y[i, j] = padded[i + r, j + s], r and s uniform on all places where the part fits.
    Paper: Krizhevsky, Sutskever, Hinton 2012, section 4.1; with padding: He et al. 2016, Deep residual learning for
        image recognition, section 4.2.
    Shapes: [h, w, c] -> [*size, c]; size=None keeps h and w. mode: of jnp.pad ('constant' is 0, 'reflect', 'edge').
    Errors: ValueError when the size does not fit.
    Example:
        image = jnp.arange(9.0).reshape(3, 3, 1)
        part = random_crop(jax.random.key(0), image, padding=0, size=(2, 2))
        assert part.shape == (2, 2, 1)
        assert (random_crop(jax.random.key(0), image, padding=0) == image).all()
    """
    _image(image)
    size = tuple(image.shape[:2] if size is None else size)
    padded = jnp.pad(image, ((padding, padding), (padding, padding), (0, 0)), mode=mode)
    room = [n - m for n, m in zip(padded.shape, size)]
    if len(size) != 2 or min(size) < 1 or min(room) < 0:
        raise ValueError(f'size: expected two sizes from 1 to {padded.shape[:2]}; found {size}')
    at = jax.random.randint(key, (2,), 0, jnp.array(room) + 1)
    return jax.lax.dynamic_slice(padded, (at[0], at[1], 0), (*size, image.shape[2]))


def random_resized_crop(
    key: Key[Array, ''], image: Float[Array, 'h w c'], *, size: Sequence[int], area: tuple[float, float] = (0.08, 1.0),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
) -> Float[Array, 'oh ow c']:
    """A part of random area and aspect, resized (bilinear, with antialiasing where it shrinks).

    Formula: a ~ U(area) h w, log r ~ U(log aspect); width sqrt(a r), height sqrt(a / r), each cut to the image's; the
        place uniform on where the part fits.
    Paper: Szegedy et al. 2015, Going deeper with convolutions, section 6. There (and in torchvision) another part is
        drawn when one does not fit; here it is cut.
    Shapes: [h, w, c] -> [*size, c].
    Errors: ValueError for ranges that are not ascending and positive, or areas above 1.
    Example:
        image = jnp.full((12, 9, 3), 0.5)
        part = random_resized_crop(jax.random.key(0), image, size=(8, 8))
        assert part.shape == (8, 8, 3)
        assert jnp.allclose(part, 0.5)
    """
    _image(image)
    _ranges(area, aspect)
    h, w, _ = image.shape
    keys = jax.random.split(key, 3)
    sides = _sides(keys[0], keys[1], area, aspect, h, w)
    at = jax.random.uniform(keys[2], (2,)) * (jnp.array([h, w]) - sides)
    return resized(image, at, sides, size)


def resized(
    image: Float[Array, 'h w c'], at: Float[Array, '2'], sides: Float[Array, '2'], size: Sequence[int]
) -> Float[Array, 'oh ow c']:
    """The part of `sides` (rows, columns) from `at` on, in fractions of pixels too, as an image of `size`."""
    scale = jnp.array(size) / sides
    return jax.image.scale_and_translate(image, (*size, image.shape[2]), (0, 1), scale, -at * scale, 'linear')


def random_flip(
    key: Key[Array, ''], image: Float[Array, 'h w c'], *, p: float = 0.5, axis: str = 'horizontal'
) -> Float[Array, 'h w c']:
    """The image or its mirror image.

    Formula: y[i, j] = x[i, w - 1 - j] with probability p, else x ('vertical': x[h - 1 - i, j]).
    Paper: Krizhevsky, Sutskever, Hinton 2012, section 4.1.
    Shapes: [h, w, c] -> [h, w, c].
    Errors: ValueError for another axis, or p outside 0 ... 1.
    Example:
        image = jnp.array([[[1.0], [2.0]]])
        mirrored = random_flip(jax.random.key(0), image, p=1.0)
        assert mirrored[0, :, 0].tolist() == [2, 1]
        assert (random_flip(jax.random.key(0), mirrored, p=1.0) == image).all()
    """
    _image(image)
    _probability(p)
    if axis not in _AXES:
        raise ValueError(f'axis: expected one of {", ".join(_AXES)}; found {axis!r}')
    return jnp.where(jax.random.bernoulli(key, p), jnp.flip(image, _AXES[axis]), image)


def random_erase(
    key: Key[Array, ''], image: Float[Array, 'h w c'], *, p: float = 0.5, area: tuple[float, float] = (0.02, 1 / 3),
    aspect: tuple[float, float] = (0.3, 10 / 3), fill: float | str = 'noise',
) -> Float[Array, 'h w c']:
    """A rectangle of the image is overwritten.

    Formula: with probability p: a ~ U(area) h w, log r ~ U(log aspect), width round(sqrt(a r)), height round(sqrt(a /
        r)), each cut to the image's, at a uniform place; its pixels become `fill`, or 'noise': U(0, 1) each.
    Paper: Zhong, Zheng, Kang, Li, Yang 2017, Random erasing data augmentation, algorithm 1 (there r itself is uniform,
        and another rectangle is drawn when one does not fit); a fixed square: DeVries, Taylor 2017, Cutout.
    Shapes: [h, w, c] -> [h, w, c].
    Errors: ValueError for p outside 0 ... 1, ranges that are not ascending and positive, areas above 1.
    Example:
        image = jnp.ones((8, 8, 1))
        erased = random_erase(jax.random.key(0), image, p=1.0, area=(0.25, 0.25), aspect=(1.0, 1.0), fill=0.0)
        assert (erased == 0).sum() == 16
        assert (random_erase(jax.random.key(0), image, p=0.0) == image).all()
    """
    _image(image)
    _probability(p)
    _ranges(area, aspect)
    h, w, _ = image.shape
    keys = jax.random.split(key, 5)
    sides = jnp.maximum(jnp.round(_sides(keys[0], keys[1], area, aspect, h, w)), 1).astype(jnp.int32)
    at = jax.random.randint(keys[2], (2,), 0, jnp.array([h, w]) - sides + 1)
    inside = rectangle(at, sides, (h, w)) & jax.random.bernoulli(keys[3], p)
    new = jax.random.uniform(keys[4], image.shape, image.dtype) if fill == 'noise' else jnp.asarray(fill, image.dtype)
    return jnp.where(inside[:, :, None], new, image)


def rectangle(at: Array, sides: Array, shape: tuple[int, int]) -> Array:
    """True inside the rectangle of `sides` (rows, columns) whose first pixel is `at`: [h, w]."""
    rows, cols = jnp.arange(shape[0])[:, None], jnp.arange(shape[1])[None]
    return (rows >= at[0]) & (rows < at[0] + sides[0]) & (cols >= at[1]) & (cols < at[1] + sides[1])


def color_jitter(
    key: Key[Array, ''], image: Float[Array, 'h w c'], *, brightness: float = 0.2, contrast: float = 0.2,
    saturation: float = 0.2, hue: float = 0.02,
) -> Float[Array, 'h w c']:
    """Random brightness, contrast, saturation and hue, always in this order (torchvision shuffles it).

    Formula: `adjust_color` with factors U(1 - s, 1 + s), not below 0, and a turn of the hue U(-hue, hue).
    Paper: Howard 2013, Some improvements on deep convolutional neural network based image classification, section 2.
    Shapes: [h, w, 3] or [h, w, 1], values in 0 ... 1 -> the same.
    Errors: ValueError for negative strengths, a hue above 1/2, another number of channels.
    Example:
        image = jnp.full((4, 4, 3), 0.5)
        other = color_jitter(jax.random.key(0), image, contrast=0.0, saturation=0.0, hue=0.0)
        assert jnp.ptp(other) < 1e-6
        assert 0.4 <= other.min() <= 0.6
    """
    strengths = {'brightness': brightness, 'contrast': contrast, 'saturation': saturation}
    for name, strength in (*strengths.items(), ('hue', hue)):
        if not 0 <= strength <= (0.5 if name == 'hue' else float('inf')):
            raise ValueError(f'{name}: expected 0 or more (a hue: up to 0.5); found {strength}')
    draws = jax.random.uniform(key, (4,), minval=-1.0)
    factors = {name: jnp.maximum(0.0, 1 + s * draw) for (name, s), draw in zip(strengths.items(), draws)}
    return adjust_color(image, **factors, hue=hue * draws[3] if hue else 0.0)


def _sides(key: jax.Array, other: jax.Array, area, aspect, h: int, w: int) -> Array:
    a = jax.random.uniform(key, minval=area[0], maxval=area[1]) * h * w
    r = jnp.exp(jax.random.uniform(other, minval=jnp.log(aspect[0]), maxval=jnp.log(aspect[1])))
    return jnp.minimum(jnp.stack([jnp.sqrt(a / r), jnp.sqrt(a * r)]), jnp.array([h, w]))


def _image(image: Array) -> None:
    if image.ndim != 3:
        raise ValueError(f'image: expected [height, width, channels]; found shape {image.shape}')


def _probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f'p: expected a probability; found {p}')


def _ranges(area: tuple[float, float], aspect: tuple[float, float]) -> None:
    if not 0 < area[0] <= area[1] <= 1 or not 0 < aspect[0] <= aspect[1]:
        raise ValueError(f'area, aspect: expected ascending ranges above 0, areas up to 1; found {area} and {aspect}')
