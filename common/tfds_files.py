"""The one file that imports tensorflow_datasets: opening and preparing what it keeps as array_record.

tensorflow-datasets is imported at first use. It reads array_record without TensorFlow; preparing a set whose builder
yields image arrays (MNIST, CIFAR) needs TensorFlow, the extra `[prepare]`.
"""

import importlib.util
import os
from pathlib import Path
from typing import Any

from common.data_files import fault


def open_split(source: Any, split: str, *, fix: str) -> tuple[str, Any]:
    """(what it is, in words; TFDS's random-access source) of a split, say 'train' or 'train[:20%]'.

    `source` is the folder of a prepared version (`<data_dir>/mnist/3.0.1`) or a TFDS builder. Every shard is opened
    and its rows counted against the metadata: TFDS itself does not look, and reads a shard cut at a multiple of 64
    KiB as empty records without a word. Raises `DataError` if the folder, a shard or the split is missing, if a shard
    is damaged or has another count, or if the format has no random access (tfrecord).
    """
    from common.records import count_records
    if isinstance(source, (str, os.PathLike)):
        import tensorflow_datasets as tfds
        if not Path(source).is_dir():
            raise fault(f'not found: {source}', fix)
        try:
            source = tfds.builder_from_directory(str(source))
        except Exception as error:
            raise fault(f'{source} is not a prepared TFDS data set ({type(error).__name__}: {error})', fix) from error
    where = f'{source.data_path}, split {split}'
    if source.info.file_format is None or source.info.file_format.value != 'array_record':
        kind = source.info.file_format.value if source.info.file_format else 'unknown'
        raise fault(f'{where}: the format is {kind}, and only array_record is read without TensorFlow', fix)
    try:
        shards = source.info.splits[split].file_instructions
    except Exception as error:
        raise fault(f'{where}: no such split, there are {sorted(source.info.splits)}', fix) from error
    for shard in shards:
        if (found := count_records(shard.filename, fix=fix)) != shard.examples_in_shard:
            raise fault(f'{shard.filename} holds {found} records, expected {shard.examples_in_shard}', fix)
    return where, source.as_data_source(split)


def prepare(name: str, data_dir: str | os.PathLike) -> Path:
    """Download the TFDS set `name` ('mnist:3.0.1') and write it as array_record under `data_dir`; returns its folder.

    Does nothing if it is there already. Raises `DataError` if TensorFlow is missing or the download or the disk fails.
    """
    again = f'python -m tools.prepare_data --name={name.partition(":")[0]} --data_dir="{data_dir}"'
    if importlib.util.find_spec('tensorflow') is None:
        problem = f'{name}: preparing it in {data_dir} needs TensorFlow, which is not installed'
        raise fault(problem, f'python -m pip install "ai-roadmap[prepare]", then {again}')
    import tensorflow_datasets as tfds
    try:
        builder = tfds.builder(name, data_dir=str(data_dir), file_format='array_record')
        builder.download_and_prepare(file_format='array_record')
    except Exception as error:
        raise fault(f'{name}: preparing it in {data_dir} failed ({type(error).__name__}: {error})', again) from error
    return Path(builder.data_path)
