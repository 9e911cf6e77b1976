#!/usr/bin/env python3
"""Vectors of DeepSeek-V4's arithmetic from the public implementation (transformers >= 5.10, torch).

usage: python3 oracle/dsv4_vectors.py OUTDIR        (goes to tests/golden/dsv4/)

For each tiny model one file NAME.safetensors with ids, logits of one prefill, logits of the same
text fed token by token, and activations at 33 tokens; the config as transformers writes it lies in
the file's metadata.  Weights are not stored: every value is a byte of a hash of the tensor's
released name and the element's index (see `fill`), exact in bf16, so that the tests make the same
ones.  The model `saved` is stored as transformers writes it (config.json, model.safetensors).
log.txt says what was seen.
"""
import inspect
import json
import os
import re
import sys

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers import DeepseekV4Config, DeepseekV4ForCausalLM

OUT = sys.argv[1]
os.makedirs(OUT, exist_ok=True)
LOG = open(os.path.join(OUT, "log.txt"), "w")


def say(*what):
    line = " ".join(str(w) for w in what)
    print(line, flush=True)
    LOG.write(line + "\n")
    LOG.flush()


# ---- weights from names --------------------------------------------------------------------


def fnv1a(text):
    h = 0xCBF29CE484222325
    for b in text.encode():
        h = ((h ^ b) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def hash_bytes(name, n):
    """Signed bytes k[i] of splitmix64's output function at fnv1a(name) + (i+1) * golden ratio."""
    with np.errstate(over="ignore"):
        z = np.uint64(fnv1a(name)) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(
            0x9E3779B97F4A7C15
        )
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(56)).astype(np.uint8).view(np.int8).astype(np.int32)


def fill(name, shape, mix_scale):
    """Values of the tensor `name`, all of them exact in bf16."""
    n = int(np.prod(shape))
    k = hash_bytes(name, n)
    leaf = name.split(".")[-1]
    if leaf.endswith("_scale"):  # of a mixer: around 1/2, or around 2
        v = (64 + (k >> 2)) / 128.0 * mix_scale
    elif "norm" in name:
        v = 1.0 + (k >> 2) / 128.0
    elif leaf == "ape":
        v = k / 256.0
    elif len(shape) == 1:  # bases, sinks, router biases
        v = k / 512.0
    else:  # deviation about 1/sqrt(columns): a power of two near sqrt(3/columns)
        v = k / 128.0 * 2.0 ** round(np.log2(np.sqrt(3.0 / shape[-1])))
    return torch.tensor(np.asarray(v, dtype=np.float32).reshape(shape))


LAYER = {
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.q_a_proj.weight": "attn.wq_a.weight",
    "self_attn.q_a_norm.weight": "attn.q_norm.weight",
    "self_attn.q_b_proj.weight": "attn.wq_b.weight",
    "self_attn.kv_proj.weight": "attn.wkv.weight",
    "self_attn.kv_norm.weight": "attn.kv_norm.weight",
    "self_attn.o_a_proj.weight": "attn.wo_a.weight",
    "self_attn.o_b_proj.weight": "attn.wo_b.weight",
    "self_attn.sinks": "attn.attn_sink",
    "self_attn.compressor.kv_proj.weight": "attn.compressor.wkv.weight",
    "self_attn.compressor.gate_proj.weight": "attn.compressor.wgate.weight",
    "self_attn.compressor.position_bias": "attn.compressor.ape",
    "self_attn.compressor.kv_norm.weight": "attn.compressor.norm.weight",
    "self_attn.compressor.indexer.q_b_proj.weight": "attn.indexer.wq_b.weight",
    "self_attn.compressor.indexer.scorer.weights_proj.weight": "attn.indexer.weights_proj.weight",
    "self_attn.compressor.indexer.weights_proj.weight": "attn.indexer.weights_proj.weight",
    "self_attn.compressor.indexer.kv_proj.weight": "attn.indexer.compressor.wkv.weight",
    "self_attn.compressor.indexer.gate_proj.weight": "attn.indexer.compressor.wgate.weight",
    "self_attn.compressor.indexer.position_bias": "attn.indexer.compressor.ape",
    "self_attn.compressor.indexer.kv_norm.weight": "attn.indexer.compressor.norm.weight",
    "attn_hc.fn": "hc_attn_fn",
    "attn_hc.base": "hc_attn_base",
    "attn_hc.scale": "hc_attn_scale",
    "ffn_hc.fn": "hc_ffn_fn",
    "ffn_hc.base": "hc_ffn_base",
    "ffn_hc.scale": "hc_ffn_scale",
    "mlp.gate.weight": "ffn.gate.weight",
    "mlp.gate.e_score_correction_bias": "ffn.gate.bias",
    "mlp.shared_experts.gate_proj.weight": "ffn.shared_experts.w1.weight",
    "mlp.shared_experts.up_proj.weight": "ffn.shared_experts.w3.weight",
    "mlp.shared_experts.down_proj.weight": "ffn.shared_experts.w2.weight",
}
TOP = {
    "model.embed_tokens.weight": "embed.weight",
    "model.norm.weight": "norm.weight",
    "lm_head.weight": "head.weight",
    "model.hc_head.hc_fn": "hc_head_fn",
    "model.hc_head.hc_base": "hc_head_base",
    "model.hc_head.hc_scale": "hc_head_scale",
    "model.hc_head.fn": "hc_head_fn",
    "model.hc_head.base": "hc_head_base",
    "model.hc_head.scale": "hc_head_scale",
}


def experts(name, prefix, tensor, hidden, width, scale):
    """[E, 2F, D] or [E, D, F], or either transposed."""
    down = name.endswith("down_proj")
    cols = width if down else hidden
    across = tensor.shape[-1] != cols
    rows = tensor.shape[1] if not across else tensor.shape[2]
    if across:
        say("note: transposed", name, tuple(tensor.shape))
    for e in range(tensor.shape[0]):
        base = f"{prefix}ffn.experts.{e}."
        if down:
            block = fill(base + "w2.weight", (rows, cols), scale)
        else:
            w1 = fill(base + "w1.weight", (rows // 2, cols), scale)
            w3 = fill(base + "w3.weight", (rows // 2, cols), scale)
            block = torch.cat([w1, w3], 0)
        tensor[e].copy_(block.t() if across else block)


def set_weights(model, cfg, mix_scale):
    unmapped = []
    for name, tensor in model.state_dict(keep_vars=True).items():
        tensor = tensor.data
        m = re.match(r"model\.layers\.(\d+)\.(.*)", name)
        prefix = f"layers.{m.group(1)}." if m else ""
        if m and re.fullmatch(r"mlp\.experts\.(gate_up_proj|down_proj)(\.weight)?", m.group(2)):
            hf = name.removesuffix(".weight")
            experts(hf, prefix, tensor, cfg.hidden_size, cfg.moe_intermediate_size, mix_scale)
            continue
        if m and m.group(2) == "mlp.gate.tid2eid":
            first = hash_bytes(prefix + "ffn.gate.tid2eid", tensor.shape[0]) & 127
            step = np.arange(tensor.shape[1])
            table = (first[:, None] + step[None, :]) % cfg.n_routed_experts
            tensor.copy_(torch.tensor(table).to(tensor.dtype))
            continue
        released = TOP.get(name) if not m else LAYER.get(m.group(2))
        if released is None:
            unmapped.append((name, tuple(tensor.shape), str(tensor.dtype)))
            continue
        tensor.copy_(fill(prefix + released, tuple(tensor.shape), mix_scale).to(tensor.dtype))
    for u in unmapped:
        say("UNMAPPED", *u)


# ---- models ----------------------------------------------------------------------------------

S, C, H = "sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"
BASE = dict(
    vocab_size=96, hidden_size=64, moe_intermediate_size=48, num_hidden_layers=6,
    num_attention_heads=4, num_key_value_heads=1, head_dim=32, q_lora_rank=40,
    num_experts_per_tok=2, n_routed_experts=8, n_shared_experts=1, max_position_embeddings=4096,
    rope_theta=10000.0, compress_rope_theta=160000.0, layer_types=[S, C, H, C, H, C],
    compress_rates={C: 4, H: 16}, mlp_layer_types=["hash_moe"] * 2 + ["moe"] * 4,
    sliding_window=16, o_groups=2, o_lora_rank=24, index_n_heads=16, index_head_dim=16,
    index_topk=8, hc_mult=4, hc_sinkhorn_iters=20, partial_rotary_factor=0.25,
    num_nextn_predict_layers=0,
)  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 64,
        "beta_fast": 32.0, "beta_slow": 1.0}  # fmt: skip
SMALL = dict(hidden_size=32, moe_intermediate_size=16, num_hidden_layers=4, q_lora_rank=24,
             o_lora_rank=12, n_routed_experts=4, layer_types=[S, C, H, C],
             mlp_layer_types=["hash_moe"] + ["moe"] * 3, vocab_size=64)  # fmt: skip


def build(kw):
    cfg = DeepseekV4Config(**{**BASE, **kw})
    try:
        cfg._attn_implementation = "eager"
    except Exception as e:  # noqa: BLE001
        say("note: attention implementation left alone:", e)
    torch.manual_seed(0)
    return cfg, DeepseekV4ForCausalLM(cfg).float().eval()


def clamp_shared(model, limit):
    """The shared expert is clamped as the routed ones are; older revisions leave it out."""
    n = 0
    for name, mod in model.named_modules():
        if not name.endswith("shared_experts"):
            continue

        def forward(x, mod=mod):
            gate = mod.gate_proj(x).clamp(max=limit)
            up = mod.up_proj(x).clamp(min=-limit, max=limit)
            return mod.down_proj(torch.nn.functional.silu(gate) * up)

        mod.forward = forward
        n += 1
    say("shared experts with their clamp:", n)


KEEP = re.compile(
    r"model\.layers\.\d+\.(attn_hc|ffn_hc|mlp|self_attn|self_attn\.compressor"
    r"|self_attn\.compressor\.indexer|self_attn\.compressor\.indexer\.scorer)$|model\.hc_head$|model\.norm$"
)


def record(acts, name, value, path=""):
    if torch.is_tensor(value):
        if value.numel() <= 1 << 15:
            t = value.detach()
            acts[f"act.{name}{path}"] = (
                t.float() if t.dtype.is_floating_point else t.to(torch.int32)
            ).contiguous().clone()  # fmt: skip
    elif isinstance(value, (tuple, list)):
        for i, v in enumerate(value):
            record(acts, name, v, f"{path}.{i}")


def run(model, ids):
    with torch.no_grad():
        whole = model(ids, use_cache=False).logits[0].float().contiguous()
        parts, past = [], None
        for at, n in [(0, 8)] + [(t, 1) for t in range(8, ids.shape[1])]:
            o = model(ids[:, at : at + n], past_key_values=past, use_cache=True)
            past = o.past_key_values
            parts.append(o.logits[0].float())
    steps = torch.cat(parts, 0).contiguous()
    return whole, steps


def make(name, kw, mix_scale=1.0, lengths=(33, 208), activations=False, clamp=None):
    say("====", name)
    cfg, model = build(kw)
    set_weights(model, cfg, mix_scale)
    out = {}
    for n in lengths:
        k = hash_bytes(f"{name}.ids.{n}", n)
        ids = torch.tensor((k & 255) % cfg.vocab_size)[None].long()
        if clamp is not None and n == lengths[0]:
            plain = run(model, ids)[0]
            clamp_shared(model, clamp)
            say("effect of the clamp in the shared expert", (run(model, ids)[0] - plain).abs().max().item())
        hooks, acts = [], {}
        if activations and n == 33:
            for mod_name, mod in model.named_modules():
                if KEEP.match(mod_name):
                    hooks.append(mod.register_forward_hook(
                        lambda m, i, o, s=mod_name: record(acts, s, o)))  # fmt: skip
            with torch.no_grad():
                model(ids, use_cache=False)
            for h in hooks:
                h.remove()
            for key in sorted(acts):
                say("  ", key, tuple(acts[key].shape), acts[key].dtype)
            out.update(acts)
        whole, steps = run(model, ids)
        out[f"ids.{n}"] = ids[0].to(torch.int32)
        out[f"logits.{n}"], out[f"steps.{n}"] = whole, steps
        worst = (whole - steps).abs().max(1).values
        first = next((t for t in range(n) if worst[t] > 1e-4), n)
        say(name, n, "tokens: logit std %.3f, prefill and steps differ by %.2e; first row above 1e-4: %d"
            % (whole.std().item(), worst.max().item(), first))  # fmt: skip
    path = os.path.join(OUT, name + ".safetensors")
    save_file(out, path, metadata={"config": json.dumps(cfg.to_dict(), default=str), "mix_scale": str(mix_scale)})
    say(path, os.path.getsize(path), "bytes")
    return model


def save_as_transformers_does(model):
    folder = os.path.join(OUT, "saved")
    os.makedirs(folder, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    for f in sorted(os.listdir(folder)):
        say("  ", f, os.path.getsize(os.path.join(folder, f)), "bytes")
        if f not in ("config.json", "model.safetensors"):
            os.remove(os.path.join(folder, f))


def main():
    say("torch", torch.__version__, "transformers", transformers.__version__)
    module = inspect.getmodule(DeepseekV4ForCausalLM)
    for cls in dir(module):
        if re.search(r"MLP|Expert|HyperConn|Compressor|Indexer|Scorer|Router|HyperHead", cls):
            try:
                LOG.write(f"---- {cls}\n{inspect.getsource(getattr(module, cls))}\n")
            except (TypeError, OSError):
                pass
    failed = []
    jobs = [
        ("plain", dict(), dict(activations=True)),
        ("yarn", dict(rope_parameters=YARN, sliding_window=8, index_topk=4), dict()),
        ("wide", dict(hidden_size=96, head_dim=64, num_attention_heads=8, o_groups=4,
                      n_routed_experts=12, num_experts_per_tok=3, sliding_window=32,
                      index_topk=16, partial_rotary_factor=0.125,
                      compress_rates={C: 4, H: 32}), dict()),
        ("hard", dict(hc_sinkhorn_iters=3, hc_eps=1e-2, swiglu_limit=1.0),
         dict(mix_scale=4.0, activations=True, clamp=1.0)),
        ("small", SMALL, dict(lengths=(48,))),
    ]  # fmt: skip
    for name, kw, how in jobs:
        try:
            model = make(name, kw, **how)
            if name == "small":
                save_as_transformers_does(model)
        except Exception:  # noqa: BLE001  the other models are worth having
            import traceback

            say("FAILED", name, traceback.format_exc())
            failed.append(name)
    say("failed:", failed or "none")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
