"""What differs from run to run, and does not belong into a transcript."""

import time


class Names:
    """The names of one run. `prefix` is what its own begin with, `mark` what is shown for it; `generated` finds those that the
    broker makes up, whose first group says what they are for.
    """

    def __init__(self, prefix, mark, generated):
        self.prefix, self.mark, self.generated = prefix, mark, generated
        self.numbered = {}               # generated name: the name for it in the transcript

    def shown(self, value):
        """The value without our prefix, generated names and the current time."""
        if isinstance(value, str):
            return self.generated.sub(self._number, value.replace(self.prefix, self.mark))
        if isinstance(value, dict):
            return {key: self.shown(item) for key, item in sorted(value.items())}
        if isinstance(value, list):
            if len(value) == 2 and value[0] == "T" and abs(value[1] - time.time()) < 3600:
                return ["T", "now"]
            return [self.shown(item) for item in value]
        return value

    def _number(self, match):
        kind = match.group(1)
        count = sum(shown.startswith(f"*{kind}") for shown in self.numbered.values())
        return self.numbered.setdefault(match.group(), f"*{kind}{count}")
