"""How many rows a second a JSON Schema lets through on one core: schema."""
import json
import os
import pathlib
import random
import subprocess

from suite import measure, peers
from suite.report import Bar, Result

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = peers.WEIR.parent
AJV = pathlib.Path(os.environ.get("WEIR_DEPS", ROOT / ".deps")) / "ajv"
ROWS, INVALID = 1000, 10
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "product", "type": "object",
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "sku": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"},
        "name": {"type": "string", "minLength": 1, "maxLength": 80},
        "price": {"type": "number", "minimum": 0, "exclusiveMaximum": 100000},
        "active": {"type": ["boolean", "null"]}},
    "required": ["id", "sku", "name", "price"], "additionalProperties": False}
AJV_PROGRAM = """
const fs = require('fs');
const Ajv = require('ajv/dist/2020');
const check = new Ajv().compile(JSON.parse(fs.readFileSync(process.argv[2])));
const texts = fs.readFileSync(process.argv[3], 'utf8').split('\\n').filter(line => line);
const rows = texts.map(line => JSON.parse(line));
function run(name, one) {
  let valid = 0, checked = 0, took = 0;
  for (let i = 0; i < rows.length; i++) valid += one(i);
  const began = process.cpuUsage();
  while (took < Number(process.argv[4])) {
    for (let i = 0; i < rows.length; i++) one(i);
    checked += rows.length;
    const used = process.cpuUsage(began);
    took = (used.user + used.system) / 1e6;
  }
  console.log(name, Math.round(checked / took), valid);
}
run('typed', i => check(rows[i]));
run('text', i => check(JSON.parse(texts[i])));
"""


def make_rows(folder):
    """Every hundredth has something wrong, each time something else."""
    numbers = random.Random(7)
    wrong = [{"id": 0}, {"id": 1.5}, {"sku": "ab-1234"}, {"sku": "AB-12345"}, {"name": ""}, {"name": "x" * 81}, {"price": -0.01},
             {"price": 100000}, {"active": 1}, {"more": 1}]
    with open(folder / "rows.ndjson", "w", encoding="utf-8") as out:
        for number in range(ROWS):
            row = {"id": number + 1, "sku": f"{numbers.choice('ABC')}{numbers.choice('XYZ')}-{numbers.randrange(10000):04}",
                   "name": "product " + "é" * numbers.randrange(20), "price": numbers.randrange(1, 9999999) / 100,
                   "active": numbers.choice([True, False, None])}
            if number % (ROWS // INVALID) == 50:
                row |= wrong[number // (ROWS // INVALID)]
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    (folder / "schema.json").write_text(json.dumps(SCHEMA), encoding="utf-8")


def rates(words, **options):
    """{"typed": rows a second, "text": the same}, in millions."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        measure.stop(f"{words[0]}: {done.stderr.strip()}")
    found = {}
    for name, rate, valid in map(str.split, done.stdout.strip().splitlines()):
        if int(valid) != ROWS - INVALID:
            measure.stop(f"{words[0]} takes {valid} rows for valid, {ROWS - INVALID} are")
        found[name] = int(rate) / 1e6
    return found


def schema(folder, quick):
    """Rows of five fields, one in a hundred invalid, are checked against a schema with a pattern, bounds, lengths and required members, on
    one core: as typed fields (ajv: as objects), and each read from its JSON text first. ajv compiles a schema to
    JavaScript, which Node.js compiles further; it stops at the first thing that is wrong, Weir goes on to say everything."""
    seconds, rounds = (0.3, 2) if quick else (2, 5)
    make_rows(folder)
    subprocess.run(["ninja", "-C", str(BUILD), "bench/programs/bench_schema"], check=True, stdout=subprocess.DEVNULL)
    files = [folder / "schema.json", folder / "rows.ndjson", seconds]
    contestants = {"weir": lambda: rates([BUILD / "bench/programs/bench_schema", *files])}
    missing = []
    if (AJV / "node_modules/ajv").exists():
        program = folder / "ajv.js"
        program.write_text(AJV_PROGRAM, encoding="utf-8")
        environment = os.environ | {"NODE_PATH": str(AJV / "node_modules")}
        contestants["ajv"] = lambda: rates(["node", program, *files], env=environment)
    else:
        missing.append("ajv")
    samples = measure.alternate(contestants, rounds, warm_up=not quick)
    bars = [Bar("typed rows a second on one core", measure.median(samples["weir"], "typed"), 1, "million", at_least=True)]
    return Result(
        f"{ROWS:,} rows of five fields against a schema, over and over", samples, ["weir"], bars,
        f"All find the same number of rows invalid: {INVALID}.", missing=missing,
        columns=[("typed", "million typed rows/s"), ("text", "million rows/s from text")], plot=("typed", "million/s"))
