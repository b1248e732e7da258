"""Random tables, random transactions, runs of random sizes: the target is the source, whatever they are.

A case that fails is made smaller and printed; its seed plays it again, first of all."""
import dataclasses
import itertools
import os
import time

import pytest

from harness import cases
from harness.shrink import shrink
from harness.world import Failed, World

SHRINK_SECONDS = 120
BEFORE_MAX = 2  # cases of the same tables that one may need before it to fail


class Player:
    def __init__(self, folder, make_database):
        self.folder, self.make_database, self.count = folder, make_database, itertools.count()

    def world(self, schemas):
        folder = self.folder / f"world{next(self.count)}"
        folder.mkdir()
        return World(folder, self.make_database, schemas)

    def alone(self, case):
        """How it fails in a world of its own, or None."""
        world = self.world([case.schema])
        try:
            return world.failure(case)
        finally:
            world.close()

    def explain(self, case, failed):
        """The text of a failure, with the smallest case that fails in the same way."""
        def still(smaller):
            found = self.alone(smaller)
            return found is not None and found.kind == failed.kind

        for before in range(BEFORE_MAX + 1):
            longer = behind(case, before)
            if still(longer):
                break
        else:
            return f"{failed}\nIt fails only behind the others of this run."
        deadline = time.monotonic() + SHRINK_SECONDS
        smallest = shrink(longer, still, lambda: time.monotonic() < deadline)
        return (f"WEIR_TEST_SEED={longer.seed} plays it again\n{failed}\nThe smallest that was found:\n{script(smallest)}\n"
                f"{self.alone(smallest)}")


def behind(case, before):
    """The case as it comes behind those before it, whose rows it finds; as one."""
    seeds = range(max(case.seed - before, case.seed // cases.GROUP * cases.GROUP), case.seed)
    parts = [part for seed in seeds for part in cases.make_case(seed).parts]
    return dataclasses.replace(case, seed=case.seed - len(seeds), parts=parts + case.parts)


def script(case):
    """What somebody can read."""
    lines = ["-- the source", *cases.source_statements(case.schema), "-- the target", *cases.target_statements(case.schema, False)]
    for number, part in enumerate(case.sql()):
        lines += [f"-- run {number}", *part]
    return "\n".join(line.rstrip(";") + ";" if not line.startswith("--") else line for line in lines)


def play(player, first, schemas, count):
    """@count cases of each of the schemas, beginning with the seed @first."""
    numbers = [first // cases.GROUP + 4 * n for n in range(schemas)]
    world = player.world([cases.make_schema(number) for number in numbers])
    try:
        for turn, number in itertools.product(range(first % cases.GROUP, first % cases.GROUP + count), numbers):
            case = cases.make_case(number * cases.GROUP + turn % cases.GROUP)
            failed = world.failure(case)
            if failed:
                break
    finally:
        world.close()
    if failed:
        pytest.fail(player.explain(case, failed), pytrace=False)


def play_group(folder, make_database, seed, group, schemas, count):
    """Each group has seeds of its own, unless one is given; and of four groups in a row, one has triggers that act."""
    first = seed if "WEIR_TEST_SEED" in os.environ else seed + group * (4 * schemas + 1) * cases.GROUP
    play(Player(folder, make_database), first, schemas, count)


def groups(*versions):
    return pytest.mark.parametrize("group, version", list(enumerate(versions)), indirect=["version"])


@pytest.mark.timeout(900)
@groups(*[14, 15, 16, 17, 18, 15, 16, 17] * 2)
def test_cases(tmp_path, make_database, seed, group):
    """Ten thousand of them."""
    play_group(tmp_path, make_database, seed, group, schemas=25, count=25)


@pytest.mark.harness
def test_small_cases():
    """A seed is a case, and what is not needed for a failure is left out of it."""
    assert script(cases.make_case(4321)) == script(cases.make_case(4321))

    def statements(case):
        return [item.statement for part in case.parts for transaction in part for item in transaction]

    def fails(case):
        return {cases.Insert, cases.Update} <= {type(statement) for statement in statements(case)}
    found = next(case for case in map(cases.make_case, range(0, 100 * cases.GROUP, cases.GROUP)) if fails(case))
    smallest = shrink(found, fails, lambda: True)
    insert, update = sorted(statements(smallest), key=lambda statement: type(statement).__name__)
    assert fails(smallest) and len(insert.rows) == 1
    assert {insert.table, update.table} == {table.name for table in smallest.schema.tables}
    for table in smallest.schema.tables:
        assert len(table.columns) <= max(1, len({*table.key, *table.primary, *update.sets})), table
