"""Where two transcripts differ.

Wording is apart: the text of a close or a return may differ without the brokers behaving differently.
"""

import json


def difference(operations, mine, theirs):
    """The first step that differs, as `(number, my entry, their entry)`, or `None`; texts do not count."""
    for place, (a, b) in enumerate(zip(mine, theirs)):
        if _without_texts(a) != _without_texts(b):
            if place < len(operations) and operations[place]["do"] == "raw" and _both_ended(a, b):
                # RabbitMQ's process dies of some violations, and the socket with it; that is no model for anybody.
                continue
            return place, a, b
    if len(mine) != len(theirs):
        return min(len(mine), len(theirs)), None, None
    return None


def _both_ended(a, b):
    return "dropped by the broker" in b["ended"].values() and a["ended"].keys() == b["ended"].keys()


def wordings(mine, theirs):
    """Pairs of texts that differ although everything else is the same."""
    return [(a, b) for a, b in zip(_texts(mine), _texts(theirs)) if a != b]


def _texts(value):
    if isinstance(value, dict):
        if "reply_text" in value:
            yield value["reply_text"]
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _without_texts(value):
    if isinstance(value, dict):
        return {key: _without_texts(item) for key, item in value.items() if key != "reply_text"}
    if isinstance(value, list):
        return list(map(_without_texts, value))
    return value


def shrink(operations, differs, attempts=200):
    """The shortest list that still differs which leaving out operations leads to, within so many attempts."""
    size = max(len(operations) // 2, 1)
    while True:
        at = 0
        while at < len(operations) and attempts:
            shorter = operations[:at] + operations[at + size:]
            attempts -= 1
            if shorter and differs(shorter):
                operations = shorter
            else:
                at += size
        if size == 1 or not attempts:
            return operations
        size //= 2


def show_operation(operation):
    fields = {key: value for key, value in operation.items() if key not in ("conn", "channel", "do")}
    text = json.dumps(fields)
    if len(text) > 400:
        text = text[:400] + "..."
    return f"c{operation['conn']}/{operation['channel']} {operation['do']} {text}"


def show_entry(entry):
    """One entry of a transcript as lines."""
    if entry is None:
        return ["(nothing)"]
    lines = []
    for key, value in entry.items():
        if key == "frames":
            for channel, groups in value.items():
                for group, frames in groups.items():
                    lines += [f"{channel} {group}: {json.dumps(frame)}" for frame in frames]
        elif key != "step" and value:
            lines.append(f"{key}: {json.dumps(value)}")
    return lines
