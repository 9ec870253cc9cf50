"""What env.json says of the code: the commit of this checkout, and of no other repository that happens to be around."""
import shutil
import subprocess
from pathlib import Path

from common import runtime


def git(folder, *words):
    subprocess.run(['git', '-C', str(folder), '-c', 'user.name=a', '-c', 'user.email=a@b', *words], check=True,
                   capture_output=True)


def commit_seen_from(monkeypatch, package: Path):
    package.mkdir(parents=True)
    monkeypatch.setattr(runtime, '__file__', str(shutil.copy(runtime.__file__, package / 'runtime.py')))
    return runtime.environment()['git']


def test_a_repository_around_the_code_is_not_ours(tmp_path, monkeypatch):
    paper = tmp_path / 'paper'
    paper.mkdir()
    git(paper, 'init', '-q')
    git(paper, 'commit', '-q', '--allow-empty', '-m', 'a paper')
    assert commit_seen_from(monkeypatch, paper / '.venv/lib/site-packages/common') is None
    mine = commit_seen_from(monkeypatch, paper / 'common')       # the checkout itself
    assert len(mine['commit']) == 40 and mine['dirty'] is False
