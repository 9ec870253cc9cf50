"""Nothing may be skipped for want of a package: what [test] and the base set ask for is here, in a fitting version."""
import ast
from importlib import metadata

import pytest
from requirements import ROOT, base, extra

NEEDED = {**base(), **extra('test')}


def test_the_list_is_not_empty():
    assert {'jax', 'psutil', 'torch', 'pytest', 'mlxtend', 'grain'} <= NEEDED.keys() and len(NEEDED) > 30


@pytest.mark.parametrize('name', sorted(NEEDED))
def test_it_is_installed_and_fits(name):
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        pytest.fail(f"{name} is not installed; fix: pip install -e '.[test]'")
    assert NEEDED[name].specifier.contains(version, prereleases=True), f'{NEEDED[name]}, found {version}'


def test_peers_import():
    for name in ('torch', 'sklearn', 'hypothesis', 'grain', 'mlxtend', 'build', 'hatchling', 'beartype'):
        __import__(name)


def test_no_test_skips_for_a_missing_package():
    files = sorted((ROOT / 'tests').rglob('*.py'))
    assert len(files) > 20
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Attribute) and node.attr == 'importorskip':
                pytest.fail(f'{file.relative_to(ROOT)}:{node.lineno}: a missing peer must fail, not skip')
