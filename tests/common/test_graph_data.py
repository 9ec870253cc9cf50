"""Graphs by name: how imports are resolved, what gives words, the cache, Cora and its faults."""
import ast
import json

import numpy as np
import pytest

from common import graph_data, import_graph
from common.errors import DataError

FILES = {       # module -> (whether it is a package, source)
    'numpy': (True, 'from . import core\nfrom numpy.core import multiarray as m\nimport os'),
    'numpy.core': (True, 'from .multiarray import ndarray'),
    'numpy.core.multiarray': (False, 'def build_array(bigShape, n): totalSize = 1\nclass NDArrayBase: pass'),
    'scipy.linalg': (False, 'import numpy.core.multiarray\nfrom numpy import core, absent'),
    'scipy.deep.inner': (False, 'def late():\n    from ..linalg import solve\n    from ...numpy import x'),
    'scipy.alone': (False, 'import json'),
}


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(import_graph, 'RARE', 1)
    monkeypatch.setattr(import_graph, 'COMMON', 1.0)
    scans = {name: import_graph.scan(ast.parse(text), name.split('.') if package else name.split('.')[:-1])
             for name, (package, text) in FILES.items()}
    return import_graph.graph(scans)


def test_imports_are_resolved(small):
    names = small['name'].tolist()
    links = {(names[a], names[b]) for a, b in small['link']}
    assert links == {('numpy', 'numpy.core'), ('numpy', 'numpy.core.multiarray'),
                     ('numpy.core', 'numpy.core.multiarray'),
                     ('numpy.core.multiarray', 'scipy.linalg'), ('numpy.core', 'scipy.linalg'),
                     ('numpy', 'scipy.linalg'),                     # `absent` is no module: the link is to numpy
                     ('scipy.deep.inner', 'scipy.linalg')}          # in a function; `...` is beyond the top
    assert 'scipy.alone' not in names and names == sorted(names) and (small['link'][:, 0] < small['link'][:, 1]).all()
    assert small['label'].tolist() == [0, 0, 0, 1, 1]


def test_words_are_what_a_module_defines_and_not_what_it_imports(small):
    node = small['name'].tolist().index('numpy.core.multiarray')
    words = {str(small['word'][c]) for r, c in zip(small['row'], small['column']) if r == node}
    assert words == {'build', 'array', 'big', 'shape', 'total', 'size', 'base'}     # 'nd' and 'n' are too short
    assert not {'core', 'multiarray', 'linalg', 'ndarray', 'solve'} & set(small['word'].tolist())


def test_the_import_graph_of_this_machine():
    ds = graph_data.load('imports')
    assert ds.nodes == len(ds.names) > 1500 and len(ds.link) > 6000 and ds.words > 1000
    assert (np.bincount(ds.label, minlength=8) > 30).all() and len(ds.classes) == 8
    assert (ds.link[:, 0] < ds.link[:, 1]).all() and len(np.unique(ds.link, axis=0)) == len(ds.link)
    assert set(np.unique(ds.link)) == set(range(ds.nodes)), 'a module without a link'
    at = ds.names.index
    link = {tuple(x) for x in ds.link.tolist()}
    assert tuple(sorted((at('numpy'), at('scipy.linalg._basic')))) in link or tuple(
        sorted((at('sklearn.linear_model._ridge'), at('sklearn.linear_model._base')))) in link
    assert not [n for n in ds.names if 'tests' in n.split('.')]
    record = json.loads(json.dumps(ds.describe(train=5, test=2)))
    assert (record['train'], record['test'], record['nodes'], record['verified']) == (5, 2, ds.nodes, None)
    assert 'numpy' in record['source'] and len(record['content_sha256']) == 64


def test_a_damaged_cache_is_built_anew(tmp_path, monkeypatch, small, caplog):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    calls = []
    monkeypatch.setattr(import_graph, 'sources', lambda: calls.append(1) or {})
    monkeypatch.setattr(import_graph, 'graph', lambda scans: small)
    first, _ = import_graph.load()
    again, _ = import_graph.load()
    assert len(calls) == 1 and all(np.array_equal(first[k], again[k]) for k in small)
    file, = (tmp_path / 'ai-roadmap').glob('imports-*.npz')
    file.write_bytes(file.read_bytes()[:200])
    assert np.array_equal(import_graph.load()[0]['link'], small['link']) and len(calls) == 2
    np.savez(file, **{**small, 'label': small['label'] + 1, 'content': 'x'})
    assert np.array_equal(import_graph.load()[0]['label'], small['label']) and len(calls) == 3
    assert caplog.text.count('is corrupt') == 2


def test_cora(shared_file):
    ds = graph_data.load('cora', data_dir=shared_file('cora.npz').parent)
    assert (ds.nodes, len(ds.link), ds.words, len(ds.row), ds.verified) == (2708, 5278, 1433, 49216, True)
    assert np.bincount(ds.label).tolist() == [351, 217, 418, 818, 426, 298, 180]


def cora(**changes):
    good = {'x_indices': np.array([0, 2, 1]), 'x_indptr': np.array([0, 2, 2, 3]), 'x_shape': np.array([3, 3]),
            'y': np.array([0, 1, 6]), 'edge_index': np.array([[0, 1, 1, 2], [1, 0, 2, 1]])}
    return good | changes


def test_a_small_cora_of_one_s_own_is_not_verified(tmp_path):
    np.savez(tmp_path / 'cora.npz', **cora())
    ds = graph_data.load('cora', data_dir=tmp_path)
    assert ds.link.tolist() == [[0, 1], [1, 2]] and ds.row.tolist() == [0, 0, 2] and ds.verified is False


@pytest.mark.parametrize('changes', [{'y': np.array([0, 1])}, {'edge_index': np.array([[0], [9]])}, {'x_shape': [2, 3]},
                                     {'x_indices': np.array([0, 2, 7])}, {'y': np.array([0, 1, 7])}])
def test_arrays_that_do_not_fit_are_refused(tmp_path, changes):
    np.savez(tmp_path / 'cora.npz', **cora(**changes))
    with pytest.raises(DataError, match='do not fit together'):
        graph_data.load('cora', data_dir=tmp_path)


def test_missing_damaged_unknown(tmp_path):
    with pytest.raises(DataError, match=r'not found: .*cora\.npz; fix: put there'):
        graph_data.load('cora', data_dir=tmp_path)
    (tmp_path / 'cora.npz').write_bytes(b'PK no')
    with pytest.raises(DataError, match='cannot be read'):
        graph_data.load('cora', data_dir=tmp_path)
    with pytest.raises(DataError, match="unknown graph 'core'.*cora"):
        graph_data.load('core')
