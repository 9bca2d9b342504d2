"""Compares a report of the conformance suite with the scenarios that are known to fail.

    compare_conformance.py REPORT.json EXPECTED.txt

Anything new that fails is an error, and so is an expected failure that passes or was not run: the list only shrinks by
being edited. EXPECTED.txt has one id a line; empty lines and lines that begin with `#` are comments.
"""

import json
import sys


def main(report, expected):
    with open(report, encoding="utf-8") as file:
        results = {result["id"]: result for result in json.load(file)["results"]}
    with open(expected, encoding="utf-8") as file:
        lines = [line.strip() for line in file]
    known = {line for line in lines if line and not line.startswith("#")}

    failed = {id for id, result in results.items() if result["result"] == "failed"}
    passed = {id for id, result in results.items() if result["result"] == "passed"}
    complaints = []
    for id in sorted(failed - known):
        complaints.append("\n".join([f"{id} fails:", *map(str, results[id]["diff"])]))
    for id in sorted(known & passed):
        complaints.append(f"{id} passes now: take it out of {expected}")
    for id in sorted(known - passed - failed):
        complaints.append(f"{id} is in {expected}, but was not run")
    if not passed:
        complaints.append("no scenario passed at all")

    print(f"{len(passed)} passed, {len(failed)} failed, of which {len(failed & known)} are known to")
    return "\n\n".join(complaints)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) or 0)
