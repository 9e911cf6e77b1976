#!/usr/bin/env python3
"""Vectors of DeepSeek-V4's MTP block and of its quantised arithmetic, from the equations alone.

usage: python3 oracle/dsv4_quantised.py OUTFILE     (goes to tests/golden/dsv4/quantised.safetensors)

The public implementation that dsv4_vectors.py asks has neither MTP nor the quantisers, so this is a
second implementation: the equations in plain Python (standard library only), whole text at once,
sums in double, numbers rounded by looking for the nearest of a table of all values of a format.
It shares no code with loci, and the tests' C reference is not part of it.

Two tiny models of every kind of layer, their weights made from names as in dsv4_vectors.py:
  f32.*     nothing is quantised
  exact.*   FP8 and FP4 weights; activations, entries and index keys quantised, bf16 in between
each with logits of every position and draft logits: row t, of the token at t + 2.
"""
import bisect
import json
import math
import struct
import sys
from operator import mul

T = 40
HP = dict(
    V=96, D=64, ratios=[0, 4, 8, 4, 16], H=4, d=32, R=8, q_rank=40, groups=2, o_rank=24, window=8,
    theta=1e4, compress_theta=1.6e5, factor=16.0, fast=32.0, slow=1.0, original=64.0, Hi=16, di=16,
    topk=4, E=8, active=2, F=48, route=1.5, limit=1.0, n=4, sinkhorn=3, hc_eps=1e-2, eps=1e-6,
    mix_scale=2.0, hash_layers=1,
)


# ---- numbers ---------------------------------------------------------------------------------


def f32(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def bf16(x):
    """Eight significant bits, ties to even."""
    if x == 0 or math.isinf(x):
        return x
    m, e = math.frexp(x)
    return math.ldexp(round(m * 256), e - 8)


E4M3 = [(c & 7) / 8 * 2.0**-6 if c < 8 else (1 + (c & 7) / 8) * 2.0 ** ((c >> 3) - 7) for c in range(127)]
E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6]


def nearest(table, x):
    """The value nearest to |x| with x's sign; of two equally near ones that of the even code."""
    a = min(abs(x), table[-1])
    i = bisect.bisect_left(table, a)
    if i > 0 and (a - table[i - 1] < table[i] - a or (a - table[i - 1] == table[i] - a and i % 2 == 1)):
        i -= 1
    return math.copysign(table[i], x)


def power_above(v):
    """The smallest power of two that is not below v."""
    m, e = math.frexp(v)
    return 2.0 ** (e - 1 if m == 0.5 else e)


def quantise(x, block, table, least):
    """x in blocks, each with the scale that its largest value asks for."""
    out = []
    for at in range(0, len(x), block):
        part = x[at : at + block]
        a = max(max(map(abs, part)), f32(least))
        s = power_above(f32(a * f32(1 / table[-1])))
        out += [nearest(table, v / s) * s for v in part]
    return out


def a8(x, block):
    return quantise(x, block, E4M3, 1e-4)


def a4(x):
    return quantise(x, 32, E2M1, 6 * 2.0**-126)


# ---- weights from names ------------------------------------------------------------------------


def hashed(name, n):
    h, mask = 0xCBF29CE484222325, (1 << 64) - 1
    for b in name.encode():
        h = ((h ^ b) * 0x100000001B3) & mask
    for i in range(n):
        z = (h + (i + 1) * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & mask
        k = (z ^ z >> 31) >> 56
        yield k - 256 if k > 127 else k


def plain(name, rows, cols, mix_scale):
    unit = 2.0 ** round(math.log2(math.sqrt(3.0 / cols)))
    k = list(hashed(name, rows * cols))
    if name.endswith("_scale"):
        x = [(64 + (v >> 2)) / 128 * mix_scale for v in k]
    elif "norm" in name:
        x = [1 + (v >> 2) / 128 for v in k]
    elif name.endswith("ape"):
        x = [v / 256 for v in k]
    elif rows == 1 and not name.endswith("_fn"):
        x = [v / 512 for v in k]
    else:
        x = [v / 128 * unit for v in k]
    return [x[r * cols : (r + 1) * cols] for r in range(rows)]


def coded(name, rows, cols, fp4):
    """Random codes and scales, and what they mean."""
    unit = round(math.log2(math.sqrt(3.0 / cols))) - (2 if fp4 else 0)
    k = [v & 255 for v in hashed(name, rows * cols // (2 if fp4 else 1))]
    out = []
    for r in range(rows):
        row = []
        for c in range(cols):
            if fp4:
                byte = k[(r * cols + c) // 2]
                code, scale = (byte >> 4 if c % 2 else byte & 15), r * (cols // 32) + c // 32
                v = E2M1[code & 7] * (-1 if code & 8 else 1)
            else:
                code, scale = (k[r * cols + c] & 0x8F) | 0x30, r // 128 * ((cols + 127) // 128) + c // 128
                v = E4M3[code & 127] * (-1 if code & 128 else 1)
            row.append(v * 2.0 ** (unit + scale % 2))
        out.append(row)
    return out


FP8 = ("attn.wq_a.weight", "attn.wq_b.weight", "attn.wkv.weight", "attn.wo_a.weight", "attn.wo_b.weight",
       "indexer.wq_b.weight", "e_proj.weight", "h_proj.weight")


class Model:
    def __init__(self, hp, exact):
        self.__dict__.update(hp)
        self.exact, self.made = exact, {}
        self.round = bf16 if exact else (lambda x: x)
        self.L = len(self.ratios)

    def weight(self, name, rows, cols):
        """(matrix, whether its input is quantised)"""
        if name not in self.made:
            fp4 = "ffn.experts." in name
            fp8 = "shared_experts." in name or name.endswith(FP8)
            if self.exact and (fp4 or fp8):
                self.made[name] = coded(name, rows, cols, fp4), not name.endswith("wo_a.weight")
            else:
                self.made[name] = plain(name, rows, cols, self.mix_scale), False
        return self.made[name]

    def vector(self, name, n):
        return self.weight(name, 1, n)[0][0]

    def rounded(self, x):
        return [self.round(v) for v in x]

    def linear(self, name, x, rows, keep=False, quiet=False):
        """W x; keep: not rounded; quiet: the input is not quantised."""
        w, quantised = self.weight(name, rows, len(x))
        if quantised and not quiet:
            x = a8(x, 128)
        y = [sum(map(mul, row, x)) for row in w]
        return y if keep else self.rounded(y)

    def norm(self, x, gain=None):
        inv = 1 / math.sqrt(sum(v * v for v in x) / len(x) + self.eps)
        g = self.vector(gain, len(x)) if gain else [1.0] * len(x)
        return self.rounded([v * inv * w for v, w in zip(x, g)])

    # -- rotation

    def frequency(self, compressed, i):
        base, R = (self.compress_theta if compressed else self.theta), self.R
        f = base ** (-2 * i / R)
        if not compressed:
            return f

        def at(r):
            return R * math.log(self.original / (2 * math.pi * r)) / (2 * math.log(base))

        low, high = max(math.floor(at(self.fast)), 0), min(math.ceil(at(self.slow)), R - 1)
        if low == high:
            high += 0.001
        ramp = min(max((i - low) / (high - low), 0), 1)
        return f * (1 - ramp) + f / self.factor * ramp

    def rotate(self, x, p, compressed, way=1):
        x, tail = list(x), len(x) - self.R
        for i in range(self.R // 2):
            a, b, angle = x[tail + 2 * i], x[tail + 2 * i + 1], way * p * self.frequency(compressed, i)
            x[tail + 2 * i] = self.round(a * math.cos(angle) - b * math.sin(angle))
            x[tail + 2 * i + 1] = self.round(a * math.sin(angle) + b * math.cos(angle))
        return x

    # -- streams

    def mixer(self, name, X, rows):
        v = [c for stream in X for c in stream]
        r = 1 / math.sqrt(sum(c * c for c in v) / len(v) + self.eps)
        return [m * r for m in self.linear(name + "_fn", v, rows, keep=True)]

    def mix(self, name, X):
        n, rows = self.n, (2 + self.n) * self.n
        m, base, scale = self.mixer(name, X, rows), self.vector(name + "_base", rows), self.vector(name + "_scale", 3)
        sigmoid = lambda z: 1 / (1 + math.exp(-z))
        pre = [sigmoid(m[i] * scale[0] + base[i]) + self.hc_eps for i in range(n)]
        post = [2 * sigmoid(m[n + i] * scale[1] + base[n + i]) for i in range(n)]
        C = []
        for j in range(n):
            z = [math.exp(m[2 * n + j * n + k] * scale[2] + base[2 * n + j * n + k]) for k in range(n)]
            C.append([v / sum(z) + self.hc_eps for v in z])
        for step in range(self.sinkhorn):
            if step:
                C = [[v / (sum(row) + self.hc_eps) for v in row] for row in C]
            total = [sum(C[j][k] for j in range(n)) + self.hc_eps for k in range(n)]
            C = [[C[j][k] / total[k] for k in range(n)] for j in range(n)]
        return pre, post, C

    def collapse(self, pre, X):
        return [self.round(sum(p * s[c] for p, s in zip(pre, X))) for c in range(self.D)]

    def expand(self, post, C, y, X):
        return [[self.round(post[k] * y[c] + sum(C[j][k] * X[j][c] for j in range(self.n))) for c in range(self.D)]
                for k in range(self.n)]

    # -- attention

    def compress(self, at, x, r, overlap, width):
        wide = (2 if overlap else 1) * width
        K = [self.linear(at + ".wkv.weight", v, wide, keep=True) for v in x]
        Z = [self.linear(at + ".wgate.weight", v, wide, keep=True) for v in x]
        ape = self.weight(at + ".ape", r, wide)[0]
        Z = [[z + a for z, a in zip(row, ape[t % r])] for t, row in enumerate(Z)]
        out = []
        for j in range(len(x) // r):
            e = []
            for c in range(width):
                seen = [(Z[t][c + overlap * width], K[t][c + overlap * width]) for t in range(j * r, j * r + r)]
                if overlap and j:
                    seen += [(Z[t][c], K[t][c]) for t in range(j * r - r, j * r)]
                z = [math.exp(g) for g, _ in seen]
                e.append(sum(g * k for g, (_, k) in zip(z, seen)) / sum(z))
            out.append(self.rotate(self.norm(self.rounded(e), at + ".norm.weight"), j * r, True))
        return out

    def entry(self, e):
        """As it is kept: everything but the rotated tail in FP8."""
        return a8(e[: self.d - self.R], 64) + e[self.d - self.R :] if self.exact else e

    def hadamard(self, x):
        n = len(x)
        y = [sum(v * (-1) ** bin(i & j).count("1") for j, v in enumerate(x)) / math.sqrt(n) for i in range(n)]
        return a4(self.rounded(y))

    def picks(self, at, x, qr, t, keys, visible):
        if visible <= self.topk:
            return range(visible)
        q = self.linear(at + ".wq_b.weight", qr, self.Hi * self.di)
        q = [self.rotate(q[h * self.di : (h + 1) * self.di], t, True) for h in range(self.Hi)]
        if self.exact:
            q = [self.hadamard(h) for h in q]
        scale = 1 / math.sqrt(self.di * self.Hi)
        w = [self.round(v * scale) for v in self.linear(at + ".weights_proj.weight", x, self.Hi)]
        score = [self.round(sum(w[h] * max(sum(map(mul, q[h], k)), 0) for h in range(self.Hi)))
                 for k in keys[:visible]]
        return sorted(range(visible), key=lambda j: (-score[j], j))[: self.topk]

    def attention(self, at, r, x):
        csa, hca = r == 4, r not in (0, 4)
        qr = [self.norm(self.linear(at + "wq_a.weight", v, self.q_rank), at + "q_norm.weight") for v in x]
        kv = [self.norm(self.linear(at + "wkv.weight", v, self.d), at + "kv_norm.weight") for v in x]
        kv = [self.entry(self.rotate(v, t, r > 0)) for t, v in enumerate(kv)]
        entries, keys = [], []
        if r:
            entries = [self.entry(e) for e in self.compress(at + "compressor", x, r, csa, self.d)]
        if csa:
            keys = self.compress(at + "indexer.compressor", x, r, True, self.di)
            keys = [self.hadamard(k) for k in keys] if self.exact else keys
        sink, out = self.vector(at + "attn_sink", self.H), []
        for t, v in enumerate(x):
            visible = (t + 1) // r if r else 0
            seen = kv[max(0, t - self.window + 1) : t + 1]
            if csa:
                seen = seen + [entries[j] for j in self.picks(at + "indexer", v, qr[t], t, keys, visible)]
            if hca:
                seen = seen + entries[:visible]
            q = self.linear(at + "wq_b.weight", qr[t], self.H * self.d)
            o = []
            for h in range(self.H):
                head = self.rotate(self.norm(q[h * self.d : (h + 1) * self.d]), t, r > 0)
                s = [sum(map(mul, head, e)) / math.sqrt(self.d) for e in seen]
                top = max(s)
                p = [math.exp(z - top) for z in s]
                total = sum(p) + math.exp(sink[h] - top)
                p = self.rounded(p)
                head = [self.round(sum(a * e[c] for a, e in zip(p, seen)) / total) for c in range(self.d)]
                o += self.rotate(head, t, r > 0, -1)
            u, wide = [], self.H // self.groups * self.d
            w = self.weight(at + "wo_a.weight", self.groups * self.o_rank, wide)[0]
            for g in range(self.groups):
                part = o[g * wide : (g + 1) * wide]
                u += self.rounded([sum(map(mul, row, part)) for row in w[g * self.o_rank : (g + 1) * self.o_rank]])
            out.append(self.linear(at + "wo_b.weight", u, self.D))
        return out

    # -- experts

    def expert(self, at, x, weight):
        a = self.linear(at + ".w1.weight", x, self.F)
        b = self.linear(at + ".w3.weight", x, self.F)
        z = []
        for g, v in zip(a, b):
            g, v = min(g, self.limit), min(max(v, -self.limit), self.limit)
            z.append(self.round(g / (1 + math.exp(-g)) * v * weight))
        return self.linear(at + ".w2.weight", z, self.D)

    def moe(self, at, hashes, x, token):
        s = [math.sqrt(math.log1p(math.exp(g))) for g in self.linear(at + "gate.weight", x, self.E, keep=True)]
        if hashes:
            first = list(hashed(at + "gate.tid2eid", token + 1))[token] & 127
            chosen = [(first + c) % self.E for c in range(self.active)]
        else:
            bias = self.vector(at + "gate.bias", self.E)
            chosen = sorted(range(self.E), key=lambda e: (-(s[e] + bias[e]), e))[: self.active]
        total = sum(s[e] for e in chosen)
        y = self.expert(at + "shared_experts", x, 1.0)
        for e in chosen:
            part = self.expert(at + "experts.%d" % e, x, s[e] / total * self.route)
            y = [a + b for a, b in zip(y, part)]
        return self.rounded(y)

    # -- the whole

    def block(self, at, r, hashes, X, ids):
        mixed = [self.mix(at + "hc_attn", x) for x in X]
        x = [self.norm(self.collapse(m[0], v), at + "attn_norm.weight") for m, v in zip(mixed, X)]
        y = self.attention(at + "attn.", r, x)
        X = [self.expand(m[1], m[2], a, v) for m, a, v in zip(mixed, y, X)]
        mixed = [self.mix(at + "hc_ffn", x) for x in X]
        x = [self.norm(self.collapse(m[0], v), at + "ffn_norm.weight") for m, v in zip(mixed, X)]
        y = [self.moe(at + "ffn.", hashes, v, i) for v, i in zip(x, ids)]
        return [self.expand(m[1], m[2], a, v) for m, a, v in zip(mixed, y, X)]

    def head(self, at, X):
        out, base, scale = [], self.vector(at + "hc_head_base", self.n), self.vector(at + "hc_head_scale", 1)
        for x in X:
            m = self.mixer(at + "hc_head", x, self.n)
            pre = [1 / (1 + math.exp(-(z * scale[0] + b))) + self.hc_eps for z, b in zip(m, base)]
            h = self.norm(self.collapse(pre, x), at + "norm.weight")
            out.append(self.linear("head.weight", h, self.V, keep=True))
        return out

    def run(self, ids):
        embed = self.weight("embed.weight", self.V, self.D)[0]
        X = [[self.rounded(embed[i]) for _ in range(self.n)] for i in ids]
        for l, r in enumerate(self.ratios):
            X = self.block("layers.%d." % l, r, l < self.hash_layers, X, ids)
        Y = []
        for t in range(len(ids) - 1):
            e = self.linear("mtp.0.e_proj.weight", self.norm(embed[ids[t + 1]], "mtp.0.enorm.weight"), self.D)
            h = [self.linear("mtp.0.h_proj.weight", self.norm(x, "mtp.0.hnorm.weight"), self.D) for x in X[t]]
            Y.append([self.rounded([a + b for a, b in zip(e, s)]) for s in h])
        Y = self.block("mtp.0.", 0, False, Y, ids)
        return self.head("", X), self.head("mtp.0.", Y)


def main():
    ids = [(i * i * 31 + 7 * i + 5) % HP["V"] for i in range(T)]
    tensors = {"ids": ("I32", [T], struct.pack("<%di" % T, *ids))}
    for mode in ("f32", "exact"):
        hp = dict(HP)
        if mode == "exact":  # whole blocks of 32
            hp.update(q_rank=64, F=64, mix_scale=1.0)
        for what, rows in zip(("logits", "draft"), Model(hp, mode == "exact").run(ids)):
            flat = [v for row in rows for v in row]
            print(mode, what, "deviation %.3f" % math.sqrt(sum(v * v for v in flat) / len(flat)))
            tensors["%s.%s" % (mode, what)] = "F32", [len(rows), hp["V"]], struct.pack("<%df" % len(flat), *flat)
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(sys.argv[1], "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            f.write(data)


if __name__ == "__main__":
    main()
