"""The command line, the exit codes, what is set before JAX, and signals."""
import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from common import launch, runtime, signals
from common.args import Args, help_text
from common.errors import ConfigError, UsageError
from tests import fixtures

W = '--workdir=runs/x'


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    monkeypatch.syspath_prepend(str(fixtures.HERE))
    from fake_project import config
    return config


def parse(*argv: str) -> Args:
    return launch.parse('fake_project', [W, *argv])


def refused(*argv: str) -> str:
    with pytest.raises(UsageError) as caught:
        launch.parse('fake_project', list(argv))
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_defaults():
    args = parse()
    assert (args.package, args.size, args.workdir, args.config.steps) == ('fake_project', 'full', 'runs/x', 1000)
    assert args.harmless == ('note', 'mode', 'pause') and args.config.is_locked
    given = {f.name for f in dataclasses.fields(Args) if f.metadata}
    assert all(getattr(args, n) == Args.__dataclass_fields__[n].default for n in given - {'workdir'})
    with pytest.raises(dataclasses.FrozenInstanceError):
        args.seeds = 2


def test_flags_and_overrides_are_typed():
    args = parse('--config=smoke', '--config.rate=1', '--config.sizes=(3,4,5)', '--noconfig.flip', '--config.note',
                 'a=b c', '--seeds', '3', '--loss_spike=2.5', '--noasync_checkpoints', '--distributed=[::1]:99',
                 '--num_processes=2', '--process_id=1', '--config.seed=0x10', '--allow_unverified')
    c = args.config
    assert (c.rate, c.sizes, c.flip, c.note, c.seed, c.steps) == (1.0, (3, 4, 5), False, 'a=b c', 16, 40)
    assert type(c.rate) is float and args.size == 'smoke' and args.seeds == 3 and args.loss_spike == 2.5
    assert not args.async_checkpoints and args.allow_unverified and args.process_id == 1


def test_repeated_parsing_remembers_nothing():
    assert parse('--config.rate=5', '--config=smoke').config.rate == 5.0
    assert parse().config.rate == 0.1 and parse('--config=smoke').config.steps == 40


@pytest.mark.parametrize('text', ['smoke', ':smoke', 'tests/fixtures/fake_project/config.py:smoke'])
def test_ways_to_name_a_variant(text, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)             # a relative path is also looked for below the repository's root
    args = parse(f'--config={text}')
    assert args.config.steps == 40 and args.size == 'smoke'


def test_a_config_file_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / 'mine.py').write_text('from fake_project import config as base\n\ndef get_config(kind="a"):\n'
                                      '    c = base.get_config("smoke")\n    c.rate = {"a": 2.0, "b": 3.0}[kind]\n'
                                      '    return c\n')
    monkeypatch.chdir(tmp_path)
    assert parse('--config=mine.py').config.rate == 2.0
    assert parse(f'--config={tmp_path}/mine.py:b', '--config.steps=80').config.to_dict() | {} == {
        **parse('--config=smoke').config.to_dict(), 'rate': 3.0, 'steps': 80}
    for body, words in [('raise RuntimeError("a\\nb")', 'RuntimeError: a b (bad.py, line 1)'), ('def', 'SyntaxError'),
                        ('import sys; sys.exit(3)', 'SystemExit: 3'), ('x = 1', 'no function get_config'),
                        ('def get_config(): return None', 'TypeError'),
                        ('def get_config(): return {"ratee": 1}', "no config field 'ratee', did you mean rate?"),
                        ('def get_config(): return {"rate": "x"}', "rate='x': expected float, got str"),
                        ('import nopackage', 'No module named')]:
        (tmp_path / 'bad.py').write_text(body)
        assert words in refused(W, '--config=bad.py'), body
    assert 'not a Python file' in refused(W, '--config=mine.yaml')
    assert 'KeyError' in refused(W, '--config=mine.py:c')


def test_mesh_and_sharding():
    args = parse('--strategy=mesh', '--mesh=data=4, model=2',
                 '--sharding=kernel$=fsdp;a=b/[0-9]+=None,model;x=data+model')
    assert args.mesh == (('data', 4), ('model', 2))
    assert args.sharding == (('kernel$', 'fsdp'), ('a=b/[0-9]+', (None, 'model')), ('x', (('data', 'model'),)))


@pytest.mark.parametrize('argv, words', [
    ([], '--workdir is missing; type: python -m fake_project.main --workdir=runs/x'),
    ([W, 'x'], "stray argument 'x'"),
    ([W, '--', '--seeds=2'], "stray argument '--seeds=2'"),
    ([W, '--sedes=2'], 'no flag --sedes, did you mean --seeds?'),
    ([W, '--rate=2'], 'no flag --rate, did you mean --config.rate?'),
    ([W, '--config.ratee=2'], 'no config field --config.ratee, did you mean --config.rate?'),
    ([W, '--config.rate.x=2'], 'no config field --config.rate.x'),
    ([W, '--config.__class__=2'], 'no config field'),
    ([W, '--config.rate=fast'], '--config.rate=fast: not a value of type float from 0.0 to 10.0'),
    ([W, '--config.rate=nan'], 'rate=nan is not finite'),
    ([W, '--config.rate=11'], 'rate=11.0 is out of range: float from 0.0 to 10.0'),
    ([W, '--config.rate=7'], 'rate 7 and bad luck'),
    ([W, '--config.steps=1e3'], '--config.steps=1e3: not a value of type int from 1'),
    ([W, '--config.sizes=(1,(2,))'], 'expected int, got tuple'),
    ([W, '--config.sizes=65'], 'sizes=65 is out of range'),
    ([W, '--config.flip=perhaps'], 'not a value of type bool'),
    ([W, '--config.rate'], 'Missing value for flag --config.rate'),
    ([W, '--config.dtype=bfloat'], 'did you mean bfloat16?'),
    ([W, '--config.steps=75'], 'did you mean --config.steps=100 or --config.steps_per_call=25?'),
    ([W, '--config=smok'], "no variant 'smok', did you mean smoke? (known: full, smoke)"),
    ([W, '--config=nope.py'], '--config=nope.py: no such file'),
    ([W, '--strategy=mash'], '--strategy=mash: not one of jit, pmap, mesh, did you mean mesh?'),
    ([W, '--seeds=0'], '--seeds=0: not an int from 1 to 10000'),
    ([W, '--seeds=two'], '--seeds=two: not an int'),
    ([W, '--keep=-1'], 'not an int from 1'),
    ([W, '--async_checkpoints=maybe'], '--async_checkpoints=maybe'),
    ([W, '--loss_spike=inf'], 'not a float from 0'),
    ([W, '--loss_spike=0.5'], 'a factor above 1, or 0 for off'),
    ([W, '--strategy=mesh', '--mesh=data=0'], "'data=0' is not axis=size"),
    ([W, '--strategy=mesh', '--mesh=data=2,data=2'], "axis 'data' is there twice"),
    ([W, '--strategy=mesh', '--mesh=data'], "'data' is not axis=size"),
    ([W, '--strategy=mesh', '--mesh=model=2'], 'the first axis must be data'),
    ([W, '--mesh=data=2'], '--mesh needs --strategy=mesh, not jit'),
    ([W, '--sharding=kernel'], "'kernel' is not regex=spec"),
    ([W, '--sharding=kernel='], 'is not regex=spec'),
    ([W, '--sharding=(=data'], 'is not a regular expression'),
    ([W, '--sharding=k=da-ta'], "'da-ta' in 'da-ta' is neither None nor"),
    ([W, '--sharding=k=data,data'], 'uses an axis twice'),
    ([W, '--sharding=k=None+data'], 'joins None with an axis'),
    ([W, '--strategy=mesh', '--mesh=data=2,model=2', '--sharding=k=modle'], "axis 'modle', did you mean model?"),
    ([W, '--reduction=ordered', '--micro_batches=3'], 'batch_size=128 is not a multiple of --micro_batches=3'),
    ([W, '--distributed=host'], 'not off, auto or HOST:PORT'),
    ([W, '--distributed=host:70000'], 'not off, auto or HOST:PORT'),
    ([W, '--process_id=1'], 'need --distributed=HOST:PORT'),
    ([W, '--distributed=h:1', '--num_processes=2', '--process_id=2'], 'must be below --num_processes=2'),
    ([W, '--flagfile=/does/not/exist'], 'flagfile'),
    (['--workdir='], '--workdir is missing'),
])
def test_bad_commands(argv, words):
    assert words in refused(*argv)


def test_a_flagfile_is_read(tmp_path):
    (tmp_path / 'f').write_text('# comment\n--seeds=3\n--config.rate=2\n')
    args = parse(f'--flagfile={tmp_path}/f')
    assert args.seeds == 3 and args.config.rate == 2.0


@pytest.mark.parametrize('flag', ['--help', '--helpfull'])
def test_help_names_everything(flag, fake):
    done = fixtures.launch(flag)
    assert done.code == 0 and done.err == '' and done.seconds < 2
    for f in dataclasses.fields(Args):
        if f.metadata:
            assert f'--{f.name}:' in done.out or f'--[no]{f.name}:' in done.out
    text = ' '.join(help_text('fake_project').split())
    for name, field in fake.FIELDS.items():
        assert f"--config.{name}: {field.help} ({field.meaning}) (default: '{field.default}')" in text
    assert '(one of jit, pmap, mesh)' in text and 'a variant of this project: full, smoke' in text


@pytest.mark.parametrize('mode, code', [('normal', 0), ('bug', 1), ('nan', 3), ('checkpoint', 4), ('data', 5)])
def test_exit_codes(mode, code, tmp_path):
    done = fixtures.launch(f'--workdir={tmp_path}', '--config=smoke', f'--config.mode={mode}')
    assert done.code == code
    assert ('Traceback' in done.err) == (mode == 'bug')
    if code > 1:
        assert done.err == 'error: on demand\n'


def test_the_entry_imports_little():
    code = ('import sys, time; t = time.process_time(); import common.launch; t = time.process_time() - t; '
            'heavy = {"jax", "flax", "numpy", "rich", "optax", "orbax", "pandas"} & set(sys.modules); print(t, *heavy)')
    p = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=fixtures.environment(),
                       cwd=fixtures.ROOT, check=True)
    seconds, *heavy = p.stdout.split()
    assert heavy == [] and float(seconds) < 0.4


# ---- before JAX


def test_compile_cache(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'jax', None)
    sys.modules.pop('jax')
    monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR', raising=False)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    made = runtime.compile_cache('auto')
    assert made.startswith(f'{tmp_path}/ai-roadmap/jax/') and os.environ['JAX_COMPILATION_CACHE_DIR'] == made
    assert os.environ['JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES'] == '0'
    monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', str(tmp_path / 'set'))
    assert runtime.compile_cache('auto') == str(tmp_path / 'set')               # what was set is respected
    assert runtime.compile_cache(str(tmp_path / 'given')) == str(tmp_path / 'given')
    assert runtime.compile_cache('off') is None and 'JAX_COMPILATION_CACHE_DIR' not in os.environ
    (tmp_path / 'file').write_text('')
    assert runtime.compile_cache(str(tmp_path / 'file' / 'x')) is None          # not fatal
    monkeypatch.setenv('XDG_CACHE_HOME', '')
    monkeypatch.delenv('HOME')
    monkeypatch.setattr('os.path.expanduser', lambda p: p)                      # no entry in the user table either
    assert runtime.compile_cache('auto') is None


def test_host_devices(monkeypatch):
    monkeypatch.setenv('XLA_FLAGS', '--a=1 --xla_force_host_platform_device_count=8 --b=2')
    assert runtime.host_devices(0) == 0 and 'count=8' in os.environ['XLA_FLAGS']
    runtime.host_devices(4)
    assert os.environ['XLA_FLAGS'] == '--a=1 --b=2 --xla_force_host_platform_device_count=4'


def test_determinism_is_one_more_flag_of_xla(monkeypatch):
    monkeypatch.setenv('XLA_FLAGS', '--a=1 --xla_gpu_deterministic_ops=false')
    assert runtime.deterministic(True)
    assert os.environ['XLA_FLAGS'] == '--a=1 --xla_gpu_deterministic_ops=true'
    assert not runtime.deterministic(False)
    assert os.environ['XLA_FLAGS'] == '--a=1 --xla_gpu_deterministic_ops=false'


def test_processes_of_a_run_keep_to_cores_of_their_own(monkeypatch):
    kept = []
    monkeypatch.setattr('os.sched_getaffinity', lambda pid: {4, 5, 6}, raising=False)
    monkeypatch.setattr('os.sched_setaffinity', lambda pid, to: kept.append(to), raising=False)
    assert [runtime.cores(*a) for a in ((0,), (1, 0), (1, 1), (2, 1))] == [0, 1, 1, 2]
    assert kept == [{4}, {5}, {6, 4}]


def test_malloc_tuning_can_be_switched_off(monkeypatch):
    calls = []

    class Library:
        def __init__(self, name):
            self.mallopt = lambda key, value: calls.append((key, value)) or 1

    monkeypatch.setattr('ctypes.CDLL', Library)
    monkeypatch.setattr('sys.platform', 'linux')
    monkeypatch.setattr('os.confstr', lambda name: 'glibc 2.36')
    assert runtime.malloc_tuning() and dict(calls) == {-8: 1, -4: 0, -1: 2**31 - 1, -2: 64 << 20}
    calls.clear()
    monkeypatch.setenv('AI_ROADMAP_MALLOC', 'off')
    assert not runtime.malloc_tuning()
    monkeypatch.delenv('AI_ROADMAP_MALLOC')
    monkeypatch.setattr('os.confstr', lambda name: None)
    assert not runtime.malloc_tuning() and calls == []


def test_what_was_set_up_is_on_record(tmp_path):
    done = fixtures.launch(f'--workdir={tmp_path}', '--config=smoke', '--nomalloc_tuning', '--compile_cache=off',
                           '--host_devices=3')
    assert done.code == 0, done.err
    env = json.loads((tmp_path / 'env.json').read_text())
    assert env['runtime'] == {'compile_cache': None, 'host_devices': 3, 'deterministic': True, 'cores': 0,
                              'malloc_tuning': False}


# ---- signals


def test_the_first_signal_is_noted_and_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with signals.catch():
        assert signals.received() is None
        os.kill(os.getpid(), signal.SIGTERM)
        fixtures.wait_for(signals.received, 'the signal')
        assert signals.received() == signal.SIGTERM
    assert before == (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))
    assert signal.set_wakeup_fd(-1) == -1
    with signals.catch():
        assert signals.received() is None


def test_off_the_main_thread_nothing_happens():
    seen = []

    def work():
        with signals.catch():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::RuntimeWarning')
def test_ending_a_forked_worker_does_not_end_the_run():
    with signals.catch():
        worker = multiprocessing.get_context('fork').Process(target=threading.Event().wait, args=(30,))
        worker.start()
        worker.terminate()
        worker.join(10)
        assert worker.exitcode == -signal.SIGTERM and signals.received() is None


@pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::RuntimeWarning')
def test_the_handlers_of_a_forked_worker_do_not_write_to_the_run():
    def work():
        seen = []
        signal.signal(signal.SIGTERM, lambda *_: seen.append(1))
        os.kill(os.getpid(), signal.SIGTERM)
        fixtures.wait_for(lambda: seen, 'the signal of the worker')
        time.sleep(0.1)

    with signals.catch():
        worker = multiprocessing.get_context('fork').Process(target=work)
        worker.start()
        worker.join(10)
        assert worker.exitcode == 0 and signals.received() is None


def test_errors_are_what_the_codes_say():
    assert ConfigError.exit_code == UsageError.exit_code == 2


def test_help_shows_the_values_of_a_run_without_config():
    from projects.level2_mnist import config as mnist
    text = ' '.join(help_text('projects.level2_mnist').split())
    used = mnist.get_config()
    assert used.batch_size != mnist.FIELDS['batch_size'].default
    for name, field in mnist.FIELDS.items():
        assert f"({field.meaning}) (default: '{used[name]}')" in text, name
