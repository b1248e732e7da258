"""Every type of a stock server with its extremes, through every sink, copied, inserted and updated."""
import pytest

from harness.postgres import VERSIONS

SETUP = r'''
    CREATE TYPE mood AS ENUM ('sad', 'so "so"', 'glücklich', '');
    CREATE TYPE pair AS (a int, "b ""x""" text, c timestamptz);
    CREATE DOMAIN positive AS int CHECK (VALUE > 0);
    CREATE DOMAIN money2 AS numeric(12,2);
    CREATE DOMAIN nested AS money2 NOT NULL DEFAULT 0;
    CREATE DOMAIN words AS text[];
    CREATE TYPE floatrange AS RANGE (subtype = float8);
'''
# Table, type, values as constants. NULL is added to each.
TYPES = {
    "bool": ("boolean", ["true", "false"]),
    "int2": ("smallint", ["-32768", "0", "32767"]),
    "int4": ("integer", ["-2147483648", "-1", "2147483647"]),
    "int8": ("bigint", ["'-9223372036854775808'", "9007199254740993", "-9007199254740993", "9223372036854775807"]),
    "oid": ("oid", ["0", "'4294967295'"]),
    "xid": ("xid", ["'0'", "'4294967295'"]),
    "xid8": ("xid8", ["'18446744073709551615'"]),
    "float4": ("real", ["0.1", "'-0'", "1e-45", "3.4028235e38", "-1.17549435e-38", "'NaN'", "'Infinity'", "'-Infinity'",
                        "16777217", "0.30000001"]),
    "float8": ("double precision", ["0.1", "'-0'", "5e-324", "1.7976931348623157e308", "'NaN'", "'Infinity'",
                                    "'-Infinity'", "9007199254740993", "1e15", "1e16", "123456789.123456789",
                                    "0.30000000000000004", "2.2250738585072014e-308"]),
    "numeric": ("numeric", ["0", "0.00", "-0.0001", "'1e-1000'", "'12345678901234567890123456789012345678901234567890.5'",
                            "'1e1000'", "'NaN'", "'Infinity'", "'-Infinity'", "1.10", "100"]),
    "numeric_10_2": ("numeric(10,2)", ["0", "-0.01", "99999999.99", "-99999999.99", "1.5"]),
    "numeric_38_0": ("numeric(38,0)", ["99999999999999999999999999999999999999", "-99999999999999999999999999999999999999"]),
    "numeric_38_38": ("numeric(38,38)", ["0.99999999999999999999999999999999999999", "-0.00000000000000000000000000000000000001"]),
    "numeric_18_6": ("numeric(18,6)", ["999999999999.999999", "-0.000001"]),
    "numeric_4_2": ("numeric(4,2)", ["99.99", "-99.99", "0"]),
    "numeric_50_3": ("numeric(50,3)", ["12345678901234567890123456789012345678901234567.125"]),
    "money": ("money", ["'-92233720368547758.08'", "'92233720368547758.07'", "0"]),
    "text": ("text", ["''", "' '", r"E'tab\t nl\n cr\r back\\slash'", r"'\N'", r"'\.'", "'NULL'", "'null'",
                      "'quote '' \" ` $1 %s'", "'héllo 世界 🦆 \u200f'", r"E'\x01\x02\x1f\x7f'",
                      r"E'\u2028\u2029\u0085\ufeff'", r"U&'\+10FFFF'", "repeat('long ', 30000)", "'{\"a\": 1}'",
                      "'-0'", "'1e5'", "'007'", "'Infinity'"]),
    "varchar": ("varchar(20)", ["''", "'twenty characters!!!'", "'ü'"]),
    "bpchar": ("char(5)", ["''", "'ab'", "'ab   '", "'äöüß€'"]),
    "char1": ('"char"', ["''", "'x'"]),
    "name": ("name", ["'a name'", "repeat('x', 63)"]),
    "bytea": ("bytea", [r"'\x'", r"'\x00'", r"'\x00ff0a0d5c2722'", "decode(repeat('00ff', 50000), 'hex')"]),
    "date": ("date", ["'2024-02-29'", "'4713-01-01 BC'", "'0001-01-01'", "'0001-12-31 BC'", "'0044-03-15 BC'",
                      "'5874897-12-31'", "'infinity'", "'-infinity'", "'9999-12-31'", "'10000-01-01'", "'1582-10-10'"]),
    "time": ("time", ["'00:00'", "'24:00'", "'23:59:59.999999'", "'12:30:00.5'"]),
    "time_0": ("time(0)", ["'00:00'", "'23:59:59'"]),
    "timetz": ("timetz", ["'00:00+15:59:59'", "'24:00-15:59:59'", "'12:00:00.000001+00'", "'01:02:03.4+05:30'"]),
    "timestamp": ("timestamp", ["'2024-02-29 12:00'", "'4713-01-01 00:00:00 BC'", "'0001-01-01 00:00:00.000001'",
                                "'infinity'", "'-infinity'", "'1999-12-31 23:59:59.999999'", "'10000-01-01'",
                                "'0044-03-15 12:00:00.5 BC'", "'290000-01-01 00:00:00.123456'"]),
    "timestamp_3": ("timestamp(3)", ["'2024-02-29 12:00:00.123'"]),
    "timestamptz": ("timestamptz", ["'2024-02-29 12:00+05:30'", "'4713-01-01 00:00:00+00 BC'", "'infinity'", "'-infinity'",
                                    "'1900-01-01 00:00:00.000001+00'", "'2038-01-19 03:14:08+00'",
                                    "'0044-03-15 12:00:00+00 BC'", "'290000-01-01 00:00:00.123456+00'"]),
    "interval": ("interval", ["'0'", "'1 year 2 mons 3 days 04:05:06.789'", "'-1 year -2 mons +3 days -04:05:06'",
                              "'178000000 years'", "'-178000000 years'", "'2147483647 days'", "'-2147483648 days'",
                              "'2562047:00:54.775807'", "'-0.000001 s'", "'1 mon -1 day 00:00:00.1'", "'99 hours'"]),
    "uuid": ("uuid", ["'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
                      "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"]),
    "json": ("json", ["'null'", "'1.10'", "' { \"a\" : 1 , \"a\" : 2 } '", r"""'"é \u0041 \u0000"'""", "'[]'", "'\"\"'",
                      "'123456789012345678901234567890.10'", "E'{\\n  \"a\":\\t[1,\\r\\n2]}'", "'true'",
                      "'1E400'", "'\"null\"'"]),
    "jsonb": ("jsonb", ["'null'", "'1.10'", "'{\"b\": [1, null, {\"c\": \"ü\"}], \"a\": \"\"}'", "'\"null\"'", "'{}'",
                        "'12345678901234567890.000'", "'[[[[[[[[[[1]]]]]]]]]]'", "'false'", "'0'"]),
    "jsonpath": ("jsonpath", ["'$.a[*] ? (@ > 1)'"]),
    "xml": ("xml", ["'<a b=\"c\">x</a>'"]),
    "bit": ("bit(5)", ["B'10101'", "B'00000'"]),
    "varbit": ("bit varying", ["B''", "B'1'", "B'101010101010101010101010101'"]),
    "inet": ("inet", ["'127.0.0.1'", "'192.168.0.1/24'", "'::1'", "'2001:db8::/32'", "'::ffff:1.2.3.4'"]),
    "cidr": ("cidr", ["'10.0.0.0/8'", "'2001:db8::/32'"]),
    "macaddr": ("macaddr", ["'08:00:2b:01:02:03'"]),
    "macaddr8": ("macaddr8", ["'08:00:2b:01:02:03:04:05'"]),
    "point": ("point", ["'(1.5,-2e300)'", "'(NaN,Infinity)'"]),
    "line": ("line", ["'{1,2,3}'"]),
    "lseg": ("lseg", ["'[(1,2),(3,4)]'"]),
    "box": ("box", ["'(3,4),(1,2)'"]),
    "path": ("path", ["'[(1,2),(3,4)]'", "'((1,2),(3,4))'"]),
    "polygon": ("polygon", ["'((0,0),(1,1),(1,0))'"]),
    "circle": ("circle", ["'<(1,2),3>'"]),
    "tsvector": ("tsvector", ["'a:1A fat:2B,4C cat:5'", "''", "'''it''''s'':1'"]),
    "tsquery": ("tsquery", ["'fat & (rat | !cat:*)'"]),
    "pg_lsn": ("pg_lsn", ["'FFFFFFFF/FFFFFFFF'", "'0/0'"]),
    "snapshot": ("pg_snapshot", ["'10:20:10,14,15'"]),
    "regclass": ("regtype", ["'integer'"]),
    "mood": ("mood", ["'sad'", "'so \"so\"'", "'glücklich'", "''"]),
    "pair": ("pair", ["ROW(1, 'x, \"y\"', '2024-01-01 00:00+00')", "ROW(NULL, NULL, NULL)", "ROW(1, '', NULL)"]),
    "positive": ("positive", ["1", "2147483647"]),
    "money2": ("money2", ["-1.10", "9999999999.99"]),
    "nested": ("nested", ["0", "12.34"]),
    "words": ("words", ["'{a,NULL,\"NULL\",\"\"}'"]),
    "int4s": ("int[]", ["'{}'", "'{1,NULL,-3}'", "'{{1,2},{3,4}}'", "'[0:1][-2:-1]={{1,2},{3,4}}'", "'{{{1},{2}},{{3},{4}}}'"]),
    "texts": ("text[]", [r"""'{"a,b","c\"d","e\\f",NULL,"NULL","","{x}"," y "}'""", "'{ü,🦆}'"]),
    "bools": ("bool[]", ["'{t,f,NULL}'"]),
    "byteas": ("bytea[]", [r"""'{"\\x00ff",NULL}'"""]),
    "stamps": ("timestamptz[]", ["'{2024-01-01 00:00+00,infinity,NULL}'"]),
    "numerics": ("numeric[]", ["'{1.10,NaN,NULL}'"]),
    "jsonbs": ("jsonb[]", ["ARRAY['{\"a\": 1}', 'null', NULL]::jsonb[]"]),
    "moods": ("mood[]", ["'{sad,\"so \\\"so\\\"\",NULL}'"]),
    "pairs": ("pair[]", ["ARRAY[ROW(1, 'x', NULL)::pair, NULL]"]),
    "int4range": ("int4range", ["'empty'", "'[1,10)'", "'(,5)'", "'(,)'"]),
    "numrange": ("numrange", ["'[1.1,2.20]'"]),
    "tstzrange": ("tstzrange", ["'[2024-01-01 00:00+00,infinity)'"]),
    "daterange": ("daterange", ["'[2024-01-01,2024-02-01)'"]),
    "floatrange": ("floatrange", ["'[0.1,1e300)'"]),
    "int4multirange": ("int4multirange", ["'{}'", "'{[1,2),[5,7)}'"]),
    "tstzmultirange": ("tstzmultirange", ["'{[2024-01-01 00:00+00,2024-01-02 00:00+00),[2025-01-01 00:00+00,)}'"]),
    "ranges": ("int4range[]", ["'{\"[1,2)\",NULL,empty}'"]),
}
# Only where the target keeps text: values that a native type of DuckDB does not have.
BEYOND = {
    "numeric_10_2": ["'NaN'"],
    "timestamp": ["'294276-12-31 23:59:59.999999'"],
    "timestamptz": ["'294276-12-31 23:59:59.999999+00'"],
}
SINCE = {"interval": (17, ["'infinity'", "'-infinity'"]), "negative": (15, ["12300", "-99900"])}


def values_of(table, version, beyond):
    values = list(TYPES[table][1]) if table in TYPES else []
    if beyond:
        values += BEYOND.get(table, [])
    if table in SINCE and version >= SINCE[table][0] and (beyond or table != "interval"):
        values += SINCE[table][1]
    return values


def tables_for(version):
    tables = {name: type_ for name, (type_, _) in TYPES.items()}
    if version >= 15:
        tables["negative"] = "numeric(3,-2)"
    return tables


def create(source, version):
    source.sql(SETUP)
    for table, type_ in tables_for(version).items():
        source.sql(f'CREATE TABLE "t_{table}" (id int PRIMARY KEY, v {type_})')


def fill(source, version, beyond):
    with source.transaction():
        for table in tables_for(version):
            for at, value in enumerate(values_of(table, version, beyond), 1):
                source.connection.execute(f'INSERT INTO "t_{table}" VALUES ({at}, {value})')
            if table != "nested":
                source.connection.execute(f'INSERT INTO "t_{table}" VALUES (0, NULL)')


def rotate(source, version, beyond):
    """Every row gets another value, every value another row."""
    with source.transaction():
        for table in tables_for(version):
            values = values_of(table, version, beyond)
            for at, value in enumerate(values[1:] + values[:1], 1):
                source.connection.execute(f'UPDATE "t_{table}" SET v = {value} WHERE id = {at}')
            source.connection.execute(f'INSERT INTO "t_{table}" VALUES (99, {values[0]})')
            if table != "nested":
                source.connection.execute(f'UPDATE "t_{table}" SET v = {values[-1]} WHERE id = 0')
                source.connection.execute(f'UPDATE "t_{table}" SET v = NULL WHERE id = 1')


# Which sinks are met with which values: DuckDB's native types refuse some, the others take all.
WAYS = pytest.mark.parametrize("sink, beyond, query", [
    ("sqlite", True, {}), ("postgres", True, {}), ("file", True, {}),
    ("duckdb", False, {}), ("duckdb", True, {"exact": "true"}),
], ids=["sqlite", "postgres", "file", "duckdb", "duckdb-exact"])


@WAYS
def test_copied(pipeline, version, sink, beyond, query):
    """And what a target keeps in another form, or loses by what is written of its types, is no difference."""
    create(pipeline.source, version)
    fill(pipeline.source, version, beyond)
    pipeline.drain(query=query)
    pipeline.check()
    if sink != "file":
        rotate(pipeline.source, version, beyond)
        tables = pipeline.verify(query=query)
        assert len(tables) == len(tables_for(version))
        for table in tables.values():
            assert table["result"] == "equal" and table["source_rows"] == table["target_rows"] > 0, table


@pytest.mark.valgrind
@WAYS
def test_streamed(pipeline, version, sink, beyond, query):
    create(pipeline.source, version)
    pipeline.drain(query=query)
    fill(pipeline.source, version, beyond)
    pipeline.drain(query=query)
    pipeline.check()
    rotate(pipeline.source, version, beyond)
    pipeline.drain(query=query)
    pipeline.check()


@pytest.mark.parametrize("version", VERSIONS, indirect=True)
@pytest.mark.parametrize("sink", ["sqlite"])
def test_on_every_version(pipeline, version, sink):
    create(pipeline.source, version)
    fill(pipeline.source, version, True)
    pipeline.drain()
    rotate(pipeline.source, version, True)
    pipeline.drain()
    pipeline.check()


KEYS = ["bigint", "text", "uuid", "date", "timestamptz", "numeric", "bytea", "int[]", "mood", "boolean", "inet",
        "float8", "char(4)", "interval", "positive", "varchar(8)", "numeric(9,3)"]


def test_every_type_as_key(pipeline):
    """Rows are found again by keys of any type, also by values with several spellings."""
    source = pipeline.source
    source.sql(SETUP)
    some = {
        "bigint": ["1", "9223372036854775807"], "text": ["''", "'it''s'", "'A'", "'a'", "'a '"],
        "uuid": ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"], "date": ["'2024-01-01'", "'0044-03-15 BC'", "'infinity'"],
        "timestamptz": ["'2024-01-01 00:00+00'", "'infinity'"], "numeric": ["1.0", "2.50", "'NaN'", "'1e30'"],
        "bytea": [r"'\x00'", r"'\x'", r"'\xff27'"], "int[]": ["'{1,2}'", "'{}'"], "mood": ["'sad'", "''"],
        "boolean": ["true", "false"], "inet": ["'::1'", "'10.0.0.0/8'"], "float8": ["0.1", "'NaN'", "'Infinity'", "1e300"],
        "char(4)": ["'a'", "'abcd'", "''"], "interval": ["'1 day'", "'25:00'"], "positive": ["5"],
        "varchar(8)": ["'x'", "'ü'"], "numeric(9,3)": ["1.5", "-2"],
    }
    names = [f"k{i}" for i in range(len(KEYS))]
    for name, type_ in zip(names, KEYS):
        source.sql(f"CREATE TABLE {name} (k {type_} PRIMARY KEY, n int, t text)")
        for n, value in enumerate(some[type_]):
            source.sql(f"INSERT INTO {name} VALUES ({value}, {n}, 'first')")
    pipeline.drain()
    pipeline.check()
    for name, type_ in zip(names, KEYS):
        with source.transaction():
            source.sql(f"UPDATE {name} SET n = n + 100, t = NULL")
            source.sql(f"DELETE FROM {name} WHERE n = 101")
    pipeline.drain()
    pipeline.check()
    for name, type_ in zip(names, KEYS):
        source.sql(f"DELETE FROM {name}; INSERT INTO {name} SELECT {some[type_][0]}, 1, 'again'")
    pipeline.drain()
    pipeline.check()


@pytest.mark.parametrize("sink", ["postgres"])
@pytest.mark.parametrize("there", ["the same", "wider"])
def test_copied_as_it_is(pipeline, there):
    """Rows pass without a look into them: in binary between the same stock types, else as text."""
    pipeline.source.sql(r"""
        CREATE DOMAIN positive AS int CHECK (VALUE > 0);
        CREATE TABLE t (id int PRIMARY KEY, b boolean, s smallint, l bigint, r real, d float8, n numeric, m numeric(9,3),
            t text, v varchar(20), c char(4), y bytea, dt date, ti time, tz timetz, ts timestamp, tt timestamptz,
            i interval, u uuid, j json, jb jsonb, bi bit(5), vb varbit, p positive);
        INSERT INTO t VALUES
            (1, true, -32768, 9223372036854775807, 'NaN', '-Infinity', 'NaN', 123456.789, E'\\\\\t\n\\\\.', '\N', 'ab',
             '\x00ff0a5c', '0044-03-15 BC', '24:00', '00:00:00.000001-15:59', 'infinity', '-infinity', '1 mon -1 day 00:00:00.1',
             'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a" : 1 }', '{"a": [1e400]}', '10101', '', 7),
            (2, false, 0, 0, '-0', '-0', '-0.000', 0, '', '', '', '', '294276-12-31', '0:0', '0:0', '4713-01-01 BC',
             '1970-01-01', '0', '00000000-0000-0000-0000-000000000000', 'null', '"\u00e9"', '00000', '1', 1),
            (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
             NULL, NULL, NULL, NULL, NULL, NULL);
        INSERT INTO t (id, t, n) SELECT g, repeat('ü', g), (10::numeric ^ (g % 100)) / 3 FROM generate_series(4, 3000) g;
        CREATE TABLE none (id int PRIMARY KEY);
    """)
    if there == "wider":
        pipeline.source.sql("INSERT INTO none SELECT generate_series(10, 400)")
        pipeline.target.execute("CREATE TABLE none (id bigint PRIMARY KEY)")
        pipeline.drain(query={"existing": "keep"})
    else:
        pipeline.drain()
    pipeline.check()
    pipeline.source.sql("UPDATE t SET v = 'after' WHERE id % 7 = 0; INSERT INTO none VALUES (1)")
    pipeline.drain(query={"existing": "keep"} if there == "wider" else {})
    pipeline.check()


@pytest.mark.parametrize("sink", ["file"])
def test_type_names_without_needless_quotes(pipeline, sink):
    """Whatever the database says about quoting names in general."""
    source = pipeline.source
    source.sql("""CREATE TYPE mood AS ENUM ('a');
                  CREATE TABLE t (id int PRIMARY KEY, j jsonb, d date, l text[], v varchar(9), n numeric(9,3), m mood);
                  INSERT INTO t VALUES (1, '{}', '2026-02-03', '{a}', 'v', 1.5, 'a')""")
    source.sql(f'ALTER DATABASE "{source.name}" SET quote_all_identifiers = on')
    pipeline.drain()
    source.sql("INSERT INTO t (id) VALUES (2)")
    pipeline.drain()
    pipeline.check()
    types = ["integer", "jsonb", "date", "text[]", "character varying(9)", "numeric(9,3)", "public.mood"]
    schemas = [event for event in pipeline.target.events() if event["op"] == "schema"]
    assert schemas and all([column["type"] for column in event["columns"]] == types for event in schemas)
