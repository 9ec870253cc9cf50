"""Where a config comes from: the project's `config.py` or any .py file with a `get_config`, and which variant."""
import difflib
import importlib
import importlib.util
import re
import traceback
from pathlib import Path
from types import ModuleType

from ml_collections import ConfigDict

from common.config import build
from common.errors import ConfigError, did_you_mean, one_line

ROOT = Path(__file__).resolve().parents[1]


def own_config(package: str) -> ModuleType:
    """The project's `config` module. ConfigError if it does not load."""
    try:
        return importlib.import_module(f'{package}.config')
    except Exception as e:
        raise ConfigError(f'the config of {package} does not load: {_why(e)}') from e


def load(module: ModuleType, text: str) -> tuple[ConfigDict, str]:
    """The config that --config names, and its variant. ConfigError if it is not there or does not load."""
    path, _, size = text.partition(':') if re.match(r'[^:]*\.\w+(:|$)|[^:]*/', text) else ('', '', text.lstrip(':'))
    fields = module.FIELDS
    try:
        if path:
            module = _from_file(path, module)
        variants = getattr(module, 'VARIANTS', None)
        if size and variants is not None and size not in variants:
            raise ConfigError(f'--config: no variant {one_line(repr(size), 60)}{did_you_mean(size, variants)} '
                              f'(known: {", ".join(map(str, variants))})')
        config = module.get_config(*([size] if size else []))
        values = config.to_dict() if isinstance(config, ConfigDict) else dict(config)
        return build(fields, values), size or 'full'
    except ConfigError:
        raise
    except (Exception, SystemExit) as e:
        raise ConfigError(f'--config={one_line(text, 200)} does not load: {_why(e)}') from e


def _why(error: BaseException) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f'{type(error).__name__}: {one_line(error, 300)} ({Path(place.filename).name}, line {place.lineno})'


def _from_file(text: str, own: ModuleType) -> ModuleType:
    """The module in a .py file, looked for below the working directory and then below the repository's root."""
    shown = one_line(text, 200)
    if not text.endswith('.py'):
        raise ConfigError(f'--config={shown} is not a Python file')
    path = next((p for p in (Path(text), ROOT / text) if p.is_file()), None)
    if path is None:
        there = [str(p.relative_to(ROOT)) for p in ROOT.glob('projects/*/config.py')]
        close = difflib.get_close_matches(text[:200], there, n=1)
        raise ConfigError(f'--config={shown}: no such file' + (f', did you mean {close[0]}?' if close else ''))
    if path.resolve() == Path(own.__file__).resolve():
        return own
    spec = importlib.util.spec_from_file_location('user_config', path.resolve())
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, 'get_config', None)):
        raise ConfigError(f'--config={shown} has no function get_config')
    return module
