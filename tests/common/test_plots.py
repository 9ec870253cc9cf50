"""What the figures show, read from their matplotlib objects: cells, axes, pixels, order, lines and bands."""
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from PIL import Image

from common import plots

# Row: truth, column: guess. No two entries off the diagonal agree, so that a transposed table is another one.
TABLE = np.array([[5, 4, 1], [0, 7, 10], [2, 3, 6]])
NAMES = ('cat', 'dog', 'eel')


def drawn_confusion():
    """Shuffled, so that no order of the rows is relied on."""
    truth, guess = (np.repeat(i.ravel(), TABLE.ravel()) for i in np.indices((3, 3)))
    order = np.random.default_rng(0).permutation(len(truth))
    return plots.confusion(truth[order], guess[order], NAMES, 'Animals')


def test_confusion_has_true_classes_as_rows_and_guesses_as_columns():
    ax, = drawn_confusion().axes
    texts = {t.get_position(): t.get_text() for t in ax.texts}      # (x, y): column, row
    assert texts == {(j, i): str(TABLE[i, j]) for i, j in np.ndindex(3, 3) if TABLE[i, j]}, 'no text where none was'
    assert (ax.get_xlabel(), ax.get_ylabel()) == ('predicted class', 'true class')
    for ticks, labels in ((ax.get_xticks(), ax.get_xticklabels()), (ax.get_yticks(), ax.get_yticklabels())):
        assert list(ticks) == [0, 1, 2] and [t.get_text() for t in labels] == list(NAMES)
    assert ax.yaxis_inverted() and not ax.xaxis_inverted(), 'the first class is on top and on the left'
    assert ax.get_title() == 'Animals\n18 of 38 right; red: mistakes'


def test_confusion_colours_mistakes_alone():
    ax, = drawn_confusion().axes
    shown = ax.images[0]
    assert np.array_equal(shown.get_array(), TABLE - np.diag(np.diag(TABLE)))       # the picture agrees with the texts
    assert shown.origin == 'upper' and shown.get_clim() == (0, 10)
    colours = shown.to_rgba(shown.get_array())
    assert (colours[[0, 1, 2], [0, 1, 2]] == colours[1, 0]).all() and (colours[0, 0, :3] > 0.9).all(), 'white'
    assert colours[1, 2, 1] < colours[0, 1, 1] < colours[0, 2, 1], 'the more mistakes, the redder'
    words = {t.get_position()[::-1]: t for t in ax.texts}
    assert {at: t.get_weight() for at, t in words.items()} == {at: 'bold' if at[0] == at[1] else 'normal'
                                                               for at in words}
    assert {at for at, t in words.items() if t.get_color() == 'white'} == {(1, 2)}, 'light on dark, dark on light'


def test_confusion_without_mistakes_or_rows():
    ax, = plots.confusion(np.array([0, 1, 1]), np.array([0, 1, 1]), ('a', 'b'), 'T').axes
    assert not ax.images[0].get_array().any() and ax.get_title().endswith('3 of 3 right; red: mistakes')
    none = np.zeros(0, int)
    assert not plots.confusion(none, none, ('a', 'b'), 'T').axes[0].texts


def test_worst_are_mistakes_alone_the_most_confident_first():
    scores = np.array([[0.9, 0.1, 0.0],     # 0: right, and the most confident of all
                       [0.5, 0.3, 0.2],     # 1: wrong by 0.2
                       [0.1, 0.8, 0.1],     # 2: wrong by 0.7
                       [0.4, 0.4, 0.2],     # 3: right, tied with another class
                       [0.01, 0.23, 0.76],  # 4: wrong by 0.75: more than 2, which is more confident
                       [0.6, 0.2, 0.2],     # 5: wrong by 0.4
                       [0.0, 0.8, 0.2]])    # 6: wrong by 0.6
    truth = np.array([0, 1, 0, 0, 0, 2, 2])
    assert list(plots.worst(scores, truth, 10)) == [4, 2, 6, 5, 1], 'right answers are no mistakes'
    assert list(plots.worst(scores, truth, 2)) == [4, 2]
    assert list(plots.worst(scores, scores.argmax(1), 3)) == [], 'nothing was wrong'
    tied = np.tile([1.0, 0.0], (4, 1))
    assert list(plots.worst(tied, np.array([1, 0, 1, 1]), 2)) == [0, 2], 'equal ones in their own order'


@pytest.mark.parametrize('channels', [1, 3])
def test_images_show_each_picture_under_its_caption(channels):
    pictures = np.random.default_rng(0).uniform(size=(5, 4, 6, channels))
    figure = plots.images(pictures, [f'caption {i}' for i in range(5)], 'Sheet', columns=3)
    assert figure.get_suptitle() == 'Sheet' and len(figure.axes) == 6
    for i, ax in enumerate(figure.axes[:5]):
        assert ax.get_title() == f'caption {i}'
        shown, = ax.images
        assert np.array_equal(shown.get_array(), pictures[i, ..., 0] if channels == 1 else pictures[i])
        assert shown.origin == 'upper' and not ax.axison
        if channels == 1:       # ink is dark
            assert shown.get_cmap().name == 'gray_r'
    last = figure.axes[5]
    assert not last.images and not last.get_title() and not last.axison, 'the sheet is filled up with nothing'
    columns = [ax.get_subplotspec().colspan.start for ax in figure.axes]
    assert columns == [0, 1, 2] * 2 and len({ax.get_subplotspec().rowspan.start for ax in figure.axes[:3]}) == 1
    assert len(plots.images(pictures[:0], [], 'Nothing', columns=2).axes) == 2


def row(step, split='test', unit=None, **values):
    return {'step': step, 'split': split, **values, **({} if unit is None else {'unit': unit})}


def test_series_puts_seeds_side_by_side():
    rows = [row(10, loss=[3.0, 4.0]), row(5, loss=[1.0, 2.0]), row(5, 'train', loss=[9.0, 9.0]), row(7, accuracy=0.5)]
    steps, values = plots.series(rows, 'test', 'loss')
    assert list(steps) == [5, 10] and values.tolist() == [[1, 2], [3, 4]]
    assert plots.series(rows, 'test', 'accuracy')[1].tolist() == [[0.5]]
    turns = [row(5, unit='0', loss=1.0), row(10, unit='0', loss=2.0), row(5, unit='1', loss=3.0),
             row(10, unit='1', loss=4.0), row(15, unit='1', loss=5.0)]
    steps, values = plots.series(turns, 'test', 'loss')       # step 15 is known of one seed alone
    assert list(steps) == [5, 10] and values.tolist() == [[1, 3], [2, 4]]
    steps, values = plots.series(rows, 'test', 'absent')
    assert steps.shape == (0,) and values.shape == (0, 0)


LOSS = {5: (1.0, 2.0, 6.0), 10: (0.5, 1.0, 1.5), 15: (0.25, 0.5, 0.75)}
ROWS = [row(s, loss=v, accuracy=[0.5, 0.6, 0.7]) for s, v in LOSS.items()] + [
    row(s, 'train', loss=[2 * x for x in v]) for s, v in LOSS.items()]


def test_curves_are_means_over_seeds_within_their_range():
    panels = [('loss', 'cross-entropy (nats)'), ('accuracy', 'share right')]
    figure = plots.curves(ROWS, panels, 'A title')
    loss, accuracy = figure.axes
    assert figure.get_suptitle() == 'A title'
    assert [(ax.get_xlabel(), ax.get_ylabel()) for ax in figure.axes] == [
        ('training step', 'cross-entropy (nats)'), ('training step', 'share right')]
    train, test = loss.lines
    for line, band, factor, color in zip((train, test), loss.collections, (2, 1), plots.COLORS, strict=False):
        assert list(line.get_xdata()) == list(LOSS)
        assert np.allclose(line.get_ydata(), [factor * np.mean(v) for v in LOSS.values()])
        corners = band.get_paths()[0].vertices
        ends = {s: (corners[corners[:, 0] == s, 1].min(), corners[corners[:, 0] == s, 1].max()) for s in LOSS}
        assert ends == {s: (factor * min(v), factor * max(v)) for s, v in LOSS.items()}, 'from the least to the largest'
        assert to_rgba(line.get_color()) == to_rgba(color)
        assert tuple(band.get_facecolor()[0]) == to_rgba(color, 0.2)
    assert len(accuracy.lines) == len(accuracy.collections) == 1, 'no training accuracy was written'
    assert np.allclose(accuracy.lines[0].get_ydata(), 0.6) and accuracy.lines[0].get_color() == test.get_color()
    said = [t.get_text() for t in loss.get_legend().get_texts()]
    assert said == ['train, as augmented and regularised, mean of 3 seeds', 'their range', 'test, mean of 3 seeds',
                    'their range']


def test_curves_of_one_seed_have_no_band_and_baselines_are_level_lines():
    rows = [row(s, loss=v) for s, v in ((1, 50.0), (2, 3.0), (3, 2.0), (4, 1.5))]
    ax, = plots.curves(rows, [('loss', 'nats')], 'T', {'loss': {'a rule': 2.5, 'another': 1.0}}).axes
    line, *marks = ax.lines
    assert not ax.collections and list(line.get_ydata()) == [50.0, 3.0, 2.0, 1.5]
    assert [list(m.get_ydata()) for m in marks] == [[2.5, 2.5], [1.0, 1.0]]
    assert [m.get_label() for m in marks] == ['a rule: 2.500', 'another: 1.000']
    assert len({m.get_linestyle() for m in marks}) == 2, 'told apart'
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ['test', 'a rule: 2.500', 'another: 1.000']
    low, high = ax.get_ylim()
    assert low < 1.0 and high > 50.0, 'every baseline and the largest value are in sight'


def test_save_writes_a_png_in_one_move(tmp_path):
    path = plots.save(plots.curves(ROWS, [('loss', 'nats')], 'T'), tmp_path / 'x.png')
    assert path == tmp_path / 'x.png' and [p.name for p in tmp_path.iterdir()] == ['x.png']
    with Image.open(path) as image:
        assert image.format == 'PNG' and min(image.size) > 300
