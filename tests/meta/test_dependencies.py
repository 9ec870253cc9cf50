"""What the code imports is declared in pyproject.toml, and the extras are what they are said to be."""
import sys
from importlib import metadata

import pytest
from packaging.utils import canonicalize_name
from requirements import EXTRAS, PROJECT, ROOT, base, extra

from tools.check_layout import BRIDGES, CODE, ORACLES, modules

OWNERS = metadata.packages_distributions()      # what one imports -> the distributions that bring it
FOR_DEVELOPERS = ('test', 'docs')


def third_party(module) -> set[tuple[str, bool]]:
    """(top name, whether it is imported with the module) of every import from outside this repository."""
    found = {(name.partition('.')[0], top) for _, name, top in module.imports}
    return {(name, top) for name, top in found if name not in {*sys.stdlib_module_names, *CODE}}


def undeclared(module, always: set[str], sometimes: set[str]) -> list[str]:
    """Imports that no dependency brings: at the top of a file only the base set counts."""
    missing = []
    for name, top in sorted(third_party(module)):
        brings = {canonicalize_name(d) for d in OWNERS.get(name, [name])}
        if not brings & (always if top else always | sometimes) and not module.path.startswith(BRIDGES):
            missing.append(f'{module.path} imports {name}, which comes with {", ".join(sorted(brings))}')
    return missing


def test_every_import_is_declared():
    optional = set().union(*(extra(e) for e in EXTRAS if e not in FOR_DEVELOPERS))
    found = modules(ROOT)
    assert [line for m in found for line in undeclared(m, set(base()), optional)] == []
    assert {'jax', 'flax', 'numpy', 'psutil', 'sklearn', 'orbax'} <= {n for m in found for n, _ in third_party(m)}


@pytest.mark.parametrize(('without', 'file'), [('psutil', 'common/results.py'), ('scikit-learn', 'projects/'),
                                               ('flax', 'levels/'), ('rich', 'tools/catalogue.py')])
def test_an_undeclared_import_would_be_seen(without, file):
    rest = set(base()) - {without}
    assert any(file in line and without in line for m in modules(ROOT) for line in undeclared(m, rest, set()))


def test_oracles_are_for_tests_alone():
    assert 'torch' in extra('test') and 'torch' in extra('bench')
    assert extra('bench')['torch'].specifier == extra('test')['torch'].specifier
    assert str(extra('test')['torch'].specifier) == '==2.13.0'
    assert not [name for name in base() if ORACLES.match(name.replace('-', '_'))]


def test_the_extras():
    promised = {'bench', 'data', 'test', 'docs', 'molecules', 'atari', 'notebooks', 'prepare', 'cuda12', 'cuda13',
                'tpu'}
    assert promised <= EXTRAS.keys()
    assert all(EXTRAS[name] for name in EXTRAS)
    assert extra('data').keys() <= extra('test').keys()
    assert 'ale-py' not in base()       # GPL-2.0


@pytest.mark.parametrize('name', ['cuda12', 'cuda13', 'tpu'])
def test_accelerators_are_jax_s_own_extras(name):
    assert EXTRAS[name] == [f'jax[{name}]']
    assert name in metadata.metadata('jax').get_all('Provides-Extra')


def test_the_python_that_is_asked_for():
    assert PROJECT['requires-python'] == '>=3.11' and PROJECT['name'] == 'ai-roadmap'
