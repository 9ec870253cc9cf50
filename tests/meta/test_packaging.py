"""The wheel holds what it should, and works where the repository is not."""
import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ('common', 'levels', 'projects', 'tools')
NOT_OURS = ('.git', '.venv', 'runs', 'build', 'dist', '*.egg-info', '__pycache__', '.*_cache', '.hypothesis', '.whl')


def run(*command, cwd, **more) -> str:
    """Its output; a failure shows what the command said."""
    env = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'XLA_FLAGS', 'VIRTUAL_ENV')}
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True, timeout=300, check=False,
                          env=env | more)
    assert done.returncode == 0, f'{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}'
    return done.stdout


def sources() -> set[str]:
    """The files that git keeps or would keep; outside a checkout, all that nothing but git would ignore."""
    if (ROOT / '.git').exists():
        out = run('git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard', cwd=ROOT)
        return {name for name in out.split('\0') if name and (ROOT / name).is_file()}
    files = (p.relative_to(ROOT) for p in ROOT.rglob('*') if p.is_file())
    return {p.as_posix() for p in files if not any(Path(part).match(n) for part in p.parts for n in NOT_OURS)}


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the sources."""
    tree, out = tmp_path_factory.mktemp('tree'), tmp_path_factory.mktemp('wheel')
    for name in sources():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    run(sys.executable, '-m', 'build', '--wheel', '--no-isolation', '--outdir', out, tree, cwd=out)
    built, = out.glob('*.whl')
    return built


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    """The Python of a fresh environment that has the wheel, and every other package from this one."""
    folder = tmp_path_factory.mktemp('fresh')
    run(sys.executable, '-m', 'venv', folder / 'venv', cwd=folder)
    python = folder / 'venv' / ('Scripts' if os.name == 'nt' else 'bin') / 'python'
    run(python, '-m', 'pip', 'install', '-q', '--no-deps', '--no-index', wheel, cwd=folder)
    site = run(python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))', cwd=folder).strip()
    peers = dict.fromkeys(sysconfig.get_path(p) for p in ('purelib', 'platlib'))
    (Path(site) / 'peers.pth').write_text('\n'.join(peers) + '\n')      # found after what is installed here
    return python


def test_the_wheel_holds_the_packages_and_nothing_else(wheel):
    names = {n for n in zipfile.ZipFile(wheel).namelist() if not n.endswith('/')}
    meta = {n for n in names if '.dist-info/' in n}
    ours = {n for n in sources() if n.split('/', maxsplit=1)[0] in PACKAGES}
    assert names - meta == ours and len(ours) > 50
    assert {'projects/level2_mnist/README.md', 'projects/level2_mnist/config.py', 'levels/catalogue.py'} <= ours
    assert not any(n.startswith(('tests/', 'docs/', '.')) for n in names)
    assert any(n.endswith('licenses/LICENSE') for n in meta)


def test_its_metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith('.dist-info/METADATA'))
        text = archive.read(name).decode()
    assert 'Name: ai-roadmap\n' in text and 'License-Expression: Apache-2.0\n' in text
    assert 'Requires-Python: >=3.11\n' in text and "torch==2.13.0; extra == 'test'" in text
    assert "jax[cuda13]; extra == 'cuda13'" in text and '# ai-roadmap' in text


def test_a_component_is_imported_elsewhere(installed, tmp_path):
    out = run(installed, '-c', textwrap.dedent('''
        import common, jax, jax.numpy as jnp
        from importlib import metadata
        from levels.level3_vision.lenet import LeNet5
        model = LeNet5()
        params = model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
        print(model.apply(params, jnp.ones((2, 28, 28, 1))).shape, metadata.version('ai-roadmap'), common.__file__)
    '''), cwd=tmp_path)
    shape, version, where = out.strip().rsplit(maxsplit=2)
    assert (shape, version) == ('(2, 10)', '0.1.0')
    assert Path(where).is_relative_to(installed.parents[1]) and not Path(where).is_relative_to(ROOT)


def test_the_catalogue_and_the_help_work_elsewhere(installed, tmp_path):
    assert 'levels.level3_vision.lenet.LeNet5' in run(installed, '-m', 'tools.catalogue', cwd=tmp_path)
    text = run(installed, '-m', 'projects.level2_mnist.main', '--help', cwd=tmp_path)
    assert '--workdir' in text and '--config.rate' in text


def test_a_project_runs_elsewhere(installed, tmp_path):
    command = [installed, '-m', 'projects.level2_mnist.main', '--workdir=here', '--config=smoke', '--config.model=mlp',
               '--config.baseline_rows=0']
    assert 'test accuracy' in run(*command, cwd=tmp_path)
    assert {'result.json', 'plots', 'checkpoints'} <= {p.name for p in (tmp_path / 'here').iterdir()}
    assert 'is finished' in run(*command, cwd=tmp_path)
