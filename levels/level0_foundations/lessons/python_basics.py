"""Python: generators, dictionaries, exceptions, decorators, data classes, context managers."""

import dataclasses
import itertools
import random
import re

from levels.level0_foundations.lessons.lesson import Exercise, exercise, need, raises


def _nest(rng: random.Random, depth: int, leaves: list) -> list | tuple:
    """A random nest; what it holds is appended to `leaves`, in order."""
    items: list = []
    for _ in range(rng.randrange(4)):
        if depth and rng.random() < 0.5:
            items.append(_nest(rng, depth - 1, leaves))
        else:
            items.append(rng.choice([rng.randrange(9), 'word', None, 2.5, {'a': 1}]))
            leaves.append(items[-1])
    return items if rng.random() < 0.5 else tuple(items)


@exercise(
    '''Write flatten(items): a generator of the leaves of nested lists and tuples, in order. Everything else is a leaf,
    strings and dictionaries too. items itself may be any iterable, even one without end: take no more of it than is
    asked for.''',
    'What is a list of lists of lists, seen from one of its elements? A function may call itself.',
    'yield hands out one value and stops there; yield from hands out everything that another generator has.',
    'isinstance(item, (list, tuple)) tells what must be opened; a string would also be iterable, and never end.')
def flatten(answer):
    rng = random.Random(0)
    for _ in range(200):
        leaves: list = []
        nest = _nest(rng, 4, leaves)
        need(list(answer(nest)) == leaves, f'the leaves of {nest} are not these, in this order')
    taken = []

    def endless():
        for i in itertools.count():
            need(i < 50, 'more was taken than was asked for: is the answer a generator?')
            taken.append(i)
            yield [i, (i,)]

    need(list(itertools.islice(answer(endless()), 6)) == [0, 0, 1, 1, 2, 2], 'an iterable without end went wrong')
    need(len(taken) <= 4, 'more was taken than was asked for')


@exercise(
    '''Write group(pairs, into=None): a dictionary from each key to the list of its values, in the order of the pairs.
    Given a dictionary in into, add to that one and return it; otherwise begin a new one, in every call.''',
    'The pairs are not sorted: a key that comes back later belongs to the list that is there already.',
    'dict.setdefault(key, []) gives the list of a key and makes it where there is none.',
    'Default values are made once, when the function is defined: what happens to {} as a default on the second call?')
def group(answer):
    rng = random.Random(1)
    for _ in range(100):
        pairs = [(rng.choice('abc'), rng.randrange(5)) for _ in range(rng.randrange(9))]
        want = {key: [v for k, v in pairs if k == key] for key, _ in pairs}
        need(answer(pairs) == want, f'{pairs} are not grouped right (on the first call, or on a later one)')
        need(list(answer(iter(pairs))) == list(want), 'keys come in the order in which they are first met')
        mine = {'a': [9]}
        need(answer(pairs, mine) is mine, 'a dictionary that is given is the one to return')
        need(mine.get('a') == [9, *want.get('a', [])], 'what a given dictionary holds must stay, and grow')


@exercise(
    '''Write parse(text): a dictionary of the lines 'name = value'. Values are int where int() takes them, else float,
    else the text itself; names and values lose the blanks around them. Empty lines and what follows a # are skipped. A
    line without = raises ValueError with the number of that line, from 1, in its message.''',
    'enumerate(text.splitlines(), 1) gives lines with their numbers.',
    'A value may hold = itself: look at str.partition. What comes first, cutting the comment or the blanks?',
    'Try int, on ValueError try float, on ValueError keep the text; catch ValueError alone.')
def parse(answer):
    rng, values = random.Random(2), [3, -12, 0.5, 1e-3, 'a=b', 'two words', 'x', 7.0]
    for _ in range(100):
        table = {f'n{i}': rng.choice(values) for i in range(rng.randrange(6))}
        lines = [f'{" " * rng.randrange(3)}{k}{" " * rng.randrange(2)}={" " * rng.randrange(3)}{v}'
                 f'{rng.choice(["", "  # why = not", "#"])}' for k, v in table.items()]
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(['', '   ', '# a note', '  # = ']))
        found = answer('\n'.join(lines))
        need(found == table, f'read back, a table became {found}')
        need([type(v) for v in found.values()] == [type(v) for v in table.values()], 'a value has the wrong type')
        at = rng.randrange(len(lines) + 1)
        text = '\n'.join([*lines[:at], 'nonsense', *lines[at:]])
        try:
            answer(text)
        except ValueError as error:
            need(str(at + 1) in re.findall(r'\d+', str(error)),
                 f'line {at + 1} is wrong, and the message does not say so')
        else:
            need(False, 'a line without = must raise ValueError')


@exercise(
    '''Write counted(fn): a decorator. The decorated function does what fn does, with any arguments, errors included;
    its attribute calls says how often it was called, also when fn raised. It keeps the name and docstring of fn, and
    each decorated function counts for itself.''',
    'A decorator takes a function and returns another one; *args, **more take what comes and hand it on.',
    'functools.wraps copies name and docstring. A function can have attributes of its own.',
    'Count before you call: what if fn raises?')
def counted(answer):
    def power(base, *, exponent=2):
        """The docstring."""
        return base ** exponent

    first, second = answer(power), answer(len)
    need(first.calls == 0, 'before the first call, calls is 0')
    rng = random.Random(3)
    for i in range(1, 30):
        base, exponent = rng.randrange(9), rng.randrange(4)
        need(first(base, exponent=exponent) == base ** exponent, 'arguments or the result are lost')
        need(first.calls == i, f'{i} calls were counted as {first.calls}')
    need(raises(TypeError, second, 3), 'an error of the function must come through')
    need((first.calls, second.calls) == (29, 1), 'each function has its own count, and a call that raises counts')
    need((first.__name__, first.__doc__) == ('power', 'The docstring.'), 'name and docstring must stay')


@exercise(
    '''Write the class Interval(low, high): a frozen data class of two numbers, both ends included. x in interval; the
    intersection a & b, None where they do not meet; low > high raises ValueError. Equal intervals are equal, and
    count once in a set.''',
    '@dataclasses.dataclass(frozen=True) makes __init__, __eq__ and __hash__, and refuses changes.',
    'in calls __contains__, & calls __and__, and __post_init__ runs when the fields are there.',
    'Where two intervals meet, the larger low is not above the smaller high.')
def interval(answer):
    rng = random.Random(4)
    make = lambda: answer(*sorted((rng.randrange(10), rng.randrange(10))))
    for _ in range(300):
        a, b = make(), make()
        both = a & b
        for x in (*range(-1, 11), 4.5):
            need((x in a) == (a.low <= x <= a.high), f'{x} in {a} is wrong')
            need((both is not None and x in both) == (x in a and x in b), f'{x}: in {a} and {b}, and in {both}?')
        need((both is None) == (not any(x in a and x in b for x in range(10))), f'{a} & {b} is wrong')
        need((a == b) == ((a.low, a.high) == (b.low, b.high)), 'equal ends make equal intervals')
        need(len({a, b}) == 2 - (a == b), 'equal intervals must count once in a set')
    need(raises(ValueError, answer, 2, 1), 'low > high must raise ValueError')
    need(raises(dataclasses.FrozenInstanceError, setattr, make(), 'low', 0), 'an interval must not be changed')


@exercise(
    '''Write the context manager setting(table, key, value): inside, table[key] is value; afterwards the table is as it
    was, whatever happened inside, and errors go on. It is used as `with setting(d, 'k', 1):`.''',
    'contextlib.contextmanager makes one of a generator that yields once.',
    'try and finally: the part after the yield must also run when the body raised.',
    'A key that was not there has to be gone afterwards, and one that was None is not the same as one that was not.')
def setting(answer):
    rng = random.Random(5)
    for i in range(60):
        table = {k: rng.choice([None, 0, 1]) for k in 'abc' if rng.random() < 0.6}
        before, order, key = dict(table), list(table), rng.choice('abcd')
        try:
            with answer(table, key, 'new'):
                need(table.get(key) == 'new', 'inside, the value is not set')
                if i % 2:
                    raise KeyError('from inside')
        except KeyError as error:
            need(error.args == ('from inside',), 'another error took the place of the one from inside')
        else:
            need(not i % 2, 'an error from inside must go on')
        need(table == before, 'afterwards the table is not as it was')
        need(list(table) == order, 'afterwards the keys stand in another order')


def python_lesson() -> tuple[Exercise, ...]:
    """Six exercises: a generator, a dictionary, parsing with errors, a decorator, a data class, a context manager.

    Formula: a right answer holds the stated properties on some hundred random inputs, and at the edges.
    Paper: van Rossum, Drake 2009, Python 3 reference manual; PEP 255, 318, 343, 557.
    Shapes: no arrays; `check` of each exercise takes the function or class that was written.
    Errors: AssertionError of `check`, one line, for an answer that is not right yet.
    Example:
        exercises = {e.name: e for e in python_lesson()}
        ours = lambda pairs, into=None: {} if into is None else into
        try: exercises['group'].check(ours)
        except AssertionError as error: line = str(error)
        assert 'not grouped right' in line
    """
    return flatten, group, parse, counted, interval, setting
