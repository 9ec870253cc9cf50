"""The made pages are what their data says; tests/conftest.py compares the ledger with what the tests measure."""
import copy
import json

import pytest

from tools import make_docs


def written():
    return json.loads(make_docs.DATA.read_text(encoding='utf-8'))


def test_the_pages_are_what_the_data_says():
    assert make_docs.main(['--check']) == 0
    assert all(0 <= row['error'] <= row['gate'] for row in written())


def test_a_stale_page_or_ledger_is_seen(tmp_path, monkeypatch):
    rows = written()
    changed = copy.deepcopy(rows)
    changed[0]['gate'] *= 10
    assert len(make_docs.stale(changed, rows)) == 2 and len(make_docs.stale(rows[1:], rows)) == 1
    monkeypatch.setattr(make_docs, 'PAGE', tmp_path / 'parity.md')
    assert make_docs.main(['--check']) == 1
    make_docs.main([])
    assert make_docs.main(['--check']) == 0


def test_the_page_of_a_bench_run(tmp_path, monkeypatch):
    row = {'name': 'level9_demo', 'strategy': 'jit', 'devices': 1, 'unit': 'rows', 'units_per_s': 1e5, 'bytes': 1e7,
           'peak_bytes': 2e7, 'compile_s': {'cold': 5.0, 'warm': 1.0}, 'flops': {'analytic': 1e8, 'xla': 1.5e8},
           'step_s': {'p10': 0.9e-3, 'p50': 1e-3, 'p90': 1.1e-3}}
    pair = {'name': 'ridge_cv', 'peer': 'sklearn_ridge', 'wall_ratio': 25.0, 'target': 20.0, 'met': True,
            'cpu_ratio_one_thread': 30.0, 'load': [0, 1],
            'quality': {'name': 'r2', 'ours': 0.8, 'theirs': 0.8, 'equal': True}}
    result = {'machine': {'device_kind': 'cpu', 'processor': 'two cores', 'versions': {'jax': '0.10'}},
              'peaks': {'matmul_flops_per_s': 2e11, 'copy_bytes_per_s': 3e10}, 'started': '2026-11-27T12:00:00',
              'load': {'start': 0.1, 'end': 0.9, 'cores': 2}, 'rows': [row, row | {'skipped': 'no data'}],
              'pairs': [pair]}
    (tmp_path / 'run.json').write_text(json.dumps(result))
    for name in ('PAGE', 'RESULTS', 'BENCH'):
        monkeypatch.setattr(make_docs, name, tmp_path / name)
    make_docs.main([f'--bench={tmp_path / "run.json"}'])
    page = (tmp_path / 'RESULTS').read_text()
    assert page.index('## 2026-11-27 12:00') < page.index('### Beside peers')
    assert '| ridge_cv | sklearn_ridge | 25.00 | 20.00 | yes | 30.00 |' in page and '* level9_demo jit: skipped' in page
    assert page.count('| level9_demo | jit 1 |') == 1 and make_docs.main(['--check']) == 0
    (tmp_path / 'RESULTS').write_text(page + 'x')
    assert make_docs.main(['--check']) == 1


def test_a_bad_ledger_is_seen():
    rows = written()
    changed = [rows[0] | {'gate': rows[0]['gate'] * 10}]
    with pytest.raises(ValueError, match='expected one gate'):
        make_docs.merge([rows[0], *changed])
