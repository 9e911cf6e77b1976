#!/usr/bin/env python3
"""card.py - the model card of a trained model, from what training and tools/bars left.

    tools/card.py --name loci-m --config models/configs/m.json --model DIR [--bars bars.jsonl]
                  [--hours X] [--device TEXT] [--data PATH]... > models/loci-m/README.md

Shares of the data are counted from the files; a corpus NAME.txt.zst names sources and terms in NAME.idx.zst.
What a person has to say about the model, its known failures above all, is written in by hand.
"""
import argparse
import collections
import csv
import json
import os
import subprocess


def lines_of(path):
    """Lines of a file, decompressed if it is one of zstd."""
    if not path.endswith(".zst"):
        with open(path, "rb") as f:
            yield from f
        return
    with subprocess.Popen(["zstd", "-dcq", path], stdout=subprocess.PIPE) as p:
        yield from p.stdout


def size_of(path):
    if os.path.isdir(path):
        return sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(path) for f in files)
    return sum(len(line) for line in lines_of(path))


def terms_of(path):
    """Terms of a corpus by bytes, the largest first."""
    index = path.replace(".txt.zst", ".idx.zst")
    if index == path or not os.path.exists(index):
        return ""
    terms = collections.Counter()
    for line in lines_of(index):
        row = line.decode("utf-8", "replace").rstrip("\n").split("\t")
        terms[row[3]] += int(row[1])
    return ", ".join(t for t, _ in terms.most_common(5))


def data_table(paths):
    sizes = [(p, size_of(p), terms_of(p)) for p in paths]
    total = sum(s for _, s, _ in sizes) or 1
    print(f"\nText, {total / 1e6:.0f} MB:\n\n| source | MB | share of bytes | terms |\n|---|---|---|---|")
    for path, size, terms in sizes:
        print(f"| {os.path.basename(path.rstrip('/'))} | {size / 1e6:.0f} | {100 * size / total:.0f} % | {terms} |")


def run_table(args, config, log):
    last = log[-1]
    phases = ", ".join(f"{p['name']} {p['tokens'] / 1e6:.0f}M at {p['seq_len']:,}" for p in config["phases"])
    hours = args.hours if args.hours is not None else sum_hours(log)
    rows = [
        ("shape", ", ".join(f"{k} {v}" for k, v in config["model"].items())),
        ("trained by", f"`loci train --config {args.config}`, seed {config['train'].get('seed', 1)}"),
        ("tokens", f"{int(last['tokens']) / 1e6:.1f} million in {int(last['step']):,} steps: {phases}"),
        ("time", f"{hours:.2f} hours" + (f" on {args.device}" if args.device else "")),
        ("last losses", f"text {float(last['loss_text']):.3f} nats, answers {float(last['loss_answer']):.4f}; "
         f"answer tokens {100 * float(last['answer_right']):.1f} % right, answers {100 * float(last['exact']):.1f} % "
         f"exact; router recall {float(last['router_recall']):.4f}, consult rate {float(last['consult_rate']):.2f}"),
    ]
    print("| | |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")


def sum_hours(log):
    """Seconds of all runs: they count from each start."""
    total = before = 0.0
    for row in log:
        seconds = float(row["seconds"])
        total += seconds - before if seconds >= before else seconds
        before = seconds
    return total / 3600


def bars_table(path):
    print("\nMeasured by `tools/bars` (95 % intervals; docs/EVAL.md says what the words mean):\n")
    print("| suite | what | tokens | questions | exact | evidence | more |\n|---|---|---|---|---|---|---|")
    with open(path, encoding="utf-8") as f:
        rows = [json.loads(line) for line in f]
    for r in rows:
        if r["suite"] in ("ppl", "overlap") or not r["questions"]:
            continue

        def share(key):
            if r.get(key) is None:
                return ""
            return f"{r[key]:.3f} ({r[key + '_low']:.3f} .. {r[key + '_high']:.3f})"

        what = r["family"] if "/" not in r["family"] else os.path.basename(r["family"])
        if r["suite"] == "needles":
            what += f", {r['needles']} facts, {r['wordings']} wordings"
            if r["family"] == "variable":
                what += f", {r['hops']} hops"
        elif r.get("support"):
            what += f", {r['support']} sentences needed"
        if r.get("absent") is not None and r["family"] != "conflict":
            what += ", some absent"
        more = "; ".join(f"{k.replace('_', ' ')} {share(k)}" for k in
                         ("recall", "codes_kept", "absent", "false_not_stated") if r.get(k) is not None)
        print(f"| {r['suite']} | {what} | {r['bank_tokens']:,} | {r['questions']} | {share('exact')} | "
              f"{share('evidence')} | {more} |")
    loss = [r for r in rows if r["suite"] == "ppl"]
    if loss:
        print("\n| text | position | tokens | loss | regret | reading gain |\n|---|---|---|---|---|---|")
    for r in loss:
        where = "all" if r["to"] < 0 else f"{r['from']:,} .. {r['to']:,}"
        print(f"| {os.path.basename(r['text'])} | {where} | {r['tokens']:,} | {r['loss']:.4f} | "
              f"{r.get('regret', float('nan')):.4f} | {r.get('reading_gain', float('nan')):.4f} |")
    overlap = [r for r in rows if r["suite"] == "overlap" and r["sampled"]]
    for r in overlap:
        print(f"\nOf the runs of 13 words of {os.path.basename(r['text'])}, {r['share']:.4f} ({r['share_low']:.4f} .. "
              f"{r['share_high']:.4f}) stand in the training text ({r['sampled']:,} sampled).")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--name", required=True)
    p.add_argument("--config", required=True)
    p.add_argument("--model", required=True, help="folder that training wrote")
    p.add_argument("--bars")
    p.add_argument("--hours", type=float)
    p.add_argument("--device", default="")
    p.add_argument("--data", action="append", default=[])
    args = p.parse_args()
    with open(args.config, encoding="utf-8") as f:
        config = json.load(f)
    with open(os.path.join(args.model, "log.csv"), encoding="utf-8", newline="") as f:
        log = list(csv.DictReader(f))
    print(f"# {args.name}\n\n{config.get('about', '')}\n")
    run_table(args, config, log)
    if args.data:
        data_table(args.data)
    families = config.get("families", {})
    total = sum(families.values()) or 1
    print("\nThe synthetic tasks are those of `loci tasks make`, training names and wordings: "
          + ", ".join(f"{k} {100 * v / total:.0f} %" for k, v in families.items()) + ".")
    if args.bars:
        bars_table(args.bars)
    print("\nWeights and tokenizer: MIT, as the rest of the project.\n\n## Known failures\n")


if __name__ == "__main__":
    main()
