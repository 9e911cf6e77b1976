#!/usr/bin/env python3
"""make_gguf.py FILE - a model of the Llama shape that bench/peer.sh times: random weights, Q8_0.

    D 512, 8 layers, 8 heads of 64 with 2 for keys and values, MLP 1,536, vocabulary 16,384 whose
    embedding is the head as well: 32.5M parameters.  Norms are f32 ones.

Time does not depend on what weights say, so they are bytes of one seed under one scale a block.
The vocabulary is the least that a loader takes: three control tokens, 256 bytes, made-up words.
Layout of the file: src/format/gguf.c; of a Q8_0 block: f16 scale, 32 signed bytes."""
import random
import struct
import sys

D, LAYERS, HEADS, KV_HEADS, MLP, VOCAB = 512, 8, 8, 2, 1536, 16384
HEAD = D // HEADS
ALIGN, BLOCK, SEED = 32, 32, 1
SPREAD = 0.02  # standard deviation of a weight: logits stay finite
U32, F32, STRING, ARRAY, I32 = 4, 6, 8, 9, 5  # types of metadata
TYPE_F32, TYPE_Q8_0, FILE_Q8_0 = 0, 8, 7


def string(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def value(kind, v):
    return string(v) if kind == STRING else struct.pack({U32: "<I", I32: "<i", F32: "<f"}[kind], v)


def pair(key, kind, v):
    return string(key) + struct.pack("<I", kind) + value(kind, v)


def array(key, kind, values):
    return string(key) + struct.pack("<IIQ", ARRAY, kind, len(values)) + b"".join(value(kind, v) for v in values)


def metadata():
    token = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(256)]
    token += ["w%d" % i for i in range(len(token), VOCAB)]
    kind = [2, 3, 3] + [6] * 256 + [1] * (VOCAB - 259)  # unknown, control, byte, plain
    return [
        pair("general.architecture", STRING, "llama"),
        pair("general.name", STRING, "peer"),
        pair("general.file_type", U32, FILE_Q8_0),
        pair("llama.vocab_size", U32, VOCAB),
        pair("llama.context_length", U32, 1 << 21),
        pair("llama.embedding_length", U32, D),
        pair("llama.block_count", U32, LAYERS),
        pair("llama.feed_forward_length", U32, MLP),
        pair("llama.attention.head_count", U32, HEADS),
        pair("llama.attention.head_count_kv", U32, KV_HEADS),
        pair("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        pair("llama.rope.dimension_count", U32, HEAD),
        pair("tokenizer.ggml.model", STRING, "llama"),
        array("tokenizer.ggml.tokens", STRING, token),
        array("tokenizer.ggml.scores", F32, [-float(i) for i in range(VOCAB)]),
        array("tokenizer.ggml.token_type", I32, kind),
        pair("tokenizer.ggml.unknown_token_id", U32, 0),
        pair("tokenizer.ggml.bos_token_id", U32, 1),
        pair("tokenizer.ggml.eos_token_id", U32, 2),
    ]


def shapes():
    """(name, columns, rows) of every matrix, (name, columns, 0) of every norm."""
    out = [("token_embd.weight", D, VOCAB), ("output_norm.weight", D, 0)]
    for i in range(LAYERS):
        out += [("blk.%d.%s.weight" % (i, n), c, r) for n, c, r in (
            ("attn_norm", D, 0), ("attn_q", D, D), ("attn_k", D, KV_HEADS * HEAD),
            ("attn_v", D, KV_HEADS * HEAD), ("attn_output", D, D), ("ffn_norm", D, 0),
            ("ffn_gate", D, MLP), ("ffn_up", D, MLP), ("ffn_down", MLP, D))]
    return out


def data(rng, columns, rows):
    if rows == 0:
        return struct.pack("<%df" % columns, *([1.0] * columns))
    n = columns * rows // BLOCK
    block = bytearray(n * (2 + BLOCK))
    block[0::2 + BLOCK], block[1::2 + BLOCK] = ([b] * n for b in struct.pack("<e", SPREAD / 73.6))
    in_range = bytes(range(128)) + b"\x81" + bytes(range(129, 256))  # a block's least is -127
    for i in range(BLOCK):
        block[2 + i::2 + BLOCK] = rng.randbytes(n).translate(in_range)
    return bytes(block)


def main(path):
    rng, pairs, headers, body = random.Random(SEED), metadata(), [], []
    offset = parameters = 0
    for name, columns, rows in shapes():
        dims = (columns, rows) if rows else (columns,)
        headers.append(string(name) + struct.pack("<I%dQIQ" % len(dims), len(dims), *dims,
                                                  TYPE_Q8_0 if rows else TYPE_F32, offset))
        body.append(data(rng, columns, rows))
        body.append(bytes(-len(body[-1]) % ALIGN))
        offset += len(body[-2]) + len(body[-1])
        parameters += columns * max(rows, 1)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(headers), len(pairs)) + b"".join(pairs + headers)
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % ALIGN))
        f.writelines(body)
    print("%s: %.1fM parameters, %.1f MB" % (path, parameters * 1e-6, offset * 1e-6), file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_gguf.py FILE")
    main(sys.argv[1])
