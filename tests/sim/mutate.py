#!/usr/bin/env python3
"""Is the simulator able to find what it looks for? mutate.py BUILD-FOLDER [NAME...], or mutate.py --check

Breaks one line of a copy of the pipeline at a time, builds the simulator with it, and demands that it
finds the fault. BUILD-FOLDER is meson's; the other objects are taken from there. --check only sees
whether all these lines are there."""
import concurrent.futures
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SCHEDULES = 400000
PIPELINE = "src/pipeline/"

# name: (file, what is there, what is put in its place); the first must be there once.
MUTANTS = {
    # What may be forgotten by the source
    "confirm before it is durable": (
        "core.c", "position_max(core->confirmed, slowest(core))", "position_max(core->confirmed, core->received)"),
    "forget a route": (
        "core.c", "for (uint32_t i = 1; i < core->options.route_count; i++)",
        "for (uint32_t i = 1; i + 1 < core->options.route_count; i++)"),
    "confirm what the fastest route has": (
        "core.c", "least = position_min(least, core->durable[i])", "least = position_max(least, core->durable[i])"),
    "feedback of what is written, not durable": (
        "route.c", "    return route->durable;", "    return position_max(route->durable, route->written);"),
    "continue where the fastest route is": (
        "merge.c", "position_compare(position, least) < 0;", "position_compare(position, least) > 0;"),
    # What is delivered, and what is skipped
    "skip by LSN alone": (
        "route.c", "if (position_compare(change_position(change), route->resumed) <= 0)",
        "if (change->transaction->commit_lsn <= route->resumed.lsn)"),
    "drop the ordinal": (
        "route.c", "if (position_compare(change_position(change), route->resumed) <= 0)",
        "if (position_compare((Position){change->transaction->commit_lsn, 0}, route->resumed) <= 0)"),
    "skip nothing": (
        "route.c", "if (position_compare(change_position(change), route->resumed) <= 0)", "if (false)"),
    "a route that has more is given it again": (
        "runner_attempt.c", "is_new ? start : route_durable(branch->route)", "start"),
    "a batch is for the first route only": (
        "runner_threads.c", "        runner->branches[i].wants = true;", "        runner->branches[i].wants = i == 0;"),
    "a commit in between is of all that came in": (
        "route.c", "return commit_at(route, position_max(route->handed, route->durable), err);",
        "return commit_at(route, position_max(route->written, route->durable), err);"),
    # Copies
    "has_gap is never true": (
        "tables.c", "!relation_has_gap(table->target, now)", "true"),
    "a table that was passed over is ready": (
        "copy.c", "    if (status != STATUS_OK) {\n        return status;", "    if (status == STATUS_FAIL) {\n        return status;"),
    "what was held for a copy in vain is delivered": (
        "route_copies.c", "        copy_once_more(route, table, side->relation);\n        side_free(side);",
        "        status = deliver_held(route, side->held, err);\n        copy_once_more(route, table, side->relation);\n"
        "        side_free(side);"),
    "copied_at is ignored": (
        "route.c", "return change->transaction->commit_lsn < table->copied_at ? DROP : DELIVER;", "return DELIVER;"),
    "held changes are dropped": (
        "route_copies.c", "batch->changes, batch->count, err) == STATUS_OK", "batch->changes, 0, err) == STATUS_OK"),
    "changes are not held": (
        "route.c", "return side_hold(route->side, change, err);", "return STATUS_OK;"),
    "what is held in memory hides what is on disk": (
        "route_held.c", "    if (status == STATUS_OK) {\n        held->given = batch_new",
        "    if (status == STATUS_OK && held->tail->count == 0) {\n        held->given = batch_new"),
    "what is held on disk is all there is": (
        "route_held.c", "status == STATUS_FAIL || held->tail->count == 0", "true"),
    "what the snapshot does not have is not held": (
        "route_held.c", "    if (commit < copied_at) {", "    if (copied_at != LSN_NONE) {"),
    "what was held is dropped when the snapshot is there": (
        "route_held.c", "held->last_commit < copied_at", "copied_at != LSN_NONE"),
    "rewritten rows are not copied again": (
        "route.c", "route->options.copies && was_rewritten(was, now)", "false"),
    "a copy that begins again does not empty the table": (
        "copy.c", "return table->copy_begun ? sink->ops->clear(", "return false ? sink->ops->clear("),
    "the snapshot's LSN is one too late": (
        "copy.c", "table->copied_at = job->snapshot_lsn;", "table->copied_at = job->snapshot_lsn + 1;"),
    # What is stored with what
    "a checkpoint without tables": (
        "route.c", "    tables_save(&route->tables, &changed);\n    save_missing", "    save_missing"),
    "a copy that has begun is not noted": (
        "tables.c", "if (stored == TABLE_PENDING && table->copy_begun)", "if (false)"),
    "a part of a transaction is committed": (
        "route.c", "route->in_transaction = !batch->ends_transaction && !is_behind_end;",
        "route->in_transaction = false;"),
    "a copy begins in the middle of a commit": (
        "route_copies.c", "if (route_commit_all(route, err) != STATUS_OK) {\n        return STATUS_FAIL;\n    }\n    const Relation",
        "const Relation"),
    "a copy ends in the middle of a commit": (
        "route_copies.c", "if (route_commit_all(route, err) != STATUS_OK) {\n        return STATUS_FAIL;\n    }\n    SideCopy",
        "SideCopy"),
    # The disk buffer
    "the log is not synced": (
        "../buffers/segment_write.c", "flush(log, err) != STATUS_OK ||\n        sync(log, err) != STATUS_OK) {\n        "
        "return STATUS_FAIL;\n    }\n    publish", "flush(log, err) != STATUS_OK) {\n        return STATUS_FAIL;\n    }\n    publish"),
    "what a failed sync left is taken for durable": (
        "../buffers/segment_recover.c", "recovery->log->only_looks || !is_doubtful(recovery)", "true || !is_doubtful(recovery)"),
    "what is written again is not read again": (
        "../buffers/segment_recover.c", "    forget(recovery);\n    return find_end(recovery, err);", "    (void)forget;\n    return STATUS_OK;"),
    "what is not committed stays in the log": (
        "../buffers/segment_write.c", "return is_clean ? STATUS_OK : segment_cut_back(log, err);", "return STATUS_OK;"),
    "the log drops what a reader needs": (
        "../buffers/segment_log.c", "keep = counts ? MIN(keep, needed_by(log, cursor)) : keep;", "(void)counts;"),
    "a reader has what it has read": (
        "../buffers/disk_source.c", "source->reader_name, position);", "source->reader_name, source->passed);"),
    "the buffer skips by LSN alone": (
        "../buffers/disk_source.c", "position_compare(record->end, source->skipped) <= 0",
        "record->end.lsn <= source->skipped.lsn"),
    # Loans
    "a lender keeps what it lends": (
        "runner.c", "static void on_lent(Runner *runner)\n{\n    close_states(runner);", "static void on_lent(Runner *runner)\n{"),
    "a loan that is over is not told": (
        "runner.c", "runner->borrower == 0 && (is_asked || core->is_lending)", "runner->borrower == 0 && core->state == CORE_LENT"),
    "what a loan has cut short is a failure": (
        "core.c", "core->is_cut_short && (core->failed ? passes : !until_reached(core))", "core->is_cut_short && (core->failed ? passes && false : !until_reached(core))"),
    "a message of its own is cut off with the rest": (
        "route.c", "position_compare(change_position(&run[count - 1]), until) > 0",
        "run[count - 1].transaction->commit_lsn >= until.lsn"),
    # Verifications
    "a verification begins": (
        "runner_attempt.c", "pipeline->keeps_tables && i < runner->branch_count", "false"),
    "a verification goes beyond its LSN": (
        "runner_attempt.c", "pipeline->stops_there || is_for_loan(runner)", "is_for_loan(runner)"),
    # Names
    "a table steps aside in the middle of its copy": (
        "shape.c", "if (table->state == TABLE_COPYING)", "if (false)"),
    # Dead letters
    "what is refused in company is set aside": (
        "dead.c", "!is_intact && had_company(dead)", "false"),
    "a commit that is refused in company is tried as it is": (
        "dead.c", "return err->kind == ERROR_DATA && had_company(dead) ? try_apart", "return false ? try_apart"),
    "what is to be apart is committed together": (
        "dead.c", "if (found > dead->apart) {", "if (false) {"),
    "a commit ends at a message that is to come": (
        "dead.c", "bool begins = changes[i].ordinal > 0 &&\n                      (before", "bool begins = (before"),
    "a letter is not saved before the commit": (
        "dead.c", "dead_store_save(dead->store, err) == STATUS_OK ? say_store(dead, changed, err)", "true ? say_store(dead, changed, err)"),
    "the target says more of the store than there is": (
        "dead.c", "(DeadSaid){mark.identity, mark.changes,", "(DeadSaid){mark.identity, mark.changes + 1,"),
    "a letter that was written is not listed in the commit": (
        "dead.c", "        checkpoint_set(changed, CHECKPOINT_DEAD, buf_view(&ids));\n", ""),
    "listed letters are not removed after a crash": (
        "dead.c", "remove_stored(dead, entry->value, err) != STATUS_OK", "false"),
    "letters are removed before the commit": (
        "dead.c", "        note_done(dead, letter->id);\n    }\n",
        "        note_done(dead, letter->id);\n        return remove_letter(dead, letter->id, err);\n    }\n"),
    "what waits is not set aside": (
        "dead.c", "*ret = waits ? CONCERN_WAITS : CONCERN_NONE;", "*ret = CONCERN_NONE;"),
    "a letter that is known is delivered": (
        "dead.c", "*ret = CONCERN_KNOWN;", "*ret = CONCERN_NONE;"),
    "a letter that is known becomes another one": (
        "dead.c", "*ret = CONCERN_KNOWN;", "*ret = CONCERN_WAITS;"),
    "a new key is not waited for": (
        "row_key.c", "    add_names(set, table, key->after, id);\n", ""),
    "a change to a new key does not wait": (
        "row_key.c", " || has_any(table, key->after) ? ROW_FOUND", " ? ROW_FOUND"),
    "what is kept is forgotten by a restart": (
        "dead.c", "    if (dead->store == NULL) {\n        return STATUS_OK;\n    }\n    Arena", "    if (true) {\n"
        "        return STATUS_OK;\n    }\n    Arena"),
    "a refusal ends the run": (
        "dead.c", "refused.kind != ERROR_DATA || !has_row", "true || !has_row"),
    "what was refused is taken for written": (
        "dead.c", "at += is_refused && run > 1 ? 0 : run;", "at += run;"),
    "a retry goes on behind a refusal": (
        "dead.c", "    block(pass, letter);\n    Str why", "    Str why"),
    "a retry does not look who waits": (
        "dead.c", "|| is_blocked(pass, letter)) {", ") {"),
    "a retry looks at the old key only": (
        "dead.c", "key_of_letter(letter);\n    return row_set_find(", "{.before = letter->old_key};\n    return row_set_find("),
    "whoever says less than a letter goes on": (
        "dead_letter.c", "is_covered = is_covered && (says_it || !value_is_known(was[i]));", "is_covered = true;"),
    "whoever says otherwise goes on": (
        "dead_letter.c", "is_apart = is_apart && (!says_it", "is_apart = true || (!says_it"),
    "what is overtaken is void": (
        "dead.c", "    if (standing == DEAD_COVERED) {\n        note_done(", "    if (true) {\n        note_done("),
    "part of a row covers a delete": (
        "dead_letter.c", "return is_whole(later) ?", "return true || is_whole(later) ?"),
    "whoever comes behind a new key goes on": (
        "dead.c", "        *ret = DEAD_AGAINST; // whoever", "        *ret = DEAD_COVERED; // whoever"),
    "what is covered is not void": (
        "dead.c", "change->relation->oid, &key) == ROW_FOUND;", "change->relation->oid, &key) == ROW_UNKNOWN;"),
    "only the first letter of a row is looked at": (
        "dead.c", "        for (; item != NULL && !*ret; item = item->next) {", "        for (; item != NULL && !*ret; item = NULL) {"),
    "a retry goes beyond the position": (
        "dead.c", "position_compare(dead_stands(&letters.items[at]), pass->durable) <= 0", "true"),
    "a retry before its position is forgotten": (
        "dead.c", "position_compare(dead->due_at, durable) <= 0", "false"),
    "what nobody asked for is tried again": (
        "dead.c", "return !letter->is_refused || letter->wants_retry;", "return true;"),
    "a letter is written although it was dropped": (
        "dead.c", "if (!is_there) {\n        return STATUS_OK; // dropped by hand since", "if (false) {\n        return STATUS_OK; //"),
    "letters outlive a truncate": (
        "dead.c", "        return change->op == CHANGE_TRUNCATE;\n    }\n    const RowKey key", "        return false;\n    }\n    const RowKey key"),
    "letters are void before the truncate is there": (
        "dead.c", "        note_done(dead, letter->id);\n        ++*count;\n        return STATUS_OK;",
        "        ++*count;\n        return remove_letter(dead, letter->id, err);"),
    "a truncate ends letters behind it": (
        "dead.c", "        position_compare(dead_stands(letter), change_position(change)) >= 0 ||\n", ""),
    "letters outlive a copy": (
        "dead.c", "letter->position.lsn < table->copied_at", "false"),
    "letters behind a copy are dropped": (
        "dead.c", "letter->position.lsn < table->copied_at", "table->copied_at != LSN_NONE"),
    "a copy is no reason to look at letters": (
        "route_copies.c", "        dead_recheck(route->options.dead);\n", ""),
    "a letter has the shape of its time": (
        "dead.c", "try_write(pass->sink, &now, 1,", "try_write(pass->sink, change, 1,"),
    "columns of a letter go by their places": (
        "dead_letter.c", "int found = find_column(change->relation, &now->columns[i]);",
        "int found = i < change->relation->column_count ? i : -1;"),
    "a restart forgets defaults": (
        "tables.c", ".missing_value = has_missing ?", ".missing_value = false ?"),
    # Ends and beginnings
    "cancel is ignored": (
        "runner.c", "    if (failed) {\n        cancel_set(&runner->cancel);\n    }\n", "    (void)failed;\n"),
    "a cancel is for ever": (
        "runner.c", "    cancel_reset(&runner->cancel); // it was for the attempt before, or is asked for below\n", ""),
    "any error is tried again": (
        "core.c", "bool may_retry = core->error == ERROR_TRANSIENT || core->error == ERROR_AGAIN;", "bool may_retry = true;"),
    "no error is tried again": (
        "core.c", "bool may_retry = core->error == ERROR_TRANSIENT || core->error == ERROR_AGAIN;", "bool may_retry = false;"),
    "the end is reached when one route is there": (
        "core.c", "position_compare(slowest(core), until) >= 0", "position_compare(core->durable[0], until) >= 0"),
}


def build_commands(build):
    output = subprocess.run(["ninja", "-C", build, "-t", "commands", "tests/sim/sim"],
                            check=True, capture_output=True, text=True).stdout
    commands = [shlex.split(line) for line in output.splitlines()]
    compiles = {}
    for command in commands[:-1]:
        if "-c" in command:
            source = pathlib.Path(build, command[command.index("-c") + 1]).resolve()
            compiles[source] = command
    return compiles, commands[-1]


def broken(path, before, after):
    text = path.read_text()
    if text.count(before) != 1:
        raise ValueError(f"{path.name} has this {text.count(before)} times, not once: {before}")
    return text.replace(before, after)


def make(build, folder, name):
    file, before, after = MUTANTS[name]
    source = (ROOT / PIPELINE / file).resolve()
    compiles, link = build_commands(build)
    copy, made, program = folder / source.parent.name / source.name, folder / "broken.o", folder / "sim"
    copy.parent.mkdir()
    copy.write_text(broken(source, before, after))
    if source not in compiles:  # it is included there
        source = copy = ROOT / "tests/sim/segments.c"
    compile_it = list(compiles[source])
    first = next(i for i, part in enumerate(compile_it) if part.startswith("-I"))  # behind ccache, too
    compile_it.insert(first, f"-I{folder}")
    was = compile_it[compile_it.index("-o") + 1]
    compile_it[compile_it.index("-o") + 1] = str(made)
    compile_it[compile_it.index("-c") + 1] = str(copy)
    for option in "-MF", "-MQ":
        compile_it[compile_it.index(option) + 1] = str(folder / "depends")
    subprocess.run(compile_it + ["-Wno-error"], cwd=build, check=True)
    link = [str(made) if part == was else part for part in link]
    link[link.index("-o") + 1] = str(program)
    subprocess.run(link, cwd=build, check=True)
    return program


def find(build, name):
    """(found, what was said)"""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="weir-mutant-") as folder:
        try:
            program = make(build, pathlib.Path(folder), name)
        except (ValueError, subprocess.CalledProcessError) as error:
            return False, f"{name:52} NOT MADE: {error}"
        result = subprocess.run([program, "--count", str(SCHEDULES), "--jobs", "1"], capture_output=True, text=True)
    said = re.match(r"seed (\d+): (.*)", result.stdout)
    found = result.returncode == 1 and said is not None
    text = f"seed {said[1]}: {said[2]}" if found else "NOT FOUND: " + result.stdout + result.stderr
    return found, f"{name:52} {time.monotonic() - began:5.1f} s  {text}"


def check():
    """Whether each line to be broken is there once."""
    fine = True
    for name, (file, before, after) in MUTANTS.items():
        try:
            broken((ROOT / PIPELINE / file).resolve(), before, after)
        except ValueError as error:
            print(f"{name}: {error}")
            fine = False
    return 0 if fine else 1


def main():
    if sys.argv[1] == "--check":
        return check()
    build, names = sys.argv[1], sys.argv[2:] or list(MUTANTS)
    missed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for found, text in pool.map(lambda name: find(build, name), names):
            print(text, flush=True)
            missed += not found
    print(f"{len(names) - missed} of {len(names)} faults found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
