#!/usr/bin/env python3
"""Makes tests/golden/model/pass.safetensors: losses and gradients of the training pass, in float64 with PyTorch.

usage: model_gradients.py OUTDIR        (needs torch and numpy; Debian: python3-torch, run with /usr/bin/python3)

Written from the equations (docs/MODEL.md), straight on: every mask is a dense matrix, every softmax one call, and gradients come from
autograd. Two sequences are computed together, each with the other's chunks as negatives, in the dense and in the routed mode.

Parameters are not stored: both sides compute them from their position (see `number`). A gradient G (rows, cols) is stored as G r and
l^T G with fixed signs r, l: each element takes part in both. Tensors of the file:

  TEXT.ids .target .gold .source .answer (T) i32   .weight (T) f32   .doc (n + 1) i32   .banked (n) i32       TEXT: a, b
  options (18) f64: dense then routed: kl oracle absence gate z pointer decode decode_scale phase
  scales (8) f64: dense then routed: ce query gold absent; grad_scale is the option below
  MODE.sums (12) f64: ce_text ce_answer kl oracle absence gate consulted recall pointer decode, then n_query n_consult_pairs
  MODE.NAME.rows (rows) MODE.NAME.cols (cols) f32: the projections of parameter NAME's gradient     MODE: dense, routed
"""
import json
import math
import os
import struct
import sys

import numpy as np
import torch

torch.set_default_dtype(torch.float64)

V, D, H, G, DH, W, F, S = 24, 32, 2, 1, 64, 66, 16, 64
E, EM, M, DL, DK, DV, HB, RH, RM, K = 64, 16, 2, 128, 16, 32, 2, 16, 16, 2
LOWER, UPPER, GROUPS = 1, 2, 2
EPS, BASE, GATE_OPEN = float(np.float32(1e-6)), 1e4, 0.5
SEED = 12
GRAD_SCALE = {"dense": 1.0, "routed": 0.5}
OPTIONS = {  # multiples of 1/64: exact in f32
    "dense": dict(kl=0.3125, oracle=0.75, absence=0.25, gate=0.0625, z=0.015625, pointer=0.4375, decode=0.28125, phase=3),
    "routed": dict(kl=0.28125, oracle=0.5, absence=0.375, gate=0.09375, z=0.03125, pointer=0.5, decode=0.3125, phase=6),
}

# ---------------------------------------------------------------- numbers that both sides compute


def mix(x):
    """splitmix64's finaliser, over numpy u64."""
    x = x.astype(np.uint64)
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def number(tensor, n):
    """n numbers in [-1, 1) of tensor index `tensor`."""
    at = (np.uint64(SEED) << np.uint64(48)) + (np.uint64(tensor) << np.uint64(32)) + np.arange(n, dtype=np.uint64)
    return (mix(at) >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0


def signs(stream, n):
    return torch.tensor(np.where(number(stream, n) < 0, -1.0, 1.0))


def parameters():
    def layer(name):
        return [(f"{name}.attn.q", H * DH, D), (f"{name}.attn.kv", 2 * G * DH, D), (f"{name}.attn.o", D, H * DH),
                (f"{name}.ffn.gate_up", 2 * F, D), (f"{name}.ffn.down", D, F)]
    shapes = [("embed", V, D)]
    for i in range(LOWER):
        shapes += layer(f"lower.{i}")
    shapes += [("bank.in", E, D), ("bank.pos", S, E), ("bank.cls", M, E), ("bank.qkv", 3 * E, E), ("bank.o", E, E), ("bank.up", EM, E),
               ("bank.down", E, EM), ("bank.landmark", DL, E), ("bank.bias_w", 1, M * E), ("bank.bias_b", 1, 1),
               ("bank.content", DK + DV, D + E)]
    for g in range(GROUPS):
        r = f"read.{g}."
        shapes += [(r + "router1", RH, D), (r + "router2", DL, RH), (r + "gate_w", 1, D), (r + "gate_b", 1, 1), (r + "null", 1, 1),
                   (r + "log_tau", 1, 1), (r + "q", HB * DK, D), (r + "o", D, HB * DV), (r + "gate_up", 2 * RM, D), (r + "down", D, RM),
                   (r + "rank", K, DV)]
    for i in range(UPPER):
        shapes += layer(f"upper.{i}")
    out = {}
    for i, (name, rows, cols) in enumerate(shapes):
        size = math.sqrt(3.0 / cols) if cols > 1 else 1.0
        x = np.float32(number(i, rows * cols) * size)
        if name.endswith("log_tau"):
            x[:] = 1.5 + 0.25 * (name == "read.1.log_tau")
        out[name] = torch.tensor(x.reshape(rows, cols).astype(np.float64), requires_grad=True)
    return out


# ---------------------------------------------------------------- blocks


def rms(x):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + EPS)


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def silu(x):
    return x * torch.sigmoid(x)


def swiglu(x, gate_up, down):
    b, c = (x @ gate_up.T).chunk(2, -1)
    return (silu(b) * c) @ down.T


def rope(x, pos):
    """x (T, heads, 64)"""
    angle = pos[:, None] * BASE ** (-torch.arange(0, DH, 2) / DH)
    c, s = angle.cos()[:, None], angle.sin()[:, None]
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * c - b * s, a * s + b * c), -1).flatten(-2)


def window_layer(p, name, x, pos, allowed):
    """allowed (T, T): the same document, not later, at most W - 1 tokens back."""
    T, a = len(x), rms(x)
    kv = a @ p[name + ".attn.kv"].T
    q = rope(rms((a @ p[name + ".attn.q"].T).view(T, H, DH)), pos)
    k = rope(rms(kv[:, :G * DH].reshape(T, G, DH)), pos).repeat_interleave(H // G, 1)
    v = kv[:, G * DH:].reshape(T, G, DH).repeat_interleave(H // G, 1)
    s = torch.einsum("thd,shd->hts", q, k) / math.sqrt(DH)
    att = torch.einsum("hts,shd->thd", s.masked_fill(~allowed, -math.inf).softmax(-1), v).reshape(T, H * DH)
    x = x + att @ p[name + ".attn.o"].T
    return x + swiglu(rms(x), p[name + ".ffn.gate_up"], p[name + ".ffn.down"])


def encode(p, h):
    """One chunk, h (n, D): keys (n, DK), values (n, DV), landmarks (M, DL), bias."""
    n, x = len(h), rms(h)
    z = torch.cat([x @ p["bank.in"].T + p["bank.pos"][:n], p["bank.cls"]])
    q, k, v = (rms(z) @ p["bank.qkv"].T).view(n + M, 3, E // 64, 64).permute(1, 2, 0, 3)
    att = (q @ k.transpose(-1, -2) / 8.0).softmax(-1) @ v
    z = z + att.transpose(0, 1).reshape(n + M, E) @ p["bank.o"].T
    z = z + silu(rms(z) @ p["bank.up"].T) @ p["bank.down"].T
    content = torch.cat([x, rms(z[:n])], -1) @ p["bank.content"].T
    bias = (z[n:].flatten() @ p["bank.bias_w"][0]) + p["bank.bias_b"][0, 0]
    return rms(content[:, :DK]), rms(content[:, DK:]), unit(z[n:] @ p["bank.landmark"].T), bias


class Text:
    """A sequence of documents and what follows from its layout."""

    def __init__(self, lengths, banked, seed):
        self.doc = np.concatenate([[0], np.cumsum(lengths)]).astype(int)
        self.banked, self.T = banked, int(self.doc[-1])
        self.ids = (mix(np.arange(self.T, dtype=np.uint64) + np.uint64(1000 * seed)) % np.uint64(V)).astype(int)
        self.pos = torch.cat([torch.arange(n, dtype=torch.float64) for n in lengths])
        of = torch.tensor(np.repeat(np.arange(len(lengths)), lengths))
        t = torch.arange(self.T)
        self.allowed = (of[:, None] == of[None]) & (t[None] <= t[:, None]) & (t[None] > t[:, None] - W)
        self.chunks = []  # (first token, tokens, first query)
        for d, n in enumerate(lengths):
            start, end = int(self.doc[d]), int(self.doc[d + 1])
            for j in range(0, n if banked[d] else 0, S):
                self.chunks.append((start + j, min(S, n - j), min(start + j + S + W - S, end)))
        self.eligible = torch.tensor([[q <= i for _, _, q in self.chunks] for i in range(self.T)])


def labels(x, seed):
    """Targets, weights, answers, gold chunks and sources: every case, from fixed rolls of dice."""
    r = number(500 + seed, 6 * x.T).reshape(6, x.T) * 0.5 + 0.5
    x.target, x.gold, x.source = np.full(x.T, -1), np.full(x.T, -1), np.full(x.T, -1)
    x.answer, x.weight = (r[1] < 0.3).astype(int), np.zeros(x.T, np.float32)
    for t in range(x.T - 1):
        if r[0, t] < 0.8:
            x.target[t], x.weight[t] = x.ids[t + 1], 3.0 if x.answer[t] else 1.0
        if r[2, t] < 0.15:
            x.gold[t] = int(r[3, t] * len(x.chunks))  # some are not eligible: no loss
        elif r[2, t] < 0.25:
            x.gold[t] = -2
        if r[4, t] < 0.2:
            c = int(r[5, t] * len(x.chunks))
            x.source[t] = c * S + int(r[3, t] * x.chunks[c][1])


# ---------------------------------------------------------------- losses


class Sums(dict):
    def add(self, key, value):
        self[key] = self.get(key, 0.0) + float(value)


def lse_or_none(x):
    return torch.logsumexp(x, -1) if x.shape[-1] else torch.full(x.shape[:-1], -math.inf)


def read(p, g, x, h, bank, other, mode, o, sums, margin):
    """One Read block over h; returns the new h and the losses that the block carries."""
    r = {k.split(".")[2]: v for k, v in p.items() if k.startswith(f"read.{g}.")}
    keys, values, landmark, bias = bank
    routed, share, T, C = mode == "routed", 1.0 / GROUPS, x.T, len(x.chunks)
    xn = rms(h)
    u = unit(silu(xn @ r["router1"].T) @ r["router2"].T)
    tau = torch.exp(r["log_tau"][0, 0]).clamp(max=40.0)
    gate = torch.sigmoid(xn @ r["gate_w"][0] + r["gate_b"][0, 0])
    q = rms((xn @ r["q"].T).view(T, HB, DK))

    def score(lm, b):
        near = torch.einsum("td,cmd->tcm", u, lm)
        two = near.detach().topk(2, -1).values
        margin.append(float((two[..., 0] - two[..., 1]).min() * tau))
        return tau * near.amax(-1) + b
    s = score(landmark, bias).masked_fill(~x.eligible, -math.inf)
    neg = lse_or_none(score(*other))
    has = x.eligible.any(-1)
    null = r["null"][0, 0]

    # attention inside each chunk: (T, HB, C, S), pads of short chunks masked
    pad = torch.tensor([[j >= n for j in range(S)] for _, n, _ in x.chunks])
    a = (torch.einsum("thd,cjd->thcj", q, keys) * (2.0 / math.sqrt(DK))).masked_fill(pad, -math.inf)
    chunk_lse = torch.logsumexp(a, -1)
    inside = a.softmax(-1)
    # rows with nothing eligible are computed over everything and thrown away: no NaN reaches autograd
    may = x.eligible | ~has[:, None]
    mass = chunk_lse.masked_fill(~may[:, None], -math.inf).softmax(-1)
    own = torch.logsumexp(s.masked_fill(~has[:, None], 0.0), -1)

    if routed:
        order = s.detach().sort(-1, descending=True)
        if C > K:
            gap = (order.values[:, K - 1] - order.values[:, K])[x.eligible.sum(-1) > K]
            margin.append(float(gap.min()))
        picked = torch.zeros(T, C, dtype=torch.bool).scatter(1, order.indices[:, :K], True) & x.eligible
        den = torch.logsumexp(torch.cat([s.masked_fill(~picked, -math.inf), null.expand(T, 1), neg[:, None]], -1), -1)
        w = torch.exp(s.masked_fill(~picked, -math.inf) - den[:, None])
        place = (picked.cumsum(-1) - 1).clamp(min=0)  # rank in time among the picked
        out = torch.einsum("tc,thcj,cjd->thd", w, inside, values) + torch.einsum("tc,tcd->td", w, r["rank"][place])[:, None]
    else:
        out = torch.einsum("thc,thcj,cjd->thd", mass * has[:, None, None], inside, values)

    loss = torch.zeros(())
    target = mass.mean(1).detach()
    log_p = (s - own[:, None]).masked_fill(~x.eligible, 0.0)
    kl = (torch.where(x.eligible, torch.special.xlogy(target, target) - target * log_p, torch.zeros(()))).sum(-1)[has].sum() * share
    loss = loss + o["kl"] * o["query_scale"] * kl
    sums.add("kl", kl)
    for t in range(T):
        c = int(x.gold[t])
        if c >= 0 and x.eligible[t, c]:
            parts = [own[t], neg[t]] + ([null] if routed else [])
            nll = (torch.logsumexp(torch.stack(parts), 0) - s[t, c]) * share
            loss = loss + o["oracle"] * o["gold_scale"] * nll
            sums.add("oracle", nll)
            above = int((s[t] > s[t, c]).sum()) + int((score(*other)[t] > s[t, c]).sum())
            sums.add("recall", share * (above < K))
        if c == -2 and routed:
            nll = (den[t] - null) * share
            loss = loss + o["absence"] * o["absent_scale"] * nll
            sums.add("absence", nll)
        row = int(x.source[t])
        if row >= 0 and x.eligible[t, row // S]:
            prob = inside[t, :, row // S, row % S]
            if not routed:
                prob = prob * mass[t, :, row // S]
            nll = -torch.log(prob.mean() + 1e-6) * share
            loss = loss + o["pointer"] * o["gold_scale"] * nll
            sums.add("pointer", nll)
    loss = loss + o["gate"] * o["query_scale"] * gate[has].sum()
    sums.add("gate", gate[has].sum())
    sums.add("consulted", (gate[has] > GATE_OPEN).sum())
    sums.add("n_consult_pairs", has.sum())
    if g == 0:
        sums.add("n_query", has.sum())
    if has.any():
        margin.append(float((gate[has] - GATE_OPEN).abs().min()))

    h = h + (gate[:, None] * out.reshape(T, HB * DV)) @ r["o"].T
    return h + swiglu(rms(h), r["gate_up"], r["down"]), loss


def lower(p, x):
    h = rms(p["embed"][torch.tensor(x.ids)])
    for i in range(LOWER):
        h = window_layer(p, f"lower.{i}", h, x.pos, x.allowed)
    keys, values, landmark, bias = zip(*[encode(p, h[a:a + n]) for a, n, _ in x.chunks])
    fill = lambda rows: torch.stack([torch.nn.functional.pad(k, (0, 0, 0, S - len(k))) for k in rows])
    return h, (fill(keys), fill(values), torch.stack(landmark), torch.stack(bias))


def upper(p, x, h, bank, other, mode, o, sums, margin):
    loss = torch.zeros(())
    for i in range(UPPER):
        if i % (UPPER // GROUPS) == 0:
            h, more = read(p, i // (UPPER // GROUPS), x, h, bank, other, mode, o, sums, margin)
            loss = loss + more
        h = window_layer(p, f"upper.{i}", h, x.pos, x.allowed)
    logits = rms(h) @ p["embed"].T
    lse = torch.logsumexp(logits, -1)
    for t in range(x.T):
        if x.target[t] < 0:
            continue
        ce = lse[t] - logits[t, x.target[t]]
        loss = loss + o["ce_scale"] * float(x.weight[t]) * (ce + o["z"] * lse[t] ** 2)
        sums.add("ce_answer" if x.answer[t] else "ce_text", ce)
    for c, (start, n, _) in enumerate(x.chunks):  # start of a chunk in its document is a multiple of S, S of 8
        for j in range(o["phase"], n, 8):
            for g in range(GROUPS):
                y = rms(bank[1][c, j].repeat(HB) @ p[f"read.{g}.o"].T) @ p["embed"].T
                ce = (torch.logsumexp(y, -1) - y[x.ids[start + j]]) / GROUPS
                loss = loss + o["decode"] * o["decode_scale"] * ce
                sums.add("decode", ce)
    return loss


# ---------------------------------------------------------------- file


def write_safetensors(path, tensors):
    types = {np.dtype(np.float64): "F64", np.dtype(np.float32): "F32", np.dtype(np.int32): "I32"}
    head, data = {}, b""
    for name, x in sorted(tensors.items(), key=lambda kv: (-kv[1].dtype.itemsize, kv[0])):
        raw = np.ascontiguousarray(x).tobytes()
        head[name] = {"dtype": types[x.dtype], "shape": list(x.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def main():
    texts = {"a": Text([150, 70, 90], [1, 1, 1], 1), "b": Text([200, 20], [1, 0], 2)}
    tensors = {}
    for i, (name, x) in enumerate(texts.items()):
        labels(x, i)
        for key in ("ids", "target", "gold", "source", "answer", "doc", "banked"):
            tensors[f"{name}.{key}"] = np.asarray(getattr(x, key), np.int32)
        tensors[f"{name}.weight"] = x.weight
    every = list(texts.values())
    tensors["options"], tensors["scales"] = np.zeros((2, 9)), np.zeros((2, 4))
    for i, mode in enumerate(("dense", "routed")):
        o = dict(OPTIONS[mode], ce_scale=2.0**-9, query_scale=2.0**-8, gold_scale=2.0**-6, absent_scale=2.0**-5, decode_scale=2.0**-6)
        tensors["options"][i] = [o[k] for k in ("kl", "oracle", "absence", "gate", "z", "pointer", "decode", "decode_scale", "phase")]
        tensors["scales"][i] = [o[k] for k in ("ce_scale", "query_scale", "gold_scale", "absent_scale")]
        p, sums, margin = parameters(), Sums(), []
        low = [lower(p, x) for x in every]
        loss = torch.zeros(())
        for j, x in enumerate(every):
            h, bank = low[j]
            loss = loss + upper(p, x, h, bank, low[1 - j][1][2:], mode, o, sums, margin)
        loss.backward()
        assert min(margin) > 2e-5, f"a choice hangs on {min(margin)}: take another SEED"
        keys = "ce_text ce_answer kl oracle absence gate consulted recall pointer decode n_query n_consult_pairs".split()
        tensors[f"{mode}.sums"] = np.array([sums.get(k, 0.0) for k in keys])
        for j, (name, w) in enumerate(p.items()):
            grad = GRAD_SCALE[mode] * (w.grad if w.grad is not None else torch.zeros_like(w))
            tensors[f"{mode}.{name}.rows"] = (grad @ signs(1000 + j, w.shape[1])).numpy().astype(np.float32)
            tensors[f"{mode}.{name}.cols"] = (signs(2000 + j, w.shape[0]) @ grad).numpy().astype(np.float32)
        print(mode, "loss", float(loss), "smallest margin", min(margin), dict(zip(keys, tensors[f"{mode}.sums"].round(4))))
    path = os.path.join(sys.argv[1], "pass.safetensors")
    write_safetensors(path, tensors)
    print(path, os.path.getsize(path), "bytes,", sum(w.numel() for w in p.values()), "parameters")


if __name__ == "__main__":
    main()
