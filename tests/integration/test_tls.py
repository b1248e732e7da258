"""Encrypted connections: who the server is, is looked at, at both ends and for every kind of connection."""
import shutil

import pytest

from harness import postgres
from harness.compare import assert_equal
from harness.postgres import PASSWORD
from harness.targets import Postgres
from harness.tls import Authority
from harness.wait import wait_for

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
VERSION = 15
TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'row ' || g FROM generate_series(1, 50) g"


@pytest.fixture(scope="module")
def authorities(home):
    folder = home.folder("certificates")
    return Authority(folder, "ours"), Authority(folder, "theirs")


@pytest.fixture(scope="module")
def encrypted(home, authorities):
    """A server that is called localhost, and that lets nobody in without TLS."""
    server = postgres.Postgres(home, VERSION, **authorities[0].certify("localhost", home))
    with server.connect() as db:  # whatever the version has it by
        db.execute("SET password_encryption = 'scram-sha-256'")
        db.execute(f"ALTER ROLE postgres PASSWORD '{postgres.PASSWORD}'")
    (server.data / "pg_hba.conf").write_text("hostssl all,replication all all scram-sha-256\n")
    with server.connect() as db:
        db.execute("SELECT pg_reload_conf()")
    yield server
    server.destroy()


@pytest.fixture
def secured(encrypted, make_database):
    """(source, target): databases of it."""
    source, target = make_database(on=encrypted), make_database(on=encrypted)
    source.sql(TABLE)
    return source, target


def url(database, host="localhost", **query):
    return database.server.url(database.name, **query).replace("127.0.0.1", host)


def connections(server):
    """{(walsender or not, database, encrypted): how many} of the program's."""
    with server.connect() as db:
        found = db.execute("SELECT backend_type, datname, ssl, count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
                           "WHERE application_name LIKE 'weir%' GROUP BY 1, 2, 3").fetchall()
    return {(kind == "walsender", name, ssl): count for kind, name, ssl, count in found}


@pytest.mark.parametrize("query", [
    {"sslmode": "verify-full", "channel_binding": "require"}, {"sslmode": "verify-full"}, {"sslmode": "verify-ca"},
    {"sslmode": "require"}, {"sslmode": "require", "channel_binding": "require"},
], ids=lambda query: "-".join(query.values()))
def test_every_connection_is_encrypted(weir, secured, authorities, query):
    source, target = secured
    trust = {"sslrootcert": str(authorities[0].certificate)} if "verify" in query["sslmode"] else {}
    process = weir.start("stream", url(source, **query, **trust), url(target, **query, **trust))
    source.wait_confirmed() if source.slots() else process.expect("streaming")
    source.sql("UPDATE t SET v = 'now ' || id WHERE id % 2 = 0")
    wait_for(lambda: target.one("SELECT count(*) FROM t WHERE v LIKE 'now%%'") == 25, 20, "it arrives")
    found = connections(source.server)
    assert all(ssl for _, _, ssl in found), found
    assert {(True, source.name), (False, source.name), (False, target.name)} <= {key[:2] for key in found}, found
    assert process.stop().code == 0
    assert_equal(source, Postgres(target))


WRONG = ["another authority", "another authority, any name", "another name", "no such file", "not encrypted"]


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("end", ["source", "target"])
def test_it_is_refused_at_once(weir, secured, authorities, wrong, end):
    """No retry mends it, nothing was made, and it is said once."""
    source, target = secured
    ours, theirs = (str(one.certificate) for one in authorities)
    host, query, said = {
        "another authority": ("localhost", {"sslmode": "verify-full", "sslrootcert": theirs}, "certificate verify failed"),
        "another authority, any name": ("localhost", {"sslmode": "verify-ca", "sslrootcert": theirs}, "certificate verify failed"),
        "another name": ("127.0.0.1", {"sslmode": "verify-full", "sslrootcert": ours}, "does not match host name"),
        "no such file": ("localhost", {"sslmode": "verify-full", "sslrootcert": "/no/such.crt"}, "does not exist"),
        "not encrypted": ("localhost", {"sslmode": "disable"}, "no pg_hba.conf entry"),
    }[wrong]
    urls = {"source": url(source), "target": url(target)}
    urls[end] = url(source if end == "source" else target, host, **query)
    ended = weir.run("stream", urls["source"], urls["target"], "--until", "now", code=2, timeout=20)
    assert said in ended.err and "retry" not in ended.err, ended
    assert ended.err.count(said) == 1, ended
    assert source.slots() == [] and target.one("SELECT to_regclass('t') IS NULL")
    ended = weir.run("check", urls["source"], urls["target"], code=None, timeout=20)
    assert ended.code != 0 and said in ended.text, ended


@pytest.mark.parametrize("query, said", [
    ({"sslmode": "require"}, "does not support SSL"), ({"channel_binding": "require"}, "channel binding"),
    ({"sslmode": "verify-full"}, "does not support SSL"),
])
def test_a_server_without_it(weir, source, query, said):
    source.sql(TABLE)
    ended = weir.run("stream", f"{source.url}?{'&'.join('='.join(pair) for pair in query.items())}", "null:", "--until", "now",
                     code=2, timeout=20)
    assert said in ended.err and "retry" not in ended.err, ended


def test_wrong_password(weir, secured, authorities):
    """One clear error; that the password is not in it is looked for behind every run."""
    source, target = secured
    trust = {"sslmode": "verify-full", "sslrootcert": str(authorities[0].certificate), "channel_binding": "require"}
    wrong = {one: url(one, **trust).replace(PASSWORD, PASSWORD + "x") for one in secured}
    for ends in ([wrong[source], url(target, **trust)], [url(source, **trust), wrong[target]]):
        ended = weir.run("stream", *ends, "--until", "now", code=2, timeout=20)
        assert ended.err.count("password authentication failed") == 1 and "retry" not in ended.err, ended
    with source.server.connect() as db:
        assert db.execute("SELECT count(*) FROM pg_authid WHERE rolpassword LIKE 'SCRAM-SHA-256$%'").fetchone()[0] == 1
