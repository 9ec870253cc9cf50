"""torch's files are read as data: every type and layout that torch.save writes, and nothing that is code."""

import collections
import io
import pickle
import tracemalloc
import zipfile

import ml_dtypes
import numpy as np
import pytest
import torch

from common import torch_files


def same(ours, theirs):
    assert ours.shape == tuple(theirs.shape)
    raw = theirs.contiguous().reshape(-1).view(torch.uint8) if theirs.numel() else theirs
    assert np.ascontiguousarray(ours).tobytes() == raw.numpy().tobytes()


@pytest.mark.parametrize('dtype', ['float32', 'float64', 'float16', 'bfloat16', 'int64', 'int32', 'int16', 'int8',
                                   'uint8', 'bool'])
def test_every_type(tmp_path, dtype):
    x = (100 * torch.randn(3, 4)).to(getattr(torch, dtype))
    torch.save(x, tmp_path / 'x.pt')
    ours = torch_files.load(tmp_path / 'x.pt')
    assert ours.dtype == (ml_dtypes.bfloat16 if dtype == 'bfloat16' else np.dtype(dtype))
    same(ours, x)


def test_views_share_their_storage(tmp_path):
    base = torch.arange(24.0).reshape(2, 3, 4)
    views = [base, base.permute(2, 0, 1), base[:, 1], base[1, ::2, 1:3], base.new_tensor(5.0), base[:0]]
    torch.save(views, tmp_path / 'x.pt')
    ours = torch_files.load(tmp_path / 'x.pt')
    for a, b in zip(ours, views, strict=True):
        same(a, b)
    assert np.shares_memory(ours[0], ours[1]) and not ours[0].flags.writeable


def test_containers_parameters_and_a_whole_network(tmp_path):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    told = {'epoch': 300, 'big': 2**40, 'rate': 0.1, 'name': 'näme', 'done': True, 'none': None,
            'sizes': (1, (2, 3), []), 'model': net.state_dict(), 'parameter': net[0].weight, 'shape': torch.Size([4])}
    torch.save(told, tmp_path / 'x.pt')
    ours = torch_files.load(tmp_path / 'x.pt')
    plain = ('epoch', 'big', 'rate', 'name', 'done', 'none', 'sizes', 'shape')
    assert {k: ours[k] for k in plain} == {k: told[k] for k in plain}
    same(ours['parameter'], net[0].weight.detach())
    state = torch_files.state_dict(tmp_path / 'x.pt')
    assert list(state) == list(net.state_dict()) and type(ours['model']) is collections.OrderedDict
    for name, x in net.state_dict().items():
        same(state[name], x)


@pytest.mark.parametrize(('what', 'message'), [
    ([1, 2], 'expected a state_dict, found list'),
    ({}, 'expected a state_dict, found dict'),
    ({'w': torch.zeros(2), 'epoch': 3}, "expected a tensor under every name, found another thing under 'epoch'"),
])
def test_what_is_no_state_dict(tmp_path, what, message):
    torch.save(what, tmp_path / 'x.pt')
    with pytest.raises(ValueError, match=message):
        torch_files.state_dict(tmp_path / 'x.pt')


class Evil:
    """Unpickled, it would write a file."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return open, (self.mark, 'w')


def archive(path, pickled, storages=(), compression=zipfile.ZIP_STORED, **more):
    with zipfile.ZipFile(path, 'w', compression) as file:
        for name, content in {'data.pkl': pickled, **{f'data/{k}': v for k, v in storages}, **more}.items():
            file.writestr(f'archive/{name}', content)
    return path


def test_no_code_runs(tmp_path):
    mark = tmp_path / 'mark'
    for protocol in (2, 3, 4, 5):
        path = archive(tmp_path / 'evil.pt', pickle.dumps({'w': Evil(mark)}, protocol))
        with pytest.raises(ValueError, match='evil.pt: expected tensors as torch.save writes them; found') as error:
            torch_files.load(path)
        assert '\n' not in str(error.value)
    torch.save({'w': Evil(mark)}, tmp_path / 'torch.pt')
    with pytest.raises(ValueError, match=r'found io.open, which is no tensor'):
        torch_files.load(tmp_path / 'torch.pt')
    assert not mark.exists()


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def entries(raw):
    with zipfile.ZipFile(io.BytesIO(raw)) as file:
        return {info.filename.partition('/')[2]: file.read(info) for info in file.infolist()}


def test_damaged_and_foreign_files(tmp_path):
    path = tmp_path / 'x.pt'
    raw = saved({'w': torch.arange(1000.0)})
    whole = entries(raw)

    def refused(content, message):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message) as error:
            torch_files.load(path)
        assert str(error.value).startswith(str(path)) and '\n' not in str(error.value)

    refused(raw[: len(raw) // 2], 'expected a zip archive')
    refused(b'', 'expected a zip archive')
    flipped = bytearray(raw)
    flipped[raw.index(np.float32(500).tobytes() + np.float32(501).tobytes())] ^= 1
    refused(bytes(flipped), 'Bad CRC')
    old = io.BytesIO()
    torch.save({'w': torch.zeros(2)}, old, _use_new_zipfile_serialization=False)
    refused(old.getvalue(), 'expected a zip archive as torch.save writes it since 1.6')
    with pytest.raises(ValueError, match='cannot be read'):
        torch_files.load(tmp_path / 'none.pt')
    storages = [('0', whole['data/0'])]
    refused(archive(path, whole['data.pkl'], storages, zipfile.ZIP_DEFLATED).read_bytes(), 'data.pkl compressed')
    refused(archive(path, whole['data.pkl']).read_bytes(), 'found no entry data/0')
    short = archive(path, whole['data.pkl'], [('0', b'1234')])
    refused(short.read_bytes(), 'found 1 numbers in the storage 0 instead')
    refused(archive(path, whole['data.pkl'], storages, byteorder=b'big').read_bytes(), 'which is not little')
    refused(archive(path, whole['data.pkl'][:-20], storages).read_bytes(), 'expected tensors as torch.save writes them')
    refused(archive(path, b'', storages).read_bytes(), 'expected tensors as torch.save writes them')
    with zipfile.ZipFile(path, 'w') as file:
        file.writestr('a/x', b'')
    refused(path.read_bytes(), 'found 0 entries data.pkl')


class Said:
    """Pickles as a call of torch's builder with these arguments."""

    def __init__(self, *args):
        self.args = args

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, self.args


@pytest.mark.parametrize(('offset', 'shape', 'strides'), [
    (0, (5,), (1,)), (1, (4,), (1,)), (0, (2, 3), (3, 1)), (0, (10**9, 10**9), (0, 0)), (0, (4,), (0, 1)),
    (-1, (1,), (1,)), (0, (2,), (-1,)), (0, (1.5,), (1,)), (0, (2, 2), (3, 1)),
])
def test_a_tensor_must_lie_in_its_storage(tmp_path, offset, shape, strides):
    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ('storage', torch.FloatStorage, '0', 'cpu', 4) if value == 'here' else None

    buffer = io.BytesIO()
    Pickler(buffer, 2).dump(Said('here', offset, shape, strides, False, collections.OrderedDict()))
    path = archive(tmp_path / 'x.pt', buffer.getvalue(), [('0', np.arange(4, dtype=np.float32).tobytes())])
    with pytest.raises(ValueError, match='found a tensor of shape'):
        torch_files.load(path)


def test_many_views_of_one_storage_take_no_memory(tmp_path):
    big = torch.zeros(2**20)
    torch.save([big.view(2**10, 2**10)[i % 7 :] for i in range(500)], tmp_path / 'x.pt')
    tracemalloc.start()
    views = torch_files.load(tmp_path / 'x.pt')
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(views) == 500 and peak < 16 * 2**20
