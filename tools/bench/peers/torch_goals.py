"""LeNet-5 and ResNet-9 in torch up to a test accuracy, by the recipes of `tools.bench.ours_goals`: resident tensors,
fused optimisers, memory format and number of threads by trial."""
import numpy as np

from common import datasets
from projects.level3_cifar10 import config
from tools.bench.peers import Peer, cuda, torch_lenet, torch_mlp, torch_nets

require = torch_mlp.require
DATA = {'mnist_to_99': 'mnist', 'cifar10_to_60': 'cifar10_subset'}


def choices(pair, mode):
    """Without CUDA graphs: the rate of a step is a number of the host."""
    return [form for form in torch_lenet.choices(pair, mode) if not form.pop('graph', False)]


def rate_at(done: int, peak: float, climb: float, steps: int) -> float:
    """`projects.level3_cifar10.models.one_cycle`."""
    return peak * float(np.interp(done, [0, climb * steps, steps], [0.05, 1.0, 0.01]))


def shifted(torch, x, by: int):
    """Each image shifted by up to so many pixels, each way, zeros coming in."""
    n, side = len(x), x.shape[-1]
    wide, places = torch.nn.functional.pad(x, (by,) * 4), torch.arange(side, device=x.device)
    rows, cols = (torch.randint(0, 2 * by + 1, (n, 1), device=x.device) + places for _ in range(2))
    every = torch.arange(n, device=x.device)
    return wide[every[:, None, None], :, rows[:, :, None], cols[:, None, :]].permute(0, 3, 1, 2)


def lenet(torch, pair, dataset):
    """(network, learn, guess, train, test): LeNet-5 with Adam, one cycle of its rate, shifts."""
    net, = cuda.moved(torch_lenet.network(torch))
    tx, loss_fn = torch.optim.Adam(net.parameters(), fused=True), torch.nn.CrossEntropyLoss()
    size, done = pair.sizes, 0

    def learn(x, y):
        nonlocal done
        tx.param_groups[0]['lr'] = rate_at(done, size['rate'], size['climb'], size['total'])
        x = shifted(torch, x, size['crop']).contiguous(memory_format=layout(torch, net))
        tx.zero_grad(set_to_none=True)
        loss_fn(net(x), y).backward()
        tx.step()
        done += 1

    return net, learn, net, *(torch_mlp.digits(torch, split, 'image') for split in (dataset.train, dataset.test))


def resnet9(torch, pair, dataset):
    """The same of ResNet-9 with one cycle of SGD, decay of kernels alone, crops, flips and smoothed labels."""
    c = config.get_config('subset')
    net, = cuda.moved(torch_nets.ResNet9Peer(c.width))
    kernels = [p for p in net.parameters() if p.ndim > 1]
    tx = torch.optim.SGD(net.parameters(), lr=c.rate, momentum=c.momentum, nesterov=True, fused=True)
    loss_fn = torch.nn.CrossEntropyLoss(label_smoothing=c.smoothing)
    pixels = dataset.train['image']
    mean, std = (f(pixels, axis=(0, 1, 2), dtype=np.float64) for f in (np.mean, np.std))
    done = 0

    def tensors(split):
        x = (split['image'] - mean) / std
        return torch.from_numpy(x.astype(np.float32)).permute(0, 3, 1, 2), torch.from_numpy(split['label']).long()

    def learn(x, y):
        nonlocal done
        x = shifted(torch, x, c.crop)
        x = torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5, x.flip(3), x)
        tx.param_groups[0]['lr'] = rate = rate_at(done, c.rate, c.climb, c.steps)
        tx.zero_grad(set_to_none=True)
        loss_fn(net(x.contiguous(memory_format=layout(torch, net))), y).backward()
        with torch.no_grad():
            torch._foreach_mul_(kernels, 1 - rate * c.weight_decay)
        tx.step()
        done += 1

    return net, learn, lambda x: net(x) + net(x.flip(3)), tensors(dataset.train), tensors(dataset.test)


def layout(torch, net):
    """The memory format that the network's kernels have."""
    kernel = next(p for p in net.parameters() if p.ndim == 4 and p.shape[1] > 1)
    return torch.channels_last if kernel.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format


def build(pair, mode, data_dir, *, steps, threads=1, channels_last=False):
    torch = cuda.prepared(require(), threads)
    torch.manual_seed(pair.sizes['seed'])
    pair = pair._replace(sizes={**pair.sizes, 'total': pair.repeats * pair.steps})
    dataset = datasets.load(DATA[pair.name], data_dir=data_dir)
    net, learn, guess, train, test = {'mnist_to_99': lenet, 'cifar10_to_60': resnet9}[pair.name](torch, pair, dataset)
    net.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    batches = torch_mlp.shuffled(torch, *cuda.moved(*train), pair.sizes['batch'])

    def run(n):
        net.train()
        for _ in range(n):
            learn(*next(batches))
        cuda.wait(torch)

    def quality():
        net.eval()
        with torch.no_grad():
            hits = [(guess(x).argmax(1) == y).sum() for x, y in zip(*(a.split(1000) for a in cuda.moved(*test)))]
        return {'accuracy': float(sum(hits)) / len(test[1])}

    return Peer(run, quality)
