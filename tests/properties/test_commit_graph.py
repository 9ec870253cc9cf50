"""Pictures of histories: every commit once, arrows to its parents, no two in one place, names where they point."""
import itertools

import pytest
from matplotlib.figure import Figure

from levels.level0_foundations.lessons.commit_graph import Commit, commits, draw_commits, places
from levels.level0_foundations.lessons.git_basics import throw_away


def grown(repo):
    """A history with a merge, a branch of a branch, a tag; main is not checked out."""
    first = repo.commit('Begin', a_txt='a\n')
    repo.git('switch', '--quiet', '-c', 'topic')
    topic = repo.commit('Topic', b_txt='b\n')
    repo.git('switch', '--quiet', '-c', 'twig')
    twig = repo.commit('Twig', c_txt='c\n')
    repo.git('switch', '--quiet', 'main')
    second = repo.commit('Main', d_txt='d\n')
    repo.git('merge', '--quiet', '-m', 'Join', 'topic')
    joined = repo.git('rev-parse', 'HEAD')
    repo.git('tag', 'v1', first)
    repo.git('switch', '--quiet', 'twig')
    return first, topic, twig, second, joined


def test_a_history_is_read_as_git_has_it():
    with throw_away() as (repo,):
        first, topic, twig, second, joined = grown(repo)
        rows = {row.hash: row for row in commits(repo)}
        order = list(rows)
        only = commits(repo, 'topic')
    assert set(rows) == {first, topic, twig, second, joined}
    assert rows[joined].parents == (second, topic) and rows[twig].parents == (topic,) and not rows[first].parents
    assert {h: row.names for h, row in rows.items() if row.names} == {
        first: ('v1',), topic: ('topic',), twig: ('twig *',), joined: ('main',)}
    assert rows[second].subject == 'Main'
    assert all(order.index(p) < order.index(h) for h, row in rows.items() for p in row.parents)
    assert [row.hash for row in only] == [first, topic]


def test_every_commit_has_a_place_of_its_own():
    with throw_away() as (repo,):
        first, topic, twig, second, joined = grown(repo)
        rows = commits(repo)
        at = places(rows)
        assert [at[h] for h in (first, second, joined)] == [(0, 0), (1, 0), (2, 0)], 'main is the straight line on top'
        assert at[topic] == (1, 1) and at[twig][0] == 2 and at[twig][1] != 0
        assert len(set(at.values())) == len(rows)
        assert all(at[p][0] < at[row.hash][0] for row in rows for p in row.parents), 'arrows point to the left'
        repo.git('switch', '--quiet', '--detach', 'main')
        assert ('HEAD *' in next(row for row in commits(repo) if row.hash == joined).names)
    line = [Commit('a', (), 'A', ('main',)), Commit('b', ('a',), 'B', ()), Commit('c', ('b',), 'C', ('topic *',))]
    assert places(line) == {'a': (0, 0), 'b': (1, 0), 'c': (2, 0)}, 'a branch that is ahead goes straight on'


def test_the_picture_shows_what_there_is():
    with throw_away() as (repo,):
        grown(repo)
        rows = commits(repo)
    figure = Figure(figsize=(6, 3), dpi=80, layout='constrained')
    ax = draw_commits(figure.subplots(), rows, title='what there is')
    figure.draw_without_rendering()
    arrows = [t for t in ax.texts if getattr(t, 'arrow_patch', None)]
    texts = [t.get_text() for t in ax.texts]
    assert len(arrows) == sum(len(row.parents) for row in rows) and ax.get_title() == 'what there is'
    for row in rows:
        assert row.hash[:4] in texts and row.subject in texts and ('\n'.join(row.names) in texts or not row.names)
    boxes = [t.get_window_extent() for t in ax.texts if t.get_text()]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2)), 'texts lie on each other'
    inside = ax.figure.bbox
    assert all(inside.x0 <= b.x0 and b.x1 <= inside.x1 and inside.y0 <= b.y0 and b.y1 <= inside.y1 for b in boxes)
    with pytest.raises(ValueError, match='rows: expected at least one commit; found none'):
        draw_commits(ax, [])
