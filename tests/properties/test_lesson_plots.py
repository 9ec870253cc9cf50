"""What the plot lesson rests on: colours as eyes see them, and hashes of the right answers' pictures."""
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from levels.level0_foundations.lessons.colours import VISIONS, brightness, closest, lab, picture_hash
from levels.level0_foundations.lessons.plots import APART, plot_lesson
from tests.fixtures.lessons.plots import ANSWERS

RNG = np.random.default_rng(0)
SAMPLES = RNG.normal(size=100), RNG.normal(1, 2, 300)
DATA = {
    'curves': ({'a': 1 / np.arange(1, 9), 'b': 0.5 + 0 * np.arange(8)},),
    'scaling': (10.0 ** np.arange(1, 6), 1e-6 * 10.0 ** (1.5 * np.arange(1, 6))),
    'intervals': (['a', 'b', 'c'], np.arange(15.0).reshape(3, 5) ** 1.5),
    'compare': SAMPLES,
    'confusion': (np.array([[50, 3, 1], [8, 40, 2], [0, 9, 30]]), ['a', 'b', 'c']),
    'panels': (pd.DataFrame({'x': np.arange(20.0), 'y': np.sin(np.arange(20.0)), 'group': ['a', 'b'] * 10}),),
}
HASHES = {
    'curves': 0x60600020005000500050005800c8004800440042004040801840002aaa0040,
    'scaling': 0x326016805600920132025e059e021a0c12101660108013001249324d2,
    'intervals': 0x360012001600320016001a001a0816081208160012001200120830080,
    'compare': 0x36087208360c160c120c1e0c1a0e160f160f120716079207952a702e0,
    'confusion': 0x12001e021c021e001d0c1d0e1d0e1d0c1d0cd50cd70ed40cd41db60180,
    'panels': 0x50b6a417041205560456041202120416841644124415141604b254b0408,
}
NEAR, FAR = 10, 30        # of 256 bits: another version of matplotlib or of a font; another plot


def draw(name, answer=None):
    with mpl.rc_context({'figure.dpi': 72, 'figure.figsize': (5, 4), 'font.size': 10, 'backend': 'agg'}):
        figure = (answer or ANSWERS[name][0])(*DATA[name])
        figure.set_dpi(72)
        bits = picture_hash(figure)
    plt.close('all')
    return bits


def differ(a: int, b: int) -> int:
    return (a ^ b).bit_count()


@pytest.mark.parametrize('name', [e.name for e in plot_lesson()])
def test_the_picture_of_the_right_answer_is_the_one_that_was_looked_at(name):
    bits = draw(name)
    assert differ(bits, HASHES[name]) <= NEAR, f'{name}: look at it; if it is right, its hash is {bits:#x}'
    empty = picture_hash(Figure(figsize=(5, 4), dpi=72))
    assert all(differ(bits, other) >= FAR for other in (empty, *(v for k, v in HASHES.items() if k != name)))


def test_a_changed_picture_has_another_hash():
    assert differ(draw('scaling', ANSWERS['scaling'][2]), HASHES['scaling']) > FAR       # other axes
    assert differ(draw('panels', ANSWERS['panels'][3]), HASHES['panels']) > FAR           # the other order
    assert draw('compare') == draw('compare')


def test_lab_of_known_colours():
    """White, black, and sRGB's red, green and blue, whose L*a*b* under D65 are tabulated."""
    rgb = np.array([[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)
    want = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86]]
    np.testing.assert_allclose(lab(rgb), want, atol=0.02)
    for matrix in VISIONS.values():
        np.testing.assert_allclose(matrix.sum(1), 1, atol=2e-6)      # grey stays grey


def test_who_can_tell_colours_apart():
    red_green = [(0.8, 0.25, 0.2), (0.45, 0.5, 0.1)]
    assert closest(red_green, 'normal') > 40 > APART > closest(red_green, 'deuteranopia')
    safe = sns.color_palette('colorblind')[:4]
    assert all(closest(safe, vision) > APART for vision in VISIONS)
    assert closest(['tab:blue'], 'normal') == np.inf


def test_brightness_of_maps():
    assert (np.diff(brightness('viridis')) > 0).all() and (np.diff(brightness('Blues')) < 0).all()
    jet = np.diff(brightness('jet'))
    assert jet.max() > 0.5 and jet.min() < -0.5
