"""Training steps in JAX, for ../peers.py: a program of its own, for a Python that has jax and not pydl.

    python jax_steps.py THREADS NETWORK_AS_JSON

Reads a number of steps from each line of standard input and answers with the seconds that one of them took.
"""

import json
import os
import sys
import time

if sys.argv[1] == "1":
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

NETWORK = json.loads(sys.argv[2])
RNG = np.random.default_rng(0)


def weights(*shape):
    return jnp.asarray(RNG.standard_normal(shape, np.float32) / np.sqrt(np.prod(shape[:-1])))


def parameters(layer):
    kind, *sizes = layer
    if kind == "conv":
        C, O, kernel, _, _, bias = sizes
        return [weights(kernel, kernel, C, O), *([jnp.zeros(O)] if bias else [])]
    if kind == "linear":
        return [weights(*sizes), jnp.zeros(sizes[1])]
    if kind == "bn":
        return [jnp.ones(sizes[0]), jnp.zeros(sizes[0])]
    if kind == "block":
        C, O, stride = sizes
        own = [weights(3, 3, C, O), jnp.ones(O), jnp.zeros(O), weights(3, 3, O, O), jnp.ones(O), jnp.zeros(O)]
        return own + ([weights(1, 1, C, O), jnp.ones(O), jnp.zeros(O)] if stride != 1 else [])
    if kind in ("rnn", "lstm"):
        D, H = sizes
        gates = 4 * H if kind == "lstm" else H
        return [weights(D, gates), weights(H, gates), jnp.zeros(gates)]
    return []


def conv(x, w, stride, padding):
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, w, (stride, stride), [(padding, padding)] * 2, dimension_numbers=numbers)


def batch_norm(x, gamma, beta):
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return (x - mean) * lax.rsqrt(var + 1e-5) * gamma + beta


def last_state(kind, p, x):
    """The loop over time: one product for the inputs of all steps, then a scan."""

    def lstm_step(state, inputs):
        h, c = state
        i, f, g, o = jnp.split(inputs + h @ p[1], 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    def rnn_step(state, inputs):
        return (jnp.tanh(inputs + state[0] @ p[1]),), None

    zeros = jnp.zeros((x.shape[0], p[1].shape[0]))
    inputs = x.transpose(1, 0, 2) @ p[0] + p[2]
    start = (zeros, zeros) if kind == "lstm" else (zeros,)
    return lax.scan(lstm_step if kind == "lstm" else rnn_step, start, inputs)[0][0]


def apply(layer, p, x):
    kind, *sizes = layer
    if kind == "conv":
        y = conv(x, p[0], sizes[3], sizes[4])
        return y + p[1] if len(p) > 1 else y
    if kind == "linear":
        return x @ p[0] + p[1]
    if kind == "bn":
        return batch_norm(x, *p)
    if kind == "relu":
        return jax.nn.relu(x)
    if kind == "pool":
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    if kind == "flatten":
        return x.reshape(x.shape[0], -1)
    if kind == "mean":
        return x.mean((1, 2))
    if kind in ("rnn", "lstm"):
        return last_state(kind, p, x)
    y = jax.nn.relu(batch_norm(conv(x, p[0], sizes[2], 1), p[1], p[2]))
    y = batch_norm(conv(y, p[3], 1, 1), p[4], p[5])
    short = batch_norm(conv(x, p[6], sizes[2], 0), p[7], p[8]) if sizes[2] != 1 else x
    return jax.nn.relu(y + short)


def loss(all_parameters, x, labels):
    for layer, p in zip(NETWORK["layers"], all_parameters, strict=True):
        x = apply(layer, p, x)
    return -jnp.take_along_axis(jax.nn.log_softmax(x), labels[:, None], 1).mean()


def step(state, x, labels):
    p, velocity = state
    gradients = jax.grad(loss)(p, x, labels)
    velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, gradients)
    return jax.tree.map(lambda w, v: w - 0.01 * v, p, velocity), velocity


def main():
    shape = NETWORK["shape"]
    size = [NETWORK["batch"], *([*shape[1:], shape[0]] if len(shape) == 3 else shape)]
    x = jnp.asarray(RNG.standard_normal(size, np.float32))
    labels = jnp.asarray(RNG.integers(0, 10, NETWORK["batch"]))
    p = [parameters(layer) for layer in NETWORK["layers"]]
    state = p, jax.tree.map(jnp.zeros_like, p)
    compiled = jax.jit(step, donate_argnums=0)
    for line in sys.stdin:
        count = int(line)
        start = time.perf_counter()
        for _ in range(count):
            state = compiled(state, x, labels)
        jax.block_until_ready(state)
        print((time.perf_counter() - start) / count, flush=True)


main()
