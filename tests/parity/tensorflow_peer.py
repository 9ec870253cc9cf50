"""TensorFlow's side of test_tensorflow.py, for a Python that has TensorFlow: python tensorflow_peer.py FOLDER.

For each net and type: reads FOLDER/NAME.safetensors, and writes logits, the weights after ten steps, a checkpoint and a
SavedModel, having read both back by TensorFlow.
"""

import sys
from pathlib import Path

import jax
import numpy as np
import tensorflow as tf
from framework_cases import IN_TENSORFLOW, NETS, RATE, batches, bits

from levels.level2_neural.frameworks import tf_net, weights

OPTIMISERS = {'sgd': lambda: tf.keras.optimizers.SGD(RATE, momentum=0.9),
              'keras adam': lambda: tf.keras.optimizers.Adam(RATE)}


def stepped(module, optimizer, data):
    """Ten steps of a training loop in plain TensorFlow."""
    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, module(x, training=True))
            loss = tf.reduce_mean(losses)
        optimizer.apply_gradients(zip(tape.gradient(loss, module.trainable_variables), module.trainable_variables))

    optimizer.build(module.trainable_variables)
    for x, y in zip(*data):
        step(tf.constant(x), tf.constant(y))


def one(folder, name, net, dtype):
    variables, data = weights.load(folder / f'{name}.safetensors', net), batches(net, dtype)
    new = lambda: tf_net.put(tf_net.build(net, dtype=dtype), net, variables)
    logits = new()(data[0][0]).numpy()
    for optimiser, make in OPTIMISERS.items():
        module = new()
        stepped(module, make(), data)
        weights.save(folder / f'{name} {optimiser}.safetensors', net, tf_net.take(module, net))

    net = net.clone(param_dtype=dtype)
    tf_net.save(folder / f'{name} ckpt', net, variables)
    fresh = tf_net.build(net, dtype=dtype)
    tf.train.Checkpoint(fresh).read(str(folder / f'{name} ckpt')).assert_consumed()
    assert bits(tf_net.take(fresh, net)) == bits(variables)

    tf_net.save(folder / f'{name} model', net, variables, form='saved_model')
    served = tf.saved_model.load(str(folder / f'{name} model')).signatures['serving_default']
    np.savez(folder / f'{name}.npz', logits=logits, served=served(x=tf.constant(data[0][0]))['logits'].numpy())


if __name__ == '__main__':
    jax.config.update('jax_enable_x64', True)
    for case, width in IN_TENSORFLOW:
        one(Path(sys.argv[1]), f'{case} float{width}', NETS[case], f'float{width}')
