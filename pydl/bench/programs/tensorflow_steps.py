"""Training steps in TensorFlow, for ../peers.py: a program of its own, for a Python that has tensorflow and not pydl.

    python tensorflow_steps.py THREADS NETWORK_AS_JSON

Reads a number of steps from each line of standard input and answers with the seconds that one of them took.
"""

import json
import sys
import time

import numpy as np
import tensorflow as tf

NETWORK = json.loads(sys.argv[2])
RNG = np.random.default_rng(0)


def weights(*shape):
    return tf.Variable(RNG.standard_normal(shape).astype(np.float32) / np.float32(np.sqrt(np.prod(shape[:-1]))))


def constant(value, size):
    return tf.Variable(np.full(size, value, np.float32))


def parameters(layer):
    kind, *sizes = layer
    if kind == "conv":
        C, O, kernel, _, _, bias = sizes
        return [weights(kernel, kernel, C, O), *([constant(0, O)] if bias else [])]
    if kind == "linear":
        return [weights(*sizes), constant(0, sizes[1])]
    if kind == "bn":
        return [constant(1, sizes[0]), constant(0, sizes[0])]
    if kind == "block":
        C, O, stride = sizes
        own = [weights(3, 3, C, O), constant(1, O), constant(0, O), weights(3, 3, O, O), constant(1, O), constant(0, O)]
        return own + ([weights(1, 1, C, O), constant(1, O), constant(0, O)] if stride != 1 else [])
    if kind in ("rnn", "lstm"):
        D, H = sizes
        gates = 4 * H if kind == "lstm" else H
        return [weights(D, gates), weights(H, gates), constant(0, gates)]
    return []


def conv(x, w, stride, padding):
    border = [[0, 0], [padding, padding], [padding, padding], [0, 0]]
    return tf.nn.conv2d(x, w, stride, border)


def batch_norm(x, gamma, beta):
    return tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=1.001e-5)[0]


def last_state(kind, p, x):
    """The loop over time, unrolled: one product for the inputs of all steps."""
    inputs = tf.tensordot(x, p[0], 1) + p[2]
    h = c = tf.zeros([x.shape[0], p[1].shape[0]])
    for gates in tf.unstack(inputs, axis=1):
        gates = gates + tf.matmul(h, p[1])
        if kind == "rnn":
            h = tf.tanh(gates)
            continue
        i, f, g, o = tf.split(gates, 4, 1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        h = tf.sigmoid(o) * tf.tanh(c)
    return h


def apply(layer, p, x):
    kind, *sizes = layer
    if kind == "conv":
        y = conv(x, p[0], sizes[3], sizes[4])
        return tf.nn.bias_add(y, p[1]) if len(p) > 1 else y
    if kind == "linear":
        return tf.nn.bias_add(tf.matmul(x, p[0]), p[1])
    if kind == "bn":
        return batch_norm(x, *p)
    if kind == "relu":
        return tf.nn.relu(x)
    if kind == "pool":
        return tf.nn.max_pool2d(x, 2, 2, "VALID")
    if kind == "flatten":
        return tf.reshape(x, [x.shape[0], -1])
    if kind == "mean":
        return tf.reduce_mean(x, [1, 2])
    if kind in ("rnn", "lstm"):
        return last_state(kind, p, x)
    y = tf.nn.relu(batch_norm(conv(x, p[0], sizes[2], 1), p[1], p[2]))
    y = batch_norm(conv(y, p[3], 1, 1), p[4], p[5])
    short = batch_norm(conv(x, p[6], sizes[2], 0), p[7], p[8]) if sizes[2] != 1 else x
    return tf.nn.relu(y + short)


def main():
    tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
    tf.config.threading.set_inter_op_parallelism_threads(1)
    shape = NETWORK["shape"]
    size = [NETWORK["batch"], *([*shape[1:], shape[0]] if len(shape) == 3 else shape)]
    x = tf.constant(RNG.standard_normal(size).astype(np.float32))
    labels = tf.constant(RNG.integers(0, 10, NETWORK["batch"]))
    grouped = [parameters(layer) for layer in NETWORK["layers"]]
    flat = [p for group in grouped for p in group]
    velocity = [tf.Variable(tf.zeros_like(p)) for p in flat]

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            y = x
            for layer, p in zip(NETWORK["layers"], grouped, strict=True):
                y = apply(layer, p, y)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, y))
        for p, v, g in zip(flat, velocity, tape.gradient(loss, flat), strict=True):
            v.assign(0.9 * v + g)
            p.assign_sub(0.01 * v)
        return loss

    for line in sys.stdin:
        count = int(line)
        start = time.perf_counter()
        for _ in range(count):
            loss = step()
        loss.numpy()
        print((time.perf_counter() - start) / count, flush=True)


main()
