"""MobileNet and EfficientNet as torch modules, under torchvision's names; see `torch_nets`."""
import math

from torch import nn

from tools.bench.peers.torch_nets import conv_norm


class HardGate(nn.Module):
    """torch's own hardsigmoid has the gradient 1 / 6 rounded to float32, in float64 too."""

    def forward(self, x):
        return nn.functional.relu6(x + 3) / 6


class Squeeze(nn.Module):
    def __init__(self, channels, width, act, gate):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, width, 1), nn.Conv2d(width, channels, 1)
        self.act, self.gate = act(), gate()

    def forward(self, x):
        return x * self.gate(self.fc2(self.act(self.fc1(x.mean((2, 3), keepdim=True)))))


def divisible(c):
    low = max(8, int(c + 4) // 8 * 8)
    return low + 8 if low < 0.9 * c else low


class V2Block(nn.Module):
    def __init__(self, i, o, s, t):
        super().__init__()
        expand = [conv_norm(i, i * t, 1, act=nn.ReLU6)] if t != 1 else []
        self.conv = nn.Sequential(*expand, conv_norm(i * t, i * t, 3, s, i * t, nn.ReLU6),
                                  nn.Conv2d(i * t, o, 1, bias=False), nn.BatchNorm2d(o))
        self.add = s == 1 and i == o

    def forward(self, x):
        return x + self.conv(x) if self.add else self.conv(x)


class MobileNetV2Peer(nn.Module):
    def __init__(self, stages, width=1.0, last=1280, n=1000, stem=2):
        super().__init__()
        at = divisible(32 * width)
        layers = [conv_norm(3, at, 3, stem, act=nn.ReLU6)]
        for t, c, count, s in stages:
            for b in range(count):
                layers.append(V2Block(at, divisible(c * width), 1 if b else s, t))
                at = divisible(c * width)
        last = divisible(last * max(1.0, width))
        self.features = nn.Sequential(*layers, conv_norm(at, last, 1, act=nn.ReLU6))
        self.classifier = nn.Sequential(nn.Identity(), nn.Linear(last, n))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class MBConv(nn.Module):
    def __init__(self, i, hidden, o, k, s, squeeze, act, squeeze_act, gate, norm):
        super().__init__()
        layers = [conv_norm(i, hidden, 1, act=act, norm=norm)] if hidden != i else []
        layers.append(conv_norm(hidden, hidden, k, s, hidden, act, norm))
        if squeeze:
            layers.append(Squeeze(hidden, squeeze, squeeze_act, gate))
        self.block = nn.Sequential(*layers, conv_norm(hidden, o, 1, act=None, norm=norm))
        self.add = s == 1 and i == o

    def forward(self, x):
        return x + self.block(x) if self.add else self.block(x)


class MobileNetV3Peer(nn.Module):
    def __init__(self, stages, hidden, width=1.0, n=1000, stem=2):
        super().__init__()
        norm = lambda c: nn.BatchNorm2d(c, eps=1e-3, momentum=0.01)
        at = divisible(16 * width)
        layers = [conv_norm(3, at, 3, stem, act=nn.Hardswish, norm=norm)]
        for k, e, c, squeeze, swish, s in (block for stage in stages for block in stage):
            e, c = divisible(e * width), divisible(c * width)
            layers.append(MBConv(at, e, c, k, s, divisible(e // 4) if squeeze else 0,
                                 nn.Hardswish if swish else nn.ReLU, nn.ReLU, HardGate, norm))
            at = c
        self.features = nn.Sequential(*layers, conv_norm(at, 6 * at, 1, act=nn.Hardswish, norm=norm))
        self.classifier = nn.Sequential(nn.Linear(6 * at, hidden), nn.Hardswish(), nn.Identity(), nn.Linear(hidden, n))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class EfficientNetPeer(nn.Module):
    def __init__(self, stages, w=1.0, d=1.0, eps=1e-5, momentum=0.1, n=1000, stem=2):
        super().__init__()
        norm = lambda c: nn.BatchNorm2d(c, eps=eps, momentum=momentum)
        at = divisible(32 * w)
        layers = [conv_norm(3, at, 3, stem, act=nn.SiLU, norm=norm)]
        for k, s, t, c, count in stages:
            stage = []
            for b in range(math.ceil(count * d)):
                stage.append(MBConv(at, at * t, divisible(c * w), k, 1 if b else s, max(1, at // 4), nn.SiLU, nn.SiLU,
                                    nn.Sigmoid, norm))
                at = divisible(c * w)
            layers.append(nn.Sequential(*stage))
        self.features = nn.Sequential(*layers, conv_norm(at, 4 * at, 1, act=nn.SiLU, norm=norm))
        self.classifier = nn.Sequential(nn.Identity(), nn.Linear(4 * at, n))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))
