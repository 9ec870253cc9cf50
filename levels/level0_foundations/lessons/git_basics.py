"""Git, in repositories that are thrown away: branches, conflicts, undoing, rebase, a remote, bisection. All offline:
a bare repository in the folder beside stands in for GitHub."""

import math
import os
import random
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from levels.level0_foundations.lessons.lesson import Exercise, exercise, need

MARKS = ('<<<<<<<', '=======', '>>>>>>>')


class Repo:
    """A folder with git in it: `repo.git('commit', '-m', 'Why')` runs git there and returns what it prints."""

    def __init__(self, path: Path):
        self.path = path
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith('GIT_')} | {
            'GIT_CONFIG_GLOBAL': os.devnull, 'GIT_CONFIG_NOSYSTEM': '1', 'GIT_CEILING_DIRECTORIES': str(path.parent),
            'GIT_AUTHOR_NAME': 'Ada', 'GIT_AUTHOR_EMAIL': 'ada@example.org', 'GIT_COMMITTER_NAME': 'Ada',
            'GIT_COMMITTER_EMAIL': 'ada@example.org', 'GIT_EDITOR': 'true', 'GIT_TERMINAL_PROMPT': '0', 'LC_ALL': 'C',
            'GIT_AUTHOR_DATE': '2024-01-01T12:00:00Z', 'GIT_COMMITTER_DATE': '2024-01-01T12:00:00Z'}

    def git(self, *words: str, check: bool = True) -> str:
        """What `git WORDS` prints; with `check`, RuntimeError with git's own message where it fails."""
        done = subprocess.run(['git', *words], cwd=self.path, env=self.environment, capture_output=True, text=True,
                              check=False, timeout=60)
        if check and done.returncode:
            said = (done.stderr or done.stdout).strip().replace('\n', ' | ')
            raise RuntimeError(f'git {" ".join(words)}: {said}')
        return done.stdout.strip()

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text, encoding='utf-8')

    def read(self, name: str) -> str:
        return (self.path / name).read_text(encoding='utf-8')

    def commit(self, message: str, **files: str) -> str:
        """Writes files (a_txt='...' is a.txt), commits everything, returns the hash."""
        for name, text in files.items():
            self.write(name.replace('_', '.'), text)
        self.git('add', '--all')
        self.git('commit', '--quiet', '--allow-empty', '-m', message)
        return self.git('rev-parse', 'HEAD')

    def hashes(self, what: str = 'HEAD') -> list[str]:
        """The commits that can be reached, newest first."""
        return self.git('rev-list', '--topo-order', what).split()

    def has(self, old: str, new: str) -> bool:
        """Whether the commit `old` is in the history of `new`."""
        return old in self.hashes(new)

    def clean(self) -> bool:
        return self.git('status', '--porcelain') == ''


@contextmanager
def throw_away(*names: str, remote: bool = False) -> Iterator[list[Repo]]:
    """Fresh repositories on branch main, gone afterwards; with `remote` clones of one bare repository, the last."""
    with tempfile.TemporaryDirectory() as folder:
        repos = [Repo(Path(folder).resolve() / name) for name in (*(names or ('work',)), *(['github.git'] * remote))]
        for repo in repos:
            repo.path.mkdir()
            bare = ['--bare'] * repo.path.name.endswith('.git')
            repo.git('init', '--quiet', '--initial-branch=main', *bare)
        for repo in repos[:-1] if remote else ():
            repo.git('remote', 'add', 'origin', str(repos[-1].path))
        yield repos


@exercise(
    '''Write save(repo): the folder holds code.py, notes.txt, secret.key and run.log; it is a repository without
    commits. Commit code.py and notes.txt in one commit each, each with a message (first line up to 72
    characters). Keys and logs must be in no commit, and git status must be clean afterwards.''',
    "repo.git('add', 'code.py'), then repo.git('commit', '-m', 'Say why').",
    'A file .gitignore with one pattern a line, as in *.log, hides what is not to be committed.',
    '.gitignore itself belongs into a commit as well.')
def save(answer):
    for seed in range(2):
        with throw_away() as (repo,):
            for name in ('code.py', 'notes.txt', 'secret.key', 'run.log'):
                repo.write(name, f'{name} {seed}\n')
            answer(repo)
            commits = repo.hashes('--all')
            need(len(commits) >= 2, f'expected two commits or more, found {len(commits)}')
            ever = {f for c in commits for f in repo.git('ls-tree', '-r', '--name-only', c).split()}
            need({'code.py', 'notes.txt'} <= ever, 'code.py or notes.txt is in no commit')
            need(not ever & {'secret.key', 'run.log'}, 'a key or a log is in a commit: history does not forget')
            touched = [set(repo.git('show', '--name-only', '--format=', c).split()) for c in commits]
            need(not any({'code.py', 'notes.txt'} <= files for files in touched), 'one commit for each of the two')
            need(all(0 < len(repo.git('log', '-1', '--format=%s', c)) <= 72 for c in commits), 'a message is too long')
            need((repo.path / 'secret.key').exists() and repo.clean(), 'git status is not clean, or the key is gone')


@exercise(
    '''Write feature(repo): on a new branch called feature commit a file new.py; main must stay where it is meanwhile.
    Then merge feature into main with a commit of its own, though a fast-forward would do, and end on main.''',
    'git switch -c NAME makes a branch and goes there; git switch main goes back.',
    'git merge moves main forward without a commit where it can.',
    '--no-ff asks for the commit.')
def feature(answer):
    with throw_away() as (repo,):
        old = repo.commit('Begin', readme_md='hello\n')
        answer(repo)
        need(repo.git('branch', '--show-current') == 'main', 'the end is on main')
        need(repo.git('branch', '--list', 'feature'), 'there is no branch feature')
        need(repo.clean(), 'git status is not clean')
        parents = repo.git('log', '-1', '--format=%P', 'main').split()
        need(len(parents) == 2, 'main does not end in a merge: a merge has two parents')
        need(parents == [old, repo.git('rev-parse', 'feature')], 'main must not have moved before the merge')
        need('new.py' in repo.git('ls-tree', '--name-only', 'feature').split(), 'new.py is not on the branch')


@exercise(
    '''Write settle(repo): on main the line of price.txt was changed, and on the branch sale too: git merge sale stops
    with a conflict. Merge sale into main such that price.txt has the line of main and below it that of sale,
    both.''',
    "The merge fails, and that is no error: repo.git('merge', 'sale', check=False).",
    'Between the marks stand both versions: write the file as it should be, without the marks.',
    "git add says that it is settled, git commit ends the merge (here '--no-edit').")
def settle(answer):
    rng = random.Random(0)
    for _ in range(2):
        with throw_away() as (repo,):
            ours, theirs = (f'{word} {rng.randrange(100)}' for word in ('price', 'sale'))
            repo.commit('Begin', price_txt='price 0\n')
            repo.git('switch', '--quiet', '-c', 'sale')
            tip = repo.commit('A sale', price_txt=f'{theirs}\n')
            repo.git('switch', '--quiet', 'main')
            base = repo.commit('Dearer', price_txt=f'{ours}\n')
            answer(repo)
            need(repo.git('log', '-1', '--format=%P', 'main').split() == [base, tip],
                 'main does not end in the merge of both: look at its parents')
            text = repo.git('show', 'main:price.txt')
            need(not any(mark in text for mark in MARKS), 'marks of the conflict were committed')
            need(text.split('\n') == [ours, theirs], 'price.txt must have both lines, that of main first')
            need(repo.clean(), 'git status is not clean')


@exercise(
    '''Write undo(repo, bad): the commit bad of main was pushed and others have it already; later commits are good. Take
    back what it did, and nothing else, without changing history that others have, and push.''',
    'Rewriting (reset, rebase) makes a history that others do not have.',
    'git revert makes a new commit that does the opposite of an old one.',
    "repo.git('revert', '--no-edit', bad), then push.")
def undo(answer):
    rng = random.Random(1)
    for _ in range(2):
        with throw_away('work', remote=True) as (repo, github):
            n = rng.randrange(3, 6)
            place = rng.randrange(1, n)
            made = [repo.commit(f'Part {i}', **{f'part{i}_txt': f'{rng.random()}\n'}) for i in range(n)]
            repo.git('push', '--quiet', '-u', 'origin', 'main')
            answer(repo, made[place])
            need(github.git('rev-parse', 'main') == repo.git('rev-parse', 'main'), 'the remote does not have it')
            need(repo.has(made[-1], 'main'), 'commits that others have are gone from history')
            files = set(repo.git('ls-tree', '--name-only', 'main').split())
            need(files == {f'part{i}.txt' for i in range(n) if i != place},
                 'what is undone is not the bad commit alone')
            need(repo.clean(), 'git status is not clean')


@exercise(
    '''Write straighten(repo): topic and main have grown apart, in different files. Put the commits of topic after those
    of main, in one straight line without a merge; main stays where it is, and the end is on topic.''',
    'A rebase takes the commits of a branch and makes them anew on top of another.',
    'It moves the branch on which you are.',
    'git switch topic, then git rebase main.')
def straighten(answer):
    with throw_away() as (repo,):
        repo.commit('Begin', a_txt='a\n')
        repo.git('switch', '--quiet', '-c', 'topic')
        for i in range(2):
            repo.commit(f'Topic {i}', **{f'topic{i}_txt': f'{i}\n'})
        repo.git('switch', '--quiet', 'main')
        tip = repo.commit('Main', b_txt='b\n')
        answer(repo)
        need(repo.git('rev-parse', 'main') == tip, 'main must stay where it is')
        need(repo.has(tip, 'topic'), 'topic does not stand on main')
        need(not repo.git('rev-list', '--merges', 'topic'), 'there is a merge in the line')
        need(repo.git('log', '--format=%s', 'main..topic').split('\n') == ['Topic 1', 'Topic 0'],
             'the commits of topic are not those that there were')
        need(repo.git('branch', '--show-current') == 'topic' and repo.clean(),
             'the end is on topic, with a clean status')


@exercise(
    '''Write publish(repo): git push of main is refused, as somebody pushed to the remote meanwhile. Bring both together
    (the files differ) and push, so that the remote has your commits and theirs. Nobody else's commits may be lost.''',
    'git fetch gets what the remote has; git push refuses what is not ahead of it.',
    'git pull --rebase puts your commits after theirs; git pull --no-rebase merges.',
    'Never --force: it throws away what the others pushed.')
def publish(answer):
    with throw_away('me', 'other', remote=True) as (me, other, github):
        me.commit('Begin', a_txt='a\n')
        me.git('push', '--quiet', '-u', 'origin', 'main')
        other.git('pull', '--quiet', 'origin', 'main')
        theirs = other.commit('Theirs', b_txt='b\n')
        other.git('push', '--quiet', 'origin', 'main')
        me.commit('Mine', c_txt='c\n')
        answer(me)
        need(github.has(theirs, 'main'), 'the commit of the other is gone from the remote')
        need('Mine' in github.git('log', '--format=%s', 'main').split('\n'), 'the remote does not have your commit')
        need(set(github.git('ls-tree', '--name-only', 'main').split()) == {'a.txt', 'b.txt', 'c.txt'},
             'the remote lacks a file')
        need(me.git('rev-parse', 'main') == github.git('rev-parse', 'main') and me.clean(), 'you and the remote differ')


@exercise(
    '''Write find_bad(repo, good, bad, test): somewhere after the commit good and up to bad a fault came in. test() says
    whether the commit that is checked out is right, and takes long: call it at most log2(commits between) + 1 times.
    Return the hash of the first commit that is wrong, and leave the repository on main, with no bisection going on.''',
    'Looking at the middle halves what is left, whatever the answer is.',
    "git bisect start BAD GOOD checks out the middle; then 'git bisect good' or 'git bisect bad' go on.",
    "When it is found, refs/bisect/bad names it: git rev-parse refs/bisect/bad; git bisect reset goes home.")
def find_bad(answer):
    rng = random.Random(2)
    for n in (2, 13, 16):
        with throw_away() as (repo,):
            first, calls = n // 2 if n == 13 else rng.randrange(1, n), []      # 13: far from both ends
            made = [repo.commit(f'Change {i}', value_txt=f'{i}\n') for i in range(n)]

            def test(repo=repo, calls=calls, first=first):
                calls.append(1)
                return int(repo.read('value.txt')) < first

            found = answer(repo, made[0], made[-1], test)
            need(found == made[first], 'this is not the first commit that is wrong')
            most = math.ceil(math.log2(n - 1)) + 1
            need(len(calls) <= most, f'{n - 1} commits took {len(calls)} tests, {most} are enough')
            need(repo.git('branch', '--show-current') == 'main', 'the end is on main')
            need(not repo.git('for-each-ref', 'refs/bisect'), 'the bisection is still going on')


def git_lesson() -> tuple[Exercise, ...]:
    """Seven exercises: commits, branches, a conflict, undoing what is public, rebase, a remote, bisection.

    Formula: commits are a directed acyclic graph; the check reads its parents, reachability and trees afterwards.
    Paper: Chacon, Straub 2014, Pro Git; Torvalds 2005, the first commit of git.
    Shapes: no arrays; an answer takes a `Repo` and works in it.
    Errors: AssertionError of `check`, one line, for an answer that is not right yet.
    Example:
        exercises = {e.name: e for e in git_lesson()}
        try: exercises['straighten'].check(lambda repo: repo.git('switch', '--quiet', 'topic'))
        except AssertionError as error: line = str(error)
        assert line == 'topic does not stand on main'
    """
    return save, feature, settle, undo, straighten, publish, find_bad
