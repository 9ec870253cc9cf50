"""Synthetic chest radiographs: lungs, ribs, a heart, and soft opacities in the lungs of those who are sick.

Made by this file from a seed; no patient has anything to do with it. Rays pass through an attenuation map, are blurred
by the detector and counted (Poisson); the picture is minus the logarithm of the counts, bright where few arrive.

Formula: rate = N blur(exp(-a)), a = body - lungs + heart + spine + ribs + diaphragm + vessels + shadow; count ~
    Poisson(rate); pixel = -log((count + 1) / N).
Classes overlap. Of the sick some show no shadow yet (`MISSED`); of the healthy some have a scar that looks like one
(`SCARRED`); contrasts go down to the noise; and everybody has vessels. So the best possible accuracy is known to lie
below 1, and `llr` measures a bound: the log-likelihood ratio of an observer who knows the whole anatomy and where a
shadow would be, and has only to say whether it is there.
"""
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter

from common import datasets

SIDE, FINE = 28, 56         # pixels of the picture, and of the map that the rays pass
SICK, MISSED, SCARRED = 0.35, 0.06, 0.06
PHOTONS = 250, 900          # rays that leave the tube towards a pixel, least and most
LOW, HIGH = 0.6, 3.4        # attenuations that are black and white
PARTS = (0.6, 0.15, 0.25)   # training, validation, test, of the patients


class Pictures(NamedTuple):
    """`llr`: of a shadow against none, in nats; `mask`: where one is, 0 everywhere in pictures of the healthy."""

    image: Int[np.ndarray, 'n h w 1']
    label: Int[np.ndarray, ' n']
    patient: Int[np.ndarray, ' n']
    llr: Float[np.ndarray, ' n']
    mask: Int[np.ndarray, 'n h w']


def make(patients: int, seed: int) -> Pictures:
    """One to four pictures of each patient: the same anatomy and the same shadow, another exposure and breath."""
    rng = np.random.RandomState(seed)       # NumPy keeps its streams for ever
    body = _people(rng, patients)
    who = np.repeat(np.arange(patients), rng.randint(1, 5, patients))
    parts = [_pictures(rng, {k: v[rows] for k, v in body.items()}) for rows in np.array_split(who, len(who) // 200 + 1)]
    image, llr, mask = (np.concatenate(x) for x in zip(*parts))
    return Pictures(image, body['sick'][who].astype(np.int32), who.astype(np.int32), llr, mask)


def _people(rng: np.random.RandomState, n: int) -> dict[str, np.ndarray]:
    """What is a patient's own, [n, ...]; lengths are in sides of the picture."""
    normal = lambda mean, std, *shape: mean + std * np.clip(rng.normal(size=(n, *shape)), -2, 2)
    sick = rng.uniform(size=n) < SICK
    marked = rng.uniform(size=n) < np.where(sick, 1 - MISSED, SCARRED)
    return {
        'sick': sick, 'marked': marked,
        'lung_x': normal(0.205, 0.012), 'lung_y': normal(0.45, 0.02), 'lung_h': normal(0.33, 0.025),
        'lung_w': normal(0.15, 0.014), 'tilt': normal(0.12, 0.05), 'air': normal(1.15, 0.08),
        'heart_x': normal(0.565, 0.015), 'heart_y': normal(0.61, 0.02), 'heart_r': normal(0.155, 0.018),
        'ribs': normal(0.135, 0.01), 'phase': normal(0.0, 1.5), 'rib_depth': normal(0.16, 0.04),
        'floor': normal(0.80, 0.02), 'size': normal(1.0, 0.05),
        'vessel_at': rng.uniform(-1, 1, (n, 4, 2)), 'vessel': np.exp(normal(-1.7, 0.5, 4)),
        'side': rng.randint(0, 2, (n, 2)), 'angle': rng.uniform(0, 2 * np.pi, (n, 2)),
        'out': np.sqrt(rng.uniform(0, 0.5, (n, 2))), 'spread': rng.uniform(0.055, 0.11, (n, 2)),
        'contrast': np.exp(normal(-0.8, 0.5, 2)) * np.stack([np.ones(n), rng.uniform(size=n) < 0.5], 1),
    }


def _pictures(rng: np.random.RandomState, p: dict[str, np.ndarray]):
    """(image, llr, mask) of rows of `_people`, one picture each."""
    n = len(p['sick'])
    photons = np.exp(rng.uniform(*np.log(PHOTONS), n))
    breath, shift = rng.uniform(0.9, 1.1, n), rng.uniform(-0.03, 0.03, (n, 2))
    at = lambda v: v[:, None, None]
    soft = lambda v: 1 / (1 + np.exp(-np.clip(v, -50, 50)))
    grid = (np.arange(FINE) + 0.5) / FINE
    y = (grid[None, :, None] - 0.5 - at(shift[:, 0])) / at(p['size']) + 0.5
    x = (grid[None, None, :] - 0.5 - at(shift[:, 1])) / at(p['size']) + 0.5

    def ellipse(cx, cy, rx, ry, tilt=0.0):
        """1 inside, 0 outside, with an edge of about a twentieth of the picture."""
        u = (x - at(cx)) + at(tilt + 0 * cx) * (y - at(cy))
        return soft(12 * (1 - np.sqrt((u / at(rx)) ** 2 + ((y - at(cy)) / at(ry)) ** 2)))

    def blob(cx, cy, spread):
        return np.exp(-((x - at(cx)) ** 2 + (y - at(cy)) ** 2) / (2 * at(spread) ** 2))

    height = p['lung_h'] * breath
    lungs = [ellipse(0.5 + s * p['lung_x'], p['lung_y'], p['lung_w'], height, s * p['tilt']) for s in (-1, 1)]
    inside = np.maximum(*lungs)
    a = 2.25 - at(p['air']) * inside * soft((at(p['floor'] * (0.9 + 0.1 * breath)) - y) * 40)
    a += 0.55 * ellipse(p['heart_x'], p['heart_y'], p['heart_r'] * 0.9, p['heart_r'] * 1.1)
    a += 0.35 * np.exp(-((x - 0.5) / 0.05) ** 2) - 1.2 * soft((np.abs(x - 0.5) - 0.47) * 60)
    bow = y + 1.1 * (np.abs(x - 0.5) - 0.25) ** 2
    a += at(p['rib_depth']) * np.clip(np.cos(2 * np.pi * bow / at(p['ribs']) + at(p['phase'])), 0, 1) ** 2 * soft(
        (0.45 - np.abs(x - 0.5)) * 60)
    for i in range(4):
        where = p['vessel_at'][:, i]
        a += at(p['vessel'][:, i]) * inside * blob(0.5 + np.sign(where[:, 0]) * (0.1 + 0.12 * np.abs(where[:, 0])),
                                                   p['lung_y'] + 0.2 * where[:, 1], 0.035 + 0 * where[:, 0])
    shadow = np.zeros_like(a)
    for i in range(2):
        s = 2.0 * p['side'][:, i] - 1
        dy = p['out'][:, i] * np.sin(p['angle'][:, i]) * height
        cx = 0.5 + s * p['lung_x'] + p['out'][:, i] * np.cos(p['angle'][:, i]) * p['lung_w'] - s * p['tilt'] * dy
        shadow += at(p['contrast'][:, i]) * inside * blob(cx, p['lung_y'] + dy, p['spread'][:, i])

    def rates(attenuation):
        through = gaussian_filter(np.exp(-attenuation), (0, 1.2, 1.2), mode='nearest')
        return at(photons) * through.reshape(n, SIDE, 2, SIDE, 2).mean((2, 4))

    without, with_shadow = rates(a), rates(a + shadow)
    counts = rng.poisson(np.where(at(p['marked']), with_shadow, without))
    llr = (counts * np.log(with_shadow / without) - (with_shadow - without)).sum((1, 2))
    grey = (-np.log((counts + 1) / at(photons)) - LOW) / (HIGH - LOW)
    small = shadow.reshape(n, SIDE, 2, SIDE, 2).mean((2, 4))
    mask = (small > 0.5 * small.max((1, 2), keepdims=True)) & at(p['marked'] & p['sick'])
    return np.uint8(np.round(255 * np.clip(grey, 0, 1)))[..., None], llr, mask.astype(np.uint8)


def observer(pictures) -> Int[np.ndarray, ' n']:
    """What an observer says who knows all but whether the shadow is there: above the prior odds, it is."""
    seen = SICK * (1 - MISSED) + (1 - SICK) * SCARRED
    return (pictures['llr'] > np.log((1 - seen) / seen)).astype(np.int32)


def dataset(patients: int, split: str, seed: int = 0) -> datasets.Dataset:
    """The pictures in three parts; 'validation' is 1 for those of `train` that thresholds and temperatures are for.

    split: 'patient' keeps all pictures of a patient in one part; 'image' does not, and so a network may know a test
        patient from training.
    """
    made = make(patients, seed)
    columns = made._asdict()
    owner = made.patient if split == 'patient' else np.arange(len(made.patient))
    units = owner.max() + 1
    rank = np.empty(units)
    rank[np.random.RandomState(seed + 1).permutation(units)] = (np.arange(units) + 0.5) / units
    place = rank[owner]
    columns['validation'] = (place > PARTS[0]).astype(np.int32) * (place <= PARTS[0] + PARTS[1])
    test = place > PARTS[0] + PARTS[1]
    pick = lambda rows: {k: v[rows] for k, v in columns.items()}
    return datasets.from_arrays('synthetic_chest', pick(~test), pick(test), licence='Apache-2.0',
                                source='SYNTHETIC: made by projects.level3_pneumonia.chest, shows no patient')
