"""MNIST digit recognition: MLP and LeNet-5."""
