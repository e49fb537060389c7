"""Trains the net of tiny.prototxt as tiny_solver.prototxt says, in double precision with numpy, and
writes what it saw to tiny_trace.json. Independent of the project's code: every operation and its
gradient is written out below, and the gradients are checked against finite differences.

  python3 tests/reference/tiny_trace.py    # needs numpy; writes tiny_trace.json beside itself

Single precision must be able to follow this path, so no decision may hang on a rounding: the script
asserts that logits stay away from the edges of the bins, pre-activations from 0, the two largest
values of a pooling window from each other, and the gradient's norm from the clipping threshold.
"""
import json
import math
import os

import numpy as np

MARGIN = 1e-4  # single precision leaves errors near 1e-6 in values of order 1
EDGES = [math.log(p / (1 - p)) for p in (0.2, 0.4, 0.6, 0.8)]
N, HEIGHT, WIDTH = 2, 9, 7
KEY, NUM_LABEL = 3, 2
BASE_LR, GAMMA, STEPSIZE, MOMENTUM, DECAY = 0.005, 0.5, 4, 0.9, 0.01
ITER_SIZE, CLIP, ITERATIONS = 2, 60.0, 10
SEED = 870000  # one of 190 tried: its path keeps the widest margins

# key: shape, scale of its first values (None: what the fillers of the definition give),
# lr_mult, decay_mult
PARAMS = {
    "conv1_1.weight": ((4, 3, 3, 3), 0.5, 1, 1),
    "conv1_1.bias": ((4,), 0.25, 2, 0),
    "conv1_2.weight": ((4, 4, 3, 3), 0.5, 1, 1),
    "conv1_2.bias": ((4,), 0.25, 2, 0),
    "conv2_1.weight": ((6, 4, 3, 3), 0.5, 1, 1),
    "conv2_1.bias": ((6,), 0.25, 2, 0),
    "conv2_2.weight": ((6, 6, 3, 3), 0.5, 4, 1),
    "conv2_2.bias": ((6,), 0.25, 8, 0),
    "new-score-dsn1.weight": ((2, 4, 1, 1), 2.0, 0.5, 1),
    "new-score-dsn1.bias": ((2,), 0.25, 1, 0),
    "new-score-dsn2.weight": ((2, 6, 1, 1), 2.0, 0.5, 1),
    "new-score-dsn2.bias": ((2,), 0.25, 1, 0),
    "fusion_channel1.weight": ((1, 2, 1, 1), None, 1, 1),
    "fusion_channel1.bias": ((1,), None, 2, 0),
    "fusion_channel2.weight": ((1, 2, 1, 1), None, 1, 1),
    "fusion_channel2.bias": ((1,), None, 2, 0),
}

margins = {"bin": np.inf, "relu": np.inf, "pool": np.inf, "clip": np.inf}
branches = set()  # (first bin taken, whether there are positives) of every image and channel


def lcg(seed, count):
    """Multiples of 2^-24 in [0, 1): exact in single precision. Repeated by the C++ test."""
    values = np.empty(count)
    state = seed
    for i in range(count):
        state = (1664525 * state + 1013904223) % 2**32
        values[i] = (state >> 8) / 2**24
    return values


def batch(index):
    """Even and odd batches; in image 1 of odd ones the second lesion does not occur."""
    odd = index % 2
    data = (lcg(SEED + 1000 + odd, N * 3 * HEIGHT * WIDTH) - 0.5) * 4
    draw = lcg(SEED + 2000 + odd, N * HEIGHT * WIDTH).reshape(N, HEIGHT, WIDTH)
    label = np.where(draw < 0.1, 1, np.where(draw < 0.2, 2, 0))
    if odd:
        label[1][label[1] == 2] = 0
    return data.reshape(N, 3, HEIGHT, WIDTH), label


def initial_weights():
    weights = {}
    for i, (key, (shape, scale, _, _)) in enumerate(PARAMS.items()):
        if scale is None:
            weights[key] = np.full(shape, 0.5 if key.endswith("weight") else 0.0)
        else:
            count = int(np.prod(shape))
            weights[key] = ((lcg(SEED + i, count) - 0.5) * 2 * scale).reshape(shape)
    return weights


def note_margin(kind, values):
    if np.size(values):
        margins[kind] = min(margins[kind], float(np.min(np.abs(values))))


# ---- Operations. Each returns its result and a function from the result's gradient to its inputs'.


def conv(x, w, b, pad):
    k = w.shape[2]
    h, wd = x.shape[2], x.shape[3]
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    out_h, out_w = h + 2 * pad - k + 1, wd + 2 * pad - k + 1
    y = np.zeros((x.shape[0], w.shape[0], out_h, out_w)) + b[None, :, None, None]
    for r in range(k):
        for s in range(k):
            y += np.einsum("oi,nihw->nohw", w[:, :, r, s],
                           padded[:, :, r:r + out_h, s:s + out_w])

    def back(dy):
        d_padded, dw = np.zeros_like(padded), np.zeros_like(w)
        for r in range(k):
            for s in range(k):
                window = padded[:, :, r:r + out_h, s:s + out_w]
                dw[:, :, r, s] = np.einsum("nohw,nihw->oi", dy, window)
                d_padded[:, :, r:r + out_h, s:s + out_w] += np.einsum(
                    "oi,nohw->nihw", w[:, :, r, s], dy)
        return d_padded[:, :, pad:pad + h, pad:pad + wd], dw, dy.sum(axis=(0, 2, 3))

    return y, back


def relu(x):
    note_margin("relu", x)
    return np.maximum(x, 0), lambda dy: dy * (x > 0)


def pool(x):
    """2x2 stride 2, size rounded up: the last window may hold one row or column."""
    n, c, h, w = x.shape
    y = np.zeros((n, c, (h + 1) // 2, (w + 1) // 2))
    best = {}
    for at in np.ndindex(y.shape):
        rows = range(2 * at[2], min(2 * at[2] + 2, h))
        columns = range(2 * at[3], min(2 * at[3] + 2, w))
        window = [(x[at[0], at[1], r, s], (r, s)) for r in rows for s in columns]
        values = sorted((value for value, _ in window), reverse=True)
        if len(values) > 1 and values[0] > 0:  # zeros carry no gradient through the ReLU before
            note_margin("pool", values[0] - values[1])
        y[at] = values[0]
        best[at] = next(place for value, place in window if value == values[0])

    def back(dy):
        dx = np.zeros_like(x)
        for at, (r, s) in best.items():
            dx[at[0], at[1], r, s] += dy[at]
        return dx

    return y, back


def upsample(x):
    """Deconvolution with kernel 4 and stride 2, bilinear from channel i to channel i, no padding;
    cropped so that it lies on the image: sample j has its centre at row 2 j + 1.5 of the result,
    and at row 2 j + 0.5 of the image, hence an offset of 1."""
    taps = np.array([0.25, 0.75, 0.75, 0.25])
    n, c, h, w = x.shape
    y = np.zeros((n, c, 2 * h + 2, 2 * w + 2))
    for r in range(4):
        for s in range(4):
            y[:, :, r:r + 2 * h:2, s:s + 2 * w:2] += taps[r] * taps[s] * x

    def back(dy):
        whole = np.zeros_like(y)
        whole[:, :, 1:1 + HEIGHT, 1:1 + WIDTH] = dy
        dx = np.zeros_like(x)
        for r in range(4):
            for s in range(4):
                dx += taps[r] * taps[s] * whole[:, :, r:r + 2 * h:2, s:s + 2 * w:2]
        return dx

    return y[:, :, 1:1 + HEIGHT, 1:1 + WIDTH], back


def bin_loss(z, label):
    """Mean over images of the multi-channel bin loss, and its gradient."""
    loss, dz = 0.0, np.zeros_like(z)
    for n in range(z.shape[0]):
        positive, taken = [], []
        for c in range(z.shape[1]):
            is_positive = label[n] == c + 1
            note_margin("bin", np.subtract.outer(z[n, c][~is_positive], EDGES))
            bins = sum((z[n, c] >= edge).astype(int) for edge in EDGES)
            wanted = KEY * is_positive.sum()
            first, count = 4, np.sum(~is_positive & (bins == 4))
            while first > 0 and (wanted == 0 or count < wanted):
                first -= 1
                count += np.sum(~is_positive & (bins == first))
            branches.add((first, bool(wanted)))
            positive.append(is_positive)
            taken.append(~is_positive & (bins >= first))
        count_pos = sum(int(p.sum()) for p in positive)
        count_neg = sum(int(t.sum()) // NUM_LABEL for t in taken)
        if count_pos + count_neg == 0:
            continue
        weight_pos = count_neg / (count_pos + count_neg)
        weight_neg = count_pos / (count_pos + count_neg)
        for c in range(z.shape[1]):
            p = 1 / (1 + np.exp(-z[n, c]))
            loss += np.sum(np.log1p(np.exp(-z[n, c]))[positive[c]]) * weight_pos
            loss += np.sum(np.log1p(np.exp(z[n, c]))[taken[c]]) * weight_neg
            dz[n, c] = weight_pos * (p - 1) * positive[c] + weight_neg * p * taken[c]
    return loss / z.shape[0], dz / z.shape[0]


def forward_backward(w, data, label):
    """The three losses, and the gradient of their sum for every parameter."""
    grads = {}

    def layer(x, name, pad):
        y, back = conv(x, w[name + ".weight"], w[name + ".bias"], pad)

        def back_and_keep(dy):
            dx, grads[name + ".weight"], grads[name + ".bias"] = back(dy)
            return dx

        return y, back_and_keep

    x, conv11 = layer(data, "conv1_1", 1)
    x, relu11 = relu(x)
    x, conv12 = layer(x, "conv1_2", 1)
    stage1, relu12 = relu(x)
    x, pool1 = pool(stage1)
    x, conv21 = layer(x, "conv2_1", 1)
    x, relu21 = relu(x)
    x, conv22 = layer(x, "conv2_2", 1)
    stage2, relu22 = relu(x)
    side1, score1 = layer(stage1, "new-score-dsn1", 0)
    x, score2 = layer(stage2, "new-score-dsn2", 0)
    side2, up2 = upsample(x)
    fused, fusions = [], []
    for c in range(2):
        lesion = np.stack([side1[:, c], side2[:, c]], axis=1)
        y, back = layer(lesion, f"fusion_channel{c + 1}", 0)
        fused.append(y[:, 0])
        fusions.append(back)
    loss1, d_side1 = bin_loss(side1, label)
    loss2, d_side2 = bin_loss(side2, label)
    loss3, d_fused = bin_loss(np.stack(fused, axis=1), label)

    for c in range(2):
        d_lesion = fusions[c](d_fused[:, c:c + 1])
        d_side1[:, c] += d_lesion[:, 0]
        d_side2[:, c] += d_lesion[:, 1]
    d_stage2 = score2(up2(d_side2))
    d_pool = conv21(relu21(conv22(relu22(d_stage2))))
    d_stage1 = pool1(d_pool) + score1(d_side1)
    conv11(relu11(conv12(relu12(d_stage1))))
    return [loss1, loss2, loss3], grads


def check_gradients(weights):
    """Central differences on three elements of every parameter."""
    data, label = batch(0)
    _, grads = forward_backward(weights, data, label)
    for key in PARAMS:
        flat, grad = weights[key].reshape(-1), grads[key].reshape(-1)
        for i in {0, flat.size // 2, flat.size - 1}:
            old, step, losses = flat[i], 1e-6, []
            for value in (old + step, old - step):
                flat[i] = value
                losses.append(sum(forward_backward(weights, data, label)[0]))
            flat[i] = old
            numeric = (losses[0] - losses[1]) / (2 * step)
            # A loss near 50 leaves differences with an error near 50 * 2^-52 / 2e-6 = 1e-8.
            assert abs(numeric - grad[i]) <= 1e-6 * max(1, abs(grad[i])), (key, i, numeric, grad[i])


def figures(values):
    """What is kept of a tensor: sum, norm, and a projection that sees an exchange of elements."""
    flat = values.reshape(-1)
    return {"sum": float(flat.sum()), "norm": float(np.sqrt(np.sum(flat * flat))),
            "projection": float(np.dot(flat, lcg(77, flat.size)))}


def train():
    weights = initial_weights()
    velocity = {key: np.zeros_like(value) for key, value in weights.items()}
    trace, clipped = [], []
    for iteration in range(ITERATIONS):
        losses, grads = np.zeros(3), {key: np.zeros_like(v) for key, v in weights.items()}
        for part in range(ITER_SIZE):
            data, label = batch(iteration * ITER_SIZE + part)
            part_losses, part_grads = forward_backward(weights, data, label)
            losses += np.array(part_losses) / ITER_SIZE
            for key in grads:
                grads[key] += part_grads[key]
        norm = math.sqrt(sum(float(np.sum(g * g)) for g in grads.values()))
        note_margin("clip", (norm - CLIP) / CLIP)
        clipped.append(norm > CLIP)
        clip = CLIP / norm if norm > CLIP else 1.0
        rate = BASE_LR * GAMMA ** (iteration // STEPSIZE)
        for key, (_, _, lr_mult, decay_mult) in PARAMS.items():
            step = grads[key] * clip / ITER_SIZE + DECAY * decay_mult * weights[key]
            velocity[key] = MOMENTUM * velocity[key] + rate * lr_mult * step
            weights[key] = weights[key] - velocity[key]
        row = {"iteration": iteration, "rate": rate, "norm": norm, "losses": losses.tolist()}
        if iteration in (0, ITERATIONS - 1):
            row["gradients"] = {key: figures(g) for key, g in grads.items()}
        trace.append(row)
    assert any(clipped) and not all(clipped), clipped
    return {"iterations": trace, "weights": {key: figures(v) for key, v in weights.items()}}


def safe():
    return (margins["clip"] > 0.01 and
            all(margins[kind] > MARGIN for kind in ("bin", "relu", "pool")))


def main():
    check_gradients(initial_weights())
    for kind in margins:
        margins[kind] = np.inf
    branches.clear()
    trace = train()
    assert safe(), margins
    # Every way in which the bins can be taken: some of them, all of them for want of negatives, and
    # all of them where there is no positive.
    assert {first for first, _ in branches} >= {0, 1, 2, 3}, branches
    assert (0, True) in branches and (0, False) in branches, branches
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tiny_trace.json")
    with open(path, "w") as file:
        json.dump(trace, file, indent=1)
        file.write("\n")
    print("margins", margins, "losses", [sum(r["losses"]) for r in trace["iterations"]])


if __name__ == "__main__":
    main()
