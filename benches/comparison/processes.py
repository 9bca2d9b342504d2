"""What processes of this machine use, from /proc."""
import os

# How many ticks /proc counts a second.
TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid):
    """Parent and processor time in seconds of a process; None when it is gone."""
    try:
        with open("/proc/%s/stat" % pid) as file:
            # The name stands in brackets and may itself have brackets and spaces.
            fields = file.read().rpartition(") ")[2].split()
    except OSError:
        return None
    return int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS


def _resident_bytes(pid):
    try:
        with open("/proc/%s/status" % pid) as file:
            for line in file:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def usage(root):
    """Processor seconds and resident bytes of a process and all that descend from it."""
    stats = {int(pid): _stat(pid) for pid in os.listdir("/proc") if pid.isdigit()}
    stats = {pid: stat for pid, stat in stats.items() if stat}
    members, to_visit = set(), [root]
    while to_visit:
        pid = to_visit.pop()
        if pid in stats and pid not in members:
            members.add(pid)
            to_visit += [child for child, (parent, _) in stats.items() if parent == pid]
    return sum(stats[pid][1] for pid in members), sum(map(_resident_bytes, members))


def busy_seconds():
    """Processor seconds that the whole machine has worked, whoever for."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, irq, softirq = map(int, file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / TICKS
