"""Exercises that check themselves: a task, three hints, and a check of properties on many inputs.

Example:
    from levels.level0_foundations.lessons.numpy_arrays import numpy_lesson
    for exercise in numpy_lesson():
        print(exercise.task)
    attempt(numpy_lesson()[0], lambda a, b: a)      # prints what is not right yet, and gives no solution away
    hint(numpy_lesson()[0], 1)
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple


class Exercise(NamedTuple):
    """`check(answer)` returns None for a right answer, and raises AssertionError with one line for every other."""

    name: str
    task: str
    hints: tuple[str, str, str]
    check: Callable[[Any], None]


def exercise(task: str, *hints: str) -> Callable[[Callable[[Any], None]], Exercise]:
    """Makes an exercise of the function that checks it; the function's name is the exercise's."""
    if len(hints) != 3:
        raise ValueError(f'hints: expected 3; found {len(hints)}')

    def make(check: Callable[[Any], None]) -> Exercise:
        @functools.wraps(check)
        def careful(answer: Any) -> None:
            try:
                check(answer)
            except AssertionError as error:
                raise AssertionError(_line(str(error)) or 'a property of the task does not hold') from None
            except Exception as error:      # whatever goes wrong inside an answer is that answer's fault
                raise AssertionError(_line(f'{type(error).__name__}: {error}')) from error

        return Exercise(check.__name__, ' '.join(task.split()), hints, careful)

    return make


def attempt(exercise: Exercise, answer: Any) -> bool:
    """Checks an answer and prints one line: `right`, or what is not right yet."""
    try:
        exercise.check(answer)
    except AssertionError as error:
        print(f'{exercise.name}: not yet. {error}')
        return False
    print(f'{exercise.name}: right')
    return True


def hint(exercise: Exercise, number: int) -> None:
    """Prints hint 1, 2 or 3."""
    if number not in (1, 2, 3):
        raise ValueError(f'number: expected 1, 2 or 3; found {number}')
    print(f'{exercise.name}, hint {number}: {exercise.hints[number - 1]}')


def todo(*_: Any, **__: Any) -> None:
    """Stands where an answer will be written."""
    raise NotImplementedError('write your answer first')


def need(truth: Any, line: str) -> None:
    """An assertion that `python -O` keeps."""
    if not truth:
        raise AssertionError(line)


def raises(kind: type[Exception], fn: Callable, *args: Any, **more: Any) -> bool:
    """Whether a call raises that kind of error; any other error goes through."""
    try:
        fn(*args, **more)
    except kind:
        return True
    return False


def _line(text: str) -> str:
    """The first line, and no more than fits in one."""
    first = text.strip().splitlines()[0] if text.strip() else ''
    return first if len(first) <= 200 else first[:197] + '...'
