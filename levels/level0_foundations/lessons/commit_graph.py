"""The commits of a repository as a picture: circles with arrows to their parents, and the names that point at them.

Example:
    from levels.level0_foundations.lessons.commit_graph import commits, draw_commits
    rows = commits(repo)            # what there is now; the repository may go on
    draw_commits(ax, rows, title='after the merge')
"""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from levels.level0_foundations.lessons.git_basics import Repo

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Commit(NamedTuple):
    """A commit: its hash, those of its parents, the first line of its message, and the names that point at it."""

    hash: str
    parents: tuple[str, ...]
    subject: str
    names: tuple[str, ...]


def commits(repo: Repo, *what: str) -> list[Commit]:
    """The commits that can be reached from `what`, by default from any name: parents before children.

    A name of the current branch is written 'main *'; where no branch is checked out, 'HEAD *'.
    """
    out = repo.git('log', '--topo-order', '--reverse', '--decorate=short', '--format=%H%x1f%P%x1f%s%x1f%D',
                   *(what or ('--all', 'HEAD')))
    rows = []
    for line in out.splitlines():
        full, parents, subject, names = line.split('\x1f')
        each = [n.replace('tag: ', '') for n in names.split(', ') if n]
        each = [f'{n.removeprefix("HEAD -> ")} *' if n.startswith('HEAD') else n for n in each]
        rows.append(Commit(full, tuple(parents.split()), subject, tuple(each)))
    return rows


def places(rows: Sequence[Commit], trunk: str = 'main') -> dict[str, tuple[int, int]]:
    """hash -> (column, lane): columns count the longest way from a root, and the first parents of `trunk` are lane 0.

    Every other line of first parents goes on in the lane it comes from if that is free in all of its columns, and
    gets the next free one otherwise.
    """
    by_hash = {row.hash: row for row in rows}
    column: dict[str, int] = {}
    for row in rows:
        column[row.hash] = 1 + max((column[p] for p in row.parents if p in column), default=-1)
    is_trunk = lambda row: trunk in {name.removesuffix(' *') for name in row.names}
    heads = sorted(reversed(rows), key=lambda row: (not is_trunk(row), not row.names))
    lane: dict[str, int] = {}
    for head in heads:
        line, at = [], head.hash
        while at in by_hash and at not in lane:
            line.append(at)
            at = by_hash[at].parents[0] if by_hash[at].parents else ''
        if line:
            span = range(column[line[-1]], column[line[0]] + 1)
            taken = {lane[h] for h in lane if column[h] in span}
            others = range(bool(lane), len(rows) + 1)
            lane.update(dict.fromkeys(line, next(k for k in (lane.get(at), *others) if k not in {None, *taken})))
    return {h: (column[h], lane[h]) for h in by_hash}


def draw_commits(ax: 'Axes', rows: Sequence[Commit], *, title: str = '', trunk: str = 'main') -> 'Axes':
    """Draws commits from left to right: the beginning of the hash in a circle, the message below, names above.

    Arrows go from a commit to its parents, as git's own pointers do. Errors: ValueError for no commits.
    """
    if not rows:
        raise ValueError('rows: expected at least one commit; found none')
    at = places(rows, trunk)
    for row in rows:
        x, y = at[row.hash]
        for parent in row.parents:
            if parent in at:
                ax.annotate('', at[parent], (x, y), arrowprops={
                    'arrowstyle': '-|>', 'color': '0.45', 'shrinkA': 15, 'shrinkB': 15,
                    'connectionstyle': 'arc3,rad=0' if y == at[parent][1] else 'arc3,rad=0.12'})
    for row in rows:
        x, y = at[row.hash]
        color = ('#1f5fa8', '#d1495b', '#2e933c', '#8a6d1d', '#5b4b8a')[y % 5]
        ax.plot(x, y, 'o', ms=26, color='white', mec=color, mew=2, ls='')
        ax.text(x, y, row.hash[:4], ha='center', va='center', fontsize=8, family='monospace', color=color)
        ax.annotate(textwrap.fill(row.subject, 15), (x, y), (0, -17), textcoords='offset points', ha='center',
                    va='top', fontsize=8)
        if row.names:
            ax.annotate('\n'.join(row.names), (x, y), (0, 17), textcoords='offset points', ha='center', va='bottom',
                        fontsize=8, weight='bold', color=color,
                        bbox={'boxstyle': 'round,pad=0.25', 'fc': 'white', 'ec': color, 'lw': 1})
    columns, lanes = (max(v[i] for v in at.values()) for i in (0, 1))
    ax.set(xlim=(-0.6, columns + 0.6), ylim=(lanes + 0.7, -0.75), title=title)      # lane 0 on top
    ax.set_axis_off()
    return ax
