"""Patches of ten colour photographs that come inside scikit-image and scikit-learn: which photograph is it from?

A photograph is cut into blocks of 64 x 64 pixels, every fifth of which, in a shuffled order, is for testing. A patch
is 32 x 32 pixels that lie within one block, at a place drawn at random, so no pixel is in train and test. Patches that
show one tone (the black around the retina, the sky) are left out, and so are those that were there before.
"""

from pathlib import Path

import numpy as np

from common.data_files import Splits, canonical_order, fault, in_package, reinstall

PACKAGE = 'scikit-image==0.26.0'
FILES = {       # the classes, in their order
    'astronaut': 'skimage/data/astronaut.png', 'cat': 'skimage/data/chelsea.png',
    'coffee': 'skimage/data/coffee.png', 'galaxies': 'skimage/data/hubble_deep_field.jpg',
    'tissue': 'skimage/data/ihc.png', 'motorcycle': 'skimage/data/motorcycle_left.png',
    'retina': 'skimage/data/retina.jpg', 'rocket': 'skimage/data/rocket.jpg',
    'temple': 'sklearn/datasets/images/china.jpg', 'flower': 'sklearn/datasets/images/flower.jpg',
}
NAMES = tuple(FILES)
COLUMNS = {'image': 'uint8 [32, 32, 3]: red, green, blue', 'label': f'int32: {", ".join(NAMES)}'}
TRAIN, TEST = 1000, 200     # patches of a photograph
BLOCK, SIDE = 64, 32
TEST_SHARE = 5              # one block of so many
CONTRAST = 16               # a patch has at least so much between its darkest and its brightest value


def find(name: str, data_dir: Path) -> list[Path]:
    """The ten files in the two packages; `data_dir` plays no part."""
    owner = {'skimage': PACKAGE, 'sklearn': 'scikit-learn'}
    return [in_package(name, owner[path.partition('/')[0]], path) for path in FILES.values()]


def parse(name: str, files: list[Path]) -> Splits:
    """(train, test) in canonical order.  Raises `DataError` for a file that is no picture, or too small a one."""
    from PIL import Image
    parts = []
    for label, path in enumerate(files):
        try:
            with Image.open(path) as opened:
                pixels = np.asarray(opened.convert('RGB'))
        except Exception as error:      # Pillow raises a dozen kinds for a damaged file
            raise fault(f'{name}: {path} cannot be read ({error})', reinstall(PACKAGE)) from error
        try:
            parts.append(patches(pixels, label))
        except ValueError as error:
            raise fault(f'{name}: {path}: {error}', reinstall(PACKAGE)) from error
    splits = []
    for split in (0, 1):
        images = np.concatenate([part[split] for part in parts])
        labels = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part[split]) for part in parts])
        order = canonical_order(images, labels)
        splits.append({'image': images[order], 'label': labels[order]})
    return splits[0], splits[1]


def patches(pixels: np.ndarray, seed: int, train: int = TRAIN, test: int = TEST) -> tuple[np.ndarray, np.ndarray]:
    """(train, test) patches uint8 [n, 32, 32, 3] of one photograph; ValueError when it does not have as many."""
    rows, columns = (n // BLOCK for n in pixels.shape[:2])
    order = _shuffled(rows * columns, seed)
    cut = len(order) // TEST_SHARE
    seen: set[bytes] = set()
    some = lambda blocks, count: _draw(pixels, blocks, columns, count, seed, seen)
    return some(order[cut:], train), some(order[:cut], test)


def _draw(pixels, blocks: np.ndarray, columns: int, count: int, seed: int, seen: set[bytes]) -> np.ndarray:
    """The first `count` patches of a shuffle of all places within `blocks` that show something new."""
    places, found = (BLOCK - SIDE + 1) ** 2, []
    for place in _shuffled(len(blocks) * places, seed):
        row, column = divmod(blocks[place // places], columns)
        down, right = divmod(place % places, BLOCK - SIDE + 1)
        top, left = row * BLOCK + down, column * BLOCK + right
        patch = pixels[top:top + SIDE, left:left + SIDE]
        if np.ptp(patch) < CONTRAST or (raw := patch.tobytes()) in seen:
            continue
        seen.add(raw)
        found.append(patch)
        if len(found) == count:
            return np.stack(found)
    raise ValueError(f'expected {count} patches of {SIDE} x {SIDE} pixels in {len(blocks)} blocks, found {len(found)}')


def _shuffled(n: int, seed: int) -> np.ndarray:
    """A shuffle of range(n): raw Philox words, sorted, which no version of NumPy changes."""
    return np.argsort(np.random.Philox(key=seed).random_raw(n), kind='stable')
