"""Colours and tones of one image: what changes the value of a pixel and not its place.

Images are [height, width, channels] with values in 0 ... 1, and so are the results. What is defined on 256 levels
(posterise, equalise) rounds to them, and equals Pillow's integers divided by 255.

Formula: each function's own.
Paper: the operations are those of Cubuk et al. 2019, AutoAugment, table 6, as Pillow computes them.
Shapes: [h, w, c] -> [h, w, c]; vmap over a batch.

Example:
    from levels.level3_vision.photometric import adjust_color, equalize
    darker = adjust_color(image, brightness=0.7, hue=0.05)
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

_GRAY = (0.299, 0.587, 0.114)       # luma of ITU-R BT.601, as in Pillow
Number = float | Float[Array, '']


def gray(image: Float[Array, 'h w c']) -> Float[Array, 'h w 1']:
    """The luma of red, green, blue; one channel is its own."""
    if image.shape[-1] == 1:
        return image
    return jnp.sum(image * jnp.asarray(_GRAY, image.dtype)[None, None], -1, keepdims=True)


def adjust_color(
    image: Float[Array, 'h w c'], *, brightness: Number = 1.0, contrast: Number = 1.0, saturation: Number = 1.0,
    hue: Number = 0.0,
) -> Float[Array, 'h w c']:
    """Brightness, contrast, saturation and hue of an image, in this order; each result is clipped to 0 ... 1.

    Formula: x <- b x; x <- m + c (x - m), m the mean luma; x <- l + s (x - l), l each pixel's luma; then the hue, as a
        fraction of the circle, is turned by `hue`.
    Paper: Howard 2013, Some improvements on deep convolutional neural network based image classification, section 2.
    Shapes: [h, w, 3], or [h, w, 1], which has no saturation and no hue -> the same.
    Errors: ValueError for another number of channels.
    Example:
        image = jnp.array([[[0.8, 0.2, 0.2], [0.1, 0.1, 0.1]]])
        turned = adjust_color(image, hue=1 / 3)                 # red becomes green
        assert jnp.allclose(turned[0, 0], jnp.array([0.2, 0.8, 0.2]), atol=1e-6)
        assert jnp.allclose(adjust_color(turned, hue=-1 / 3), image, atol=1e-6)
    """
    _channels(image)
    x = jnp.clip(image * brightness, 0, 1)
    if not _is(contrast, 1):
        mean = jnp.mean(gray(x))
        x = jnp.clip(mean + contrast * (x - mean), 0, 1)
    if x.shape[-1] == 3 and not _is(saturation, 1):
        luma = gray(x)
        x = jnp.clip(luma + saturation * (x - luma), 0, 1)
    return x if x.shape[-1] == 1 or _is(hue, 0) else _turn(x, hue)


def _is(value: Number, neutral: int) -> bool:
    """Whether a number that can be read changes nothing: then the pixels keep their bits."""
    return isinstance(value, int | float) and value == neutral


def _turn(x: Array, by: Number) -> Array:
    """Hue turned by a fraction of the circle, value and saturation kept: red, green, blue -> the same."""
    high, low = x.max(-1), x.min(-1)
    spread = high - low
    r, g, b = ((high - x[..., i]) / jnp.where(spread == 0, 1, spread) for i in range(3))
    sixth = jnp.where(x[..., 0] == high, b - g, jnp.where(x[..., 1] == high, 2 + r - b, 4 + g - r))
    hue = (sixth / 6 + by) % 1
    # each channel is a trapezoid over the circle: at `high` for a third of it, at `low` for a third
    wave = lambda phase: jnp.clip(jnp.abs((hue + phase) % 1 * 6 - 3) - 1, 0, 1)
    return low[..., None] + spread[..., None] * jnp.stack([wave(0.0), wave(2 / 3), wave(1 / 3)], -1)


def sharpen(image: Float[Array, 'h w c'], factor: Number) -> Float[Array, 'h w c']:
    """Away from (factor > 1) or towards (< 1) a smoothed copy; the outermost pixels stay.

    Formula: clip(s + factor (x - s)), s the 3x3 mean in which the middle counts 5 times.
    Paper: Cubuk et al. 2019, AutoAugment, table 6 (Sharpness), as in Pillow.
    Shapes: [h, w, c] -> [h, w, c].
    Errors: none.
    Example:
        image = jnp.zeros((5, 5, 1)).at[2, 2, 0].set(1.0)
        assert jnp.allclose(sharpen(image, 0.0)[2, 2, 0], 5 / 13)
        assert jnp.allclose(sharpen(image, 0.0)[1, 1, 0], 1 / 13)
        assert (sharpen(image, 1.0) == image).all()
    """
    h, w, _ = image.shape
    around = sum(image[u : u + h - 2, v : v + w - 2] for u in range(3) for v in range(3))
    smooth = image.at[1:-1, 1:-1].set((around + 4 * image[1:-1, 1:-1]) / 13)
    return jnp.where(factor == 1.0, image, jnp.clip(smooth + factor * (image - smooth), 0, 1))


def posterize(image: Float[Array, '*shape'], bits: Number) -> Float[Array, '*shape']:
    """The upper `bits` of the 8 bits of each value.

    Formula: floor(v / 2^(8 - bits)) 2^(8 - bits) / 255, v = round(255 x).
    Paper: Cubuk et al. 2019, AutoAugment, table 6 (Posterize), as in Pillow.
    Shapes: any -> the same.
    Errors: none; bits outside 0 ... 8 mean nothing.
    Example:
        image = jnp.array([0, 100, 200, 255]) / 255
        coarse = posterize(image, 2)
        assert jnp.round(coarse * 255).tolist() == [0, 64, 192, 192]
        assert jnp.allclose(posterize(image, 8), image)
    """
    step = 2.0 ** (8 - jnp.asarray(bits, image.dtype))
    return jnp.floor(jnp.round(image * 255) / step) * step / 255


def solarize(image: Float[Array, '*shape'], threshold: Number) -> Float[Array, '*shape']:
    """Values from the threshold on are inverted; threshold 0 inverts all, and twice that is the identity.

    Formula: x if x < threshold else 1 - x.
    Paper: Cubuk et al. 2019, AutoAugment, table 6 (Solarize, Invert), as in Pillow.
    Shapes: any -> the same.
    Errors: none.
    Example:
        image = jnp.array([0.25, 0.5, 1.0])
        assert solarize(image, 0.5).tolist() == [0.25, 0.5, 0]
        assert solarize(image, 2.0).tolist() == image.tolist()
        assert solarize(solarize(image, 0.0), 0.0).tolist() == image.tolist()
    """
    return jnp.where(image < threshold, image, 1 - image)


def autocontrast(image: Float[Array, 'h w c']) -> Float[Array, 'h w c']:
    """Each channel stretched so that its smallest value is 0 and its largest 1; a constant channel stays.

    Formula: (x - min) / (max - min) of each channel.
    Paper: Cubuk et al. 2019, AutoAugment, table 6 (AutoContrast), as in Pillow (which rounds down to 256 levels).
    Shapes: [h, w, c] -> [h, w, c].
    Errors: none.
    Example:
        image = jnp.array([[[0.25, 0.5], [0.75, 0.5]]])
        stretched = autocontrast(image)
        assert stretched[..., 0].tolist() == [[0, 1]]
        assert stretched[..., 1].tolist() == [[0.5, 0.5]]
    """
    low, high = image.min((0, 1), keepdims=True), image.max((0, 1), keepdims=True)
    return jnp.where(high > low, (image - low) / jnp.where(high > low, high - low, 1), image)


def equalize(image: Float[Array, 'h w c']) -> Float[Array, 'h w c']:
    """Each channel's 256 levels spread so that about as many pixels fall on each.

    Formula: v -> min(255, floor((step // 2 + #{values < v}) / step)) / 255, step = (#pixels - #{values at the largest
        level}) // 255, and the identity where step is 0; v = round(255 x).
    Paper: Cubuk et al. 2019, AutoAugment, table 6 (Equalize), as in Pillow.
    Shapes: [h, w, c] -> [h, w, c].
    Errors: none.
    Example:
        image = (jnp.arange(1024) // 8 / 255).reshape(32, 32, 1)        # the lower half of the levels
        spread = equalize(image)
        assert image.max() < 0.5
        assert spread.max() == 1
    """
    levels = jnp.round(image * 255).astype(jnp.int32).reshape(-1, image.shape[-1])
    ordered = jnp.sort(levels, axis=0)
    out = []
    for c in range(image.shape[-1]):
        step = jnp.searchsorted(ordered[:, c], ordered[-1, c], side='left') // 255
        below = jnp.searchsorted(ordered[:, c], jnp.arange(256), side='left')
        table = jnp.where(step == 0, jnp.arange(256), jnp.minimum((step // 2 + below) // jnp.maximum(step, 1), 255))
        out.append(jnp.take(table, levels[:, c], mode='clip'))
    return jnp.stack(out, -1).reshape(image.shape).astype(image.dtype) / 255


def _channels(image: Array) -> None:
    if image.ndim != 3 or image.shape[-1] not in (1, 3):
        raise ValueError(f'image: expected [h, w, 3] or [h, w, 1]; found shape {image.shape}')
