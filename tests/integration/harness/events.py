"""Events of format weir, replayed to tables. Values keep the digits and spaces they were written with."""
import json

from harness.compare import INTEGERS, FLOATS, JSON, Table

_decode = json.JSONDecoder().raw_decode


def _skip(text, at):
    while text[at] in " \t":
        at += 1
    return at


def members(text, at=0):
    """{name: raw JSON text} of the object at text[at], and where it ends."""
    assert text[at] == "{", f"no object at {at}: {text[at:at + 40]!r}"
    result, at = {}, at + 1
    while text[at] != "}":
        name, at = _decode(text, at)
        assert text[at] == ":" and name not in result, f"bad member {name!r}"
        _, end = _decode(text, _skip(text, at + 1))
        end = _skip(text, end)  # json keeps the spaces around it
        result[name] = text[at + 1:end]
        at = end + 1 if text[end] == "," else end
    return result, at + 1


def elements(text):
    """members() of each object in the array."""
    at = 1
    while text[at] != "]":
        found, at = members(text, at)
        yield found
        at += text[at] == ","


def _plain(type_name):
    return type_name.split("(")[0] if "[" not in type_name else "array"


class Shape:
    def __init__(self, event, columns, was):
        self.names = [c["name"] for c in event["columns"]]
        self.types = {c["name"]: _plain(c.get("base_type") or c["type"]) for c in event["columns"]}
        self.key = event["key_columns"] or []
        # One without a number was dropped before weir could ask for it: it goes by its name.
        given = {c["attnum"] for c in event["columns"] if "attnum" in c}
        before = {n: a for n, a in zip(was.names, was.attnums) if a not in given} if was else {}
        self.attnums = [c.get("attnum", before.get(c["name"], c["name"])) for c in event["columns"]]
        # What a column is that was added after the row was written.
        self.missing = {c["name"]: self.value(c["name"], raw, ()) if (raw := member.get("missing")) else None
                        for c, member in zip(event["columns"], elements(columns))}

    def value(self, name, raw, json_nulls):
        """Postgres's text again."""
        kind = self.types[name]
        if raw == "null" and not (kind in JSON and name in json_nulls):
            return None
        if kind in JSON:
            return raw
        if kind in INTEGERS or kind in FLOATS or kind == "numeric":
            return json.loads(raw) if raw[0] == '"' else raw
        if kind == "boolean":
            return {"true": "t", "false": "f"}[raw]
        value = json.loads(raw)
        assert isinstance(value, str), f"{name} ({kind}): {raw}"
        return value

    def row(self, raw, json_nulls):
        values, end = members(raw)
        assert end == len(raw)
        return {n: self.value(n, v, json_nulls) for n, v in values.items()}


class Replay:
    """What a reader of the whole file knows. Fails on what no file may have: a torn line, an event
    twice or out of order, an update of a row that is not there, a value that was never sent."""

    def __init__(self, path):
        self.shapes, self.keyed, self.bags, self.events = {}, {}, {}, 0
        self.oids = {}  # of each table by its name: what is known of it stays when it is renamed
        self.ops = {}
        self.last = (0, 0)
        data = path.read_bytes() if path.exists() else b""
        assert data == b"" or data.endswith(b"\n"), "the last line is torn"
        for number, line in enumerate(data.decode().split("\n")[:-1], 1):
            try:
                self.apply(line)
            except Exception as e:
                raise AssertionError(f"line {number}: {e!r}\n  {line[:600]}") from e

    def apply(self, line):
        raw, end = members(line)
        assert end == len(line), "something behind the object"
        event = {n: json.loads(v) for n, v in raw.items() if n not in ("new", "old", "key")}
        op = event["op"]
        self.events += 1
        self.ops[op] = self.ops.get(op, 0) + 1
        self.order(event)
        if op == "message":
            return
        at = (event["schema"], event["table"])
        if op == "schema":
            self.reshape(at, event, raw["columns"])
            return
        at = self.oids[at]
        shape = self.shapes[at]
        new = shape.row(raw["new"], event.get("new_json_null", ())) if "new" in raw else None
        old = shape.row(raw["old"], event.get("old_json_null", ())) if "old" in raw else None
        key = shape.row(raw["key"], ()) if "key" in raw else None
        getattr(self, "on_" + op)(at, new, old, key, event.get("unchanged", []))

    def order(self, event):
        high, low = event["lsn"].split("/")
        position = (int(high, 16) << 32 | int(low, 16), event["ordinal"])
        if event["op"] in ("read", "schema") or event["ordinal"] == 0:
            return  # a copy's position is its snapshot's
        assert position > self.last, f"position {position} after {self.last}"
        self.last = position

    def reshape(self, name, event, columns):
        at = event["relation_oid"]
        self.oids = {n: oid for n, oid in self.oids.items() if oid != at} | {name: at}
        was = self.shapes.get(at)
        shape = self.shapes[at] = Shape(event, columns, was)
        names = {was.names[i]: shape.names[shape.attnums.index(attnum)] for i, attnum in enumerate(was.attnums)
                 if attnum in shape.attnums} if was else {}
        rows = [{**shape.missing, **{names[n]: v for n, v in row.items() if n in names}}
                for row in [*self.keyed.get(at, {}).values(), *self.bags.get(at, [])]]
        self.keyed[at] = {self.key_of(at, row): row for row in rows} if shape.key else {}
        self.bags[at] = [] if shape.key else rows

    def key_of(self, at, row):
        return tuple(row[k] for k in self.shapes[at].key)

    def on_read(self, at, new, old, key, unchanged):
        assert not unchanged
        if not self.shapes[at].key:
            self.bags[at].append(new)
            return
        place = self.key_of(at, new)
        assert place not in self.keyed[at], f"row {place} is there already"
        self.keyed[at][place] = new

    on_insert = on_read

    def on_update(self, at, new, old, key, unchanged):
        assert not set(unchanged) & set(new), "unchanged and yet sent"
        if not self.shapes[at].key:
            place = self.bags[at].index(old)
            self.bags[at][place] = {**self.bags[at][place], **new}
            return
        before = self.keyed[at].pop(self.key_of(at, key or old or new))
        self.keyed[at][self.key_of(at, {**before, **new})] = {**before, **new}

    def on_delete(self, at, new, old, key, unchanged):
        if not self.shapes[at].key:
            self.bags[at].remove(old)
        else:
            self.keyed[at].pop(self.key_of(at, key or old))

    def on_truncate(self, at, new, old, key, unchanged):
        self.keyed[at].clear()
        self.bags[at].clear()

    def table(self, schema, table):
        at = self.oids.get((schema, table))
        if at is None:
            return None
        shape = self.shapes[at]
        rows = list(self.keyed[at].values()) + self.bags[at]
        return Table(shape.names, shape.key, [[row[n] for n in shape.names] for row in rows])
