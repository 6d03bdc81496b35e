"""Vectors, examples of the text, and live checks; prints a table and a last line of counts."""

import argparse
import os
import shlex
import sys
from pathlib import Path

import examples
import live
import vectors

HERE = Path(__file__).resolve().parent


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--vectors", type=Path, default=HERE.parent.parent / "vectors")
    p.add_argument("--partner", default=os.environ.get("CONFORMANCE_PEER", ""),
                   help="command of another implementation's conformance_peer (or CONFORMANCE_PEER)")
    p.add_argument("--no-python", action="store_true", help="leave out Python against Python")
    p.add_argument("--only", default="", help="only live checks whose name contains this")
    args = p.parse_args()
    failures = []
    counts = {"values": 0, "live": 0, "left out": 0}

    def row(kind, name, result):
        print(f"{kind:<9} {name:<58} {result}", flush=True)

    for name, passed, failed in vectors.run(args.vectors) + examples.run():
        row("vectors", name, f"{passed} values" + (f", {len(failed)} WRONG" if failed else ""))
        counts["values"] += passed
        failures += failed

    def reporter(kind):
        def report(name, seconds, outcome):
            row(kind, name, f"{outcome:<8} {seconds:5.1f} s")
            if outcome == "ok":
                counts["live"] += 1
            elif outcome == "left out":
                counts["left out"] += 1
            else:
                failures.append(f"{kind}: {name}: {outcome}")
        return report

    if not args.no_python:
        live.run([sys.executable, str(HERE / "peer.py")], reporter("py-py"), args.only)
    if args.partner:
        live.run(shlex.split(args.partner), reporter("partner"), args.only)
    else:
        print("no partner given (--partner or CONFORMANCE_PEER): only Python against Python was checked")
    for f in failures:
        print("FAILED", f)
    print(f"{counts['values']} values reproduced, {counts['live']} live checks passed, "
          f"{counts['left out']} left out, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
