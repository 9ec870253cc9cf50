"""Graphs by name: `imports`, which every machine has, and `cora`, from --data_dir.

    ds = load('imports')                       # which module of numpy, scipy, ... imports which
    ds = load('cora', data_dir='/data')        # /data/cora.npz

A sibling of `datasets.Dataset`, as a graph fits no columns of equal length in train and test: its nodes, links and the
ones of its features are three different numbers, and what is for testing is drawn anew for each seed.
"""
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from common import import_graph
from common.data_files import content_sha256, fault, file_sha256
from common.errors import did_you_mean

NAMES = ('imports', 'cora')
# `content_sha256` of Cora's arrays, whatever file they came from
CORA_CONTENT = '268a655603df59d9e00646e05ed9944bafe1f978499552057766c1bc473d307e'
CORA_CLASSES = ('theory', 'reinforcement learning', 'genetic algorithms', 'neural networks', 'probabilistic methods',
                'case based', 'rule learning')


class GraphData(NamedTuple):
    """An undirected graph: links (u, v) once each with u < v; node features are binary, row and column of the ones."""
    name: str
    source: str
    licence: str
    link: Int[np.ndarray, 'links 2']
    row: Int[np.ndarray, ' ones']
    column: Int[np.ndarray, ' ones']
    label: Int[np.ndarray, ' nodes']
    words: int
    classes: tuple[str, ...]
    names: tuple[str, ...]          # of the nodes; empty where they have none
    checksum: str
    verified: bool | None           # whether the content is the canonical one; None: there is none to compare with

    @property
    def nodes(self) -> int:
        return len(self.label)

    def describe(self, *, train: int, test: int) -> dict[str, Any]:
        """JSON-able record for result.json; train, test: links in those parts of a split."""
        return {'name': self.name, 'source': self.source, 'licence': self.licence, 'train': train, 'test': test,
                'nodes': self.nodes, 'links': len(self.link), 'words': self.words, 'ones': len(self.row),
                'checksum': self.checksum, 'verified': self.verified,
                'content_sha256': content(self.link, self.row, self.column, self.label)}


def content(link: np.ndarray, row: np.ndarray, column: np.ndarray, label: np.ndarray) -> str:
    """SHA-256 of what a model sees."""
    return content_sha256({'link': link, 'row': row, 'column': column, 'label': label}, {})


def load(name: str, *, data_dir: str | os.PathLike | None = None) -> GraphData:
    """The graph `name`.  Raises `DataError` (one line: problem, path, what to do) for an unknown name, a missing or
    unreadable file, arrays that are no undirected graph with features."""
    if name == 'imports':
        arrays, checksum = import_graph.load()
        versions = ', '.join(f'{k} {v}' for k, v in import_graph.versions().items())
        return GraphData(name, f'imports between the modules of {versions}, as installed', import_graph.LICENCE,
                         *(arrays[k] for k in ('link', 'row', 'column', 'label')), len(arrays['word']),
                         tuple(import_graph.PACKAGES), tuple(map(str, arrays['name'])), checksum, None)
    if name == 'cora':
        return _cora(Path(data_dir or '.').expanduser() / 'cora.npz')
    raise fault(f'unknown graph {name!r}{did_you_mean(name, NAMES)}', f'choose from {", ".join(NAMES)}')


def _cora(path: Path) -> GraphData:
    fix = ('put there an npz with x as CSR (x_indices, x_indptr, x_shape), y, edge_index [2, edges], made from the '
           'public Planetoid files, and give its folder as --data_dir')
    if not path.is_file():
        raise fault(f'cora: not found: {path}', fix)
    try:
        with np.load(path, allow_pickle=False) as saved:
            column, starts, (nodes, words), y, index = (
                saved[k] for k in ('x_indices', 'x_indptr', 'x_shape', 'y', 'edge_index'))
    except Exception as error:  # numpy, zipfile and zlib raise a dozen kinds for a damaged file
        raise fault(f'cora: {path} cannot be read ({error})', fix) from error
    ok = (len(starts) == nodes + 1 and len(y) == nodes and starts[0] == 0 and starts[-1] == len(column)
          and (np.diff(starts) >= 0).all() and index.ndim == 2 and len(index) == 2 and index.shape[1]
          and index.min() >= 0 and index.max() < nodes and column.min() >= 0 and column.max() < words
          and set(np.unique(y)) <= set(range(len(CORA_CLASSES))))
    if not ok:
        raise fault(f'cora: {path} holds arrays that do not fit together', fix)
    link = np.unique(np.sort(index.T, axis=1), axis=0)
    link = link[link[:, 0] < link[:, 1]].astype(np.int32)
    row = np.repeat(np.arange(nodes), np.diff(starts))
    order = np.lexsort((column, row))
    arrays = link, row[order].astype(np.int32), column[order].astype(np.int32), y.astype(np.int32)
    return GraphData('cora', 'Cora citations (Sen et al. 2008; Planetoid, Yang et al. 2016), from --data_dir: cora.npz',
                     'not stated, research use', *arrays, int(words), CORA_CLASSES, (), file_sha256('cora', [path]),
                     content(*arrays) == CORA_CONTENT)
