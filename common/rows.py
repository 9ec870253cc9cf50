"""A file of JSON rows that survives kills: whole lines are appended, a torn last one is never read, cuts are atomic."""
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import RunError, StorageError, one_line
from common.folder import plain, write_bytes

NAMED = {'NaN': math.nan, 'Infinity': math.inf, '-Infinity': -math.inf}


class Rows:
    """One JSON object per line, each with an int `step`."""

    def __init__(self, path: Path):
        self.path, self._file = path, None

    def append(self, row: dict) -> None:
        """Writes one line at once. StorageError if the disk refuses (what it took of the line is cut off again)."""
        line = json.dumps(plain(row), allow_nan=False).encode() + b'\n'
        try:
            if self._file is None:
                self._file = self.path.open('ab+', buffering=0)
                self._file.seek(0)
                os.ftruncate(self._file.fileno(), self._file.read().rfind(b'\n') + 1)      # a line that a kill tore
            before = os.fstat(self._file.fileno()).st_size
            if self._file.write(line) != len(line):
                os.ftruncate(self._file.fileno(), before)
                raise OSError(28, os.strerror(28))
        except OSError as e:
            raise StorageError(f'cannot write {self.path}: {e.strerror}') from e

    def keep(self, rule: Callable[[dict], bool]) -> None:
        """Leaves the rows for which `rule` holds. RunError if a line other than a torn last one is damaged."""
        self.close()
        if self.path.exists():
            before = self.path.read_bytes()
            after = b''.join(line + b'\n' for line, row in _parse(before, self.path) if rule(row))
            if after != before:
                write_bytes(self.path, after)

    def sync(self) -> None:
        """Forces what was appended to the disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file; `append` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None


def read_rows(path: Path) -> list[dict]:
    """The rows, NaN and infinities as floats again. RunError if a line other than a torn last one is damaged."""
    rows = [row for _, row in _parse(path.read_bytes(), path)]
    return [{k: v if k in ('split', 'unit') else _numbers(v) for k, v in row.items()} for row in rows]


def _parse(data: bytes, path: Path) -> list[tuple[bytes, dict]]:
    lines, found = data.split(b'\n'), []
    for i, line in enumerate(lines):
        try:
            row = json.loads(line)
            if not (isinstance(row, dict) and isinstance(row.get('step'), int)):
                raise ValueError('it is not a row')
        except (ValueError, RecursionError) as e:
            if i == len(lines) - 1:
                break
            raise RunError(f'{path} is damaged in line {i + 1}: {one_line(e, 100)}') from None
        found.append((line, row))
    return found


def _numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [_numbers(v) for v in value]
    return NAMED.get(value, value) if isinstance(value, str) else value
