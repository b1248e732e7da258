"""Random tables, and random transactions for them. Everything follows from one number, the seed of a case: GROUP seeds in a
row share their tables. Of each four of such groups one has a target whose triggers and foreign keys act.

Tables are small and so are the domains of their values, so that keys and unique values meet often."""
import dataclasses
import random

from harness.compare import identifier

GROUP = 1000

LARGE = [f"repeat('{letter}', {size})" for letter, size in (("x", 2100), ("y", 3000), ("é", 1500))]
TEXTS = ["''", "'a'", "'b'", "'c'", "' a '", "'NULL'", "'it''s'", "'{\"a\",b}'", r"E'tab\t, line\n, return\r'", r"'\N'",
         r"'back\slash \. '", "'ü € 😀'"]
# A type: values of it, and what of the target's types holds every one of them, written the same way.
TYPES = {
    "smallint": (["-1", "0", "1", "2", "3", "32767"], ["integer", "bigint", "numeric", "text"]),
    "integer": (["-1", "0", "1", "2", "3", "4", "2147483647"], ["bigint", "numeric", "text"]),
    "bigint": (["-1", "0", "1", "2", "3", "4", "9223372036854775807"], ["numeric", "text"]),
    "numeric": (["0", "1", "1.0", "1.00", "2", "-3.50", "1e20", "'NaN'"], ["text"]),
    "numeric(8,2)": (["0", "1", "2.5", "-3.25", "123456.78"], ["numeric(12,2)", "numeric"]),
    "real": (["0", "0.5", "-1.25", "'NaN'", "'Infinity'"], ["double precision"]),
    "double precision": (["0", "0.1", "-1.25", "1e300", "'-Infinity'"], ["text"]),
    "boolean": (["true", "false"], ["boolean"]),
    "text": (TEXTS, ["text", "varchar"]),
    "varchar(30)": (TEXTS, ["varchar", "text"]),
    "char(3)": (["'a'", "'ab'", "''", "'abc'"], ["char(3)"]),
    "bytea": ([r"'\x'", r"'\x00'", r"'\x5c4e0a'", r"'\xff'"], ["bytea"]),
    "uuid": ([f"'00000000-0000-0000-0000-00000000000{n}'" for n in range(6)], ["uuid", "text"]),
    "date": (["'2024-02-29'", "'1999-12-31'", "'infinity'", "'0044-03-15 BC'"], ["date"]),
    "timestamp": (["'2024-02-29 12:00:00.123456'", "'1999-12-31 23:59:59'", "'-infinity'"], ["timestamp"]),
    "timestamptz": (["'2024-02-29 12:00:00+02'", "'1999-12-31 23:59:59Z'", "'infinity'"], ["timestamptz"]),
    "interval": (["'1 mon -2 days 3:04:05'", "'0'", "'-1 year'"], ["interval"]),
    "integer[]": (["'{}'", "'{1,NULL,3}'", "'{{1,2},{3,4}}'"], ["integer[]", "text"]),
    "text[]": (["'{}'", "ARRAY['a', NULL, 'NULL', '']", r"ARRAY['q\"', 'b\\s', '{}']"], ["text[]"]),
    "json": (["'{}'", "'{\"a\": [1, 2,  null]}'", "'null'", "'\"x\"'"], ["json", "text"]),
    "jsonb": (["'{}'", "'{\"a\": [1, 2, null]}'", "'null'", r"'""\"\\u00e9\\n\"'"], ["jsonb", "json", "text"]),
    "bit(3)": (["B'000'", "B'101'", "B'111'"], ["varbit", "bit(3)"]),
    "inet": (["'10.0.0.1'", "'10.0.0.0/8'", "'::1'"], ["inet"]),
    "int4range": (["'empty'", "'[1,5)'", "'(,3)'"], ["int4range", "text"]),
    "public.mood": (["'sad'", "'ok'", "'so ''happy'''"], ["public.mood", "text"]),
    "public.positive": (["1", "2", "3"], ["public.positive", "bigint"]),
}
TYPES["jsonb"] = (["'{}'", "'{\"a\": [1, 2, null]}'", "'null'", "'\"line\\nfeed\"'"], TYPES["jsonb"][1])
USER_TYPES = ("CREATE TYPE public.mood AS ENUM ('sad', 'ok', 'so ''happy''')",
              "CREATE DOMAIN public.positive AS integer CHECK (VALUE > 0)")
KEY_TYPES = ["integer", "integer", "bigint", "smallint", "text", "uuid", "numeric", "char(3)", "bytea", "timestamptz", "public.mood"]
INTEGERS = {"smallint", "integer", "bigint"}


@dataclasses.dataclass
class Column:
    name: str
    type: str
    large: bool = False        # values that are TOASTed
    not_null: bool = False
    unique: str = ""           # the constraint, behind the column's type
    references: tuple = ()     # (table, column, rest of the constraint)
    rest: str = ""             # DEFAULT, GENERATED, CHECK
    generated: bool = False
    identity: bool = False
    at_target: str = ""        # its type there, where the test makes the table

    def value(self, chance):
        if not self.not_null and chance.random() < 0.2:
            return "NULL"
        if self.large and chance.random() < 0.5:
            return chance.choice(LARGE)
        return chance.choice(TYPES[self.type][0])


@dataclasses.dataclass
class Table:
    name: str
    columns: list
    key: list                  # what a row is named by, empty where it has no name
    primary: list              # the primary key
    identity: str              # default, full, index, none
    partitioned: bool = False
    at_target: str = ""        # made by "weir", "same", "wider"
    extras: tuple = ()         # what a "wider" one has more

    def column(self, name):
        return next((c for c in self.columns if c.name == name), None)

    @property
    def written(self):
        return [c for c in self.columns if not c.generated]


@dataclasses.dataclass
class Schema:
    name: str
    tables: list
    triggers: bool = False     # the target's triggers and foreign keys act

    def table(self, name):
        return next((t for t in self.tables if t.name == name), None)


# ---------------------------------------------------------------------------------------------
# Tables
# ---------------------------------------------------------------------------------------------

def _plain_column(chance, name):
    column = Column(name, chance.choice(list(TYPES)), not_null=chance.random() < 0.2)
    kind = chance.random()
    if kind < 0.3:
        column.type, column.large = "text", True
    elif kind < 0.4:
        column.type, column.rest = "integer", "DEFAULT 7"
    elif kind < 0.45:
        column.type, column.rest = "integer", f"CHECK ({name} < 100)"
    return column


def _unique_column(chance, name):
    column = Column(name, chance.choice(["integer", "integer", "text", "numeric"]), unique="UNIQUE")
    if chance.random() < 0.4:
        column.unique += chance.choice([" DEFERRABLE INITIALLY DEFERRED", " DEFERRABLE INITIALLY IMMEDIATE"])
    return column


def _key_columns(chance, count):
    columns = [Column(f"k{n}", chance.choice(KEY_TYPES), not_null=True) for n in range(count)]
    if columns and chance.random() < 0.2:
        columns[0].type, columns[0].identity = "integer", True
        columns[0].rest = f"GENERATED {chance.choice(['ALWAYS', 'BY DEFAULT'])} AS IDENTITY"
    return columns


def _make_table(chance, name, earlier, triggers):
    kind = chance.choices(["key", "composite", "full", "full key", "index", "none"], [35, 20, 15, 5, 15, 10])[0]
    keys = _key_columns(chance, {"composite": 2, "full": 0, "none": 0}.get(kind, 1))
    more = [_plain_column(chance, f"c{n}") for n in range(chance.randint(1, 4))]
    table = Table(name, keys + more, [c.name for c in keys], [c.name for c in keys], "default")
    if kind == "index":
        index = Column("r0", chance.choice(["integer", "text", "uuid", "numeric"]), not_null=True, unique="UNIQUE")
        table.columns.insert(chance.randrange(len(table.columns) + 1), index)
        table.identity, table.key = "index", ["r0"]
    elif kind in ("full", "full key"):
        table.identity = "full"
    elif kind == "none":
        table.identity = "none"
    if kind == "key" and not keys[0].identity and chance.random() < 0.2:
        table.partitioned = True
    elif kind != "none":
        table.columns += [_unique_column(chance, f"u{n}") for n in range(chance.choice([0, 0, 1, 1, 2]))]
    parents = [t for t in earlier if len(t.primary) == 1 and not t.partitioned]
    if parents and kind != "none" and chance.random() < 0.7:
        parent = chance.choice(parents)
        actions = ["", ""] if triggers else ["", "ON DELETE CASCADE", "ON DELETE SET NULL", "ON UPDATE CASCADE ON DELETE CASCADE"]
        how = chance.choice(["", "DEFERRABLE INITIALLY DEFERRED", "DEFERRABLE INITIALLY IMMEDIATE"])
        table.columns.append(Column("parent", parent.column(parent.primary[0]).type, references=(
            parent.name, parent.primary[0], f"{chance.choice(actions)} {how}")))
    number = next((c.name for c in table.columns if c.type in INTEGERS), None)
    if number and chance.random() < 0.25:
        table.columns.append(Column("g", "bigint", generated=True, rest=f"GENERATED ALWAYS AS ({number}::bigint * 2) STORED"))
    _choose_target(chance, table, triggers)
    return table


def _choose_target(chance, table, triggers):
    table.at_target = chance.choice(["weir", "same"] if triggers or table.partitioned else ["weir", "same", "wider", "wider"])
    for column in table.columns:
        column.at_target = column.type
        if table.at_target == "wider" and not column.rest and not column.references:
            column.at_target = chance.choice([column.type, *TYPES[column.type][1]])
    extras = ["index", "column", "trigger", "reversed", "no key"]
    table.extras = tuple(e for e in extras if table.at_target == "wider" and chance.random() < (0.1 if e == "no key" else 0.4))


def make_schema(number):
    chance = random.Random(number)
    triggers = number % 4 == 3
    tables = []
    for n in range(chance.choice([1, 1, 2, 2, 3])):
        tables.append(_make_table(chance, f"t{n}", tables, triggers))
    return Schema(f"s{number}", tables, triggers)


def _full_name(schema, table):
    return f"{identifier(schema.name)}.{identifier(table.name)}"


def _column_text(schema, column, at_target):
    words = [column.name, column.at_target if at_target else column.type]
    words += ["NOT NULL"] if column.not_null else []
    words += [column.rest] if column.rest else []
    if column.unique:
        deferred = at_target and "DEFERRABLE" in column.unique  # as its hint says
        words.append("UNIQUE DEFERRABLE INITIALLY DEFERRED" if deferred else column.unique)
    if column.references:
        table, key, rest = column.references
        rest = "DEFERRABLE INITIALLY DEFERRED" if at_target and schema.triggers else rest
        words.append(f"REFERENCES {identifier(schema.name)}.{table} ({key}) {rest}")
    return " ".join(words)


def source_statements(schema):
    yield f"CREATE SCHEMA {identifier(schema.name)}"
    for table in schema.tables:
        name = _full_name(schema, table)
        lines = [_column_text(schema, c, False) for c in table.columns]
        lines += [f"PRIMARY KEY ({', '.join(table.primary)})"] if table.primary else []
        yield f"CREATE TABLE {name} ({', '.join(lines)})" + (f" PARTITION BY HASH ({table.key[0]})" if table.partitioned else "")
        for part in range(2 if table.partitioned else 0):
            yield f"CREATE TABLE {name[:-1]}_{part}\" PARTITION OF {name} FOR VALUES WITH (MODULUS 2, REMAINDER {part})"
        for column in table.columns:
            if column.large:
                yield f"ALTER TABLE {name} ALTER {column.name} SET STORAGE EXTERNAL"
        if table.identity == "full":
            yield f"ALTER TABLE {name} REPLICA IDENTITY FULL"
        elif table.identity == "index":
            yield f"ALTER TABLE {name} REPLICA IDENTITY USING INDEX {table.name}_{table.key[0]}_key"


def _extra_statements(schema, table):
    name = _full_name(schema, table)
    if "index" in table.extras:
        for column in table.columns:
            if column.at_target in INTEGERS or column.type == "boolean" and column.at_target == "boolean":
                yield f"CREATE INDEX ON {name} ({column.name})"
    if "trigger" in table.extras:
        yield f"CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON {name} FOR EACH ROW EXECUTE FUNCTION public.refuse()"


def _of_target(schema, table, column, takes_generated):
    """The column as the target can have it."""
    if column.generated and takes_generated:
        return dataclasses.replace(column, rest="")
    if column.references:
        parent = schema.table(column.references[0])
        key = parent.column(column.references[1])
        # It may be made by weir, later, or have another type.
        if parent.at_target == "weir" or "no key" in parent.extras or key.at_target != column.at_target:
            column = dataclasses.replace(column, references=())
    if column.identity and (table.identity != "default" or column.name not in table.key):
        column = dataclasses.replace(column, rest=column.rest.replace("ALWAYS", "BY DEFAULT"))
    return column


def target_statements(schema, takes_generated):
    """@takes_generated: generated columns are published, so the target must not generate them."""
    yield f"CREATE SCHEMA {identifier(schema.name)}"
    for table in schema.tables:
        if table.at_target == "weir":
            continue
        lines = []
        for column in table.columns:
            lines.append(_column_text(schema, _of_target(schema, table, column, takes_generated), True))
        lines += ["extra text DEFAULT 'the target''s own'"] if "column" in table.extras else []
        lines = lines[::-1] if "reversed" in table.extras else lines
        lines += [f"PRIMARY KEY ({', '.join(table.primary)})"] if table.primary and "no key" not in table.extras else []
        yield f"CREATE TABLE {_full_name(schema, table)} ({', '.join(lines)})"
        yield from _extra_statements(schema, table)


# ---------------------------------------------------------------------------------------------
# Statements. @uses: the columns without which they make no sense.
# ---------------------------------------------------------------------------------------------

@dataclasses.dataclass
class Insert:
    table: str
    rows: list  # {column: literal}
    uses: frozenset = frozenset()

    def sql(self, schema):
        name = _full_name(schema, schema.table(self.table))
        if not self.rows[0]:
            return f"INSERT INTO {name} DEFAULT VALUES"
        rows = ", ".join(f"({', '.join(row.values())})" for row in self.rows)
        return f"INSERT INTO {name} ({', '.join(self.rows[0])}) OVERRIDING SYSTEM VALUE VALUES {rows}"


@dataclasses.dataclass
class Update:
    table: str
    sets: dict  # {column: expression}
    where: str
    uses: frozenset = frozenset()

    def sql(self, schema):
        sets = ", ".join(f"{name} = {value}" for name, value in self.sets.items())
        return f"UPDATE {_full_name(schema, schema.table(self.table))} SET {sets} WHERE {self.where}"


@dataclasses.dataclass
class Delete:
    table: str
    where: str
    uses: frozenset = frozenset()

    def sql(self, schema):
        return f"DELETE FROM {_full_name(schema, schema.table(self.table))} WHERE {self.where}"


@dataclasses.dataclass
class Truncate:
    tables: list
    uses: frozenset = frozenset()

    def sql(self, schema):
        return "TRUNCATE " + ", ".join(_full_name(schema, schema.table(t)) for t in self.tables)


@dataclasses.dataclass
class Word:
    """SAVEPOINT and its kind."""
    text: str
    uses: frozenset = frozenset()

    def sql(self, _):
        return self.text


@dataclasses.dataclass
class Item:
    statement: object
    tried: bool = True  # what is refused is rolled back alone, not the transaction

    def sql(self, schema):
        text = self.statement.sql(schema)
        return f"SELECT public.tried($tried${text}$tried$)" if self.tried else text


@dataclasses.dataclass
class Case:
    seed: int
    schema: Schema
    parts: list  # of transactions, lists of items; each part reaches the target as one run

    def sql(self):
        """[[text of a transaction]] by part."""
        return [[";\n".join(["BEGIN", *(item.sql(self.schema) for item in transaction), "COMMIT"]) for transaction in part]
                for part in self.parts]


# ---------------------------------------------------------------------------------------------
# Transactions
# ---------------------------------------------------------------------------------------------

def _row(chance, table, **given):
    return {c.name: given.get(c.name) or c.value(chance) for c in table.written}


def _insert(chance, table):
    rows = [_row(chance, table) for _ in range(chance.choice([1, 1, 1, 2, 3]))]
    own = [c.name for c in table.columns if c.rest and not c.generated and chance.random() < 0.5]
    return Insert(table.name, [{n: v for n, v in row.items() if n not in own} for row in rows])


def _where(chance, table):
    """Some rows, mostly by their key. (text, columns in it)"""
    names = table.key or [c.name for c in table.written]
    if chance.random() < 0.1:
        return "true", frozenset()
    if chance.random() < 0.15:
        column = chance.choice(table.written)
        return f"{column.name} IS {'NOT ' if chance.random() < 0.5 else ''}NULL", frozenset([column.name])
    column = table.column(chance.choice(names))
    if column.type in ("json", "public.mood") or chance.random() < 0.3:
        some = ", ".join(f"({v})::{column.type}::text" for v in _values(chance, column))
        return f"{column.name}::text IN ({some})", frozenset([column.name])
    some = ", ".join(f"({v})::{column.type}" for v in _values(chance, column))
    return f"{column.name} IN ({some})", frozenset([column.name])


def _values(chance, column):
    values = [column.value(chance) for _ in range(chance.choice([1, 1, 2, 3]))]
    return [v for v in values if v != "NULL"] or ["NULL"]


def _assignable(table):
    return [c for c in table.written if not (c.identity and "ALWAYS" in c.rest)]


def _update(chance, table):
    columns = [c for c in _assignable(table) if c.name not in table.key or chance.random() < 0.25] or _assignable(table)
    if not columns:
        return _delete(chance, table)
    sets = {}
    for column in chance.sample(columns, min(len(columns), chance.choice([1, 1, 2, 3]))):
        moves = column.type in INTEGERS and chance.random() < 0.5
        sets[column.name] = chance.choice(["{0} + 1", "{0} - 1", "-{0}", "{0}"]).format(column.name) if moves else column.value(chance)
    return Update(table.name, sets, *_where(chance, table))


def _delete(chance, table):
    return Delete(table.name, *_where(chance, table))


def _key_is(table, values):
    text = " AND ".join(f"{n} = ({v})::{table.column(n).type}" for n, v in values.items())
    return text, frozenset(values)


def _swap(chance, table):
    """Two rows exchange their unique values, by way of a third one; or their keys."""
    columns = [c for c in _assignable(table) if c.unique or c.name in table.key and len(table.key) == 1]
    columns = [c for c in columns if c.type in ("integer", "bigint", "text", "numeric")]
    if not columns:
        return [_update(chance, table)]
    column = chance.choice(columns)
    one, two = chance.sample(TYPES[column.type][0], 2)
    between = "'between'" if column.type == "text" else "77"

    def move(of, to):
        return Update(table.name, {column.name: to}, f"{column.name} = ({of})::{column.type}", frozenset([column.name]))
    return [move(one, between), move(two, one), move(between, two)]


def _again(chance, table):
    """Deleted and inserted again, with the same key."""
    key = {n: table.column(n).value(chance) for n in table.key}
    rows = [_row(chance, table, **key)]
    return [Delete(table.name, *_key_is(table, key)), Insert(table.name, rows)]


def _change(chance, schema):
    table = chance.choice(schema.tables)
    if table.identity == "none":
        return [_insert(chance, table)]
    kind = chance.choices(["insert", "update", "delete", "swap", "again", "truncate"], [35, 40, 12, 8, 8, 2])[0]
    if kind == "swap":
        return _swap(chance, table)
    if kind == "again" and table.key:
        return _again(chance, table)
    if kind == "truncate":
        return [Truncate([t.name for t in schema.tables if t.identity != "none" and (t is table or chance.random() < 0.6)])]
    return [{"update": _update, "delete": _delete}.get(kind, _insert)(chance, table)]


def _transaction(chance, schema):
    items, saved = [], 0
    if chance.random() < 0.3:
        items.append(Item(Word("SET CONSTRAINTS ALL DEFERRED"), False))
    for _ in range(chance.choice([1, 1, 2, 3, 5])):
        kind = chance.random()
        if kind < 0.12:
            saved += 1
            items.append(Item(Word(f"SAVEPOINT s{saved}"), False))
        tried = chance.random() < 0.8
        items += [Item(statement, tried) for statement in _change(chance, schema)]
        if saved and chance.random() < 0.4:
            items.append(Item(Word(f"{chance.choice(['ROLLBACK TO', 'ROLLBACK TO', 'RELEASE'])} s{saved}"), False))
            saved -= "RELEASE" in items[-1].statement.text
    return items


def _beginning(chance, schema):
    """Whatever was there before is gone: a case stands for itself."""
    items = [Item(Word("SET CONSTRAINTS ALL DEFERRED"), False)]
    emptied = [t for t in reversed(schema.tables) if t.identity != "none"]
    items += [Item(Delete(t.name, "true")) for t in emptied]
    for table in schema.tables:
        for column in table.columns:
            if column.identity:
                name = f"'{_full_name(schema, table)}', '{column.name}'"
                items.append(Item(Word(f"SELECT setval(pg_get_serial_sequence({name}), 1, false)"), False))
    items += [Item(_insert(chance, table)) for table in schema.tables for _ in range(5)]
    return items


def _cut(chance, transactions):
    """Into runs: of all, of one each, of some."""
    how = chance.choice(["all", "one", "some", "some"])
    parts = [[]]
    for transaction in transactions:
        if parts[-1] and (how == "one" or how == "some" and chance.random() < 0.4):
            parts.append([])
        parts[-1].append(transaction)
    return parts


def make_case(seed):
    chance = random.Random(seed)
    schema = make_schema(seed // GROUP)
    transactions = [_beginning(chance, schema)]
    transactions += [_transaction(chance, schema) for _ in range(chance.choice([1, 2, 3, 4, 6]))]
    return Case(seed, schema, _cut(chance, transactions))
