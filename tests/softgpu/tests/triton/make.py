#!/usr/bin/env python3
"""Compiles the kernels below with Triton, without a GPU, and writes made.json beside this file.

A second compiler's output is a check on the interpreter that its own authors' kernels are not. Each
case is a kernel, its inputs, and the answer computed by numpy in double precision; triton_test.cc
runs them all. Needs: pip install triton numpy (made with triton 3.9.0, numpy 2.4.6).

  python3 make.py [CASE...]     all cases, or only those
"""
import json
import os
import re
import sys
from pathlib import Path

os.environ["TRITON_DISABLE_LINE_INFO"] = "1"  # no paths of this machine in the PTX
os.environ["TRITON_DEFAULT_FP_FUSION"] = "1"  # as its releases up to 3.9 had it
import numpy as np
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

HERE = Path(__file__).parent
TYPES = {np.dtype(np.float32): "*fp32", np.dtype(np.float64): "*fp64", np.dtype(np.float16): "*fp16",
         np.dtype(np.int8): "*i8", np.dtype(np.int32): "*i32", np.dtype(np.uint16): "*bf16"}


def to_bf16(x):
    """Round to nearest even; kept as the upper halves of f32."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(x):
    return (x.astype(np.uint32) << 16).view(np.float32)


class Writer:
    def __init__(self, only):
        self.only = only
        self.path = HERE / "made.json"
        old = json.loads(self.path.read_text()) if only and self.path.exists() else []
        self.cases = {case["name"]: case for case in old}

    def wants(self, name):
        return not self.only or name in self.only

    def write(self, name, kernel, grid, args, want, constants, tolerance, note, sm=80, warps=4,
              stages=3):
        """args: name -> array or int or float, in the kernel's order; want: name -> array."""
        signature, attributes, entries = {}, {}, []
        for position, (arg, value) in enumerate(args.items()):
            if isinstance(value, np.ndarray):
                signature[arg] = TYPES[value.dtype]
                attributes[(position,)] = [["tt.divisibility", 16]]
                file = f"{name}.{arg}.npy"
                np.save(HERE / file, value)
                entries.append({"name": arg, "buffer": file})
            elif isinstance(value, int):
                signature[arg] = "i32"
                if value % 16 == 0:
                    attributes[(position,)] = [["tt.divisibility", 16]]
                entries.append({"name": arg, "i32": value})
            else:
                signature[arg] = "fp32"
                entries.append({"name": arg, "f32": value})
        signature.update({constant: "constexpr" for constant in constants})
        source = ASTSource(kernel, signature=signature, constexprs=constants, attrs=attributes)
        compiled = triton.compile(source, target=GPUTarget("cuda", sm, 32),
                                  options={"num_warps": warps, "num_stages": stages})
        ptx = compiled.asm["ptx"]
        (HERE / f"{name}.ptx").write_text(ptx)
        # Triton adds pointers to scratch memory, which these kernels don't use.
        parameters = re.search(r"\.entry \w+\((.*?)\)", ptx, re.S).group(1).count(".param")
        for i in range(parameters - len(entries)):
            entries.append({"name": f"scratch{i}", "u64": 0})
        for arg, value in want.items():
            # Single precision rounds a hundred times finer than the tolerances of f32 results.
            if value.dtype == np.float64 and args[arg].dtype != np.float64:
                value = value.astype(np.float32)
            np.save(HERE / f"{name}.{arg}.want.npy", value)
        self.cases[name] = {
            "name": name, "ptx": f"{name}.ptx", "kernel": compiled.metadata.name,
            "target": re.search(r"\.target (\w+)", ptx).group(1), "grid": list(grid),
            "block": [32 * warps, 1, 1], "dynamic_shared": compiled.metadata.shared,
            "args": entries, "want": {arg: f"{name}.{arg}.want.npy" for arg in want},
            "tolerance_of_max": tolerance, "note": note}
        print(f"{name}: {len(ptx)} bytes of PTX")

    def finish(self):
        self.path.write_text(json.dumps(list(self.cases.values()), indent=1) + "\n")


@triton.jit
def layer_norm(x_ptr, w_ptr, b_ptr, y_ptr, n, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    i = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * n + i, mask=i < n, other=0.0)
    mean = tl.sum(x) / n
    d = tl.where(i < n, x - mean, 0.0)
    scale = 1 / tl.sqrt(tl.sum(d * d) / n + eps)
    w = tl.load(w_ptr + i, mask=i < n)
    b = tl.load(b_ptr + i, mask=i < n)
    tl.store(y_ptr + row * n + i, d * scale * w + b, mask=i < n)


def make_layer_norm(out, rng):
    x = rng.normal(3, 2, (9, 300)).astype(np.float32)
    w, b = rng.normal(size=(2, 300)).astype(np.float32)
    x64 = x.astype(np.float64)
    y = (x64 - x64.mean(1, keepdims=True)) / np.sqrt(x64.var(1, keepdims=True) + 1e-5) * w + b
    out.write("layer_norm", layer_norm, (9, 1, 1),
              dict(x_ptr=x, w_ptr=w, b_ptr=b, y_ptr=np.zeros_like(x), n=300, eps=1e-5),
              dict(y_ptr=y), dict(BLOCK=512), 1e-5, "reductions through shuffles and shared memory")


@triton.jit
def split_k(a_ptr, b_ptr, c_ptr, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
            SPLIT: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.program_id(2) * BK + tl.arange(0, BK)
    acc = tl.zeros((BM, BN), tl.float32)
    for k0 in range(0, K, BK * SPLIT):
        a = tl.load(a_ptr + m[:, None] * K + (k0 + k)[None, :],
                    mask=(m[:, None] < M) & ((k0 + k)[None, :] < K), other=0.0)
        b = tl.load(b_ptr + (k0 + k)[:, None] * N + n[None, :],
                    mask=((k0 + k)[:, None] < K) & (n[None, :] < N), other=0.0)
        acc = tl.dot(a, b, acc)
    tl.atomic_add(c_ptr + m[:, None] * N + n[None, :], acc,
                  mask=(m[:, None] < M) & (n[None, :] < N))


def make_split_k(out, rng):
    M, N, K = 40, 48, 160
    a = to_bf16(rng.normal(size=(M, K)))
    b = to_bf16(rng.normal(size=(K, N)))
    c = rng.normal(size=(M, N)).astype(np.float32)
    want = c + from_bf16(a).astype(np.float64) @ from_bf16(b).astype(np.float64)
    out.write("split_k_bf16", split_k, (2, 2, 2),
              dict(a_ptr=a, b_ptr=b, c_ptr=c, M=M, N=N, K=K), dict(c_ptr=want),
              dict(BM=32, BN=32, BK=32, SPLIT=2), 1e-5,
              "bf16 product, 16-byte cp.async in three stages, partial sums by atomics")


@triton.jit
def conv3x3(x_ptr, w_ptr, y_ptr, C, H, W, OC, BM: tl.constexpr, BN: tl.constexpr,
            BK: tl.constexpr):
    """NCHW, pad 1; the product's rows are pixels, its columns output channels."""
    p = tl.program_id(0) * BM + tl.arange(0, BM)
    oc = tl.program_id(1) * BN + tl.arange(0, BN)
    image = tl.program_id(2)
    row, column = p // W, p % W
    acc = tl.zeros((BM, BN), tl.float32)
    for k0 in range(0, C * 9, BK):
        k = k0 + tl.arange(0, BK)
        c, tap = k // 9, k % 9
        y = row[:, None] + (tap // 3)[None, :] - 1
        x = column[:, None] + (tap % 3)[None, :] - 1
        inside = (y >= 0) & (y < H) & (x >= 0) & (x < W) & (k < C * 9)[None, :]
        a = tl.load(x_ptr + ((image * C + c)[None, :] * H + y) * W + x, mask=inside, other=0.0)
        b = tl.load(w_ptr + oc[None, :] * C * 9 + k[:, None],
                    mask=(oc < OC)[None, :] & (k < C * 9)[:, None], other=0.0)
        acc = tl.dot(a, b, acc)
    tl.store(y_ptr + (image * OC + oc)[None, :] * H * W + p[:, None], acc,
             mask=(p < H * W)[:, None] & (oc < OC)[None, :])


def make_conv(out, rng):
    n, c, h, w, oc = 2, 5, 9, 11, 12
    x = rng.normal(size=(n, c, h, w)).astype(np.float16)
    weight = rng.normal(size=(oc, c, 3, 3)).astype(np.float16)
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    want = np.zeros((n, oc, h, w))
    for i in range(3):
        for j in range(3):
            want += np.einsum("nchw,oc->nohw", padded[:, :, i:i + h, j:j + w],
                              weight[:, :, i, j].astype(np.float64))
    out.write("conv3x3_fp16", conv3x3, (4, 1, n),
              dict(x_ptr=x, w_ptr=weight, y_ptr=np.zeros(want.shape, np.float32), C=c, H=h, W=w,
                   OC=oc),
              dict(y_ptr=want), dict(BM=32, BN=16, BK=16), 1e-5,
              "implicit matrix product, integer division of indices, masked gathers")


@triton.jit
def argmax(x_ptr, index_ptr, value_ptr, n, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    i = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * n + i, mask=i < n, other=-float("inf"))
    value, index = tl.max(x, axis=0, return_indices=True)
    tl.store(index_ptr + row, index)
    tl.store(value_ptr + row, value)


def make_argmax(out, rng):
    x = np.round(rng.normal(size=(8, 700)) * 4).astype(np.float32)  # many ties: the first one counts
    out.write("argmax", argmax, (8, 1, 1),
              dict(x_ptr=x, index_ptr=np.zeros(8, np.int32), value_ptr=np.zeros(8, np.float32),
                   n=700),
              dict(index_ptr=x.argmax(1).astype(np.int32), value_ptr=x.max(1).astype(np.float64)),
              dict(BLOCK=1024), 0.0, "a reduction of pairs, ties broken to the left", warps=8)


@triton.jit
def combine(a0, b0, a1, b1):
    return a0 * a1, b0 * a1 + b1


@triton.jit
def recurrence(a_ptr, b_ptr, y_ptr, sum_ptr, n, BLOCK: tl.constexpr):
    """y[i] = a[i] * y[i-1] + b[i], and the running sum of b."""
    row = tl.program_id(0)
    i = tl.arange(0, BLOCK)
    a = tl.load(a_ptr + row * n + i, mask=i < n, other=1.0)
    b = tl.load(b_ptr + row * n + i, mask=i < n, other=0.0)
    _, y = tl.associative_scan((a, b), 0, combine)
    tl.store(y_ptr + row * n + i, y, mask=i < n)
    tl.store(sum_ptr + row * n + i, tl.cumsum(b, 0), mask=i < n)


def make_scan(out, rng):
    a = rng.uniform(-1, 1, (4, 600)).astype(np.float32)
    b = rng.normal(size=(4, 600)).astype(np.float32)
    y = np.zeros((4, 600))
    last = np.zeros(4)
    for i in range(600):
        last = a[:, i].astype(np.float64) * last + b[:, i]
        y[:, i] = last
    out.write("recurrence", recurrence, (4, 1, 1),
              dict(a_ptr=a, b_ptr=b, y_ptr=np.zeros_like(a), sum_ptr=np.zeros_like(a), n=600),
              dict(y_ptr=y, sum_ptr=np.cumsum(b.astype(np.float64), 1)), dict(BLOCK=1024), 1e-5,
              "associative scans with two carried values")


@triton.jit
def product(a_ptr, b_ptr, c_ptr, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
            ACC: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    acc = tl.zeros((BM, BN), ACC)
    for k0 in range(0, K, BK):
        a = tl.load(a_ptr + m[:, None] * K + (k0 + k)[None, :],
                    mask=(m[:, None] < M) & ((k0 + k)[None, :] < K), other=0)
        b = tl.load(b_ptr + (k0 + k)[:, None] * N + n[None, :],
                    mask=((k0 + k)[:, None] < K) & (n[None, :] < N), other=0)
        acc = tl.dot(a, b, acc, out_dtype=ACC)
    tl.store(c_ptr + m[:, None] * N + n[None, :], acc, mask=(m[:, None] < M) & (n[None, :] < N))


def make_int8(out, rng):
    M, N, K = 40, 48, 96
    a = rng.integers(-128, 128, (M, K), dtype=np.int8)
    b = rng.integers(-128, 128, (K, N), dtype=np.int8)
    out.write("product_int8", product, (2, 2, 1),
              dict(a_ptr=a, b_ptr=b, c_ptr=np.zeros((M, N), np.int32), M=M, N=N, K=K),
              dict(c_ptr=a.astype(np.int32) @ b.astype(np.int32)),
              dict(BM=32, BN=32, BK=32, ACC=tl.int32), 0.0, "int8 product, exact")


def make_f64(out, rng):
    M, N, K = 20, 24, 40
    a = rng.normal(size=(M, K))
    b = rng.normal(size=(K, N))
    out.write("product_f64", product, (2, 2, 1),
              dict(a_ptr=a, b_ptr=b, c_ptr=np.zeros((M, N)), M=M, N=N, K=K), dict(c_ptr=a @ b),
              dict(BM=16, BN=16, BK=16, ACC=tl.float64), 1e-13, "f64 product", stages=2)


def make_fp16_acc(out, rng):
    M, N, K = 32, 24, 64
    a = (rng.integers(-8, 9, (M, K)) / 8).astype(np.float16)
    b = (rng.integers(-8, 9, (K, N)) / 8).astype(np.float16)
    # Sums of 64 products of eighths below 64 are exact in fp16's 11 bits only up to 32: rounding
    # after every step of 16 leaves 64 / 16 half units of the largest sum's binade.
    out.write("product_fp16_acc", product, (1, 1, 1),
              dict(a_ptr=a, b_ptr=b, c_ptr=np.zeros((M, N), np.float16), M=M, N=N, K=K),
              dict(c_ptr=a.astype(np.float64) @ b.astype(np.float64)),
              dict(BM=32, BN=32, BK=32, ACC=tl.float16), 4e-3, "fp16 accumulators")


@triton.jit
def attention(q_ptr, k_ptr, v_ptr, o_ptr, n, scale, BM: tl.constexpr, BN: tl.constexpr,
              D: tl.constexpr):
    """One head, keys in blocks, the soft-max kept running; later keys are not seen."""
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    d = tl.arange(0, D)
    q = tl.load(q_ptr + m[:, None] * D + d[None, :], mask=m[:, None] < n, other=0.0)
    top = tl.full((BM,), -float("inf"), tl.float32)
    total = tl.zeros((BM,), tl.float32)
    acc = tl.zeros((BM, D), tl.float32)
    for n0 in range(0, (tl.program_id(0) + 1) * BM, BN):
        j = n0 + tl.arange(0, BN)
        k = tl.load(k_ptr + j[None, :] * D + d[:, None], mask=j[None, :] < n, other=0.0)
        v = tl.load(v_ptr + j[:, None] * D + d[None, :], mask=j[:, None] < n, other=0.0)
        s = tl.where(m[:, None] >= j[None, :], tl.dot(q, k) * scale, -float("inf"))
        new_top = tl.maximum(top, tl.max(s, 1))
        p = tl.exp(s - new_top[:, None])
        keep = tl.exp(top - new_top)
        total = total * keep + tl.sum(p, 1)
        acc = tl.dot(p.to(tl.float16), v, acc * keep[:, None])
        top = new_top
    tl.store(o_ptr + m[:, None] * D + d[None, :], acc / total[:, None], mask=m[:, None] < n)


def make_attention(out, rng):
    n, d = 72, 32
    q, k, v = rng.normal(size=(3, n, d)).astype(np.float16)
    s = q.astype(np.float64) @ k.astype(np.float64).T / np.sqrt(d)
    s[np.triu_indices(n, 1)] = -np.inf
    p = np.exp(s - s.max(1, keepdims=True))
    want = (p / p.sum(1, keepdims=True)) @ v.astype(np.float64)
    # The weights are rounded to fp16 before the second product: 2^-11 of each.
    # 64 rows are 16 for each of 4 warps; fewer, and warps would write the same results twice, which
    # is a race by the letter.
    out.write("attention_fp16", attention, (2, 1, 1),
              dict(q_ptr=q, k_ptr=k, v_ptr=v, o_ptr=np.zeros((n, d), np.float32), n=n,
                   scale=float(1 / np.sqrt(d))),
              dict(o_ptr=want), dict(BM=64, BN=32, D=32), 1e-3,
              "two chained products, a product's result as the next one's operand", stages=2)


@triton.jit
def locked_sum(x_ptr, sum_ptr, count_ptr, lock_ptr, n, BLOCK: tl.constexpr):
    """Each block adds its vector to one sum; a spin lock, no float atomics."""
    i = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + tl.program_id(0) * n + i, mask=i < n, other=0.0)
    while tl.atomic_cas(lock_ptr, 0, 1) == 1:
        pass
    count = tl.load(count_ptr)
    old = tl.load(sum_ptr + i, mask=i < n, other=0.0)
    tl.debug_barrier()  # every thread reads the count, one writes it
    tl.store(sum_ptr + i, old + x, mask=i < n)
    tl.store(count_ptr, count + 1)
    tl.debug_barrier()
    tl.atomic_xchg(lock_ptr, 0)


def make_locked_sum(out, rng):
    x = rng.normal(size=(12, 200)).astype(np.float32)
    out.write("locked_sum", locked_sum, (12, 1, 1),
              dict(x_ptr=x, sum_ptr=np.zeros(200, np.float32), count_ptr=np.zeros(1, np.int32),
                   lock_ptr=np.zeros(1, np.int32), n=200),
              dict(sum_ptr=x.astype(np.float64).sum(0), count_ptr=np.array([12], np.int32)),
              dict(BLOCK=256), 1e-5, "a spin lock between blocks")


@triton.jit
def random_sort(seed, sorted_ptr, bits_ptr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    bits = tl.randint(seed, i)
    tl.store(bits_ptr + i, bits)
    tl.store(sorted_ptr + i, tl.sort(bits.to(tl.int32, bitcast=True)))


def philox_first_word(seed, counter):
    """Salmon et al., "Parallel random numbers: as easy as 1, 2, 3": Philox 4x32, ten rounds."""
    mask = np.uint64(0xFFFFFFFF)
    c = [counter.astype(np.uint64)] + [np.zeros_like(counter, dtype=np.uint64) for _ in range(3)]
    k0, k1 = np.uint64(seed), np.uint64(0)
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(b >> np.uint64(32)) ^ c[1] ^ k0, b & mask, (a >> np.uint64(32)) ^ c[3] ^ k1, a & mask]
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & mask, (k1 + np.uint64(0xBB67AE85)) & mask
    return c[0].astype(np.uint32).view(np.int32)


def make_random_sort(out, rng):
    bits = philox_first_word(1234, np.arange(512))
    want = np.concatenate([np.sort(bits[:256]), np.sort(bits[256:])])
    out.write("random_sort", random_sort, (2, 1, 1),
              dict(seed=1234, sorted_ptr=np.zeros(512, np.int32), bits_ptr=np.zeros(512, np.int32)),
              dict(sorted_ptr=want, bits_ptr=bits), dict(BLOCK=256), 0.0,
              "mul.hi, a bitonic sort", warps=2)


@triton.jit
def elementary(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < n, other=1.0)
    y = tl.sin(x) + tl.cos(x) * tl.exp(-x) + tl.log(x) + tl.sqrt(x) + tl.rsqrt(x)
    y += tl.sigmoid(x) + tl.erf(x) + tl.floor(x) + tl.ceil(x) + x / 3.0
    tl.store(y_ptr + i, y.to(tl.float16), mask=i < n)


def make_elementary(out, rng):
    from math import erf
    x = rng.uniform(0.05, 9, 900).astype(np.float32)
    d = x.astype(np.float64)
    y = np.sin(d) + np.cos(d) * np.exp(-d) + np.log(d) + np.sqrt(d) + 1 / np.sqrt(d)
    y += 1 / (1 + np.exp(-d)) + np.array([erf(v) for v in d]) + np.floor(d) + np.ceil(d) + d / 3
    # The result is rounded to fp16: 2^-12 of the largest at most, then the approximations.
    out.write("elementary", elementary, (8, 1, 1),
              dict(x_ptr=x, y_ptr=np.zeros(900, np.float16), n=900), dict(y_ptr=y),
              dict(BLOCK=128), 3e-4, "elementary functions, conversion to fp16")


MAKERS = {"layer_norm": make_layer_norm, "split_k_bf16": make_split_k, "conv3x3_fp16": make_conv,
          "argmax": make_argmax, "recurrence": make_scan, "product_int8": make_int8,
          "product_f64": make_f64, "product_fp16_acc": make_fp16_acc,
          "attention_fp16": make_attention, "locked_sum": make_locked_sum,
          "random_sort": make_random_sort, "elementary": make_elementary}


def main():
    unknown = set(sys.argv[1:]) - set(MAKERS)
    if unknown:
        sys.exit(f"make.py: no case {', '.join(sorted(unknown))}; there are {', '.join(MAKERS)}")
    out = Writer(sys.argv[1:])
    for number, (name, make) in enumerate(MAKERS.items()):
        if out.wants(name):
            make(out, np.random.default_rng(number))
    out.finish()


if __name__ == "__main__":
    main()
