#!/usr/bin/env python3
"""compare.py - run loci and llama.cpp in turn at the same depths; called by bench/peer.sh.

A round is llama.cpp at every depth and loci with each type of weights, the next one in the other
order, so that neither always comes after the other.  CSV to stdout, a row a depth and type:

    ms, median_ms   a decoded token: the quickest spell of all rounds, and the median over rounds of
                    each run's median spell
    ratio           llama.cpp's quickest spell over loci's, of the same round: the median of rounds,
                    with the lowest and highest beside it; above 1 loci is quicker
    prefill         tokens a second that are read at that depth (loci: ingest into a bank)
    load            of the system, lowest and highest before a run; earlier runs of this are in it"""
import argparse
import csv
import io
import json
import os
import re
import shlex
import statistics
import subprocess
import sys

SPELL, SPELLS = 4, 100           # tokens of a spell, spells of a run
READ, READS = 8192, 3            # loci's ingest: tokens of a spell, spells


def options():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("loci", "config", "decode", "backends", "model", "scratch"):
        p.add_argument("--" + name, required=True)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--depths", default="0,8192,32768")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--under", default="", help="command that every program is run under")
    return p.parse_args()


def call(o, command, load):
    load.append(os.getloadavg()[0])
    return subprocess.run(shlex.split(o.under) + command, stdout=subprocess.PIPE, text=True, check=True).stdout


def peer(o, depth, spells, load):
    state = os.path.join(o.scratch, "state-%d" % depth)
    numbers = [str(n) for n in (depth, o.threads, SPELL, spells)]
    return json.loads(call(o, [o.decode, o.backends, o.model, *numbers, state], load))


def loci(o, depths, kind, load):
    """{depth: ms, median_ms, prefill, resident_bytes} and the row that names the build."""
    common = ["--config", o.config, "--type", kind, "--depth", o.depths, "--threads", str(o.threads), "--csv",
              "--quiet"]
    out, row = {}, {}
    for phase, part, units, repeat in (("decode", "token", SPELL, SPELLS), ("ingest", "ingest", READ, READS)):
        text = call(o, [o.loci, "bench", phase, "--units", str(units), "--repeat", str(repeat)] + common, load)
        for row in csv.DictReader(io.StringIO(text)):
            if row["part"] != part:
                continue
            r = out.setdefault(int(row["depth"]), {})
            if phase == "decode":
                r.update(ms=float(row["ms"]), median_ms=float(row["median_ms"]),
                         resident_bytes=int(row["resident_bytes"]))
            else:
                r["prefill"] = float(row["units_per_second"])
    if sorted(out) != sorted(depths):
        sys.exit("%s bench: expected rows of depths %s, found %s" % (o.loci, depths, sorted(out)))
    return out, row


def note(program, depth, r):
    print("  %-9s %7d  %8.3f ms a token, median %8.3f; %8.0f tokens/s read" %
          (program, depth, r["ms"], r["median_ms"], r["prefill"]), file=sys.stderr)


def cpu():
    with open("/proc/cpuinfo") as f:
        names = re.findall(r"model name\s*:\s*(.*)", f.read())
    return names[0] if names else "unknown"


def summary(depth, kind, ours, theirs):
    """One row: ours and theirs are lists over rounds."""
    ratio = sorted(t["ms"] / a["ms"] for a, t in zip(ours, theirs))
    read = statistics.median(a["prefill"] / t["prefill"] for a, t in zip(ours, theirs))
    row = {"depth": depth, "loci_weights": kind, "rounds": len(ours)}
    for name, runs in (("loci", ours), ("peer", theirs)):
        row[name + "_ms"] = "%.3f" % min(r["ms"] for r in runs)
        row[name + "_median_ms"] = "%.3f" % statistics.median(r["median_ms"] for r in runs)
    row.update(ratio="%.2f" % statistics.median(ratio), ratio_low="%.2f" % ratio[0], ratio_high="%.2f" % ratio[-1])
    for name, runs in (("loci", ours), ("peer", theirs)):
        row[name + "_prefill"] = "%.0f" % max(r["prefill"] for r in runs)
    row["prefill_ratio"] = "%.2f" % read
    for name, runs in (("loci", ours), ("peer", theirs)):
        row[name + "_resident_bytes"] = max(r["resident_bytes"] for r in runs)
    return row


def main():
    o = options()
    depths, kinds, load = [int(d) for d in o.depths.split(",")], ("int4", "int8"), []
    for d in depths:
        r = peer(o, d, 0, [])
        print("peer: %d tokens computed and kept, %.1f s" % (d, r["fill_seconds"]), file=sys.stderr)
    theirs, ours, build, about = {d: [] for d in depths}, {(d, k): [] for d in depths for k in kinds}, {}, {}
    for i in range(o.rounds):
        print("round %d of %d, load %.1f" % (i + 1, o.rounds, os.getloadavg()[0]), file=sys.stderr)
        for program in ("int4", "peer", "int8")[:: -1 if i % 2 else 1]:
            if program == "peer":
                for d in depths:
                    about = peer(o, d, SPELLS, load)
                    theirs[d].append(about)
                    note("llama.cpp", d, about)
                continue
            rows, build = loci(o, depths, program, load)
            for d in depths:
                ours[d, program].append(rows[d])
                note("loci " + program, d, rows[d])
    print("llama.cpp: %s" % about["system"], file=sys.stderr)
    fixed = {"load_low": "%.1f" % min(load), "load_high": "%.1f" % max(load), "threads": o.threads, "cpu": cpu(),
             "under": o.under, "loci_commit": build["commit"], "peer_version": about["version"],
             "peer_backend": about["backend"]}
    out = csv.writer(sys.stdout, lineterminator="\n")
    for n, (d, k) in enumerate((d, k) for d in depths for k in kinds):
        row = {**summary(d, k, ours[d, k], theirs[d]), **fixed}
        if n == 0:
            out.writerow(row)
        out.writerow(row.values())


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as e:
        sys.exit("compare.py: exit %d of: %s" % (e.returncode, shlex.join(e.cmd)))
