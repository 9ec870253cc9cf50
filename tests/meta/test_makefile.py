"""`make run` and `make test` run the right commands in the right order, and install only when they must.

The environment is a stand-in that writes down how its Python was called.
"""
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = '#!/bin/sh\necho "$@" >> "$LOG"\nfor last; do :; done\ntest "$last" != "$FAIL"\n'
RUN = '-m projects.level2_mnist.main --workdir=runs/mnist --seeds=5'
INSTALL = ['-m pip --version', '-m pip install -q -U pip']


@pytest.fixture
def make(tmp_path):
    """target, ... -> (exit code, what Python was asked for)."""
    for name in ('Makefile', 'pyproject.toml'):
        shutil.copy(ROOT / name, tmp_path)

    def call(*argv: str, fail: str = 'nothing'):
        log = tmp_path / 'log'
        log.write_text('')
        ours = ('VENV', 'PYTHONS', 'WORKDIR', 'SEEDS', 'BENCH', 'MAKEFLAGS')
        env = {k: v for k, v in os.environ.items() if k not in ours}
        done = subprocess.run(['make', *argv], cwd=tmp_path, env=env | {'LOG': str(log), 'FAIL': fail},
                              capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, log.read_text().splitlines(), done.stderr
    call.folder = tmp_path
    return call


@pytest.fixture
def venv(make):
    python = make.folder / '.venv/bin/python'
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON)
    python.chmod(0o755)


def test_run_installs_once_and_again_when_pyproject_changes(make, venv):
    install = [*INSTALL, '-m pip install -q -e .[data]']
    assert make('run')[:2] == (0, [*install, RUN])
    assert make('run')[:2] == (0, [RUN])
    later = time.time() + 10
    os.utime(make.folder / 'pyproject.toml', (later, later))
    assert make('run')[:2] == (0, [*install, RUN])
    assert make('run', 'SEEDS=4', 'WORKDIR=runs/x')[1][-1] == RUN.replace('mnist --seeds=5', 'x --seeds=4')


def test_test_lints_and_then_tests(make, venv):
    lint = ['-m ruff check .', '-m tools.check_layout']
    assert make('test')[:2] == (0, [*INSTALL, '-m pip install -q -e .[test]', *lint, '-m pytest -n 2'])
    assert make('test')[:2] == (0, [*lint, '-m pytest -n 2'])
    assert make('test-slow')[:2] == (0, [*lint, '-m pytest -n 2 -m '])
    assert make('run')[:2] == (0, [RUN])        # the test peers include what a run needs


def test_bench_installs_the_peers_and_passes_what_it_is_given(make, venv):
    assert make('bench')[:2] == (0, [*INSTALL, '-m pip install -q -e .[bench]', '-m tools.bench'])
    assert make('bench', 'BENCH=--peer --quick')[1] == ['-m tools.bench --peer --quick']
    assert make('run')[:2] == (0, [RUN])        # the peers include what a run needs


def test_a_failed_install_is_tried_again(make, venv):
    code, asked, _ = make('run', fail='.[data]')
    assert code != 0 and asked[-1] == '-m pip install -q -e .[data]'
    assert make('run')[1][:2] == INSTALL


def test_failed_lint_stops_the_tests(make, venv):
    code, asked, _ = make('test', fail='tools.check_layout')
    assert code != 0 and asked[-1] == '-m tools.check_layout'


def test_without_a_python_that_will_do_it_says_so(make):
    code, asked, error = make('run', 'PYTHONS=false no-such-python')
    assert code != 0 and asked == [] and 'no Python 3.11 or later among: false no-such-python' in error


def test_it_makes_an_environment_with_the_first_python_that_will_do(make):
    fake = make.folder / 'python-of-mine'
    fake.write_text('#!/bin/sh\necho "$@" >> "$LOG"\nmkdir -p .venv/bin\n'
                    'test -e .venv/bin/python || cp "$0" .venv/bin/python\n')
    fake.chmod(0o755)
    code, asked, _ = make('run', f'PYTHONS=false {fake}')
    assert code == 0 and '-m venv .venv' in asked and asked[-1] == RUN


def test_clean_keeps_runs_and_the_environment(make, venv):
    for name in ('runs/a', 'build/a', 'dist/a', 'common/__pycache__', '.venv/lib/__pycache__'):
        (make.folder / name).mkdir(parents=True)
    assert make('clean')[0] == 0
    left = {p.relative_to(make.folder).as_posix() for p in make.folder.rglob('*') if p.is_dir()}
    assert {'runs/a', '.venv/lib/__pycache__', 'common'} <= left
    assert not {'build', 'dist', 'common/__pycache__'} & left


def test_ci_is_make_test():
    script = ROOT / '.ci/run'
    text = script.read_text()
    assert os.access(script, os.X_OK) and 'set -euo pipefail' in text
    assert re.findall(r'^make .*$', text, re.M) == ['make test']
