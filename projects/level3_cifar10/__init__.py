"""CIFAR-10: a ResNet-9 trained in minutes, and networks compared at equal time."""
