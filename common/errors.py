"""Errors that a person can act on: each ends a run with one clear message and its own exit code, never a traceback.

0 done; 1 a bug (with its traceback); 2 wrong usage, config or run folder; 3 a value became non-finite; 4 a checkpoint
was refused; 5 data; 6 a write failed (disk full, read-only); 7 another process is gone;
130 and 143 stopped by SIGINT and SIGTERM, after saving.
"""
import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Base of all errors that are printed as a message, not as a traceback."""
    exit_code = 1


class UsageError(UserError):
    """The command line is wrong."""
    exit_code = 2


class ConfigError(UsageError, ValueError):
    """A config is wrong: unknown field, wrong type, out of range, fields that contradict each other."""


class RunError(UserError):
    """The run folder cannot be used: not writable, a file in the way, another config in it, damaged."""
    exit_code = 2


class RunLocked(RunError):
    """Another live process has the run folder."""


class NonFinite(UserError):
    """A loss, gradient or parameter became NaN or infinite."""
    exit_code = 3


class CheckpointError(UserError):
    """A checkpoint was refused: damaged, incomplete, of another shape, dtype or tree."""
    exit_code = 4


class StateMismatch(CheckpointError):
    """The checkpoint is whole, but of another state than the code has now."""


class DataError(UserError):
    """A data set is missing, damaged or not what was asked for."""
    exit_code = 5


class StorageError(UserError):
    """Writing failed while the run was going: disk full, read-only file system."""
    exit_code = 6


class Interrupted(UserError):
    """The run stopped because of a signal, after saving. The exit code is 128 + signum."""

    def __init__(self, signum: int, message: str = ''):
        super().__init__(message or f'stopped by signal {int(signum)}; the same command resumes the run')
        self.signum = int(signum)
        self.exit_code = 128 + self.signum


def one_line(error: object, limit: int = 600) -> str:
    """The text of an error as one printable line of at most `limit` characters."""
    text = ' '.join(''.join(c if c.isprintable() else ' ' for c in str(error)).split())
    return text if len(text) <= limit else text[:limit - 4] + ' ...'


def did_you_mean(word: str, known: Iterable[str], prefix: str = '', full: dict[str, str] | None = None) -> str:
    """', did you mean X?' for the closest known word, or ''. `full` spells a known word out."""
    close = difflib.get_close_matches(str(word)[:100], list(known), n=1, cutoff=0.6)
    return f', did you mean {prefix}{(full or {}).get(close[0], close[0])}?' if close else ''
