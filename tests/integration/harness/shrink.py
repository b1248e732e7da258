"""Smaller cases (harness.cases) of one that fails."""
import copy
import dataclasses

from harness.cases import Insert, Truncate, Update


def _without(case, keep):
    """A copy whose statements are what @keep(statement) makes of them; None: it goes."""
    parts = []
    for part in case.parts:
        transactions = []
        for transaction in part:
            items = [dataclasses.replace(item, statement=kept) for item in transaction
                     if (kept := keep(copy.deepcopy(item.statement))) is not None]
            transactions += [items] if items else []
        parts += [transactions] if transactions else []
    return dataclasses.replace(case, parts=parts)


def _without_table(case, name):
    def keep(statement):
        if isinstance(statement, Truncate):
            statement.tables = [t for t in statement.tables if t != name]
            return statement if statement.tables else None
        return None if getattr(statement, "table", None) == name or f'"{name}"' in getattr(statement, "text", "") else statement
    smaller = _without(case, keep)
    smaller.schema = copy.deepcopy(case.schema)
    smaller.schema.tables = [t for t in smaller.schema.tables if t.name != name]
    for table in smaller.schema.tables:
        for column in table.columns:
            if column.references and column.references[0] == name:
                column.references = ()
    return smaller


def _without_column(case, table_name, name):
    def keep(statement):
        if getattr(statement, "table", None) != table_name:
            return statement
        if name in statement.uses:
            return None
        if isinstance(statement, Insert):
            statement.rows = [{n: v for n, v in row.items() if n != name} for row in statement.rows]
        elif isinstance(statement, Update):
            statement.sets = {n: v for n, v in statement.sets.items() if n != name}
            return statement if statement.sets else None
        return statement
    smaller = _without(case, keep)
    smaller.schema = copy.deepcopy(case.schema)
    table = smaller.schema.table(table_name)
    table.columns = [c for c in table.columns if c.name != name]
    return smaller


def _tables_and_columns(case):
    for table in case.schema.tables:
        if len(case.schema.tables) > 1:
            yield _without_table(case, table.name)
    for table in case.schema.tables:
        needed = {*table.key, *table.primary}
        for column in table.columns:
            if column.name not in needed and len(table.columns) > 1 and f"({column.name}::" not in str(table.columns):
                yield _without_column(case, table.name, column.name)


def _transactions(case):
    """Half of them, then each."""
    places = [(p, t) for p, part in enumerate(case.parts) for t in range(len(part))]
    half = len(places) // 2
    for gone in ([places[half:], places[:half]] if half > 1 else []) + [[place] for place in places]:
        parts = [[transaction for t, transaction in enumerate(part) if (p, t) not in gone] for p, part in enumerate(case.parts)]
        yield dataclasses.replace(case, parts=[part for part in parts if part])


def _items(case):
    for p, part in enumerate(case.parts):
        for t, transaction in enumerate(part):
            for i in range(len(transaction)):
                parts = [[list(items) for items in whole] for whole in case.parts]
                del parts[p][t][i]
                if parts[p][t]:
                    yield dataclasses.replace(case, parts=parts)


def _rows(case):
    for p, part in enumerate(case.parts):
        for t, transaction in enumerate(part):
            for i, item in enumerate(transaction):
                for row in range(len(item.statement.rows) if isinstance(item.statement, Insert) else 0):
                    if len(item.statement.rows) > 1:
                        parts = copy.deepcopy(case.parts)
                        del parts[p][t][i].statement.rows[row]
                        yield dataclasses.replace(case, parts=parts)


def _plainer(case):
    """The target's tables made by weir; statements that are not tried."""
    for table in case.schema.tables:
        if table.extras:
            smaller = dataclasses.replace(case, schema=copy.deepcopy(case.schema))
            smaller.schema.table(table.name).extras = ()
            yield smaller
        if table.at_target != "weir":
            smaller = dataclasses.replace(case, schema=copy.deepcopy(case.schema))
            one = smaller.schema.table(table.name)
            one.at_target, one.extras = "weir", ()
            yield smaller


def shrink(case, fails, has_time):
    """@fails(case): it still does. The smallest that was found."""
    progress = True
    while progress:
        progress = False
        for smaller in (_transactions, _tables_and_columns, _items, _rows, _plainer):
            again = True
            while again and has_time():
                again = False
                for candidate in smaller(case):
                    if not has_time():
                        return case
                    if candidate.parts and fails(candidate):
                        case, progress, again = candidate, True, True
                        break
    return case
