"""The command line of a project: absl flags and ml_collections config overrides, each flag defined once, in `Args`.

`parse` is a function of its arguments: it uses private flag tables, so it can run any number of times in one process.
"""
import dataclasses
import re
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from common import config as config_lib
from common.args_types import Choice, Float, Int, Mesh, Process, Sharding, Text
from common.config_file import load, own_config
from common.errors import ConfigError, UsageError, did_you_mean, one_line

HELP = ('--help', '-help', '-h', '--helpfull', '-helpfull', '--helpshort', '-helpshort')


def flag(default: Any, help: str, parser: flags.ArgumentParser | None = None) -> Any:
    """A field of `Args` that is a command-line flag."""
    parser = parser or (flags.BooleanParser() if isinstance(default, bool) else Text())
    return dataclasses.field(default=default, metadata={'help': help, 'parser': parser})


@dataclasses.dataclass(frozen=True)
class Args:
    """A parsed command line. `mesh` is ((axis, size), ...), `sharding` ((path regex, rule), ...): see `args_types`."""
    package: str
    config: ConfigDict
    size: str = 'full'                      # the variant of the config
    harmless: tuple[str, ...] = ()          # config fields whose change does not stop a resume
    workdir: str = flag('', 'folder of the run (required); the same command resumes it')
    strategy: str = flag('jit', 'how a step is spread over devices', Choice('jit', 'pmap', 'mesh'))
    reduction: str = flag('fast', 'ordered: the same bits on any number of devices', Choice('fast', 'ordered'))
    micro_batches: int = flag(8, 'parts of a batch that --reduction=ordered adds in order', Int(1, 65536))
    mesh: tuple = flag((), 'axes of the mesh, as data=4,model=2; empty: all devices on the axis data', Mesh())
    sharding: tuple = flag((), 'rules path-regex=spec, as kernel$=fsdp;Dense_0/kernel=None,model', Sharding())
    seeds: int = flag(1, 'independent runs, with seeds seed, seed+1, ...', Int(1, 10000))
    seed_mode: str = flag('auto', 'how many seeds run', Choice('auto', 'vmap', 'turn', 'devices'))
    data_dir: str = flag('', 'folder of full-size data sets')
    on_nan: str = flag('stop', 'what to do when a value is not finite', Choice('stop', 'skip', 'rollback'))
    loss_spike: float = flag(0.0, 'loss above this many times its mean counts as a spike; 0: off', Float(0, 1e9))
    on_corrupt: str = flag('stop', 'what to do about a damaged checkpoint', Choice('stop', 'previous'))
    allow_unverified: bool = flag(False, 'restore checkpoints that have no manifest')
    on_save_error: str = flag('stop', 'what to do when a checkpoint cannot be written', Choice('stop', 'continue'))
    async_checkpoints: bool = flag(True, 'write checkpoints while training goes on')
    keep: int = flag(3, 'checkpoints to keep', Int(1, 1000000))
    compile_cache: str = flag('auto', 'folder of compiled code: auto, off or a path')
    malloc_tuning: bool = flag(True, 'let glibc keep freed memory (faster steps on CPU, more memory)')
    deterministic: bool = flag(True, 'on a GPU, only operations that give the same bits every time')
    cores: int = flag(0, 'CPU cores that the run keeps to (small networks: 1 is fastest); 0: all', Int(0, 4096))
    host_devices: int = flag(0, 'make the CPU look like this many devices; 0: leave it', Int(0, 1024))
    distributed: str = flag('off', 'many processes: off, auto (cluster) or HOST:PORT of process 0', Process())
    num_processes: int = flag(1, 'processes of the run, with --distributed=HOST:PORT', Int(1, 100000))
    process_id: int = flag(0, 'which of them this one is', Int(0, 99999))


def parse(package: str, argv: list[str]) -> Args:
    """`argv` without the program's name -> Args. UsageError, with a message of one line, for whatever is wrong."""
    module = own_config(package)
    own = flags.FlagValues()
    fields = _define(own)
    flags.DEFINE(Text(), 'config', '', '', flag_values=own)
    rest = _run_parser(own, argv, module.FIELDS, known_only=True)
    values = {f.name: own[f.name].value for f in fields}
    config, size = load(module, own['config'].value)
    config = _override(config, rest, module.FIELDS, [*values, 'config'])
    if not values['workdir']:
        raise UsageError(f'--workdir is missing; type: python -m {package}.main --workdir=runs/x   (all flags: --help)')
    config_lib.validate(config, module.FIELDS, getattr(module, 'check', None))
    args = Args(package=package, config=config, size=size, harmless=tuple(getattr(module, 'HARMLESS', ())), **values)
    _agree(args)
    return args


def help_text(package: str) -> str:
    """All flags and all config fields: meaning, default, type and range."""
    table, module = flags.FlagValues(), own_config(package)
    _define(table)
    text = 'path.py:variant, or a variant of this project: ' + ', '.join(getattr(module, 'VARIANTS', ['full']))
    flags.DEFINE_string('config', 'full', text, flag_values=table, module_name='flags')
    used, _ = load(module, '')          # what a run without --config has, which a bare field need not be
    for name, field in module.FIELDS.items():
        shown = flags.Flag(flags.ArgumentParser(), flags.ArgumentSerializer(), f'config.{name}', str(used[name]),
                           f'{field.help} ({field.meaning})')
        flags.DEFINE_flag(shown, table, module_name='config')
    about = (module.__doc__ or package).strip().splitlines()[0]
    usage = f'python -m {package}.main --workdir=FOLDER [--config=VARIANT] [--config.FIELD=VALUE ...] [--FLAG=VALUE]'
    return f'{about}\n\n{usage}\n' + table.get_help(include_special_flags=False)


def _define(table: flags.FlagValues) -> list[dataclasses.Field]:
    fields = [f for f in dataclasses.fields(Args) if f.metadata]
    for f in fields:
        made = flags.Flag(f.metadata['parser'], flags.ArgumentSerializer(), f.name, f.default, f.metadata['help'],
                          boolean=isinstance(f.default, bool))
        flags.DEFINE_flag(made, table, module_name='flags')
    return fields


def _run_parser(table: flags.FlagValues, argv: list[str], fields, *, known_only: bool, names=()) -> list[str]:
    """The arguments that `table` did not take; whatever absl and ml_collections refuse becomes a UsageError."""
    table.set_gnu_getopt(True)
    try:
        return table(['main', *argv], known_only=known_only)[1:]
    except flags.UnrecognizedFlagError as e:
        full = {name: f'config.{name}' for name in fields if name not in names}
        hint = did_you_mean(e.flagname, [*names, *full, *full.values()], '--', full)
        raise UsageError(f'no flag --{one_line(e.flagname, 100)}{hint}') from None
    except Exception as e:       # flags.Error, ValueError, SyntaxError, MemoryError ...: the text was not a value
        text = one_line(e) or type(e).__name__
        found = re.match(r'flag (--config\.(\w+)=.*?): ', text)
        if found and found[2] in fields:
            text = f'{found[1]}: not a value of type {fields[found[2]].meaning}'
        raise UsageError(text.removeprefix('flag ').removeprefix('ERROR:: ')) from None


def _override(config: ConfigDict, rest: list[str], fields, names: list[str]) -> ConfigDict:
    """`config` with the --config.field=value of `rest`, parsed and typed by ml_collections."""
    for arg in rest[:rest.index('--')] if '--' in rest else rest:
        found = re.match(r'-{1,2}(?:no)?config\.([^=]*)', arg)
        if found and found[1] not in fields:
            name = one_line(found[1], 100)
            raise ConfigError(f'no config field --config.{name}{did_you_mean(name, fields, "--config.")}')
    table = flags.FlagValues()
    try:
        config_flags.DEFINE_config_dict('config', config, flag_values=table, sys_argv=rest)
    except Exception as e:
        raise UsageError(one_line(e) or type(e).__name__) from None
    stray = _run_parser(table, rest, fields, known_only=False, names=names)
    if stray:
        raise UsageError(f'stray argument {one_line(repr(stray[0]), 100)}: flags look like --name=value')
    return config


def _agree(args: Args) -> None:
    """UsageError where flags contradict each other."""
    axes = [name for name, _ in args.mesh] or ['data']
    if args.mesh and args.strategy != 'mesh':
        raise UsageError(f'--mesh needs --strategy=mesh, not {args.strategy}')
    if args.sharding and args.strategy == 'jit':
        raise UsageError('--sharding needs --strategy=mesh (or pmap), not jit')
    if args.seeds > 1 and args.seed_mode == 'devices' and (args.strategy, args.reduction) != ('jit', 'fast'):
        raise UsageError('--seed_mode=devices gives each seed a device of its own; it goes with --strategy=jit and '
                         '--reduction=fast')
    if args.reduction == 'ordered' and args.config.get('accum', 1) != 1:
        raise UsageError(f'--reduction=ordered has --micro_batches; it needs --config.accum=1, not {args.config.accum}')
    if axes[0] != 'data':
        raise UsageError('--mesh: the first axis must be data (batches are split over it), as in data=4,model=2')
    for rule, spec in args.sharding:
        for axis in (a for entry in spec if spec != 'fsdp' for a in (entry if isinstance(entry, tuple) else (entry,))):
            if axis is not None and axis not in axes:
                raise UsageError(f'--sharding: rule {rule!r} names axis {axis!r}{did_you_mean(axis, axes)} '
                                 f'(--mesh has {", ".join(axes)})')
    batch = args.config.get('batch_size', 0)
    if args.reduction == 'ordered' and batch % args.micro_batches:
        raise UsageError(f'--reduction=ordered: batch_size={batch} is not a multiple of '
                         f'--micro_batches={args.micro_batches}')
    if 0 < args.loss_spike <= 1:
        raise UsageError(f'--loss_spike={args.loss_spike}: a factor above 1, or 0 for off')
    if args.distributed == 'off' and (args.num_processes, args.process_id) != (1, 0):
        raise UsageError('--num_processes and --process_id need --distributed=HOST:PORT')
    if ':' in args.distributed and args.process_id >= args.num_processes:
        raise UsageError(f'--process_id={args.process_id}: must be below --num_processes={args.num_processes}')
