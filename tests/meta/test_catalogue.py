"""The catalogue tells the truth: paths resolve, topics exist, cards are complete, examples run, --json is right."""

import inspect
import json
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from levels.catalogue import KINDS, as_json, load, members
from tools.catalogue import main

ROOT = Path(__file__).parents[2]
ROWS = members()
IDS = [row.name for row in ROWS]


def roadmap():
    """topic -> number of its level."""
    levels = tomllib.loads((ROOT / 'docs/roadmap.toml').read_text())['level']
    return {
        topic: level['number']
        for level in levels
        for section in level['section']
        for topic in section.get('topics', ())
    }


def test_the_roadmap_has_its_topics():
    assert len(roadmap()) == 120


def test_rows_are_many_and_unique():
    assert len(ROWS) >= 9
    assert len({row.import_path for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize('row', ROWS, ids=IDS)
def test_row_is_true(row):
    assert load(row).__name__ == row.name
    assert row.import_path.startswith(f'levels.level{row.level}_')
    assert row.kind in KINDS
    assert row.topic in roadmap(), f'{row.topic!r} is not a topic of docs/roadmap.toml'
    assert row.oracle and row.paper


@pytest.mark.parametrize('row', ROWS, ids=IDS)
def test_docstring_is_a_reference_card(row):
    card = inspect.getdoc(load(row)) or ''
    missing = [part for part in ('Formula:', 'Paper:', 'Shapes:', 'Errors:', 'Example:') if part not in card]
    assert not missing, f'{row.import_path}: the docstring lacks {", ".join(missing)}'


@pytest.mark.parametrize('row', members(kind='estimator'), ids=lambda row: row.name)
def test_estimators_say_how_their_time_and_memory_grow(row):
    after = inspect.getdoc(load(row)).partition('\nCost: ')[2]
    cost = re.split(r'\n(?=\S)', after)[0].lower()       # and the lines below that are indented
    assert 'time' in cost and 'memory' in cost, f'{row.import_path}: expected a line Cost: with time and memory'


@pytest.mark.parametrize('row', ROWS, ids=IDS)
def test_example_runs(row):
    value = load(row)
    example = textwrap.dedent(inspect.getdoc(value).partition('Example:\n')[2])
    assert len(example.strip().splitlines()) >= 4
    exec(compile(example, row.import_path, 'exec'), {**vars(inspect.getmodule(value)), 'jax': jax, 'jnp': jnp})


def test_filters():
    assert {r.kind for r in members(kind='linen module')} == {'linen module'}
    assert {r.level for r in members(level=3)} == {3}
    with pytest.raises(ValueError, match=r"kind: expected one of estimator, .* found 'modul'"):
        members(kind='modul')


def test_json_command():
    out = subprocess.run([sys.executable, '-m', 'tools.catalogue', '--json'], cwd=ROOT, check=True, capture_output=True)
    listed = json.loads(out.stdout)
    assert listed == as_json(ROWS)
    types = {'name': str, 'kind': str, 'import': str, 'level': int, 'topic': str, 'oracle': str, 'paper': str}
    for entry in listed:
        assert {key: type(value) for key, value in entry.items()} == types


def test_table_names_every_member(capsys):
    main([])
    table = capsys.readouterr().out
    assert all(row.name in table and row.import_path in table for row in ROWS)


def test_listing_loads_no_component():
    code = "import sys, levels.catalogue as c; c.members(); print([m for m in ('jax', 'flax') if m in sys.modules])"
    out = subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert out.stdout.strip() == '[]'
