# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Git and notebooks
#
# Two tools that remember: git what the files were, a notebook what was run. Both are simple once the picture behind
# them is clear, and both punish those who do not have it. Pictures first, then the little mathematics there is, then
# the component (`levels/level0_foundations/lessons`), then thirteen exercises. Everything happens in repositories
# that are thrown away at the end, offline.

# %%
import copy
import difflib
import hashlib
import json
from contextlib import ExitStack

import jupytext
import matplotlib.pyplot as plt
import nbformat
import numpy as np

from common.plots import COLORS
from levels.level0_foundations.lessons.commit_graph import commits, draw_commits
from levels.level0_foundations.lessons.git_basics import git_lesson, throw_away
from levels.level0_foundations.lessons.lesson import attempt, hint, todo
from levels.level0_foundations.lessons.notebooks import jupyter_lesson, notebook

BLUE, RED, GREEN, YELLOW = COLORS
plt.rcParams.update({'figure.dpi': 75, 'figure.constrained_layout.use': True, 'axes.titlesize': 11, 'font.size': 10,
                     'legend.fontsize': 9, 'axes.prop_cycle': plt.cycler(color=COLORS)})
rooms = ExitStack()                             # of all repositories; closed at the end
(repo,) = rooms.enter_context(throw_away())     # a folder with git in it: repo.git(...) runs git there

# %% [markdown]
# ## The idea
#
# ### History is a graph of snapshots
#
# A commit is a snapshot of all files together with a message and an arrow to the snapshot it came from, its *parent*.
# A branch is nothing but a *name* that points at a commit, and moves on when a commit is added (the star marks the
# one that is checked out). Four moments: a line; a second name; both lines grow; a commit with two parents joins
# them.

# %%
moments = []
repo.commit('Begin', model_py='rate = 0.1\n')
repo.commit('Add data', data_py='rows = 100\n')
moments.append(('git commit, twice', commits(repo)))
repo.git('switch', '--quiet', '-c', 'idea')
moments.append(('git switch -c idea: a name, no copy', commits(repo)))
repo.commit('Try momentum', model_py='rate = 0.1\nmomentum = 0.9\n')
repo.git('switch', '--quiet', 'main')
repo.commit('More data', data_py='rows = 200\n')
moments.append(('one commit on each branch', commits(repo)))
repo.git('merge', '--quiet', '--no-edit', 'idea')
moments.append(('git merge idea: two parents', commits(repo)))
figure, axes = plt.subplots(2, 2, figsize=(11, 5.2))
for ax, (title, rows) in zip(axes.flat, moments):
    draw_commits(ax, rows, title=title)
    ax.set(xlim=(-0.6, 3.6), ylim=(1.7, -0.75))
plt.show()
print('both changes are in:', repo.read('model.py').split('\n')[1], 'and', repo.read('data.py').strip())

# %% [markdown]
# ### Four places, and what moves between them
#
# You edit in the *folder*. `add` puts a version into the *index*, the draft of the next commit. `commit` makes it a
# snapshot in your *repository*. `push` and `fetch` exchange snapshots with a *remote*, which is just another
# repository. Most confusion with git is not knowing which of the four one is looking at.

# %%
figure, ax = plt.subplots(figsize=(10.5, 2.9))
for x, name, what in ((0, 'folder', 'files you edit'), (2, 'index', 'draft of the next commit'),
                      (4, 'repository', 'commits and names'), (6, 'remote', 'where others get it')):
    ax.add_patch(plt.Rectangle((x - 0.55, -0.35), 1.1, 0.7, fc='#eaf1f8', ec=BLUE, lw=1.5))
    ax.text(x, 0.06, name, ha='center', weight='bold')
    ax.text(x, -0.2, what, ha='center', fontsize=8)
for a, b, text, up in ((0, 2, 'git add', 1), (2, 4, 'git commit', 1), (4, 6, 'git push', 1), (6, 4, 'git fetch', -1),
                       (2, 0, 'git restore', -1), (4, 2, 'git reset', -1)):
    side = 0.58 if b > a else -0.58
    ax.annotate('', (b - side, 0.18 * up), (a + side, 0.18 * up), arrowprops={
        'arrowstyle': '-|>', 'color': GREEN if up > 0 else RED, 'lw': 1.8})
    ax.text((a + b) / 2, 0.24 * up, text, ha='center', va='bottom' if up > 0 else 'top', fontsize=9, family='monospace')
ax.annotate('git switch, git merge', (0, -0.4), (4, -0.4), ha='center', va='top', fontsize=9, family='monospace',
            arrowprops={'arrowstyle': '-|>', 'color': RED, 'lw': 1.8, 'connectionstyle': 'arc3,rad=-0.25',
                        'relpos': (0.5, 0)})
ax.set(xlim=(-0.8, 6.8), ylim=(-1.15, 0.6))
ax.set_axis_off()
plt.show()

# %% [markdown]
# ### Where did it break? Halve it
#
# Sixty-four commits, the first is good, the last is bad. Every row is one test of the commit with the dot; what is
# left to search is dark. Six tests are enough, whatever the answers.

# %%
n, culprit = 64, 41             # commit 0 is good, commit 63 is bad
low, high, rows = 0, n - 1, []
while high - low > 1:
    middle = (low + high) // 2
    rows.append((low, high, middle, middle < culprit))
    low, high = (middle, high) if middle < culprit else (low, middle)
figure, ax = plt.subplots(figsize=(10.5, 2.4))
for i, (low, high, middle, fine) in enumerate(rows):
    ax.barh(i, n, left=-0.5, color='0.93', height=0.7)
    ax.barh(i, high - low, left=low + 0.5, color='#9db8d6', height=0.7)
    ax.plot(middle, i, 'o', color=GREEN if fine else RED, ms=8)
ax.plot([], [], 'o', color=GREEN, label='good: later')
ax.plot([], [], 'o', color=RED, label='bad: this one or earlier')
ax.plot(culprit, len(rows) - 0.2, '^', color='black', ms=9, label=f'found: commit {culprit}')
ax.set(ylim=(len(rows) + 0.2, -0.6), xlabel='commit', yticks=range(len(rows)),
       yticklabels=[f'test {i + 1}' for i in range(len(rows))])
ax.legend(loc='center left', bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# ### A notebook is a page; the kernel is a diary
#
# Cells stand on the page from top to bottom, but they can be *run* in any order, again, or changed after they ran. The
# kernel only remembers what was run. Here are four cells as they stand on the page (left) and what somebody ran
# (right): the third cell twice, in red. What you read is not what happened.

# %%
cells = ['total = 0', 'prices = [3, 4]', 'total = total + sum(prices)', 'print(total)']
happened = [0, 1, 2, 2, 3]              # the third cell twice
figure, ax = plt.subplots(figsize=(9, 2.8))
for i, cell in enumerate(cells):
    ax.text(0, -i, f'[ ]: {cell}', family='monospace', fontsize=9, ha='right', va='center',
            bbox={'fc': '#eaf1f8', 'ec': BLUE})
for when, i in enumerate(happened):
    y = -when * 3 / 4
    ax.text(1, y, f'In [{when + 1}]: {cells[i]}', family='monospace', fontsize=9, ha='left', va='center',
            bbox={'fc': '#fbeceb' if i in happened[:when] else '#eef6ee', 'ec': RED if i in happened[:when] else GREEN})
    ax.plot([0.02, 0.97], [-i, y], color=RED if i in happened[:when] else '0.5', lw=1.5)
ax.text(0, 0.6, 'the page', ha='right', weight='bold')
ax.text(1, 0.6, 'what was run', weight='bold')
ax.set(xlim=(-0.9, 1.9), ylim=(-3.4, 0.9))
ax.set_axis_off()
plt.show()

# %% [markdown]
# ## The mathematics
#
# **A hash names contents.** Git stores a file under
# $$\operatorname{SHA1}(\texttt{"blob "} \,\Vert\, \text{length} \,\Vert\, \texttt{0} \,\Vert\, \text{bytes}).$$
# A folder (*tree*) lists names and hashes, a commit names a tree, its parents, an author, dates and a message, and is
# itself named by the hash of all that. So a commit's name fixes its whole history: change one byte a hundred commits
# ago, and every hash since is another. Rebase *makes new commits*; nothing is ever edited.
#
# **History is a directed acyclic graph.** $a \le b$ if $b$ reaches $a$ over parents. A branch can be *fast-forwarded*
# from $a$ to $b$ if $a \le b$: push is allowed just then. A *merge base* of $a$ and $b$ is a maximal element of
# $\{c : c \le a,\; c \le b\}$.
#
# **Three-way merge.** With base $B$, ours $O$ and theirs $T$, for each piece of text:
# $$\operatorname{merge}(B, O, T) = \begin{cases} T & O = B \\ O & T = B \;\text{ or }\; O = T \\
#   \text{conflict} & \text{otherwise.} \end{cases}$$
#
# **Bisection** of $n$ candidates takes $\lceil \log_2 n \rceil$ tests: ten for a thousand commits.
#
# **Notebooks.** A cell is a function of the state of the kernel, $s \mapsto f_i(s)$. Running cells $\pi_1, \pi_2,
# \dots$ gives $f_{\pi_k} \circ \dots \circ f_{\pi_1}(s_0)$, and functions do not commute. The only order that a
# reader can repeat is the page's, from the empty state $s_0$: *restart and run all*. A cell's count says when it ran.
# Counts that are not $1, 2, 3, \dots$ from top to bottom prove that outputs and page may disagree.

# %% [markdown]
# ## The component
#
# ### A hash by hand
#
# Nothing secret: the name of a file's contents, computed in one line and by git. A commit is six lines of text.

# %%
text = repo.read('data.py').encode()
print('by hand:', hashlib.sha1(b'blob %d\0' % len(text) + text).hexdigest())
print('by git :', repo.git('rev-parse', 'HEAD:data.py'))
print(repo.git('cat-file', 'commit', 'HEAD'))

# %% [markdown]
# ### A conflict, and its end
#
# Both branches change the same line of the same file: by the rule above there is nothing that git could choose. It
# leaves both versions between marks and waits. You write the file as it should be, `add` says it is settled, `commit`
# ends the merge.

# %%
(clash,) = rooms.enter_context(throw_away())
clash.commit('Begin', price_txt='price 10\n')
clash.git('switch', '--quiet', '-c', 'sale')
clash.commit('A sale', price_txt='price 8\n')
clash.git('switch', '--quiet', 'main')
clash.commit('Dearer', price_txt='price 12\n')
before = commits(clash)
print(clash.git('merge', 'sale', check=False), '\n')
print(clash.read('price.txt'))
base = clash.git('merge-base', 'main', 'sale')
for name, where in (('base', base), ('ours', 'main'), ('theirs', 'sale')):
    print(f'{name:6s} {clash.git("show", f"{where}:price.txt")}')
clash.write('price.txt', 'price 12, on sale 9\n')
clash.git('add', 'price.txt')
clash.git('commit', '--quiet', '-m', 'Merge the sale')
figure, axes = plt.subplots(1, 2, figsize=(10.5, 2.8))
draw_commits(axes[0], before, title='both changed one line')
draw_commits(axes[1], commits(clash), title='settled by hand')
plt.show()

# %% [markdown]
# ### Merge or rebase
#
# Two ways to bring a branch up to date. A merge keeps what happened and adds a commit. A rebase makes the branch's
# commits *anew* on top of main: a straight line, but look at the hashes. They are other commits, so never rebase what
# others have.

# %%
pictures = {}
for way in ('before', 'merge main', 'rebase main'):
    (room,) = rooms.enter_context(throw_away())
    room.commit('Begin', a_txt='a\n')
    room.git('switch', '--quiet', '-c', 'topic')
    room.commit('Topic 1', t1_txt='1\n')
    room.commit('Topic 2', t2_txt='2\n')
    room.git('switch', '--quiet', 'main')
    room.commit('Main', b_txt='b\n')
    room.git('switch', '--quiet', 'topic')
    if way != 'before':
        room.git(*way.split(), *['--no-edit'] * way.startswith('merge'))
    pictures[way] = commits(room)
figure, axes = plt.subplots(1, 3, figsize=(11.5, 2.8), width_ratios=(3, 4, 4))
for ax, (way, rows) in zip(axes, pictures.items()):
    draw_commits(ax, rows, title=way if way == 'before' else f'git {way}')
    ax.set_ylim(1.7, -0.75)
plt.show()

# %% [markdown]
# ### Others push too
#
# Two people clone one repository (a bare one in the folder beside stands in for GitHub). The other was faster: your
# push is refused, because it is no fast-forward. `pull --rebase` fetches their commit, puts yours after it, and the
# push goes through. With `--force` it would have gone through at once, and their work would be gone.

# %%
me, other, github = rooms.enter_context(throw_away('me', 'other', remote=True))
me.commit('Begin', a_txt='a\n')
me.git('push', '--quiet', '-u', 'origin', 'main')
other.git('pull', '--quiet', 'origin', 'main')
other.commit('Theirs', b_txt='b\n')
other.git('push', '--quiet', 'origin', 'main')
me.commit('Mine', c_txt='c\n')
try:
    me.git('push', '--quiet')
except RuntimeError as error:
    print('refused:', 'rejected' in str(error), '(no fast-forward)')
me.git('fetch', '--quiet')
before = commits(me)
me.git('pull', '--quiet', '--rebase')
me.git('push', '--quiet')
figure, axes = plt.subplots(1, 2, figsize=(10, 2.8))
draw_commits(axes[0], before, title='after git fetch: two lines')
draw_commits(axes[1], commits(me), title='after git pull --rebase and git push')
for ax in axes:
    ax.set_ylim(1.7, -0.9)
plt.show()
print('on the remote:', github.git('log', '--format=%s', 'main').split('\n'))

# %% [markdown]
# ### Taking back what is public
#
# `reset` moves a name back, and history is another one: fine for what nobody has, a lie for what others have.
# `revert` adds a commit that does the opposite of an old one: history stays, and says why.

# %%
(room,) = rooms.enter_context(throw_away())
made = [room.commit(f'Part {i}', **{f'part{i}_txt': f'{i}\n'}) for i in range(3)]
room.git('revert', '--no-edit', made[1])
figure, ax = plt.subplots(figsize=(8, 1.9))
draw_commits(ax, commits(room), title='git revert of Part 1')
ax.set_xlim(-0.6, 3.8)
plt.show()
print('files:', room.git('ls-files').split())

# %% [markdown]
# ### Bisect, for real
#
# Thirty-two commits, and somewhere a number became negative. `git bisect run` takes any command that fails on a bad
# commit; here it looks into a file. The commits that it tested, in order:

# %%
(room,) = rooms.enter_context(throw_away())
hashes = [room.commit(f'Change {i}', value_txt=f'{5 - i if i >= 20 else i}\n') for i in range(32)]
room.git('bisect', 'start', hashes[-1], hashes[0])
room.git('bisect', 'run', 'sh', '-c', '! grep -q "^-" value.txt')
log = [line.split('[')[1].split(']')[0] for line in room.git('bisect', 'log').split('\n') if line.startswith('# ')]
print('tested:', [hashes.index(h) for h in log[2:-1]])
print('first bad commit:', room.git('log', '-1', '--format=%s', 'refs/bisect/bad'))
room.git('bisect', 'reset')
rooms.close()

# %% [markdown]
# ### What a notebook is
#
# One JSON file: a list of cells, each with its source, and for code cells the count and the *outputs*, pictures as
# long strings of letters. `notebook(...)` of the lesson makes one; this is all of it, for two cells.

# %%
book = notebook('# %% [markdown]\n# Prices', 'total = sum([3, 4])\nprint(total)', counts=[None, 1])
book.cells[1]['outputs'] = [nbformat.v4.new_output('stream', text='7\n')]
nbformat.validate(book)
print(json.dumps(book, indent=1))

# %% [markdown]
# ### Hidden state
#
# A kernel is a dictionary of names, and running a cell is `exec` with that dictionary. The cells from above as they
# were run, and as a reader would run them: the page says 7, the diary says 14. Nothing on the page shows why, but the
# counts do: the third cell says [4], so it ran more than once. A cell that was *deleted* hides even better: its names
# live on until the kernel is restarted.


# %%
def run(order, sources):
    """The names that a fresh kernel knows after these cells in this order."""
    space = {}
    for i in order:
        exec(sources[i], space)
    return {k: v for k, v in space.items() if not k.startswith('__')}


print('as it happened ', happened, '->', run(happened, cells))
print('top to bottom  ', [0, 1, 2, 3], '->', run(range(4), cells))
gone = ['scale = 10', 'total = scale * 7']
run([0, 1], gone)                       # worked yesterday; then the first cell was deleted
try:
    run([1], gone)
except NameError as error:
    print('after a restart:', error)

# %% [markdown]
# ### Clean diffs
#
# A colleague runs your notebook again and changes nothing. In the `.ipynb` counts and outputs differ, so git shows a
# change where there was none; and real changes drown in it. Two cures, used here both: keep the source in *percent
# format*, a Python file with cells marked by `# %%`, and compare that; or strip outputs before a commit. The executed
# notebook you are reading is the *twin* of such a source, and a test checks that it is fresh.

# %%
rng = np.random.default_rng(0)
first = notebook('# %% [markdown]\n# A walk', 'import random',
                 'steps = [random.random() for _ in range(6)]\nprint(steps)', counts=[None, 1, 2])
first.cells[2]['outputs'] = [nbformat.v4.new_output('stream', text=f'{rng.random(6)}\n')]
again = copy.deepcopy(first)            # the same cells, run again in the same session
again.cells[1]['execution_count'], again.cells[2]['execution_count'] = 3, 4
again.cells[2]['outputs'] = [nbformat.v4.new_output('stream', text=f'{rng.random(6)}\n')]
script = lambda b: jupytext.writes(b, fmt='py:percent')
changed = lambda a, b: sum(line[0] in '+-' for line in list(difflib.unified_diff(a.split('\n'), b.split('\n')))[2:])
print('changed lines, .ipynb :', changed(nbformat.writes(first), nbformat.writes(again)))
print('changed lines, percent:', changed(script(first), script(again)))
print('\n' + script(first).split('# ---\n')[-1])

# %% [markdown]
# ## Exercises
#
# Each works in fresh repositories (or on fresh notebooks), looks at what is there afterwards, and says what is not
# right yet. Write your answer in place of `todo(...)`. `hint(git['save'], 1)` gives the first of three hints.
#
# ### Git

# %%
git = {e.name: e for e in git_lesson()}
hint(git['save'], 1)

# %%
print(git['save'].task)


def save(repo):
    return todo(repo)


attempt(git['save'], save);

# %%
print(git['feature'].task)


def feature(repo):
    return todo(repo)


attempt(git['feature'], feature);

# %%
print(git['settle'].task)


def settle(repo):
    return todo(repo)


attempt(git['settle'], settle);

# %%
print(git['undo'].task)


def undo(repo, bad):
    return todo(repo, bad)


attempt(git['undo'], undo);

# %%
print(git['straighten'].task)


def straighten(repo):
    return todo(repo)


attempt(git['straighten'], straighten);

# %%
print(git['publish'].task)


def publish(repo):
    return todo(repo)


attempt(git['publish'], publish);

# %%
print(git['find_bad'].task)


def find_bad(repo, good, bad, test):
    return todo(repo, good, bad, test)


attempt(git['find_bad'], find_bad);

# %% [markdown]
# ### Notebooks

# %%
jupyter = {e.name: e for e in jupyter_lesson()}
hint(jupyter['order'], 1)

# %%
print(jupyter['order'].task)


def order(cells):
    return todo(cells)


attempt(jupyter['order'], order);

# %%
print(jupyter['runs'].task)


def runs(notebook):
    return todo(notebook)


attempt(jupyter['runs'], runs);

# %%
print(jupyter['stale'].task)


def stale(notebook):
    return todo(notebook)


attempt(jupyter['stale'], stale);

# %%
print(jupyter['strip'].task)


def strip(notebook):
    return todo(notebook)


attempt(jupyter['strip'], strip);

# %%
print(jupyter['percent'].task)


def percent(notebook):
    return todo(notebook)


attempt(jupyter['percent'], percent);

# %%
print(jupyter['is_fresh'].task)


def is_fresh(script, notebook):
    return todo(script, notebook)


attempt(jupyter['is_fresh'], is_fresh);
