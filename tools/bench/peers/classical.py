"""scikit-learn, LightGBM, XGBoost, openTSNE, umap-learn and SciPy in the rows of `classical`; the mode names the
library.  What is chosen by trial stands in the row."""
import importlib

from tools.bench import classical, machine
from tools.bench.classical import data, quality, sides
from tools.bench.peers import Peer, missing


def require():
    import sklearn
    return sklearn


def other(pair, mode: str) -> classical.Other:
    return next(o for o in classical.row(pair.name).others if o.library == mode)


def choices(pair, mode: str) -> list[dict]:
    try:
        importlib.import_module(mode)
    except ModuleNotFoundError as e:
        raise missing(f'{pair.name} against {mode}', e.name) from None
    return list(other(pair, mode).choices)


def build(pair, mode, data_dir, *, steps, **choice):
    row = classical.row(pair.name)
    d = data.made(row.data, pair.sizes)
    side = sides.Theirs(row, other(pair, mode), d, machine.cores(), choice)
    return Peer(side.run, lambda: quality.judged(row, d, side))
