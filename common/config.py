"""Configs: flat, typed, checked before JAX starts.

A project's `config.py` holds
    FIELDS = {**TRAINING, 'rate': field(1e-3, 'learning rate', low=0.0, high=10.0)}
    VARIANTS = {'full': {}, 'smoke': {'steps': 20, 'steps_per_call': 10}}
    HARMLESS = ()                                     # fields whose change does not stop a resume
    def get_config(size='full'): return config.pick(FIELDS, VARIANTS, size)
    def check(config): ...                            # optional: raises ValueError where fields contradict each other
    def expected(config): return {'accuracy': (0.97, '>=')}
"""
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from common.errors import ConfigError, did_you_mean, one_line

BIG = 2**31 - 1      # step counters are int32


class Field(NamedTuple):
    """One config field. Its type is that of `default`; bounds are inclusive and hold for each element of a tuple."""
    default: Any
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple | None = None

    @property
    def meaning(self) -> str:
        """Type and range in words, e.g. 'int from 1 to 100' or 'one of jit, mesh'."""
        if self.choices is not None:
            return 'one of ' + ', '.join(map(str, self.choices))
        kind = type(self.default).__name__
        if self.default and kind == 'tuple':
            kind += f' of {type(self.default[0]).__name__}'
        low = '' if self.low is None else f' from {self.low}'
        high = '' if self.high is None else f' to {self.high}' if low else f' up to {self.high}'
        return kind + low + high


def _checked(name: str, rule: Field, value: Any) -> Any:
    """`value` as the field's type (an int may stand for a float, a list for a tuple), or ConfigError."""
    if not isinstance(rule.default, tuple):
        return _scalar(name, rule, value, rule.default)
    if not isinstance(value, tuple | list):
        raise ConfigError(f'{name}={_show(value)}: expected a tuple, got {type(value).__name__}')
    like = rule.default[0] if rule.default else None
    return tuple(_scalar(name, rule, v, v if like is None else like) for v in value)


def _scalar(name: str, rule: Field, value: Any, like: Any) -> Any:
    kind = type(like)
    if kind is float and type(value) is int and abs(value) <= 2**53:
        value = float(value)
    if type(value) is not kind or kind not in (bool, int, float, str):
        raise ConfigError(f'{name}={_show(value)}: expected {kind.__name__}, got {type(value).__name__}')
    if kind is float and not math.isfinite(value):
        raise ConfigError(f'{name}={value} is not finite')
    if rule.choices is not None and value not in rule.choices:
        hint = did_you_mean(value, map(str, rule.choices))
        raise ConfigError(f'{name}={_show(value)} is not {rule.meaning}{hint}')
    if (rule.low is not None and value < rule.low) or (rule.high is not None and value > rule.high):
        raise ConfigError(f'{name}={_show(value)} is out of range: {rule.meaning}')
    return value


def _show(value: Any) -> str:
    return one_line(repr(value), 60)


def field(default, help, *, low=None, high=None, choices=None) -> Field:
    """A config field: bool, int, float, str or a tuple of these. ValueError where the default breaks the rules."""
    if not isinstance(default, bool | int | float | str | tuple):
        raise ValueError(f'a field is a bool, int, float, str or tuple, not {type(default).__name__}')
    made = Field(default, help, low, high, None if choices is None else tuple(choices))
    _checked('default', made, default)
    return made


TRAINING: dict[str, Field] = {
    'seed': field(0, 'root of all random keys', low=0, high=2**32 - 1),
    'steps': field(1000, 'training steps of the whole run', low=1, high=BIG),
    'batch_size': field(128, 'examples per step, over all devices', low=1, high=BIG),
    'steps_per_call': field(50, 'steps that run on the device in one call', low=1, high=BIG),
    'log_every': field(50, 'steps between rows of training metrics', low=1, high=BIG),
    'eval_every': field(200, 'steps between evaluations', low=1, high=BIG),
    'checkpoint_every': field(200, 'steps between checkpoints', low=1, high=BIG),
    'dtype': field('float32', 'type of the activations; parameters stay float32', choices=('float32', 'bfloat16')),
}


def build(fields: Mapping[str, Field], overrides: Mapping[str, Any]) -> ConfigDict:
    """The defaults with `overrides` applied, locked and typed. ConfigError for an unknown name or a bad value."""
    for name in overrides:
        if name not in fields:
            raise ConfigError(f'no config field {name!r}{did_you_mean(name, fields)}')
    values = {name: _checked(name, f, overrides.get(name, f.default)) for name, f in fields.items()}
    return ConfigDict(values).lock()


def pick(fields: Mapping[str, Field], variants: Mapping[str, Mapping], size: str) -> ConfigDict:
    """The config of the named variant. ConfigError for an unknown name."""
    if size not in variants:
        raise ConfigError(f'no config variant {size!r}{did_you_mean(size, variants)} Known: {", ".join(variants)}')
    return build(fields, variants[size])


def validate(config: ConfigDict, fields: Mapping[str, Field], check: Callable[[ConfigDict], None] | None = None):
    """ConfigError (one line) unless every field is there, of its type and in its range, and all fields agree."""
    for name in config:
        if name not in fields:
            raise ConfigError(f'no config field {name!r}{did_you_mean(name, fields)}')
    for name, rule in fields.items():
        if name not in config:
            raise ConfigError(f'config field {name!r} is missing')
        _checked(name, rule, config[name])
    per_call = config.get('steps_per_call', 1)
    for name in ('steps', 'log_every', 'eval_every', 'checkpoint_every'):
        if name in config and config[name] % per_call:
            up, common = math.ceil(config[name] / per_call) * per_call, math.gcd(config[name], per_call)
            raise ConfigError(f'{name}={config[name]} is not a multiple of steps_per_call={per_call}, did you mean '
                              f'--config.{name}={up} or --config.steps_per_call={common}?')
    try:
        if check:
            check(config)
    except ConfigError:
        raise
    except (ValueError, ArithmeticError) as e:
        raise ConfigError(one_line(e) or type(e).__name__) from e
