"""The rules that `tools/check_layout.py` checks hold here, and the checker sees each way to break them."""
import subprocess
import sys
from pathlib import Path

import pytest

from tools.check_layout import CAPS, CODE, ORACLES, OWNERS, check, modules

ROOT = Path(__file__).parents[2]
CLEAN = {
    'common/__init__.py': '',
    'common/a.py': 'import jax\nfrom common import b\n',
    'common/b.py': '',
    'common/loop.py': 'def fit(task):\n    for i in range(3):\n        task.step(i)\n',
    'common/parallel.py': 'import jax\ny = jax.lax.psum(1, "i")\n',
    'common/strategies.py': 'import jax\nfrom jax.sharding import Mesh\nf = jax.pmap\n',
    'common/tfds_files.py': 'import tensorflow_datasets as tfds\n',
    'levels/__init__.py': '',
    'levels/catalogue.py': 'import levels.level3_vision.net\n',
    'levels/level2_neural/mlp.py': 'from common import a\nfrom levels import Member\n',
    'levels/level2_neural/frameworks/bridge.py': 'def f():\n    import torch\n',
    'levels/level3_vision/net.py': 'from levels.level2_neural.mlp import MLP\nfrom . import pool\n',
    'levels/level3_vision/pool.py': '',
    'projects/one/main.py': 'from common import a\nfrom levels import level3_vision\nfrom projects.one import other\n',
    'projects/one/other.py': 'from common import strategies\nargs = strategies.pmap\n',
    'projects/two/main.py': 'import numpy as np\nx = np.load("x.npy", allow_pickle=False)\n',
    'tools/list.py': 'from tools import other\nfrom projects.one import main\n',
    'tools/bench/peers/other.py': 'def f(xs):\n    import torch\n    for x in xs:\n        x.step()\n',
    'tests/test_x.py': 'import torch\nfrom projects.one import main\nimport pickle\nbad = pickle.dumps(1)\n',
}
PLANTED = [     # file, what is added to it, what the checker says
    ('common/a.py', 'from levels.level2_neural import mlp', 'direction: levels.level2_neural.mlp'),
    ('common/a.py', 'def f():\n    import projects.one.main', 'direction: projects.one.main'),
    ('common/a.py', 'from tools import list', 'direction: tools.list'),
    ('common/a.py', 'import importlib\nimportlib.import_module("levels.catalogue")', 'direction: levels.catalogue'),
    ('levels/level2_neural/mlp.py', 'from levels.level3_vision import pool', 'direction: levels.level3_vision.pool'),
    ('levels/level2_neural/mlp.py', 'from levels import level3_vision', 'direction: levels.level3_vision'),
    ('levels/level2_neural/mlp.py', 'from ..level3_vision.pool import x', 'direction: levels.level3_vision.pool.x'),
    ('levels/level2_neural/mlp.py', 'from levels.catalogue import load', 'direction: levels.catalogue.load'),
    ('levels/level2_neural/mlp.py', 'from common.strategies import mesh', 'direction: common.strategies.mesh'),
    ('levels/level2_neural/mlp.py', 'import projects.one.other', 'direction: projects.one.other'),
    ('projects/one/main.py', 'from projects.two import main', 'direction: projects.two.main'),
    ('projects/one/main.py', 'from projects import two', 'direction: projects.two'),
    ('projects/one/main.py', 'from tools import list', 'direction: tools.list'),
    ('projects/one/main.py', 'import tests.test_x', 'direction: tests.test_x'),
    ('tools/list.py', 'from tests import test_x', 'direction: tests.test_x'),
    ('projects/one/main.py', 'import jax\njax.pmap(f)', 'owners: jax.pmap: distribution'),
    ('levels/level3_vision/net.py', 'from jax import shard_map as s', 'owners: jax.shard_map: distribution'),
    ('levels/level3_vision/net.py', 'import jax as j\nj.sharding.Mesh', 'owners: jax.sharding.Mesh: distribution'),
    ('common/b.py', 'from jax.experimental.shard_map import shard_map', 'owners: jax.experimental.shard_map.shard_map'),
    ('common/b.py', 'import jax\njax.make_mesh((1,), "x")', 'owners: jax.make_mesh: distribution'),
    ('levels/level3_vision/net.py', 'from jax import lax\nlax.pmean(x, "i")', 'owners: jax.lax.pmean: a collective'),
    ('projects/one/main.py', 'from common import data\ndata.Prefetch(f, n)', 'owners: common.data.Prefetch'),
    ('tools/list.py', 'def f():\n    import tensorflow_datasets', 'owners: tensorflow_datasets'),
    ('projects/one/main.py', 'import orbax.checkpoint as ocp', 'owners: orbax.checkpoint: Orbax'),
    ('projects/one/main.py', 'for b in batches:\n    state = task.step(key, state, b)', 'loops: step()'),
    ('levels/level3_vision/net.py', 'while True:\n    if x:\n        state = advance(task, c, b)', 'loops: advance()'),
    ('common/b.py', 'y = [task.step(k, s, b) for b in x]', 'loops: step()'),
    ('levels/level3_vision/net.py', 'def f():\n    import torch', 'oracles: torch'),
    ('common/b.py', 'from torch_geometric.nn import GCNConv', 'oracles: torch_geometric.nn.GCNConv'),
    ('levels/level2_neural/frameworks/bridge.py', 'import keras', 'oracles: keras'),
    ('tools/bench/peers/other.py', 'import torch', 'oracles: torch'),
    ('tools/list.py', 'for b in batches:\n    task.step(b)', 'loops: step()'),
    ('tools/list.py', 'import pickle\npickle.load(f)', 'unpickling: pickle.load'),
    ('tools/list.py', 'from pickle import loads as l', 'unpickling: pickle.loads'),
    ('tests/test_x.py', 'torch.load("x.pt")', 'unpickling: torch.load'),
    ('tests/test_x.py', 'import pandas as pd\npd.read_pickle("x")', 'unpickling: pandas.read_pickle'),
    ('common/b.py', 'import numpy as np\nnp.load(x, allow_pickle=True)', 'unpickling: allow_pickle'),
    ('common/b.py', 'import numpy as np\nnp.load(x, None, True)', 'unpickling: allow_pickle'),
    ('common/b.py', 'import numpy as np\nnp.load(x, allow_pickle=flag)', 'unpickling: allow_pickle'),
    ('common/b.py', '#\n' * 201, 'size: 202 lines, at most 200'),
    ('levels/level2_neural/mlp.py', '#\n' * 300, 'size: 303 lines, at most 300'),
    ('projects/one/main.py', '#\n' * 128, 'size: 132 lines, at most 130'),
    ('tools/list.py', '#\n' * 199, 'size: 202 lines, at most 200'),
    ('common/b.py', 'def f(:', 'does not parse'),
]


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_this_repository_keeps_the_rules():
    assert check(ROOT) == []
    seen = {m.path for m in modules(ROOT)}
    assert seen == {f.relative_to(ROOT).as_posix() for name in CODE for f in (ROOT / name).rglob('*.py')}
    assert len(seen) > 50


def test_owners_are_files_that_exist():
    named = {f for _, _, allowed in OWNERS if isinstance(allowed, tuple) for f in allowed}
    assert len(named) >= 5 and all((ROOT / f).is_file() for f in named)


def test_a_clean_tree_has_no_problem(tmp_path):
    assert check(plant(tmp_path, CLEAN)) == []


@pytest.mark.parametrize(('file', 'text', 'problem'), PLANTED, ids=[f'{i}-{p[2]}' for i, p in enumerate(PLANTED)])
def test_a_planted_violation_is_seen(tmp_path, file, text, problem):
    plant(tmp_path, {**CLEAN, file: f'{CLEAN[file]}\n{text}'})
    found = check(tmp_path)
    assert len(found) == 1, found
    assert found[0].startswith(f'{file}:') and problem in found[0]


def test_a_second_file_that_wraps_gymnax_is_seen(tmp_path):
    files = {'levels/level6_reinforcement/one.py': 'import gymnax\n', 'levels/level6_reinforcement/two.py': ''}
    assert check(plant(tmp_path, CLEAN | files)) == []
    files['levels/level6_reinforcement/two.py'] = 'from gymnax.environments import spaces\n'
    assert 'gymnax belongs to levels/level6_reinforcement/one.py alone' in check(plant(tmp_path, files))[0]


def test_the_command(tmp_path):
    def run(*argv):
        return subprocess.run([sys.executable, '-m', 'tools.check_layout', *argv], cwd=ROOT, capture_output=True,
                              text=True, check=False)

    good, bad = run(), run(str(plant(tmp_path, {'common/a.py': 'import torch\n'})))
    assert (good.returncode, good.stderr) == (0, '') and 'files keep the rules' in good.stdout
    assert bad.returncode == 1 and bad.stdout == 'common/a.py:1: oracles: torch belongs to tests\n'


def test_patterns_take_whole_names():
    assert all(ORACLES.match(name) for name in ('torch', 'torchvision.models', 'torch_geometric', 'umap', 'keras.ops'))
    assert not any(ORACLES.match(name) for name in ('tensorflow_datasets', 'sklearn', 'kerasish', 'mytorch'))
    assert {cap for _, cap in CAPS} == {130, 200, 300}
