"""One network in five frameworks, and its weights in the files of each: Linen, NNX, Keras, TensorFlow, PyTorch.

    net.py              the network in Linen, from whose fields the others build theirs
    weights.py          which weight is called what, one table read both ways; .safetensors
    nnx_net.py          flax.nnx
    torch_net.py        PyTorch, and state_dict files
    keras_net.py        Keras 3, and .keras files, which are read without Keras
    tf_net.py           TensorFlow, and its checkpoints and SavedModels, which are read without TensorFlow
    tensor_bundle.py    the reader of these

Each of the four has `build` (a module), `put` (variables into it) and `take` (variables out of it), and those with
files of their own have `save` and `load`. docs/frameworks.md says which idea is called what in each. The frameworks
are imported by the functions that need them, and none of them when this package is.

Example:
    from levels.level2_neural.frameworks import torch_net, weights
    from levels.level2_neural.frameworks.net import SharedNet
    net = SharedNet(image=(8, 8, 1), channels=(4, 8), hidden=(16,), n_out=10)
    variables = weights.load('net.safetensors', net)
    module = torch_net.put(torch_net.build(net), net, variables)
"""
