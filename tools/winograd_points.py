"""How exact Winograd's F(4 x 4, 3 x 3) is in float32, for one choice of points after the other.

Prints the errors of docs/decisions/winograd.md: largest error over largest output, and root mean square error over
that of the output, for normally distributed inputs and weights and sums over some numbers of channels.

    python tools/winograd_points.py
"""

from __future__ import annotations

import numpy as np

OUTPUTS, TAPS = 4, 3
INPUTS = OUTPUTS + TAPS - 1
CHOICES = [(1, 2), (0.5, 1), (0.5, 2), (0.5, 1.5), (0.75, 1.5), (0.625, 1.25), (2 / 3, 1.5), (0.625, 1.5)]


def matrices(points):
    """Return A^T, G and B^T of Toom and Cook for some finite points and infinity, in float64."""
    a = np.zeros((OUTPUTS, INPUTS))
    g = np.zeros((INPUTS, TAPS))
    b = np.zeros((INPUTS, INPUTS))
    for j, p in enumerate(points):
        others = [q for q in points if q != p]
        a[:, j] = [p**i for i in range(OUTPUTS)]
        g[j] = [p**i / np.prod([p - q for q in others]) for i in range(TAPS)]
        b[j, : INPUTS - 1] = np.poly(others)[::-1]
    a[-1, -1] = g[-1, -1] = 1
    b[-1] = np.poly(points)[::-1]
    return a, g, b


def errors(points, channels, tiles=400):
    """Return the two errors for the points, and the second one of a plain sum in float32."""
    rng = np.random.default_rng(0)
    a, g, b = (m.astype(np.float32) for m in matrices(points))
    d = rng.standard_normal((tiles, channels, INPUTS, INPUTS)).astype(np.float32)
    w = (rng.standard_normal((channels, TAPS, TAPS)) / np.sqrt(channels * TAPS * TAPS)).astype(np.float32)
    v, u = b @ d @ b.T, g @ w @ g.T
    m = np.zeros((tiles, INPUTS, INPUTS), np.float32)
    for c in range(channels):
        m += v[:, c] * u[c]
    y = a @ m @ a.T
    right, plain = np.zeros(y.shape), np.zeros(y.shape, np.float32)
    for c in range(channels):
        for i in range(TAPS):
            for j in range(TAPS):
                part = d[:, c, i : i + OUTPUTS, j : j + OUTPUTS]
                right += part.astype(np.float64) * float(w[c, i, j])
                plain += part * w[c, i, j]

    def mean(e):
        return np.sqrt((e**2).mean() / (right**2).mean())

    return np.abs(y - right).max() / np.abs(right).max(), mean(y - right), mean(plain - right)


if __name__ == "__main__":
    for channels in (16, 64, 256):
        for p, q in CHOICES:
            largest, mean, plain = errors([0, p, -p, q, -q], channels)
            print(f"{channels:4} channels  0, +-{p:.3f}, +-{q:.2f}   {largest:.1e}  {mean:.1e}   plain {plain:.1e}")
