"""Types of flags: absl parsers that also say what was probably meant. A bad text is a ValueError with one line."""
import math
import re

from absl import flags

from common.errors import did_you_mean


class Text(flags.ArgumentParser):
    """Any text."""


class Choice(flags.EnumParser):
    """One of some words."""

    def __init__(self, *words: str):
        super().__init__(list(words))
        self.syntactic_help = 'one of ' + ', '.join(words)

    def parse(self, argument: str) -> str:
        if argument not in self.enum_values:
            raise ValueError(f'not {self.syntactic_help}{did_you_mean(argument, self.enum_values)}')
        return argument


class Int(flags.IntegerParser):
    """An int in a range."""

    def __init__(self, low: int, high: int):
        super().__init__(low, high)
        self.syntactic_help = f'int from {low} to {high}'

    def parse(self, argument) -> int:
        try:
            return super().parse(argument)
        except (TypeError, ValueError):
            raise ValueError(f'not an {self.syntactic_help}') from None


class Float(flags.FloatParser):
    """A finite float in a range."""

    def __init__(self, low: float, high: float):
        super().__init__(low, high)
        self.syntactic_help = f'float from {low} to {high:g}'

    def parse(self, argument) -> float:
        try:
            value = super().parse(argument)
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(f'not a {self.syntactic_help}')
        return value


class Mesh(flags.ArgumentParser):
    """'data=4,model=2' -> (('data', 4), ('model', 2))."""
    syntactic_help = 'axis=size,axis=size'

    def parse(self, argument) -> tuple[tuple[str, int], ...]:
        if isinstance(argument, tuple):
            return argument
        axes = []
        for part in argument.split(',') if argument else []:
            found = re.fullmatch(r'\s*([A-Za-z_]\w*)\s*=\s*([1-9][0-9]{0,5})\s*', part, re.ASCII)
            if not found:
                raise ValueError(f'{part!r} is not axis=size, as in data=4,model=2')
            if found[1] in (name for name, _ in axes):
                raise ValueError(f'axis {found[1]!r} is there twice')
            axes.append((found[1], int(found[2])))
        return tuple(axes)


class Sharding(flags.ArgumentParser):
    """'kernel$=fsdp;Dense_0/kernel=None,model' -> (('kernel$', 'fsdp'), ('Dense_0/kernel', (None, 'model'))).

    A rule is a regular expression over leaf paths, the last '=', and either `fsdp` or one entry per dimension: None, an
    axis of the mesh, or axes joined by '+' (a tuple of names). The first rule that matches holds.
    """
    syntactic_help = 'regex=spec;regex=spec, where spec is fsdp, or None, axis or axis+axis for each dimension'

    def parse(self, argument) -> tuple[tuple[str, str | tuple], ...]:
        if isinstance(argument, tuple):
            return argument
        return tuple(self._rule(part) for part in argument.split(';')) if argument else ()

    def _rule(self, text: str) -> tuple[str, str | tuple]:
        pattern, equals, spec = text.rpartition('=')
        if not equals or not pattern.strip() or not spec.strip():
            raise ValueError(f'{text!r} is not regex=spec, as in kernel$=fsdp or Dense_0/kernel=None,model')
        try:
            re.compile(pattern.strip())
        except (re.error, RecursionError, OverflowError) as e:
            raise ValueError(f'{pattern!r} is not a regular expression: {e}') from None
        if spec.strip() == 'fsdp':
            return pattern.strip(), 'fsdp'
        entries = [tuple(a.strip() for a in entry.split('+')) for entry in spec.split(',')]
        names = [a for entry in entries for a in entry if a != 'None']
        for a in names:
            if not re.fullmatch(r'[A-Za-z_]\w*', a, re.ASCII):
                raise ValueError(f'{a!r} in {spec!r} is neither None nor the name of a mesh axis')
        if len(set(names)) < len(names):
            raise ValueError(f'{spec!r} uses an axis twice')
        if any('None' in e and len(e) > 1 for e in entries):
            raise ValueError(f'{spec!r} joins None with an axis')
        return pattern.strip(), tuple(None if e == ('None',) else e[0] if len(e) == 1 else e for e in entries)


class Process(flags.ArgumentParser):
    """off, auto or HOST:PORT."""
    syntactic_help = 'off, auto or HOST:PORT'

    def parse(self, argument: str) -> str:
        found = re.fullmatch(r'([\w.-]+|\[[0-9a-fA-F:]+\]):([0-9]{1,5})', argument, re.ASCII)
        if argument not in ('off', 'auto') and not (found and 0 < int(found[2]) < 65536):
            raise ValueError(f'not {self.syntactic_help}{did_you_mean(argument, ("off", "auto"))}')
        return argument
