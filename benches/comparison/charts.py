"""Bar charts as plain SVG, readable on light and dark ground."""
from xml.sax.saxutils import escape

# Each chart, and which metrics are in it.
SUBJECTS = {
    "cost": ["cost", "connects", "binds", "fill", "drain"],
    "rate": ["rate"],
    "latency": ["latency, p50", "latency, p99"],
    "memory": ["memory at rest", "memory of a connection", "memory of a binding", "memory of a message"],
    "start": ["start"],
}

WIDTH = 760
LABEL = 190  # where bars begin
BAR = 16
GAP = 10
LONGEST = 420

# Colours with a contrast of at least 3 to both grounds.
COLOURS = ["#d9731a", "#3f7fbf", "#4f9a4f"]

STYLE = """\
text { font: 13px sans-serif; fill: #24292f; }
.small { font-size: 11px; fill: #57606a; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .small { fill: #9da7b3; } }"""


def draw(groups, peers):
    """A chart of groups of rows. Each row has a scale of its own: its longest bar is as long as that of any other."""
    parts, y = [], 16
    x = 8
    for index, peer in enumerate(peers):
        parts.append('<rect x="%d" y="%d" width="12" height="12" fill="%s"/>' % (x, y - 10, colour(index)))
        parts.append('<text x="%d" y="%d">%s</text>' % (x + 18, y, escape(peer)))
        x += 110
    y += 22
    for _, rows in groups:
        metric = rows[0][1]
        better = "less is better" if metric.lower_is_better else "more is better"
        parts.append('<text x="8" y="%d" font-weight="bold">%s</text>' % (y + 4, escape(metric.heading)))
        parts.append('<text class="small" x="%d" y="%d">%s; each row has its own scale</text>' % (LABEL + 60, y + 4, better))
        y += 18
        for name, _, bars in rows:
            middle = y + len(bars) * BAR / 2 + 4
            parts.append('<text x="8" y="%d">%s</text>' % (middle, escape(name)))
            longest = max(value for _, value, _ in bars) or 1
            for peer, value, text in bars:
                length = max(1.0, value / longest * LONGEST)
                parts.append('<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>'
                             % (LABEL, y, length, BAR - 3, colour(peers.index(peer))))
                parts.append('<text class="small" x="%.1f" y="%d">%s</text>' % (LABEL + length + 6, y + BAR - 5, text))
                y += BAR
            y += GAP
        y += GAP
    return ('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">\n'
            "<style>\n%s\n</style>\n%s\n</svg>\n" % (WIDTH, y, WIDTH, y, STYLE, "\n".join(parts)))


def colour(index):
    return COLOURS[index % len(COLOURS)]
