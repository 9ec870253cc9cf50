"""Configs: types, ranges, choices, fields that contradict each other, and the words of the errors."""
import pytest
from ml_collections import ConfigDict

from common import config
from common.config import TRAINING, build, field, validate
from common.errors import ConfigError, UsageError

FIELDS = {
    **TRAINING,
    'rate': field(0.1, 'learning rate', low=0.0, high=1.0),
    'sizes': field((8, 8), 'layer sizes', low=1),
    'flip': field(True, 'mirror images'),
    'kind': field('a', 'which', choices=('a', 'bb')),
}


def test_defaults_are_valid_typed_and_locked():
    made = build(FIELDS, {})
    validate(made, FIELDS)
    assert isinstance(made, ConfigDict) and made.is_locked
    with pytest.raises(TypeError):
        made.steps = 'many'
    with pytest.raises(AttributeError):
        made.stepz = 1


def test_an_int_stands_for_a_float_and_a_list_for_a_tuple():
    made = build(FIELDS, {'rate': 1, 'sizes': [3]})
    assert type(made.rate) is float and made.sizes == (3,)


@pytest.mark.parametrize('name, value, words', [
    ('rate', 'x', "rate='x': expected float, got str"),
    ('rate', True, 'expected float, got bool'),
    ('rate', float('nan'), 'not finite'),
    ('rate', 10**400, 'expected float, got int'),
    ('rate', 1.5, 'out of range: float from 0.0 to 1.0'),
    ('steps', 1.0, 'expected int, got float'),
    ('steps', True, 'expected int, got bool'),
    ('steps', 0, 'out of range: int from 1'),
    ('steps', 2**31, 'out of range'),
    ('steps', None, 'expected int, got NoneType'),
    ('flip', 1, 'expected bool, got int'),
    ('sizes', 3, 'expected a tuple, got int'),
    ('sizes', (3, 0), 'sizes=0 is out of range: tuple of int from 1'),
    ('sizes', (3, 'x'), 'expected int, got str'),
    ('kind', 'b', 'not one of a, bb, did you mean bb?'),
    ('dtype', 'float16', 'did you mean bfloat16?'),
    ('stepz', 1, "no config field 'stepz', did you mean steps?"),
])
def test_bad_values_are_named_in_one_line(name, value, words):
    with pytest.raises(ConfigError) as caught:
        build(FIELDS, {name: value})
    assert words in str(caught.value) and '\n' not in str(caught.value)


def test_validate_finds_what_was_changed_after_building():
    made = build(FIELDS, {})
    made.steps = 0
    with pytest.raises(ConfigError, match='steps=0 is out of range'):
        validate(made, FIELDS)
    loose = ConfigDict(build(FIELDS, {}).to_dict())
    del loose['rate']
    with pytest.raises(ConfigError, match="'rate' is missing"):
        validate(loose, FIELDS)
    with pytest.raises(ConfigError, match="no config field 'ratee', did you mean rate"):
        validate(ConfigDict({**build(FIELDS, {}).to_dict(), 'ratee': 1.0}), FIELDS)


@pytest.mark.parametrize('name', ['steps', 'log_every', 'eval_every', 'checkpoint_every'])
def test_everything_is_a_multiple_of_steps_per_call(name):
    good = {'steps': 60, 'log_every': 60, 'eval_every': 60, 'checkpoint_every': 60, 'steps_per_call': 20}
    validate(build(FIELDS, good), FIELDS)
    with pytest.raises(ConfigError, match='is not a multiple') as caught:
        validate(build(FIELDS, {**good, name: 70}), FIELDS)
    assert f'did you mean --config.{name}=80 or --config.steps_per_call=10?' in str(caught.value)
    for fixed in ({name: 80}, {name: 70, 'steps_per_call': 10}):        # what the message advises helps
        validate(build(FIELDS, {**good, **fixed}), FIELDS)


def test_the_project_may_add_rules():
    def check(c):
        if c.rate > 0.5:
            raise ValueError('rate is\nhigh')
        return 1 / (c.rate - 0.25)

    validate(build(FIELDS, {}), FIELDS, check)
    with pytest.raises(ConfigError, match=r'^rate is high$'):
        validate(build(FIELDS, {'rate': 0.6}), FIELDS, check)
    with pytest.raises(ConfigError, match='division'):
        validate(build(FIELDS, {'rate': 0.25}), FIELDS, check)
    assert issubclass(ConfigError, UsageError) and ConfigError.exit_code == 2


def test_variants():
    assert config.pick(FIELDS, {'full': {}, 'smoke': {'steps': 50}}, 'smoke').steps == 50
    with pytest.raises(ConfigError, match=r"'smok', did you mean smoke\? Known: full, smoke"):
        config.pick(FIELDS, {'full': {}, 'smoke': {}}, 'smok')


@pytest.mark.parametrize('default, rules', [
    (None, {}), ([1], {}), (0, {'low': 1}), ('c', {'choices': ('a',)}), (1.5, {'high': 1})])
def test_a_field_cannot_contradict_itself(default, rules):
    with pytest.raises(ValueError):
        field(default, 'words', **rules)
