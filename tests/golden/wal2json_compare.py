#!/usr/bin/env python3
"""Compares format wal2json with the plugin itself, byte for byte.

Starts a throwaway PostgreSQL that has the plugin (Debian: postgresql-15-wal2json), runs a varied load,
and reads the same transactions twice: with the plugin, by pg_logical_slot_peek_changes(), and with
`weir stream`. Exit codes: 0 all equal, 1 not, 77 skipped because the server or the plugin is missing.

The load leaves out what docs/formats.md lists as differences.
"""

import argparse
import os
import sys
import time

from server import Server, Skip, newest_bindir

SCHEMA = r'''
CREATE TYPE mood AS ENUM ('sad', 'so so', 'it''s "fine"');
CREATE TYPE "Mood" AS ENUM ('sad', 'ok');
CREATE TYPE pair AS (a int, b text);
CREATE TYPE span AS RANGE (subtype = int4);
CREATE DOMAIN price AS numeric(10, 2) CHECK (value >= 0);
CREATE DOMAIN flag AS boolean;
CREATE DOMAIN words AS text[];
CREATE SCHEMA shop;
CREATE TYPE shop.size AS ENUM ('s', 'm');
CREATE SCHEMA "My Schema";

CREATE TABLE types (
    id bigint PRIMARY KEY,
    c_smallint smallint, c_int int, c_oid oid, c_xid xid, c_regclass regclass,
    c_real real, c_double double precision, c_numeric numeric, c_numeric_ps numeric(12, 3),
    c_money money, c_bool boolean, c_text text, c_varchar varchar(30), c_char char(5), c_char1 "char",
    c_name name, c_bytea bytea, c_date date, c_time time, c_time3 time(3), c_timetz timetz,
    c_ts timestamp, c_tstz timestamptz, c_tstz0 timestamptz(0), c_interval interval,
    c_interval_ym interval year to month, c_uuid uuid, c_json json, c_jsonb jsonb, c_xml xml,
    c_bit bit(4), c_varbit varbit(8), c_inet inet, c_cidr cidr, c_macaddr macaddr, c_point point,
    c_box box, c_path path, c_circle circle, c_tsvector tsvector, c_tsquery tsquery, c_lsn pg_lsn,
    c_ints int[], c_texts text[][], c_numerics numeric(5, 2)[], c_mood mood, c_mood2 "Mood",
    c_moods mood[], c_moods2 "Mood"[], c_size shop.size, c_pair pair, c_pairs pair[], c_range int4range,
    c_tsrange tstzrange, c_span span, c_multi int4multirange, c_price price, c_flag flag, c_words words);
CREATE TABLE "My Schema"."Table, with ""quotes""" (
    "select" int PRIMARY KEY, "a ""b"" \c" text, "größe €" text, " " text);
CREATE TABLE composite_key (b text, v int, a int, d date, PRIMARY KEY (a, b, d));
CREATE TABLE toast (id int PRIMARY KEY, big text, n int, big2 text NOT NULL);
ALTER TABLE toast ALTER big SET STORAGE EXTERNAL, ALTER big2 SET STORAGE EXTERNAL;
CREATE TABLE many (id serial PRIMARY KEY, t text);
CREATE TABLE one (id int PRIMARY KEY);
CREATE TABLE other (id int PRIMARY KEY, one int REFERENCES one);

CREATE TABLE identity_full (id int PRIMARY KEY, a text, b numeric, big text);
ALTER TABLE identity_full REPLICA IDENTITY FULL;
ALTER TABLE identity_full ALTER big SET STORAGE EXTERNAL;
CREATE TABLE full_without_key (a int, b text);
ALTER TABLE full_without_key REPLICA IDENTITY FULL;
CREATE TABLE identity_index (id int PRIMARY KEY, u text NOT NULL, k int NOT NULL, v text);
CREATE UNIQUE INDEX by_u ON identity_index (k, u);
ALTER TABLE identity_index REPLICA IDENTITY USING INDEX by_u;
CREATE TABLE identity_nothing (id int PRIMARY KEY, v text);
ALTER TABLE identity_nothing REPLICA IDENTITY NOTHING;
CREATE TABLE without_key (a int, b text);

CREATE TABLE parted (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE parted_high (v text, id int NOT NULL);
ALTER TABLE parted ATTACH PARTITION parted_high FOR VALUES FROM (10) TO (20);
'''

# Tables with the default identity: every option can be compared.
DEFAULT_LOAD = [
    r"""
INSERT INTO types (id) VALUES (1);
INSERT INTO types VALUES (
    9223372036854775807, -32768, -2147483648, 4294967295, '7', 'pg_class', 3.4028235e38,
    1.7976931348623157e308, 123456789012345678901234567890.12345678901234567890, -123456789.123,
    '-12345.67', true, E'tab\t newline\n quote" backslash\\ slash/ bell\x07 del\x7f é € 😀', 'varchar', 'ab',
    'x', 'a name', '\x00ff5c22', '2026-11-21', '24:00:00', '12:34:56.789', '12:34:56.7-08:30',
    '2026-11-21 05:20:59.123456', '2026-11-21 05:20:59.123456+03', '2026-11-21 05:20:59',
    '1 year 2 mons -3 days 04:05:06.789', '3 years 2 mons', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
    E'{"b" : 1.50,\n "a":"\\u00e9\\n"}', '{"b": 1.50, "a": [null, true, "x"]}', '<a>b &amp; c</a>',
    '0101', '010', '192.168.0.1/24', '10.0.0.0/8', '08:00:2b:01:02:03', '(1.5,-2)', '((0,0),(1,1))',
    '[(0,0),(1,1)]', '<(1,2),3>', 'fat cat', 'fat & rat', '16/B374D848', '{1,NULL,3}',
    '[0:1][1:2]={{a,"b,c"},{"d\"e",NULL}}', '{1.50,NaN}', 'it''s "fine"', 'ok', '{sad,"so so"}', '{ok}',
    'm', ROW (1, 'a "b", c'), ARRAY[ROW (1, NULL)::pair], '[1,10)', '[2026-01-01,)', '(1,5]',
    '{[1,3),[5,7)}', 12.5, false, '{a,b}');
INSERT INTO types (id, c_real, c_double, c_numeric) VALUES
    (2, 'NaN', 'NaN', 'NaN'), (3, 'Infinity', 'Infinity', 'Infinity'),
    (4, '-Infinity', '-Infinity', '-Infinity'), (5, 1e-45, 5e-324, 0.00), (6, -0.0, '-0', 1e-30),
    (7, 1.1, 0.1, 1e40), (8, 1e20, 1e20, -1);
INSERT INTO types (id, c_date, c_ts, c_tstz, c_text, c_json, c_bytea, c_texts) VALUES
    (9, 'infinity', '-infinity', 'infinity', '', 'null', '', '{}'),
    (10, '4714-11-24 BC', '0044-03-15 12:00:00 BC', '294276-12-31 23:59:59.999999+00', 'null', '"null"',
     NULL, NULL);
""",
    "UPDATE types SET c_text = 'changed', c_bool = false, c_json = '[]' WHERE id < 5;",
    "UPDATE types SET id = -id WHERE id = 2;",
    "DELETE FROM types WHERE id IN (3, 9223372036854775807);",
    r'''
INSERT INTO "My Schema"."Table, with ""quotes""" VALUES (1, 'a', 'ü', NULL), (2, E'\\ "', '', ' ');
UPDATE "My Schema"."Table, with ""quotes""" SET " " = 'x' WHERE "select" = 1;
UPDATE "My Schema"."Table, with ""quotes""" SET "select" = 3 WHERE "select" = 1;
DELETE FROM "My Schema"."Table, with ""quotes""";
''',
    """
INSERT INTO composite_key VALUES ('x', 1, 2, '2026-01-01'), ('y', NULL, 3, '2026-01-02');
UPDATE composite_key SET v = 5;
UPDATE composite_key SET b = 'z' WHERE a = 2;
DELETE FROM composite_key WHERE a = 3;
""",
    """
INSERT INTO toast SELECT i, repeat(md5(i::text), 300), i, repeat('long', 2000) FROM generate_series(1, 3) i;
UPDATE toast SET n = n + 1;
UPDATE toast SET big = 'short' WHERE id = 1;
UPDATE toast SET big = NULL WHERE id = 2;
UPDATE toast SET id = 30 WHERE id = 3;
DELETE FROM toast WHERE id = 30;
""",
    "INSERT INTO many (t) SELECT 'row ' || i FROM generate_series(1, 3000) i;",
    "BEGIN; INSERT INTO one VALUES (1); SAVEPOINT a; INSERT INTO one VALUES (2); ROLLBACK TO a;"
    " INSERT INTO one VALUES (3); SAVEPOINT b; INSERT INTO other VALUES (1, 1); RELEASE b; COMMIT;",
    "BEGIN; INSERT INTO one VALUES (99); ROLLBACK;",
    "TRUNCATE many;",
    "BEGIN; INSERT INTO one VALUES (4); TRUNCATE one, other RESTART IDENTITY CASCADE; "
    "INSERT INTO one VALUES (5); COMMIT;",
    r"""BEGIN; SELECT pg_logical_emit_message(true, 'my "prefix"', E'some \t "text" é');"""
    " INSERT INTO one VALUES (6); SELECT pg_logical_emit_message(true, '', ''); COMMIT;",
    # Behind a transaction of one change: the plugin has a bug with more.
    "INSERT INTO one VALUES (7);",
    "SELECT pg_logical_emit_message(false, 'alone', 'not in a transaction');",
    "SELECT pg_logical_emit_message(true, 'alone', 'a transaction of its own');",
    r"SELECT pg_logical_emit_message(true, 'bytes', '\x61620063'::bytea);",
    "INSERT INTO one SELECT generate_series(100, 110); DELETE FROM one WHERE id > 105;",
]

# Where include_pk differs between the releases of the plugin, and from what pgoutput tells.
IDENTITY_LOAD = [
    """
INSERT INTO identity_full VALUES (1, 'a', 1.5, repeat('x', 5000)), (2, NULL, NULL, NULL);
UPDATE identity_full SET a = 'b' WHERE id = 1;
UPDATE identity_full SET id = 3, b = NULL WHERE id = 1;
UPDATE identity_full SET a = NULL, big = 'y' WHERE id = 3;
UPDATE identity_full SET a = a;
DELETE FROM identity_full;
""",
    """
INSERT INTO full_without_key VALUES (1, 'a'), (NULL, NULL), (1, 'a');
UPDATE full_without_key SET b = 'c' WHERE a = 1;
DELETE FROM full_without_key;
""",
    """
INSERT INTO identity_index VALUES (1, 'a', 10, 'v'), (2, 'b', 20, NULL);
UPDATE identity_index SET v = 'w';
UPDATE identity_index SET k = 11 WHERE id = 1;
UPDATE identity_index SET id = 7 WHERE id = 2;
DELETE FROM identity_index;
""",
    "INSERT INTO identity_nothing VALUES (1, 'a'); TRUNCATE identity_nothing;",
    "INSERT INTO without_key VALUES (1, 'a'), (1, 'a'), (NULL, NULL); TRUNCATE without_key;",
]

# Where weir is asked for the partitions themselves, as the plugin knows nothing else.
PARTITION_LOAD = [
    "INSERT INTO parted VALUES (1, 'a'), (11, 'b'); UPDATE parted SET v = 'c'; DELETE FROM parted WHERE id = 1;",
    "UPDATE parted SET id = 2 WHERE id = 11; INSERT INTO parted_low VALUES (3, NULL); TRUNCATE parted_low;",
]

# name, options of the plugin, options of weir, compared on IDENTITY_LOAD too
VARIANTS = [
    ("version 1", {"format-version": "1"}, "format=wal2json&version=1", True),
    ("version 2", {"format-version": "2"}, "format=wal2json&version=2", True),
    ("version 1 with more",
     {"format-version": "1", "include-xids": "1", "include-timestamp": "1", "include-pk": "1"},
     "format=wal2json1&include_xids=true&include_timestamp=true&include_pk=true", False),
    ("version 2 with more",
     {"format-version": "2", "include-xids": "1", "include-timestamp": "1", "include-pk": "1"},
     "format=wal2json2&include_xids=true&include_timestamp=true&include_pk=true", False),
    ("version 2 without transactions", {"format-version": "2", "include-transaction": "0"},
     "format=wal2json2&include_transaction=false", True),
]


PARTITION_VARIANTS = [
    ("version 1 of partitions", {"format-version": "1"}, "format=wal2json1", "?partitions=leaf"),
    ("version 2 of partitions", {"format-version": "2"}, "format=wal2json2", "?partitions=leaf"),
]


def weir(program, server, number, options, query):
    text = server.stream(program, f"stdout:?{options}", f"compare{number}", "--no-copy", query=query)
    return text.splitlines()


def plugin(server, end, options):
    pairs = ", ".join(f"'{key}', '{value}'" for key, value in options.items())
    text = server.sql(
        f"SELECT data FROM pg_logical_slot_peek_changes('plugin', '{end}', NULL, {pairs});")
    return text.splitlines()


def make_plugin_slot(server):
    create = "SELECT pg_create_logical_replication_slot('plugin', 'wal2json');"
    try:
        server.sql(create)
    except RuntimeError as failure:
        if "could not access file" in str(failure):
            raise Skip("this server does not have the plugin wal2json")
        # A server may have a list of the plugins it allows.
        server.sql("ALTER SYSTEM SET output_plugin_libraries = wal2json, pgoutput;"
                   " SELECT pg_reload_conf(); SELECT pg_sleep(0.5);")
        server.sql(create)


def compare(name, expected, found):
    for number, (theirs, ours) in enumerate(zip(expected, found), 1):
        if theirs != ours:
            at = next((i for i, (a, b) in enumerate(zip(theirs, ours)) if a != b),
                      min(len(theirs), len(ours)))
            print(f"{name}: line {number} differs at character {at}\n"
                  f"  plugin: …{theirs[max(0, at - 100):at + 200]}\n"
                  f"  weir:   …{ours[max(0, at - 100):at + 200]}")
            return False
    if len(expected) != len(found):
        print(f"{name}: {len(expected)} lines of the plugin, {len(found)} of weir; first extra one:\n"
              f"  {(expected + found)[min(len(expected), len(found))][:300]}")
        return False
    print(f"{name}: {len(found)} lines, {sum(map(len, found))} characters, all equal")
    return len(found) > 0


def run_phase(server, program, load, variants):
    """Both sides read exactly what @load does."""
    for number, (_, _, options, query) in variants:
        left = weir(program, server, number, options, query)
        assert not left, left
    make_plugin_slot(server)
    for text in load:
        server.sql(text)
    end = server.sql("SELECT pg_current_wal_lsn();").strip()
    equal = True
    for number, (name, theirs, ours, query) in variants:
        equal &= compare(name, plugin(server, end, theirs),
                         weir(program, server, number, ours, query))
    server.sql("SELECT pg_drop_replication_slot('plugin');")
    return equal


def run(program, bindir=None, port=0, directory=None):
    numbered = [(number, (name, theirs, ours, "")) for number, (name, theirs, ours, _) in enumerate(VARIANTS)]
    identity = [variant for variant in numbered if VARIANTS[variant[0]][3]]
    partitions = list(enumerate(PARTITION_VARIANTS, len(VARIANTS)))
    with Server(bindir or newest_bindir("wal2json.so"), port, directory) as server:
        server.sql(SCHEMA)
        equal = run_phase(server, program, DEFAULT_LOAD, numbered)
        equal &= run_phase(server, program, IDENTITY_LOAD, identity)
        return run_phase(server, program, PARTITION_LOAD, partitions) and equal


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--weir", default=os.environ.get("WEIR", "build/weir"))
    parser.add_argument("--bindir", help="of the server; default: Debian's newest that has the plugin")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--directory", help="where the server lives for the time being")
    args = parser.parse_args()
    started = time.monotonic()
    equal = run(args.weir, args.bindir, args.port, args.directory)
    print(f"{'equal' if equal else 'DIFFERENT'} after {time.monotonic() - started:.1f} s")
    return 0 if equal else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Skip as reason:
        print(f"skipped: {reason}")
        sys.exit(77)
