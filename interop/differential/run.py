#!/usr/bin/env python3
"""Random lists of operations against one broker or two. README.md tells more; the last line counts the lists."""

import argparse
import collections
import itertools
import multiprocessing
import os
import sys

import compare
import generate
import session
import stomp_generate
import stomp_session

# How often a list that differs is run again, to tell a difference from a race within one broker.
REPEATS = 3
# What makes the lists of a protocol, and what runs them.
PROTOCOLS = {
    "amqp": (generate.Generator, session.Session),
    "stomp": (stomp_generate.Generator, stomp_session.Session),
}


class Pair:
    """The brokers of one worker, each with its observer. A lock keeps the exchanges that all share to one at a time.

    An address is a broker's for AMQP, through which it is observed, and the one for the protocol that is tested.
    """

    def __init__(self, addresses, system_exchanges, run_session):
        self.system_exchanges = system_exchanges
        self.brokers = [(tested, session.Observer(observed)) for observed, tested in addresses]
        self.names = itertools.count()
        self.run_session = run_session

    def run(self, which, operations):
        """The transcript of one broker and its complaints. Names are fresh and of the same length everywhere."""
        address, observer = self.brokers[which]
        name = f"df{os.getpid() % 10**7:07}-{next(self.names) % 10**6:06}-"
        run = self.run_session(address, name, observer)
        return run.run(operations), run.complaints

    def judge(self, operations):
        """What is wrong, as `(what, details)`, or `None`; and the wordings that differ."""
        if "'amq." in str(operations):
            with self.system_exchanges:
                return self._judge(operations)
        return self._judge(operations)

    def _judge(self, operations):
        mine, complaints = self.run(0, operations)
        if complaints:
            return ("complaint", complaints), []
        if len(self.brokers) == 1:
            return None, []
        theirs, _ = self.run(1, operations)
        found = compare.difference(operations, mine, theirs)
        if found is None:
            return None, compare.wordings(mine, theirs)
        for _ in range(REPEATS):
            mine, _ = self.run(0, operations)
            again, _ = self.run(1, operations)
            if compare.difference(operations, theirs, again) or not compare.difference(operations, mine, again):
                return None, []
        return ("difference", compare.difference(operations, mine, again)), []

    def report(self, number, operations, first):
        """A list that failed with `first` as text, as short as it gets."""
        shorter = compare.shrink(operations, lambda candidate: self.judge(candidate)[0] is not None)
        wrong, _ = self.judge(shorter)
        if wrong is None:
            shorter, wrong = operations, ("complaint", ["it did not happen again"] + list(map(str, first[1])))
        lines = [f"== list {number}: {wrong[0]}"]
        lines += [f"{place:3} {compare.show_operation(operation)}" for place, operation in enumerate(shorter)]
        if wrong[0] == "complaint":
            lines += ["  ! " + complaint for complaint in wrong[1]]
        else:
            place, mine, theirs = wrong[1]
            a, b = compare.show_entry(mine), compare.show_entry(theirs)
            lines.append(f"  at {place}" if place < len(shorter) else "  at the end")
            lines += ["  A " + line for line in a if line not in b]
            lines += ["  B " + line for line in b if line not in a]
        return "\n".join(lines)


def show(pair, operations):
    for which in range(len(pair.brokers)):
        transcript, complaints = pair.run(which, operations)
        print(f"-- broker {'AB'[which]}")
        for place, entry in enumerate(transcript):
            if place < len(operations):
                print(f"{place:3} {compare.show_operation(operations[place])}")
            for line in compare.show_entry(entry):
                print("      " + line)
        for complaint in complaints:
            print("  ! " + complaint)


_pair = None


def _start(*arguments):
    global _pair
    _pair = Pair(*arguments)


def _judge_list(job):
    protocol, seed, number = job
    operations = PROTOCOLS[protocol][0](seed, number).operations()
    wrong, wordings = _pair.judge(operations)
    return number, _pair.report(number, operations, wrong) if wrong else None, wordings


def address(text):
    """A broker's address for AMQP, and the one for STOMP if that is given."""
    text, _, stomp_port = text.partition("/")
    host, _, port = text.rpartition(":")
    return (host, int(port)), (host, int(stomp_port)) if stomp_port else None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first list")
    parser.add_argument("--lists", type=int, default=200, help="how many lists")
    parser.add_argument("--a", type=address, required=True, metavar="HOST:PORT[/PORT]",
                        help="the broker under test; with its port for STOMP that is tested")
    parser.add_argument("--b", type=address, metavar="HOST:PORT[/PORT]", help="the broker to compare with")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--show", action="store_true", help="print the whole transcripts of every list")
    parser.add_argument("--wording", action="store_true", help="print the texts that differ")
    arguments = parser.parse_args()
    given = [arguments.a] + [arguments.b] * (arguments.b is not None)
    protocol = "stomp" if all(stomp for _, stomp in given) else "amqp"
    addresses = [(amqp, stomp if protocol == "stomp" else amqp) for amqp, stomp in given]
    jobs = [(protocol, arguments.seed, number)
            for number in range(arguments.first, arguments.first + arguments.lists)]
    make, run_session = PROTOCOLS[protocol]
    brokers = addresses, multiprocessing.Lock(), run_session
    if arguments.show:
        pair = Pair(*brokers)
        for _, *which in jobs:
            print(f"== list {which[1]}")
            show(pair, make(*which).operations())
    failed, wordings = 0, collections.Counter()
    with multiprocessing.Pool(arguments.workers, _start, brokers) as pool:
        for number, report, texts in pool.imap_unordered(_judge_list, jobs):
            wordings.update(texts)
            if report:
                failed += 1
                print(report, flush=True)
    if arguments.wording:
        for (mine, theirs), count in wordings.most_common():
            print(f"{count} times\n  A {mine}\n  B {theirs}")
    print(f"seed {arguments.seed}, {wordings.total()} texts worded differently")
    print(f"{len(jobs) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
