"""F15: whatever is typed ends in a valid run or in one clear line, before JAX starts."""
import random
import string

import pytest

from common import config as config_lib
from common import launch
from common.args import Args
from common.errors import UsageError
from tests import fixtures

JUNK = [
    '', ' ', '-', '--', '=', '==', 'nan', '-inf', '1e999', '9' * 5000, '0x', '1_0', 'None', 'True', '()', '(' * 3000,
    '[1,2', '{}', '{1:2}', '"', "'''", '\\', '\0', '\n\n', '\x1b[31m', '\u202e', '\udcff', '日本', '%s%n', '{0}', '~',
    '../' * 50, '/dev/null', ':', ':::', '.py', 'a.py:', '=;=;=', '*', '(?P<', '1,2', '0', '-1', '2147483648',
    'a' * 9999]
TEMPLATES = [
    '--config.{field}={junk}', '--{flag}={junk}', '--config.{junk}=1', '--{junk}=1', '{junk}', '--config={junk}',
    '--config.{field}', '--no{flag}={junk}', '--noconfig.{field}', '--config.{field} {junk}', '-{flag}', '--{flag}',
    '--config.{field}.{junk}=1', '--config.{field}[{junk}]=1', '--flagfile={junk}', '--undefok={junk}',
    '--{flag}{junk}',
]


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    monkeypatch.syspath_prepend(str(fixtures.HERE))
    from fake_project import config
    return config


def parse(argv):
    return launch.parse('fake_project', argv)


def typo(rng: random.Random, word: str) -> str:
    i = rng.randrange(len(word))
    letter = rng.choice(string.ascii_lowercase)
    return rng.choice([word[:i] + word[i + 1:], word[:i] + letter + word[i:], word[:i] + letter + word[i + 1:]])


def flag_names() -> list[str]:
    return [name for name, f in Args.__dataclass_fields__.items() if f.metadata]


def must_fail(argv: list[str]) -> str:
    with pytest.raises(UsageError) as caught:       # any other exception, or none, fails the test
        parse(argv)
    message = str(caught.value)
    assert message.isprintable() and 0 < len(message) < 1200, message
    return message


def test_200_typos_and_bad_values_are_all_refused(fake):
    rng, hints = random.Random(0), 0
    known = {*flag_names(), *(f'no{n}' for n in flag_names()), *fake.FIELDS, *(f'no{n}' for n in fake.FIELDS), 'config'}
    for i in range(200):
        if i % 4 == 0 and (word := typo(rng, rng.choice(list(fake.FIELDS)))) not in known:
            message = must_fail(['--workdir=x', f'--config.{word}=1'])
            hints += 'did you mean --config.' in message
        elif i % 4 == 1 and (word := typo(rng, rng.choice(flag_names()))) not in known:
            message = must_fail(['--workdir=x', f'--{word}=1'])
            hints += 'did you mean --' in message
        elif i % 4 == 2:
            name = rng.choice(['steps', 'rate', 'batch_size', 'seed', 'dtype', 'sizes', 'flip'])
            value = rng.choice(['many', '-1', 'nan', '1e400', '(-3,)'])
            message = must_fail(['--workdir=x', f'--config.{name}={value}'])
            assert name in message
        else:
            name = rng.choice(['seeds', 'keep', 'strategy', 'reduction', 'on_nan', 'loss_spike', 'mesh', 'distributed'])
            value = rng.choice(['-1', 'many', '0x', 'nan', '='])
            message = must_fail(['--workdir=x', '--strategy=mesh', f'--{name}={value}'])
            assert name in message
    assert hints > 80


def test_2000_arbitrary_commands_end_in_a_config_or_in_one_line(fake):
    rng, refused, names = random.Random(1), 0, flag_names()
    for _ in range(2000):
        argv = ['--workdir=x'] * rng.randrange(2)
        for _ in range(rng.randrange(1, 4)):
            text = rng.choice(TEMPLATES).format(flag=rng.choice(names), field=rng.choice(list(fake.FIELDS)),
                                                junk=rng.choice(JUNK))
            argv += text.split(' ', 1) if rng.random() < 0.5 else [text]
        rng.shuffle(argv)
        try:
            args = parse(argv)
        except UsageError as e:
            refused += 1
            assert str(e).isprintable() and 0 < len(str(e)) < 1200, argv
        else:
            config_lib.validate(args.config, fake.FIELDS, fake.check)
            assert args.workdir and args.seeds >= 1 and args.strategy in ('jit', 'pmap', 'mesh')
    assert 1500 < refused < 2000


@pytest.mark.parametrize('argv, words', [
    (['--config.stepz=1'], 'did you mean --config.steps?'),
    (['--config.steps=many'], 'not a value of type int'),
    (['--config.rate=99'], 'out of range'),
    (['--config=smok'], 'did you mean smoke?'),
    (['--config=tests/fixtures/fake_project/main.py'], 'has no function get_config'),
    (['--strategy=jitt'], 'did you mean jit?'),
    (['--mesh=4'], 'is not axis=size'),
    (['word'], 'stray argument'),
    (['--workdir'], 'Missing value'),
    (['--workdir='], '--workdir is missing'),
    (['--config.note=\x1b[31m', '--sedes=1'], 'did you mean --seeds?'),
])
def test_as_a_process_one_line_and_code_2_in_2_seconds_without_jax(argv, words):
    done = fixtures.launch('--workdir=/nowhere/x', *argv)
    assert done.code == 2 and done.out == '' and done.seconds < 2
    assert done.err.startswith('error: ') and done.err.count('\n') == 1 and words in done.err
    assert 'Traceback' not in done.err and 'JAX' not in done.err


def test_nothing_typed_tells_what_to_type():
    done = fixtures.launch()
    assert done.code == 2 and 'type: python -m fake_project.main --workdir=runs/x' in done.err


def test_the_trap_for_jax_works(tmp_path):
    (tmp_path / 'c.py').write_text('import jax\n')
    assert fixtures.launch('--workdir=x', f'--config={tmp_path}/c.py').code == 99
