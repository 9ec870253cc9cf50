"""Augmentation against Pillow, colorsys, scipy, slices in numpy; exact inverses; labels; the same pixels everywhere."""

import colorsys
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from parity_ledger import compare
from PIL import Image, ImageEnhance, ImageOps
from scipy import ndimage

from common import data, loop, metrics, strategies, tasks, wrappers
from common.checkpoint import Checkpoints
from levels.level2_neural.mlp import MLP
from levels.level3_vision import augment, mixes, photometric
from levels.level3_vision.augment import color_jitter, random_crop, random_erase, random_flip, random_resized_crop
from levels.level3_vision.mixes import cutmix, mixup, with_mix
from levels.level3_vision.rand_augment import OPERATIONS, affine, operate
from levels.level3_vision.rand_augment import rand_augment as randaug

KEY = jax.random.key(0)
BYTES = np.random.default_rng(0).integers(20, 200, (24, 18, 3)).astype(np.uint8)
BYTES[:, :6] //= 3      # an uneven histogram
IMAGE = jnp.asarray(BYTES, jnp.float32) / 255
PIL = Image.fromarray(BYTES)


def levels(image):
    return np.asarray(image, np.float64) * 255


@pytest.mark.parametrize(('name', 'ours', 'theirs', 'gate'), [
    ('posterize', lambda: photometric.posterize(IMAGE, 3), lambda: ImageOps.posterize(PIL, 3), 1e-3),
    ('solarize', lambda: photometric.solarize(IMAGE, 100 / 255), lambda: ImageOps.solarize(PIL, 100), 1e-3),
    ('equalize', lambda: photometric.equalize(IMAGE), lambda: ImageOps.equalize(PIL), 1e-3),
    ('autocontrast', lambda: photometric.autocontrast(IMAGE), lambda: ImageOps.autocontrast(PIL), 1.01),    # it floors
    ('adjust_color', lambda: photometric.adjust_color(IMAGE, brightness=0.7),
     lambda: ImageEnhance.Brightness(PIL).enhance(0.7), 1.01),
    ('adjust_color', lambda: photometric.adjust_color(IMAGE, contrast=1.4),
     lambda: ImageEnhance.Contrast(PIL).enhance(1.4), 1.51),        # and rounds the mean, which counts 0.4 times
    ('adjust_color', lambda: photometric.adjust_color(IMAGE, saturation=0.3),
     lambda: ImageEnhance.Color(PIL).enhance(0.3), 1.71),           # and rounds the luma, which counts 0.7 times
    ('sharpen', lambda: photometric.sharpen(IMAGE, 1.8), lambda: ImageEnhance.Sharpness(PIL).enhance(1.8), 1.91)])
def test_tones_equal_pillow(name, ours, theirs, gate):
    """In units of one of 256 levels.  Pillow computes in integers: where it rounds, less than a level or two."""
    compare(name, 'Pillow', f'levels, gate {gate}', levels(ours()), np.asarray(theirs(), np.float64), gate)


def test_hue_equals_colorsys():
    def turned(pixel):
        h, s, v = colorsys.rgb_to_hsv(*pixel)
        return colorsys.hsv_to_rgb((h + by) % 1, s, v)
    for by in (0.1, -0.3, 0.5):
        theirs = np.apply_along_axis(turned, -1, np.asarray(IMAGE, np.float64))
        compare('adjust_color', 'colorsys', f'hue by {by}', photometric.adjust_color(IMAGE, hue=by), theirs, 2e-6)
    gray = IMAGE[:, :, :1]
    assert (photometric.adjust_color(gray, saturation=0.1, hue=0.3) == gray).all()


@pytest.mark.parametrize('order', [0, 1])
def test_affine_equals_scipy(order):
    matrix = np.array([[0.9, 0.37, 1.3], [-0.21, 1.1, -2.4]])
    middle = (np.array(BYTES.shape[:2]) - 1) / 2
    offset = matrix[:, 2] + middle - matrix[:, :2] @ middle
    theirs = np.stack([ndimage.affine_transform(np.asarray(IMAGE)[..., c], matrix[:, :2], offset, order=order,
                                                mode='grid-constant', cval=0.25) for c in range(3)], -1)
    ours = affine(IMAGE, jnp.asarray(matrix, jnp.float32), fill=0.25, order=order)
    compare('affine', 'scipy.ndimage.affine_transform', f'order {order}', ours, theirs, 2e-5)


def test_resized_crops_equal_pillow():
    """Pillow's bilinear resize of a box, in floats, smooths when it shrinks as ours does."""
    for at, sides, size in (((2.5, 1.25), (17.0, 12.5), (8, 9)), ((0.0, 3.0), (6.0, 9.5), (12, 16))):
        box = (at[1], at[0], at[1] + sides[1], at[0] + sides[0])
        theirs = np.stack([np.asarray(Image.fromarray(np.asarray(IMAGE)[..., c], 'F').crop(
            (0, 0, 18, 24)).resize(size[::-1], Image.Resampling.BILINEAR, box=box)) for c in range(3)], -1)
        ours = augment.resized(IMAGE, jnp.array(at), jnp.array(sides), size)
        inner = (slice(1, -1), slice(1, -1))       # Pillow looks beyond the box, where there is an image
        compare('random_resized_crop', 'Pillow', f'resize to {size}', ours[inner], theirs[inner], 2e-5)


def test_crops_flips_and_erasures_by_slices():
    """What a draw can be is listed by numpy; every draw is one of the list, and all of it comes up."""
    small = np.asarray(IMAGE[:4, :5])
    padded = np.pad(small, ((1, 1), (1, 1), (0, 0)))
    crops = {padded[r : r + 4, c : c + 5].tobytes() for r in range(3) for c in range(3)}
    keys = jax.random.split(KEY, 200)
    ours = np.asarray(jax.jit(jax.vmap(lambda key: random_crop(key, small, padding=1)))(keys))
    assert {a.tobytes() for a in ours} == crops
    flips = np.asarray(jax.vmap(lambda key: random_flip(key, IMAGE, p=0.3))(keys))
    mirrored = [bool((a == np.asarray(IMAGE)[:, ::-1]).all()) for a in flips]
    assert all(m or (a == np.asarray(IMAGE)).all() for m, a in zip(mirrored, flips)) and 30 < sum(mirrored) < 90
    compare('random_crop', 'numpy slices', 'the one crop without padding', random_crop(KEY, IMAGE, padding=0), IMAGE, 0)
    compare('random_flip', 'numpy', 'vertical', random_flip(KEY, IMAGE, p=1.0, axis='vertical'), IMAGE[::-1], 0)
    erased = np.asarray(jax.vmap(lambda key: random_erase(key, IMAGE, p=0.8, area=(0.1, 0.3), fill=2.0))(keys))
    shares = []
    for a in erased:
        hit = (a == 2.0).all(-1)
        if hit.any():       # one whole rectangle, and nothing else has changed
            rows, cols = np.flatnonzero(hit.any(1)), np.flatnonzero(hit.any(0))
            assert hit.sum() == (np.ptp(rows) + 1) * (np.ptp(cols) + 1)
            shares.append(hit.mean())
        compare('random_erase', 'numpy', 'outside the rectangle', a[~hit], np.asarray(IMAGE)[~hit], 0)
    assert 130 < len(shares) < 185 and min(shares) > 0.07 and max(shares) < 0.34


def test_exact_inverses():
    flip = functools.partial(random_flip, p=1.0)
    assert (flip(KEY, flip(KEY, IMAGE)) == IMAGE).all()
    assert (affine(IMAGE, jnp.eye(2, 3)) == IMAGE).all()
    there, back = (jnp.eye(2, 3).at[:, 2].set(jnp.array([3.0, -2.0]) * s) for s in (1, -1))
    inner = affine(affine(IMAGE, there), back)[3:-3, 2:-2]
    assert (inner == IMAGE[3:-3, 2:-2]).all()
    quarter, square = jnp.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]), IMAGE[:18]
    assert (functools.reduce(lambda x, _: affine(x, quarter), range(4), square) == square).all()
    assert jnp.abs(photometric.solarize(photometric.solarize(IMAGE, 0.0), 0.0) - IMAGE).max() < 1e-7
    turned = photometric.adjust_color(photometric.adjust_color(IMAGE, hue=0.3), hue=-0.3)
    assert jnp.abs(turned - IMAGE).max() < 1e-6
    none = dict.fromkeys(('brightness', 'contrast', 'saturation', 'hue'), 0.0)
    assert jnp.abs(color_jitter(KEY, IMAGE, **none) - IMAGE).max() < 1e-6
    whole = random_resized_crop(KEY, IMAGE, size=IMAGE.shape[:2], area=(1.0, 1.0), aspect=(0.75, 0.75))
    assert jnp.abs(whole - IMAGE).max() < 1e-5      # 18 : 24 is the image's own aspect
    wide = jnp.asarray(np.random.default_rng(1).random((9, 9, 3)), jnp.float32)
    padded = jnp.pad(wide, ((2, 2), (2, 2), (0, 0)))
    assert any((random_crop(k, padded, padding=0, size=(9, 9)) == wide).all() for k in jax.random.split(KEY, 200))


def test_color_jitter_is_adjust_color_with_bounded_factors():
    keys = jax.random.split(KEY, 400)
    flat = jnp.full((2, 2, 3), 0.5)
    means = jax.vmap(lambda key: color_jitter(key, flat, brightness=0.4, contrast=0.0, saturation=0.0, hue=0.0))(keys)
    means = np.asarray(means).mean((1, 2, 3)) / 0.5
    assert 0.6 <= means.min() < 0.65 and 1.35 < means.max() <= 1.4 + 1e-6
    compare('color_jitter', 'the uniform distribution', 'mean factor', means.mean(), 1.0, 0.05)
    lone = color_jitter(KEY, IMAGE, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.1)
    compare('color_jitter', 'adjust_color', 'value of each pixel under a turn of the hue', lone.max(-1), IMAGE.max(-1),
            1e-6)
    assert jnp.abs(lone - IMAGE).max() > 0.02


@pytest.mark.parametrize('name', OPERATIONS)
def test_each_operation_of_randaugment(name):
    """Every operation alone, both signs, against its definition; strength 0 leaves what has a magnitude as it is."""
    which, one = OPERATIONS.index(name), jax.jit(lambda which, s: operate(IMAGE, which, s))
    tan, angle = 0.3, np.pi / 6
    matrices = {'shear_x': [[1, 0, 0], [tan, 1, 0]], 'shear_y': [[1, tan, 0], [0, 1, 0]],
                'translate_x': [[1, 0, 0], [0, 1, 0.45 * 18]], 'translate_y': [[1, 0, 0.45 * 24], [0, 1, 0]],
                'rotate': [[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0]]}
    definition = {
        'identity': lambda s: IMAGE,
        'brightness': lambda s: photometric.adjust_color(IMAGE, brightness=1 + 0.9 * s),
        'color': lambda s: photometric.adjust_color(IMAGE, saturation=1 + 0.9 * s),
        'contrast': lambda s: photometric.adjust_color(IMAGE, contrast=1 + 0.9 * s),
        'sharpness': lambda s: photometric.sharpen(IMAGE, 1 + 0.9 * s),
        'posterize': lambda s: photometric.posterize(IMAGE, 4), 'solarize': lambda s: photometric.solarize(IMAGE, 0.0),
        'autocontrast': lambda s: photometric.autocontrast(IMAGE), 'equalize': lambda s: photometric.equalize(IMAGE),
    }
    for s in (1.0, -1.0):
        if name in matrices:
            eye = np.eye(2, 3)
            M = np.array(matrices[name])
            M = M * [[1, s, 1], [s, 1, 1]] if name == 'rotate' else eye + s * (M - eye)
            theirs = affine(IMAGE, jnp.asarray(M, jnp.float32), fill=0.5)
        else:
            theirs = definition[name](s)
        compare('rand_augment', 'each operation by itself', name, one(which, s), theirs, 2e-4)
        assert name == 'identity' or jnp.abs(one(which, s) - IMAGE).max() > 0.02
    if name not in ('autocontrast', 'equalize', 'posterize'):
        assert jnp.abs(one(which, 0.0) - IMAGE).max() < 1e-6


def test_randaugment_draws_all_operations_alike():
    keys = jax.random.split(KEY, 1400)
    seen = jax.jit(jax.vmap(lambda key: randaug(key, IMAGE, n=1, magnitude=30)))(keys)
    same = (np.asarray(seen) == np.asarray(IMAGE)).all((1, 2, 3)).mean()
    assert abs(same - 1 / 14) < 0.025       # the identity alone: 3.6 standard deviations
    assert (seen >= 0).all() and (seen <= 1).all() and (randaug(KEY, IMAGE, n=0) == IMAGE).all()
    assert len({np.asarray(a).tobytes() for a in seen}) > 13


@pytest.mark.parametrize('mix', [mixup, cutmix])
def test_mixes_by_hand_and_labels_sum_to_one(mix):
    images = jax.random.uniform(KEY, (8, 6, 7, 2))
    labels = jax.nn.one_hot(jnp.arange(8) % 5, 5)
    x, y = mix(jax.random.key(1), images, labels=labels, alpha=1.0)
    partner, given = np.asarray(images)[::-1], np.asarray(images)
    assert jnp.abs(y.sum(1) - 1).max() < 1e-6 and (y >= 0).all()
    share = np.asarray([y[i, i % 5] if i % 5 != (7 - i) % 5 else 1.0 for i in range(8)])
    assert len(np.unique(share.round(4))) > 4       # every row has a draw of its own
    for i in range(8):
        if i % 5 == (7 - i) % 5:
            continue
        if mix is mixup:
            theirs = share[i] * given[i] + (1 - share[i]) * partner[i]
            compare('mixup', 'the formula in numpy', 'images', x[i], theirs, 1e-6)
        else:
            swapped = (np.asarray(x[i]) != given[i]).all(-1)
            compare('cutmix', 'the formula in numpy', 'share of the label', 1 - swapped.mean(), share[i], 1e-6)
            assert (np.asarray(x[i])[swapped] == partner[i][swapped]).all()
            if swapped.any():
                rows, cols = np.flatnonzero(swapped.any(1)), np.flatnonzero(swapped.any(0))
                assert swapped.sum() == (np.ptp(rows) + 1) * (np.ptp(cols) + 1)


def test_mixup_is_the_wrapper_of_common():
    task = tasks.classifier(MLP(hidden=(), n_out=3), optax.sgd(0.1))
    look = lambda key, state, batch: (state, batch)
    batch = {'image': jax.random.uniform(KEY, (6, 4, 4, 1)), 'label': jnp.arange(6) % 3}
    ours, theirs = (wrap(task._replace(step=look)).step(KEY, None, batch)[1] for wrap in (
        lambda task: with_mix(task, functools.partial(mixup, alpha=0.4), 3),
        lambda task: wrappers.with_mixup(task, 0.4, 3)))
    compare('mixup', 'common.wrappers.with_mixup', 'images and labels', ours, theirs, 1e-6)


# ---- each row its own pixels, the same after a resume, and under every strategy

AUGMENT = augment.chain(functools.partial(random_crop, padding=1), random_flip, random_erase, color_jitter)
WATCHED = {'crop, flip, erasure, colours, CutMix': (AUGMENT, cutmix),
           'RandAugment, mixup': (functools.partial(randaug, n=1, magnitude=9), functools.partial(mixup, alpha=1.0))}
SET = {'image': np.random.default_rng(2).random((32, 8, 8, 3)).astype(np.float32),
       'label': (np.arange(32) % 4).astype(np.int32)}
ORDER = data.Order(32, 8, seed=0)


@pytest.mark.parametrize('fn', [AUGMENT, WATCHED['RandAugment, mixup'][0]], ids=['chain', 'RandAugment'])
def test_each_row_is_augmented_by_a_key_of_its_own(fn):
    """Equal images come out unlike; a step's key and a row's place are all that decides what it becomes."""
    look = tasks.classifier(MLP(hidden=(), n_out=3), optax.sgd(0.1))._replace(
        step=lambda key, state, batch: (state, batch['image']))
    step = jax.jit(wrappers.with_augment(look, fn).step)
    batch = {'image': jnp.broadcast_to(IMAGE, (8, *IMAGE.shape)), 'label': jnp.zeros(8, jnp.int32)}
    of = lambda n, batch=batch: np.asarray(step(jax.random.fold_in(KEY, n), None, batch)[1])
    rows = of(0)
    assert len({row.tobytes() for row in rows}) >= 7        # RandAugment's draws may well be alike once
    assert np.array_equal(of(0), rows)
    assert all(not np.array_equal(a, b) for a, b in zip(of(1), rows))
    other = {**batch, 'image': batch['image'].at[3].set(0.5)}
    same = np.delete(np.arange(8), 3)
    assert np.array_equal(of(0, other)[same], rows[same])   # what other rows hold changes nothing


def watched(kind):
    """A task whose logged metrics are sums over the very pixels and labels that its step has seen."""
    inner = tasks.classifier(MLP(hidden=(), n_out=4), optax.sgd(0.1))
    weights = jnp.asarray(np.random.default_rng(3).random((8, 8, 3)), jnp.float32)

    def step(key, state, batch):
        pixels = jnp.sum(batch['image'] * weights[None], (1, 2, 3))
        return inner.step(key, state, batch)[0], {'pixels': metrics.mean(pixels), 'sum': metrics.mean(
            batch['label'].sum(-1)), 'top': metrics.mean(batch['label'].max(-1))}

    fn, mix = WATCHED[kind]
    return wrappers.with_augment(with_mix(inner._replace(step=step), mix, 4), fn)


def seen(kind, strategy, steps, folder=None, stop=None):
    rows = []
    checkpoints = Checkpoints(folder) if folder else None
    def explode(step, carry):
        if step == stop:
            raise RuntimeError('stop')
    try:
        loop.fit(watched(kind), data.resident(SET, ORDER), steps=steps, key=KEY, strategy=strategy(), log_every=1,
                 log=lambda step, values, _: rows.append((step, values)), checkpoints=checkpoints,
                 checkpoint_every=2 if folder else 0, hooks=[loop.Hook(1, explode)])
    except RuntimeError:
        pass
    finally:
        if checkpoints:
            checkpoints.close()
    return rows


@pytest.mark.parametrize('kind', WATCHED)
def test_the_same_pixels_after_a_resume(tmp_path, kind):
    whole = seen(kind, strategies.jit, 6)
    assert len({row['pixels'] for _, row in whole}) == 6
    assert all(abs(row['sum'] - 1) < 1e-6 for _, row in whole) and min(row['top'] for _, row in whole) < 0.99
    first = seen(kind, strategies.jit, 6, tmp_path, stop=3)       # the checkpoint is step 2's
    again = seen(kind, strategies.jit, 6, tmp_path)
    assert [step for step, _ in again] == [3, 4, 5, 6] and first[:2] + again == whole


@pytest.mark.slow
@pytest.mark.parametrize('kind', WATCHED)
@pytest.mark.parametrize('strategy', [strategies.pmap, strategies.mesh])
def test_the_same_pixels_on_any_number_of_devices(kind, strategy):
    for (_, ours), (_, theirs) in zip(seen(kind, strategies.jit, 6), seen(kind, strategy, 6), strict=True):
        assert all(abs(ours[name] - theirs[name]) < 1e-4 * abs(ours[name]) for name in ours)


def test_bad_arguments_say_what_is_wrong():
    images, labels = jnp.zeros((2, 4, 4, 3)), jnp.eye(2)
    for call, message in (
        (lambda: random_crop(KEY, IMAGE, padding=0, size=(30, 3)), r'size: expected two sizes from 1 to \(24, 18\)'),
        (lambda: random_crop(KEY, images), r'image: expected \[height, width, channels\]'),
        (lambda: random_flip(KEY, IMAGE, axis='x'), "axis: expected one of horizontal, vertical; found 'x'"),
        (lambda: random_flip(KEY, IMAGE, p=2.0), 'p: expected a probability'),
        (lambda: random_erase(KEY, IMAGE, area=(0.5, 0.1)), 'area, aspect: expected ascending'),
        (lambda: random_resized_crop(KEY, IMAGE, size=(4, 4), aspect=(0.0, 1.0)), 'area, aspect: expected ascending'),
        (lambda: color_jitter(KEY, IMAGE, hue=0.7), 'hue: expected 0 or more'),
        (lambda: photometric.adjust_color(IMAGE[..., :2]), r'image: expected \[h, w, 3\]'),
        (lambda: randaug(KEY, IMAGE, magnitude=31), 'n, magnitude: expected'),
        (lambda: affine(IMAGE, jnp.eye(3)), 'image, matrix, order: expected'),
        (lambda: mixup(KEY, images, labels=labels, alpha=0.0), 'alpha: expected a positive number'),
        (lambda: cutmix(KEY, images, labels=jnp.array([0, 1])), r'labels: expected probabilities \[2, n\]'),
        (lambda: mixes.cutmix(KEY, images[0], labels=jnp.ones((4, 2))), r'images: expected \[b, h, w, c\]'),
    ):
        with pytest.raises(ValueError, match=message):
            call()
