"""What both sides of a pair are given, where it is more than a data set.  No JAX here."""
import numpy as np

from common import datasets
from tools.bench.forms import Pair


def scaled(batch: dict) -> dict:
    """Images from bytes to 0..1."""
    return {**batch, 'image': batch['image'].astype(np.float32) / 255}


def cora_masks(label: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(train, validation, test) nodes: 20 of each class, then 500 and 1,000 of the rest, by a fixed shuffle."""
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(label))
    train = np.concatenate([order[label[order] == c][:20] for c in np.unique(label)])
    rest = order[~np.isin(order, train)]
    return tuple(np.isin(np.arange(len(label)), part) for part in (train, rest[:500], rest[500:1500]))


def ridge(pair: Pair) -> tuple[np.ndarray, np.ndarray, np.ndarray, list]:
    """(X float32, y, penalties, folds as pairs of indices): house prices with all products of two features."""
    from sklearn.model_selection import KFold
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler
    train = datasets.load('hprice2').train
    x = StandardScaler().fit_transform(np.asarray(train['x'], np.float64))
    x = StandardScaler().fit_transform(PolynomialFeatures(2, include_bias=False).fit_transform(x))
    y = np.asarray(train['price'], np.float32)
    folds = list(KFold(pair.sizes['folds'], shuffle=True, random_state=0).split(x))
    return x.astype(np.float32), y, np.logspace(-1, 4, pair.sizes['alphas']), folds
