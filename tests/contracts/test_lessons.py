"""The laws of every lesson in the catalogue: right answers pass, plausible wrong ones fail with a line that helps.

The exercises of the notebooks on mathematics and on backpropagation, three a part, keep them too.  The answers live in
tests/fixtures/lessons, one file per lesson, named as the lesson's module.
"""
import importlib
import os
from collections import Counter

import numpy as np
import pytest

from levels.catalogue import load, members
from levels.level0_foundations.lessons import mathematics
from levels.level0_foundations.lessons.lesson import attempt, exercise, hint, todo
from levels.level2_neural.exercises import backprop_exercises

ROWS = members(kind='lesson')
LESSONS = {row.name: load(row)() for row in ROWS}
MODULES = {row.name: row.import_path.rpartition('.')[0].rpartition('.')[2] for row in ROWS}
PARTS = ('linear_algebra', 'calculus', 'probability', 'optimisation')      # of the notebooks on mathematics
LESSONS |= {part: getattr(mathematics, f'{part}_exercises')() for part in PARTS}
MODULES |= dict.fromkeys(PARTS, 'mathematics')
LESSONS['backprop'], MODULES['backprop'] = backprop_exercises(), 'exercises'
ANSWERS = {name: importlib.import_module(f'tests.fixtures.lessons.{module}').ANSWERS
           for name, module in MODULES.items()}
EXERCISES = [(name, e) for name, lesson in LESSONS.items() for e in lesson]
IDS = [f'{name}-{e.name}' for name, e in EXERCISES]
RAN: Counter = Counter()


def answers(name, e):
    right, *wrong = ANSWERS[name][e.name]
    return right, wrong


def surroundings():
    """What a check must leave as it was."""
    from matplotlib import pyplot as plt
    return (os.getcwd(), dict(os.environ), plt.get_fignums(), np.random.get_state()[1].tolist(),  # noqa: NPY002
            dict(plt.rcParams))


def why(e, answer) -> str:
    with pytest.raises(AssertionError) as failed:
        e.check(answer)
    return str(failed.value)


@pytest.mark.parametrize('name', list(LESSONS))
def test_a_lesson_has_exercises_with_tasks_and_hints(name):
    lesson = LESSONS[name]
    assert len(lesson) >= (3 if name in (*PARTS, 'backprop') else 5) and len({e.name for e in lesson}) == len(lesson)
    together = [e.name for other, module in MODULES.items() if module == MODULES[name] for e in LESSONS[other]]
    assert set(ANSWERS[name]) == set(together) and len(set(together)) == len(together)
    for e in lesson:
        assert len(e.task) > 60 and len(set(e.hints)) == 3 and min(map(len, e.hints)) > 20, e.name
    RAN[name, 'form'] += 1


@pytest.mark.parametrize(('name', 'e'), EXERCISES, ids=IDS)
def test_the_right_answer_passes_and_leaves_no_trace(name, e):
    before = surroundings()
    e.check(answers(name, e)[0])
    assert surroundings() == before
    RAN[name, 'right'] += 1


@pytest.mark.parametrize(('name', 'e'), EXERCISES, ids=IDS)
def test_wrong_answers_fail_with_one_line_that_helps(name, e):
    wrong = answers(name, e)[1]
    assert len(wrong) >= 2
    before = surroundings()
    for answer in wrong:
        line = why(e, answer)
        assert 10 < len(line) <= 200 and '\n' not in line, line
    assert surroundings() == before
    RAN[name, 'wrong'] += 1


@pytest.mark.parametrize(('name', 'e'), EXERCISES, ids=IDS)
def test_no_answer_is_no_accident(name, e, capsys):
    """Nothing, something that cannot be called, and the placeholder: never another exception than the assertion."""
    for answer in (None, 3, lambda *args, **more: None):
        assert why(e, answer)
    assert not attempt(e, todo)
    assert f'{e.name}: not yet.' in capsys.readouterr().out
    RAN[name, 'nothing'] += 1


def test_every_pair_ran():
    """A lesson without answers, or an exercise that a law skipped, shows here."""
    if len(RAN) < 4 * len(LESSONS):
        pytest.skip('only some of this file ran')
    assert len(ROWS) == 6 and len(LESSONS) == 11 and len(RAN) == 4 * len(LESSONS)
    assert all(RAN[name, law] == len(LESSONS[name]) for name in LESSONS for law in ('right', 'wrong', 'nothing'))


def test_an_exercise_says_what_is_wrong(capsys):
    @exercise('Double  a\n number.', 'one', 'two', 'three')
    def double(answer):
        assert answer(2) == 4, 'twice 2 is\nnot this'

    assert (double.name, double.task) == ('double', 'Double a number.')
    assert attempt(double, lambda x: 2 * x) and not attempt(double, lambda x: x) and not attempt(double, lambda: 0)
    hint(double, 2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ['double: right', 'double: not yet. twice 2 is']
    assert lines[2].startswith('double: not yet. TypeError: ') and lines[3] == 'double, hint 2: two'
    with pytest.raises(ValueError, match='number: expected 1, 2 or 3; found 4'):
        hint(double, 4)
    with pytest.raises(ValueError, match='hints: expected 3; found 1'):
        exercise('x', 'only one')
