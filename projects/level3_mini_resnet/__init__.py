"""A mini-ResNet, block by block: plain against residual networks as they get deeper."""
