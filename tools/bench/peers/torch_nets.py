"""The convolutional networks as torch modules, under torchvision's (and timm's) names.

torchvision and timm are not asked for; these are written from the papers' tables with the names that their published
weights have, so that a state_dict of them is one of torchvision's. tests/parity/test_vision_nets.py holds ours against
them."""
import torch
from torch import nn


def conv_norm(i, o, k=3, s=1, g=1, act=nn.ReLU, norm=nn.BatchNorm2d):
    layers = [nn.Conv2d(i, o, k, s, (k - 1) // 2, groups=g, bias=False), norm(o)]
    return nn.Sequential(*layers, *([act()] if act else []))


class ResNetBlock(nn.Module):
    """torchvision's names for v1 and v1.5."""

    def __init__(self, i, width, s, deep, version):
        super().__init__()
        first, second = (s, 1) if version == 'v1' else (1, s)
        self.sizes = [(width, 1, first), (width, 3, second), (4 * width, 1, 1)] if deep else [(width, 3, s),
                                                                                            (width, 3, 1)]
        out, at = self.sizes[-1][0], i
        for n, (o, k, stride) in enumerate(self.sizes, 1):
            self.add_module(f'conv{n}', nn.Conv2d(at, o, k, stride, k // 2, bias=False))
            self.add_module(f'bn{n}', nn.BatchNorm2d(o))
            at = o
        self.downsample = conv_norm(i, out, 1, s, act=None) if s != 1 or i != out else None

    def forward(self, x):
        y = x
        for n in range(1, len(self.sizes) + 1):
            y = getattr(self, f'bn{n}')(getattr(self, f'conv{n}')(y))
            y = torch.relu(y) if n < len(self.sizes) else y
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet9Peer(nn.Module):
    """`projects.level3_cifar10.models.ResNet9`."""

    def __init__(self, width=64, n=10):
        super().__init__()
        self.stem, self.stages = conv_norm(3, width), nn.ModuleList()
        for i in range(3):
            w = 2**i * width
            residual = nn.Sequential(conv_norm(2 * w, 2 * w), conv_norm(2 * w, 2 * w)) if i != 1 else None
            self.stages.append(nn.ModuleList([conv_norm(w, 2 * w), *([residual] if residual else [])]))
        self.head = nn.Linear(8 * width, n, bias=False)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight)

    def forward(self, x):
        x = self.stem(x)
        for block, *residual in self.stages:
            x = nn.functional.max_pool2d(block(x), 2)
            for inner in residual:
                x = x + inner(x)
        return self.head(x.amax((2, 3))) / 8


class ResNetPeer(nn.Module):
    def __init__(self, blocks, width=64, deep=False, version='v1.5', cifar=False, n=1000):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3 if cifar else 7, 1 if cifar else 2, 1 if cifar else 3, bias=False)
        self.bn1, self.pool, at = nn.BatchNorm2d(width), not cifar, width
        self.stages = len(blocks)
        for s, count in enumerate(blocks):
            w = width * 2**s
            layers = []
            for b in range(count):
                layers.append(ResNetBlock(at, w, 2 if s and not b else 1, deep, version))
                at = 4 * w if deep else w
            self.add_module(f'layer{s + 1}', nn.Sequential(*layers))
        self.fc = nn.Linear(at, n)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = nn.functional.max_pool2d(x, 3, 2, 1) if self.pool else x
        for s in range(self.stages):
            x = getattr(self, f'layer{s + 1}')(x)
        return self.fc(x.mean((2, 3)))


class PreActBlock(nn.Module):
    """timm's names for v2."""

    def __init__(self, i, width, s, deep):
        super().__init__()
        sizes = [(width, 1, 1), (width, 3, s), (4 * width, 1, 1)] if deep else [(width, 3, s), (width, 3, 1)]
        self.count, at = len(sizes), i
        for n, (o, k, stride) in enumerate(sizes, 1):
            self.add_module(f'norm{n}', nn.BatchNorm2d(at))
            self.add_module(f'conv{n}', nn.Conv2d(at, o, k, stride, k // 2, bias=False))
            at = o
        short = nn.ModuleDict({'conv': nn.Conv2d(i, at, 1, s, bias=False)})
        self.downsample = short if s != 1 or i != at else None

    def forward(self, x):
        a = torch.relu(self.norm1(x))
        short = x if self.downsample is None else self.downsample['conv'](a)
        y = self.conv1(a)
        for n in range(2, self.count + 1):
            y = getattr(self, f'conv{n}')(torch.relu(getattr(self, f'norm{n}')(y)))
        return y + short


class ResNetV2Peer(nn.Module):
    def __init__(self, blocks, width=64, deep=False, n=1000):
        super().__init__()
        self.stem = nn.Sequential()
        self.stem.add_module('conv', nn.Conv2d(3, width, 7, 2, 3, bias=False))
        stages, at = [], width
        for s, count in enumerate(blocks):
            w, stage = width * 2**s, nn.Module()
            stage.blocks = nn.Sequential()
            for b in range(count):
                stage.blocks.append(PreActBlock(at, w, 2 if s and not b else 1, deep))
                at = 4 * w if deep else w
            stages.append(stage)
        self.stages, self.norm, self.head = nn.ModuleList(stages), nn.BatchNorm2d(at), nn.Module()
        self.head.fc = nn.Conv2d(at, n, 1)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.stem(x), 3, 2, 1)
        for stage in self.stages:
            x = stage.blocks(x)
        return self.head.fc(torch.relu(self.norm(x)).mean((2, 3), keepdim=True)).flatten(1)


class VGGPeer(nn.Module):
    def __init__(self, groups, norm=False, width=64, hidden=4096, n=1000):
        super().__init__()
        layers, at = [], 3
        for g, count in enumerate(groups):
            w = width * min(2**g, 8)
            for _ in range(count):
                layers += [nn.Conv2d(at, w, 3, padding=1), *([nn.BatchNorm2d(w)] if norm else []), nn.ReLU()]
                at = w
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Linear(49 * at, hidden), nn.ReLU(), nn.Identity(), nn.Linear(hidden, hidden),
                                        nn.ReLU(), nn.Identity(), nn.Linear(hidden, n))

    def forward(self, x):
        return self.classifier(nn.functional.adaptive_avg_pool2d(self.features(x), 7).flatten(1))


class AlexNetPeer(nn.Module):
    def __init__(self, width=64, hidden=4096, n=1000):
        super().__init__()
        c1, c2, c3, c4, c5 = (c * width // 64 for c in (64, 192, 384, 256, 256))
        self.features = nn.Sequential(
            nn.Conv2d(3, c1, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(c1, c2, 5, padding=2), nn.ReLU(),
            nn.MaxPool2d(3, 2), nn.Conv2d(c2, c3, 3, padding=1), nn.ReLU(), nn.Conv2d(c3, c4, 3, padding=1), nn.ReLU(),
            nn.Conv2d(c4, c5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2))
        self.classifier = nn.Sequential(nn.Identity(), nn.Linear(36 * c5, hidden), nn.ReLU(), nn.Identity(),
                                        nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, n))

    def forward(self, x):
        return self.classifier(nn.functional.adaptive_avg_pool2d(self.features(x), 6).flatten(1))


class AlexNetOriginalPeer(nn.Module):
    """The network of 2012 under the same names; its response normalisation is torch's, with alpha for a mean of 5."""

    def __init__(self, width=64, hidden=4096, side=6, n=1000):
        super().__init__()
        c1, c2, c3, c4, c5 = (c * width // 64 for c in (96, 256, 384, 384, 256))
        lrn = lambda: nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
        self.features = nn.ModuleDict({
            '0': nn.Conv2d(3, c1, 11, 4), '3': nn.Conv2d(c1, c2, 5, padding=2, groups=2),
            '6': nn.Conv2d(c2, c3, 3, padding=1), '8': nn.Conv2d(c3, c4, 3, padding=1, groups=2),
            '10': nn.Conv2d(c4, c5, 3, padding=1, groups=2)})
        self.lrn = lrn()
        self.classifier = nn.Sequential(nn.Identity(), nn.Linear(side * side * c5, hidden), nn.ReLU(), nn.Identity(),
                                        nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, n))

    def forward(self, x):
        pool = lambda x: nn.functional.max_pool2d(x, 3, 2)
        f = self.features
        x = pool(self.lrn(torch.relu(f['0'](x))))
        x = pool(self.lrn(torch.relu(f['3'](x))))
        x = torch.relu(f['10'](torch.relu(f['8'](torch.relu(f['6'](x))))))
        return self.classifier(pool(x).flatten(1))
