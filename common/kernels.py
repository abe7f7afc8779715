"""Compiled inner loops of GroupNorm and the LSTM; float32 alone.

Numba compiles them on first use and keeps the result on disk. Where numba is missing, in float64,
or with FEDWARD_JIT=0, callers go through torch's own operations, which give the same numbers up to
rounding: ``compiled_for`` decides. Importing this module takes half a second; only private training
does.

Arrays are C-contiguous along their last axis. n: examples; h: hidden size; c: channels.
"""

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

JIT_VARIABLE = "FEDWARD_JIT"
Floats = NDArray[np.float32]

compiled: Any
try:
    from numba import njit

    # Under Python's error model every division tests for zero, and nothing vectorises.
    compiled = njit(cache=True, fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")
    HAVE_NUMBA = True
except ImportError:

    def compiled(function: Any) -> Any:
        """Nobody calls the function: ``compiled_for`` says no."""
        return function

    HAVE_NUMBA = False

ONE, HALF = np.float32(1), np.float32(0.5)

# tanh as a ratio of polynomials, which vectorises without a library of vector functions; the
# coefficients are Eigen's (generic_fast_tanh_float): within 3e-7, constant beyond the bound.
BOUND = np.float32(7.90531110763549805)
A1, A3, A5, A7 = (
    np.float32(a)
    for a in (
        4.89352455891786e-03,
        6.37261928875436e-04,
        1.48572235717979e-05,
        5.12229709037114e-08,
    )
)
A9, A11, A13 = (
    np.float32(a) for a in (-8.60467152213735e-11, 2.00018790482477e-13, -2.76076847742355e-16)
)
B0, B2, B4, B6 = (
    np.float32(b)
    for b in (
        4.89352518554385e-03,
        2.26843463243900e-03,
        1.18534705686654e-04,
        1.19825839466702e-06,
    )
)


def compiled_for(*tensors: Tensor) -> bool:
    """Whether the loops below can be used on tensors like these."""
    fit = all(t.dtype is torch.float32 and t.device.type == "cpu" for t in tensors)
    return fit and HAVE_NUMBA and os.environ.get(JIT_VARIABLE) != "0"


@compiled
def _tanh(x: np.float32) -> np.float32:
    x = min(max(x, -BOUND), BOUND)
    s = x * x
    odd = A1 + s * (A3 + s * (A5 + s * (A7 + s * (A9 + s * (A11 + s * A13)))))
    even = B0 + s * (B2 + s * (B4 + s * B6))
    return x * odd / even


@compiled
def _sigmoid(x: np.float32) -> np.float32:
    return HALF + HALF * _tanh(HALF * x)


@compiled
def lstm_step(gates: Floats, before: Floats, cell: Floats, tanh_cell: Floats, out: Floats) -> None:
    """One step forward.

    Args:
        gates: (n, 4 h), in: what goes into the gates i, f, g, o; out: the gates.
        before: cells before the step, (n, h).
        cell, tanh_cell, out: written; cells, their tanh and the step's output, (n, h).
    """
    n, h = before.shape
    for k in range(n):
        gi, gf, gg, go = (
            gates[k, :h],
            gates[k, h : 2 * h],
            gates[k, 2 * h : 3 * h],
            gates[k, 3 * h :],
        )
        b, c, t, o = before[k], cell[k], tanh_cell[k], out[k]
        for j in range(h):
            i, f, g, s = _sigmoid(gi[j]), _sigmoid(gf[j]), _tanh(gg[j]), _sigmoid(go[j])
            new = f * b[j] + i * g
            gi[j], gf[j], gg[j], go[j] = i, f, g, s
            c[j] = new
            t[j] = _tanh(new)
            o[j] = s * t[j]


@compiled
def lstm_step_back(
    gates: Floats, before: Floats, tanh_cell: Floats, g_out: Floats, g_cell: Floats, g_gates: Floats
) -> None:
    """One step backward.

    Args:
        gates, before, tanh_cell: from the step forward.
        g_out: gradient of the step's output, (n, h).
        g_cell: in: gradient of the cells after the step; out: of the cells before it, (n, h).
        g_gates: written; gradient of what went into the gates, (n, 4 h).
    """
    n, h = before.shape
    for k in range(n):
        gi, gf, gg, go = (
            gates[k, :h],
            gates[k, h : 2 * h],
            gates[k, 2 * h : 3 * h],
            gates[k, 3 * h :],
        )
        di, df = g_gates[k, :h], g_gates[k, h : 2 * h]
        dg, do = g_gates[k, 2 * h : 3 * h], g_gates[k, 3 * h :]
        b, t, d, c = before[k], tanh_cell[k], g_out[k], g_cell[k]
        for j in range(h):
            i, f, g, o = gi[j], gf[j], gg[j], go[j]
            s = c[j] + d[j] * o * (ONE - t[j] * t[j])
            di[j] = s * g * i * (ONE - i)
            df[j] = s * b[j] * f * (ONE - f)
            dg[j] = s * i * (ONE - g * g)
            do[j] = d[j] * t[j] * o * (ONE - o)
            c[j] = s * f


@compiled
def group_norm_back(
    g_out: Floats,
    maps: Floats,
    mean: Floats,
    rstd: Floats,
    weight: Floats,
    g_maps: Floats,
    g_weight: Floats,
    g_bias: Floats,
) -> None:
    """GroupNorm backward with the gradients of weight and bias for every example apart.

    Args:
        g_out, maps: gradient of the output, and the input, (n, places, c).
        mean, rstd: of every group, (n, groups).
        weight: (c,).
        g_maps: written; gradient of the input, (n, places, c).
        g_weight, g_bias: written, (n, c).
    """
    n, places, channels = maps.shape
    groups = mean.shape[1]
    per_group = channels // groups
    share = ONE / np.float32(per_group * places)
    of_g, of_x, of_1 = (
        np.empty(channels, np.float32),
        np.empty(channels, np.float32),
        np.empty(channels, np.float32),
    )
    for k in range(n):
        gw, gb = g_weight[k], g_bias[k]
        gw[:] = 0
        gb[:] = 0
        for place in range(places):
            g, x = g_out[k, place], maps[k, place]
            for c in range(channels):
                gw[c] += g[c] * x[c]
                gb[c] += g[c]
        for group in range(groups):
            m, r = mean[k, group], rstd[k, group]
            gx, g1 = np.float32(0), np.float32(0)
            for c in range(group * per_group, (group + 1) * per_group):
                gx += gw[c] * weight[c]
                g1 += gb[c] * weight[c]
            slope = (g1 * m - gx) * r * r * r * share
            for c in range(group * per_group, (group + 1) * per_group):
                of_g[c], of_x[c], of_1[c] = weight[c] * r, slope, -slope * m - g1 * r * share
                gw[c] = (gw[c] - gb[c] * m) * r
        for place in range(places):
            g, x, out = g_out[k, place], maps[k, place], g_maps[k, place]
            for c in range(channels):
                out[c] = g[c] * of_g[c] + x[c] * of_x[c] + of_1[c]


@compiled
def patch_gram(
    pixels: Floats,
    patches: Floats,
    height: int,
    width: int,
    down: int,
    right: int,
    dilation_down: int,
    dilation_right: int,
) -> None:
    """Gram matrices of a convolution's patches, from those of its padded pixels.

    Args:
        pixels: (units, k, h, w, k, h, w), padded.
        patches: zeros, which are added to, (units, k, h', w', k, h', w').
        height, width: of the kernel.
        down, right: strides.
        dilation_down, dilation_right: steps between a kernel's weights.
    """
    units, rows, h, w = patches.shape[:4]
    for u in range(units):
        for a in range(rows):
            for y in range(h):
                for x in range(w):
                    target = patches[u, a, y, x]
                    for i in range(height):
                        for j in range(width):
                            below, beside = i * dilation_down, j * dilation_right
                            source = pixels[u, a, y * down + below, x * right + beside]
                            for b in range(rows):
                                for v in range(h):
                                    row = source[b, v * down + below, beside:]
                                    out = target[b, v]
                                    if right == 1:  # written apart, because this one vectorises
                                        for z in range(w):
                                            out[z] += row[z]
                                    else:
                                        for z in range(w):
                                            out[z] += row[z * right]


@compiled
def gather_patches(
    maps: Floats,
    patches: Floats,
    channels: int,
    height: int,
    width: int,
    down: int,
    right: int,
    up: int,
    along: int,
    dilation_down: int,
    dilation_right: int,
) -> None:
    """What every position of a convolution sees, zero beyond the edges.

    Args:
        maps: (n, h, w x channels).
        patches: written, (n, h', w', kernel height x kernel width x channels).
        channels: of the maps.
        height, width: of the kernel.
        down, right: strides.
        up, along: padding.
        dilation_down, dilation_right: steps between a kernel's weights.
    """
    n, h, across = maps.shape
    run = channels if dilation_right > 1 else width * channels  # numbers that lie side by side
    pieces = width * channels // run
    for k in range(n):
        for y in range(patches.shape[1]):
            for x in range(patches.shape[2]):
                patch = patches[k, y, x]
                for i in range(height):
                    below = y * down - up + i * dilation_down
                    for j in range(pieces):
                        to = (i * pieces + j) * run
                        start = (x * right - along + j * dilation_right) * channels
                        if below < 0 or below >= h:
                            patch[to : to + run] = 0
                        elif start >= 0 and start + run <= across:
                            source, target = maps[k, below, start:], patch[to:]
                            for z in range(run):
                                target[z] = source[z]
                        else:
                            for z in range(run):
                                inside = 0 <= start + z < across
                                patch[to + z] = maps[k, below, start + z] if inside else 0
