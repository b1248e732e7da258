#!/usr/bin/env python3
"""Record messages of a real server as the fuzz corpus of the pgoutput decoder.

    record_pgoutput.py CONNINFO DIRECTORY

CONNINFO is an empty database of a throwaway server with wal_level = logical and
logical_decoding_work_mem = 64kB, reached as a superuser through psql. One file a message, in the
form that fuzz_pgoutput.c reads: a byte for the context, then the message. Of messages that look
alike (kind, mode, states of the values) the smallest is kept.
"""

import pathlib
import subprocess
import sys

SETUP = r'''
create schema shop;
create schema "Größe, ""x"".y";
create type shop.mood as enum ('sad', 'ok', 'happy');
create domain shop.positive as integer check (value > 0);
create type shop.pair as (a integer, b text);
create table shop.customer (id bigint primary key, name text not null, mood shop.mood,
    tags text[], pair shop.pair, count shop.positive, born date, score numeric(12,4), raw bytea,
    seen timestamptz, span int4range, address inet, note jsonb, bits bit(5), wide text);
create table shop.full_row (a integer, b text, c float8);
alter table shop.full_row replica identity full;
create table shop.by_index (a integer not null, b text not null, c text);
create unique index by_index_b on shop.by_index (b);
alter table shop.by_index replica identity using index by_index_b;
create table shop.no_identity (a integer, b text);
alter table shop.no_identity replica identity nothing;
create table shop.no_columns ();
create table "Größe, ""x"".y"."Ta bl.e" (id integer primary key, "Spal,te ""ä""" text);
create table shop.part (id integer, region text, primary key (id, region))
    partition by list (region);
create table shop.part_eu partition of shop.part for values in ('eu');
create table shop.part_us partition of shop.part for values in ('us');
create table shop.fk_parent (id integer primary key);
create table shop.fk_child (id integer primary key, parent integer references shop.fk_parent);
create table shop.generated (id integer primary key, twice integer generated always as (id * 2)
    stored);
create table shop.big (id integer primary key, filler text);
alter table shop.big alter filler set storage external;
create publication p for all tables;
select pg_replication_origin_create('another server');
'''

LOAD = r'''
insert into shop.customer values (1, 'Ada', 'happy', '{a,NULL,"b c"}', '(1,x)', 3, '1815-12-10',
    12.3400, '\x00ff', '2024-02-29 12:00:00+00', '[1,10)', '10.0.0.0/8', '{"k": [1, null]}',
    B'10101', repeat('w', 2100));
alter table shop.customer alter wide set storage external;
insert into shop.customer (id, name, wide) values (2, '', repeat('abcdefgh', 500)), (3, 'Øl 🍺', null);
update shop.customer set mood = 'sad' where id = 2;              -- unchanged TOAST
update shop.customer set id = 20 where id = 2;                   -- key change
update shop.customer set born = '0044-03-15 BC', seen = 'infinity', score = 'NaN' where id = 1;
delete from shop.customer where id = 3;
insert into shop.full_row values (1, 'one', 1.5), (2, null, 'NaN'), (null, null, '-Infinity');
update shop.full_row set b = 'uno' where a = 1;
delete from shop.full_row where a is null;
insert into shop.by_index values (1, 'b1', 'c1'), (2, 'b2', null);
update shop.by_index set c = 'c2' where b = 'b2';
update shop.by_index set b = 'b3' where b = 'b2';
delete from shop.by_index where b = 'b1';
insert into shop.no_identity values (1, 'x');
insert into shop.no_columns default values;
insert into "Größe, ""x"".y"."Ta bl.e" values (1, 'ä');
insert into shop.part values (1, 'eu'), (2, 'us');
update shop.part set region = 'us' where id = 1;
insert into shop.generated values (21);
insert into shop.fk_parent values (1), (2);
insert into shop.fk_child values (1, 1);
begin;
truncate shop.full_row, shop.by_index;
truncate shop.fk_parent restart identity cascade;
commit;
alter table shop.by_index add extra integer default 7;
insert into shop.by_index values (5, 'b5', 'c5');
alter table shop.by_index rename c to cc;
update shop.by_index set cc = 'new name' where a = 5;
select pg_logical_emit_message(false, 'weir', 'not transactional');
begin;
insert into shop.full_row values (7, 'seven', 7);
select pg_logical_emit_message(true, 'weir', 'transactional');
select pg_logical_emit_message(true, '', '\x0001ff'::bytea);
commit;
select pg_replication_origin_session_setup('another server');
begin;
select pg_replication_origin_xact_setup('1/2345', '2024-01-01 00:00:00+00');
insert into shop.full_row values (8, 'from elsewhere', 8);
commit;
select pg_replication_origin_session_reset();

-- Larger than logical_decoding_work_mem: sent in segments, with what a segment may hold.
begin;
insert into shop.big select i, repeat('x', 90) from generate_series(1, 1500) i;
savepoint a;
insert into shop.big select i, repeat('y', 90) from generate_series(2001, 3500) i;
update shop.big set id = id + 100000 where id <= 200;
rollback to a;
savepoint b;
insert into shop.big values (9000, repeat('toast', 2000));
update shop.big set id = 9001 where id = 9000;
update shop.big set filler = 'z' where id between 1 and 600;
delete from shop.big where id between 1 and 600;
insert into shop.customer (id, name, mood) values (77, 'streamed', 'ok');
update shop.full_row set b = 'streamed' where a = 7;
delete from shop.full_row where a = 8;
truncate shop.fk_parent cascade;
select pg_logical_emit_message(true, 'weir', 'streamed');
insert into shop.big select i, repeat('v', 90) from generate_series(4001, 5500) i;
release b;
commit;
begin;
insert into shop.big select i, repeat('r', 90) from generate_series(10001, 11500) i;
rollback;
select pg_replication_origin_session_setup('another server');
begin;
select pg_replication_origin_xact_setup('1/6789', '2024-01-01 00:00:00+00');
insert into shop.big select i, repeat('o', 90) from generate_series(20001, 21500) i;
commit;
select pg_replication_origin_session_reset();
'''

# name, oldest server, options
MODES = [
    ("v1_text", 14, {"proto_version": 1}),
    ("v1_binary", 14, {"proto_version": 1, "binary": "true"}),
    ("v2_streamed", 14, {"proto_version": 2, "streaming": "on"}),
    ("v2_streamed_binary", 14, {"proto_version": 2, "streaming": "on", "binary": "true"}),
    ("v4_parallel", 16, {"proto_version": 4, "streaming": "parallel"}),
]
LARGEST = 8000
NAMES = {
    "B": "begin", "C": "commit", "O": "origin", "R": "relation", "Y": "type", "I": "insert",
    "U": "update", "D": "delete", "T": "truncate", "M": "message", "S": "stream-start",
    "E": "stream-stop", "c": "stream-commit", "A": "stream-abort",
}


def psql(conninfo, sql, options=""):
    done = subprocess.run(
        ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", conninfo, "-f", "-"],
        input=sql, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return done.stdout


def read_tuple(data, at):
    """How many values the tuple at `at` has, of which kinds, and where it ends."""
    count = int.from_bytes(data[at:at + 2], "big")
    at += 2
    kinds = set()
    for _ in range(count):
        kind = chr(data[at])
        at += 1
        if kind in "tb":
            at += 4 + int.from_bytes(data[at:at + 4], "big")
        kinds.add(kind)
    return count, "".join(sorted(kinds)), at


def shape(message, in_stream):
    """What makes two messages alike."""
    kind = chr(message[0])
    body = message[5:] if in_stream else message[1:]
    parts = [kind, in_stream]
    if kind in "IUD":
        at = 4
        while at < len(body):
            marker = body[at:at + 1]
            count, kinds, at = read_tuple(body, at + 1)
            parts += [marker, count > 8, kinds]
    elif kind == "R":
        schema, name, rest = body[4:].split(b"\0", 2)
        parts += [schema.isascii(), rest[:1], rest[1:3] == b"\0\0"]
    elif kind == "T":
        parts += [body[:5]]
    elif kind == "M":
        parts += [body[0]]
    elif kind == "A":
        parts += [message[1:5] == message[5:9], len(message)]
    return tuple(parts)


def record(conninfo, mode, options, chosen):
    """Add what the slot of `mode` gives to `chosen`, by shape."""
    arguments = "".join(f", '{name}', '{value}'" for name, value in options.items())
    rows = psql(conninfo, f"""
        select encode(data, 'hex') from pg_logical_slot_get_binary_changes('{mode}', null, null,
            'publication_names', 'p', 'messages', 'true'{arguments});""").split()
    in_stream = False
    for row in rows:
        message = bytes.fromhex(row)
        kind = chr(message[0])
        context = (options["proto_version"] - 1) | (4 if in_stream else 0) | (
            8 if options.get("streaming") == "parallel" else 0)
        key = shape(message, in_stream and kind in "RYIUDTM")
        if len(message) < LARGEST and (key not in chosen or len(chosen[key]) > len(message) + 1):
            chosen[key] = bytes([context]) + message
        in_stream = kind == "S" or (in_stream and kind != "E")
    print(f"{mode}: {len(rows)} messages")


def main():
    conninfo, directory = sys.argv[1], pathlib.Path(sys.argv[2])
    server = int(psql(conninfo, "show server_version_num")) // 10000
    modes = [(name, options) for name, oldest, options in MODES if server >= oldest]
    psql(conninfo, SETUP)
    for name, _ in modes:
        psql(conninfo, f"select pg_create_logical_replication_slot('{name}', 'pgoutput')")
    psql(conninfo, LOAD)
    chosen = {}
    for name, options in modes:
        record(conninfo, name, options, chosen)
        psql(conninfo, f"select pg_drop_replication_slot('{name}')")
    directory.mkdir(parents=True, exist_ok=True)
    for number, (key, data) in enumerate(sorted(chosen.items(), key=lambda item: str(item[0]))):
        (directory / f"pg{server}-{NAMES[key[0]]}-{number:02}").write_bytes(data)
    print(f"{len(chosen)} files, {sum(map(len, chosen.values()))} bytes")


if __name__ == "__main__":
    main()
