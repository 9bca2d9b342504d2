"""The report: Markdown tables, with charts beside them."""
import os
import platform
import statistics
import subprocess

from . import charts

INTRODUCTION = """\
Each cell is `median [least-most]` over the rounds. "Per broker-CPU-s" counts processor seconds of the broker's processes
and depends least on what else the machine does; "other load" is what everybody but broker and generator used meanwhile,
in cores. A run counts only if each message arrived once and in order.
"""


def machine():
    model = "unknown"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    with open("/proc/meminfo") as file:
        gib = int(file.readline().split()[1]) / 2**20
    return "%s, %d cores, %.0f GiB, Linux %s" % (model, os.cpu_count(), gib, platform.release())


def commit():
    """The commit that leveret was built from, as far as the tree can tell."""
    git = ["git", "-C", os.path.dirname(os.path.abspath(__file__))]
    try:
        number = subprocess.check_output(git + ["rev-parse", "--short", "HEAD"], text=True, stderr=subprocess.DEVNULL)
        changed = subprocess.check_output(git + ["status", "--porcelain"], text=True, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return number.strip() + (", changed" if changed.strip() else "")


def of(results, scenario, peer):
    """The results that count."""
    return [r for r in results if r["scenario"] == scenario and r["peer"] == peer and r["ok"]]


def numbers(metric, results):
    return [number for number in map(metric.of, results) if number is not None]


def cell(metric, results):
    found = numbers(metric, results)
    if not found:
        return "-"
    text = metric.text(statistics.median(found))
    if len(found) > 1:
        text += " [%s-%s]" % (metric.text(min(found)), metric.text(max(found)))
    return text


def table(name, scenario, peers, results):
    headings = ["broker"] + [metric.heading for metric in scenario.metrics] + ["other load", "runs ok"]
    lines = ["| %s |" % " | ".join(headings), "|%s" % (" --- |" * len(headings))]
    for peer in peers:
        good = of(results, name, peer)
        tried = sum(r["scenario"] == name and r["peer"] == peer for r in results)
        others = [r["other_cores"] for r in good if "other_cores" in r]
        other = "%.2f" % statistics.median(others) if others else "-"
        cells = [peer] + [cell(metric, good) for metric in scenario.metrics] + [other, "%d/%d" % (len(good), tried)]
        lines.append("| %s |" % " | ".join(cells))
    return "\n".join(lines)


def chart_rows(scenarios, peers, results):
    """For each chart its rows: scenario, heading, and a median for each broker that has one."""
    found = {}
    for name, scenario in scenarios.items():
        for metric in scenario.metrics:
            if metric.chart:
                bars = []
                for peer in peers:
                    values = numbers(metric, of(results, name, peer))
                    if values:
                        bars.append((peer, statistics.median(values), metric.text(statistics.median(values))))
                if bars:
                    found.setdefault(metric.chart, []).append((name, metric, bars))
    return found


def write(directory, date, command, versions, scenarios, results):
    """Writes report.md and the charts, and returns the text of the report."""
    peers = list(versions)
    rows = [("machine", machine()), ("commit", commit())]
    rows += [(peer, version) for peer, version in versions.items()]
    rows += [("command", "`%s`" % command)]
    lines = ["# leveret beside others, %s" % date, "", "| | |", "| --- | --- |"]
    lines += ["| %s | %s |" % row for row in rows]
    lines += ["", INTRODUCTION]
    shown = chart_rows(scenarios, peers, results)
    for subject, groups in charts.SUBJECTS.items():
        groups = [(group, shown[group]) for group in groups if group in shown]
        if groups:
            file = subject + ".svg"
            with open(os.path.join(directory, file), "w") as out:
                out.write(charts.draw(groups, peers))
            lines += ["![%s](%s)" % (subject, file), ""]
    for name, scenario in scenarios.items():
        lines += ["## " + name, "", scenario.question, "", table(name, scenario, peers, results), ""]
    errors = ["- round %d, %s, %s: %s" % (r["round"], r["scenario"], r["peer"], r.get("error") or "messages went wrong")
              for r in results if not r["ok"]]
    if errors:
        lines += ["## Runs that do not count", ""] + errors + [""]
    text = "\n".join(lines)
    with open(os.path.join(directory, "report.md"), "w") as out:
        out.write(text)
    return text
