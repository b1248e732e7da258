#include <inttypes.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "config/table_pattern.h"
#include "pipeline/verify_inner.h"

enum { SHOWN_BYTES = 200, SHOWN_BEFORE = 40, NAME_BYTES = 64 * 1024 };

// ---------------------------------------------------------------------------------------------
// What is refused
// ---------------------------------------------------------------------------------------------

static Status check_route(const PipelineRoute *route, Error *err)
{
    static const SinkContext nothing = {.pipeline = ""};
    const SinkOps *ops = route->sink;
    if (ops->digest_open == NULL) {
        error_set(err, ERROR_CONFIG, "a target of type \"%s\" cannot be compared with its source",
                  ops->name);
        return error_hint(err, "Targets that are databases can: postgres, sqlite and duckdb, with "
                               "mode=mirror.");
    }
    Sink *sink;
    if (sink_new(ops, route->settings, &nothing, &sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Status status = ops->digest_check(sink, err);
    sink_free(sink);
    return status;
}

static Status check_source(const Pipeline *pipeline, Error *err)
{
    static const SourceContext nothing = {.pipeline = ""};
    Source *source;
    if (pipeline->source->digest_open == NULL) {
        return error_set(err, ERROR_CONFIG, "a source of type \"%s\" cannot be compared",
                         pipeline->source->name);
    }
    if (source_new(pipeline->source, pipeline->source_settings, &nothing, &source, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    bool copies = source->copies;
    source_free(source);
    return copies ? STATUS_OK
                  : error_set(err, ERROR_CONFIG,
                              "without copies the target has not all of the source's rows, and "
                              "cannot be compared with it");
}

static Status none_taken(const Pipeline *pipeline, const VerifyChoice *choice, Error *err)
{
    CLEANUP(buf_done) Buf text;
    buf_init(&text, NAME_BYTES);
    for (size_t i = 0; i < pipeline->route_count; i++) {
        buf_printf(&text, "%s\"%" STR_FMT "\": %" STR_FMT, i == 0 ? "" : "; ",
                   STR_ARG(pipeline->routes[i].name), STR_ARG(choice->reasons[i]));
    }
    return error_set(err, ERROR_CONFIG,
                     "no route of the pipeline \"%" STR_FMT "\" can be compared: %s",
                     STR_ARG(pipeline->name), buf_cstring(&text));
}

Status verify_choose(const Pipeline *pipeline, Str route, Arena *arena, VerifyChoice *ret,
                     Error *err)
{
    Error why = {0};
    size_t asked = 0;
    *ret = (VerifyChoice){0};
    for (size_t i = 0; i < pipeline->route_count; i++) {
        if (route.len > 0 && !str_equal(pipeline->routes[i].name, route)) {
            continue;
        }
        asked++;
        ret->takes[i] = check_route(&pipeline->routes[i], &why) == STATUS_OK;
        ret->count += ret->takes[i] ? 1 : 0;
        if (!ret->takes[i]) {
            ret->reasons[i] = str_copy(arena, str_from(why.message));
        }
    }
    if (ret->count > 0) {
        return check_source(pipeline, err);
    }
    if (asked == 0) {
        return error_set(err, ERROR_CONFIG,
                         "the pipeline \"%" STR_FMT "\" has no route \"%" STR_FMT "\"",
                         STR_ARG(pipeline->name), STR_ARG(route));
    }
    if (asked > 1) {
        return none_taken(pipeline, ret, err);
    }
    *err = why;
    return route.len == 0 ? STATUS_FAIL : error_wrap(err, "route \"%" STR_FMT "\"", STR_ARG(route));
}

Status verify_check_begun(const Pipeline *pipeline, const VerifyChoice *choice, Cancel *cancel,
                          Error *err)
{
    for (size_t i = 0; i < pipeline->route_count; i++) {
        // Those that share a source by memory run together.
        bool is_brought = pipeline->buffer == NULL || choice->takes[i];
        bool has_begun = true;
        Error failure = {0};
        if (is_brought &&
            runner_has_begun(pipeline, i, cancel, &has_begun, &failure) != STATUS_OK) {
            if (failure.kind != ERROR_TRANSIENT) {
                *err = failure;
                return STATUS_FAIL;
            }
            has_begun = true; // it is asked again by the run, which tries on
        }
        if (!has_begun) {
            return pipeline_never_run(pipeline, &pipeline->routes[i], err);
        }
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// The source
// ---------------------------------------------------------------------------------------------

static Status open_source(Verify *verify, Error *err)
{
    const Pipeline *pipeline = verify->pipeline;
    verify->scope = (LogScope){NULL, "pipeline", pipeline->name};
    SourceContext context = {.pipeline = pipeline->name.ptr,
                             .cancel = verify->cancel,
                             .narrows_tables = true,
                             .subject = pipeline->source_subject,
                             .notice = {log_notice, &verify->scope}};
    if (source_new(pipeline->source, pipeline->source_settings, &context, &verify->source, err) !=
        STATUS_OK) {
        return STATUS_FAIL;
    }
    return verify->source->ops->open(verify->source, err);
}

Status verify_now(const Pipeline *pipeline, Cancel *cancel, Lsn *ret, Error *err)
{
    Verify verify = {.pipeline = pipeline, .cancel = cancel};
    Status status = open_source(&verify, err);
    if (status == STATUS_OK) {
        status = verify.source->ops->now(verify.source, ret, err);
    }
    source_free(verify.source);
    return status == STATUS_OK ? STATUS_OK : error_wrap(err, "source");
}

static Status hold(Verify *verify, Error *err)
{
    if (open_source(verify, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const SourceOps *ops = verify->source->ops;
    if (ops->tables(verify->source, &verify->tables, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return ops->snapshot_open(verify->source, &verify->snapshot, &verify->lsn, err);
}

Status verify_hold(const Pipeline *pipeline, Cancel *cancel, Verify **ret, Lsn *ret_lsn, Error *err)
{
    Verify *verify = mem_alloc_zero(sizeof(*verify));
    verify->pipeline = pipeline;
    verify->cancel = cancel;
    if (hold(verify, err) != STATUS_OK) {
        verify_release(verify);
        return error_wrap(err, "source");
    }
    *ret = verify;
    *ret_lsn = verify->lsn;
    return STATUS_OK;
}

void verify_release(Verify *verify)
{
    if (verify == NULL) {
        return;
    }
    if (verify->snapshot != NULL) {
        verify->source->ops->snapshot_close(verify->snapshot);
    }
    source_free(verify->source);
    mem_free(verify);
}

// ---------------------------------------------------------------------------------------------
// The target
// ---------------------------------------------------------------------------------------------

static Status check_place(const VerifyTarget *target, Error *err)
{
    const Verify *verify = target->verify;
    bool has_position;
    Position position;
    if (checkpoint_position(&target->stored, &has_position, &position, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (has_position && position.lsn == verify->lsn && position.ordinal == 0) {
        return STATUS_OK;
    }
    error_set(err, ERROR_TRANSIENT,
              "the target does not stand at " LSN_FMT ", where it is to be compared",
              LSN_ARG(verify->lsn));
    return error_hint(err, "Another process has run the pipeline meanwhile: stop it first.");
}

// Nobody sets anything aside while the state is ours.
static Status open_letters(VerifyTarget *target, Error *err)
{
    const char *directory = state_path(target->state);
    if (dead_store_open(directory, false, &target->dead_store, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return target->dead_store == NULL
               ? STATUS_OK
               : dead_store_list(target->dead_store, &target->arena, &target->letters, err);
}

static Status open_sink(VerifyTarget *target, Error *err)
{
    const Verify *verify = target->verify;
    const PipelineRoute *route = target->route;
    SinkContext context = {.pipeline = target->key.ptr,
                           .cancel = verify->cancel,
                           .source_mark = verify->source->mark,
                           .subject = route->subject};
    if (sink_new(route->sink, route->settings, &context, &target->sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    checkpoint_reset(&target->stored);
    return target->sink->ops->open(target->sink, err) == STATUS_OK &&
                   target->sink->ops->resume(target->sink, &target->stored, err) == STATUS_OK
               ? STATUS_OK
               : error_wrap(err, "sink");
}

Status verify_reopen(VerifyTarget *target, Error *err)
{
    sink_free(target->sink);
    target->sink = NULL;
    return open_sink(target, err);
}

static Status open_target(VerifyTarget *target, size_t index, Error *err)
{
    const Pipeline *pipeline = target->verify->pipeline;
    target->route = &pipeline->routes[index];
    target->key = pipeline_route_key(pipeline, target->route, &target->arena);
    StateOwner owner = pipeline_route_owner(pipeline, target->route, target->key);
    Status status = state_open(&owner, &target->state, err);
    if (status == STATUS_OK) {
        status = open_sink(target, err);
    }
    if (status == STATUS_OK) {
        status = checkpoint_check_copied(&target->stored, err);
    }
    if (status == STATUS_OK) {
        status = tables_load(&target->tables, &target->stored, err);
    }
    if (status == STATUS_OK && target->options->repair) {
        status = open_letters(target, err);
    }
    return status == STATUS_OK ? check_place(target, err) : STATUS_FAIL;
}

static void close_target(VerifyTarget *target)
{
    dead_store_close(target->dead_store);
    sink_free(target->sink);
    checkpoint_done(&target->stored);
    tables_done(&target->tables);
    state_close(target->state);
    arena_done(&target->arena);
}

// ---------------------------------------------------------------------------------------------
// A table: its columns
// ---------------------------------------------------------------------------------------------

static int find_in_source(const Relation *source, const Column *column)
{
    int at = column->attnum == 0 ? -1 : relation_find_attnum(source, column->attnum);
    return column->attnum == 0 ? relation_find_column(source, column->name) : at;
}

static bool add_column(VerifyPair *pair, uint16_t index)
{
    int at = find_in_source(pair->source_relation, &pair->target_relation->columns[index]);
    if (at < 0) {
        return false;
    }
    pair->source_columns[pair->column_count].index = (uint16_t)at;
    pair->target_columns[pair->column_count].index = index;
    pair->column_count++;
    return true;
}

static void find_columns(VerifyPair *pair, Arena *arena)
{
    const Relation *there = pair->target_relation;
    pair->source_columns = ARENA_ARRAY(arena, DigestColumn, there->column_count);
    pair->target_columns = ARENA_ARRAY(arena, DigestColumn, there->column_count);
    pair->has_key = there->key_count > 0;
    for (uint16_t i = 0; i < there->key_count; i++) {
        pair->has_key = add_column(pair, there->key[i]) && pair->has_key;
    }
    pair->key_count = pair->column_count;
    for (uint16_t i = 0; i < there->column_count; i++) {
        if (!relation_is_key(there, i)) {
            (void)add_column(pair, i);
        }
    }
    pair->key_count = pair->has_key ? pair->key_count : pair->column_count;
    pair->is_whole = pair->column_count == there->column_count &&
                     pair->column_count == pair->source_relation->column_count;
}

static void add_name(Buf *text, Str name, const char *before)
{
    buf_printf(text, "%s\"%" STR_FMT "\"", text->len == 0 ? before : ", ", STR_ARG(name));
}

// Columns that only one side has: a target learns of an ALTER TABLE with the next change.
static Str left_out(const VerifyPair *pair, Arena *arena)
{
    CLEANUP(buf_done) Buf text;
    buf_init(&text, NAME_BYTES);
    for (uint16_t i = 0; i < pair->source_relation->column_count; i++) {
        bool is_compared = false;
        for (size_t c = 0; c < pair->column_count; c++) {
            is_compared = is_compared || pair->source_columns[c].index == i;
        }
        if (!is_compared) {
            add_name(&text, pair->source_relation->columns[i].name,
                     "not in the target before the table's next change: ");
        }
    }
    for (uint16_t i = 0; i < pair->target_relation->column_count; i++) {
        if (find_in_source(pair->source_relation, &pair->target_relation->columns[i]) < 0) {
            add_name(&text, pair->target_relation->columns[i].name,
                     "not in the source, or in the target only: ");
        }
    }
    if ((pair->source_relation->published & PUBLISHED_INSERTS) != 0) {
        buf_printf(&text, "%spublished for inserts only: updates and deletes are not followed",
                   text.len == 0 ? "" : "; ");
    }
    return str_copy(arena, buf_view(&text));
}

// ---------------------------------------------------------------------------------------------
// A table: whether it can be compared
// ---------------------------------------------------------------------------------------------

static bool has_other_types(const VerifyPair *pair)
{
    for (size_t i = 0; i < pair->column_count; i++) {
        const Column *a = &pair->source_relation->columns[pair->source_columns[i].index];
        const Column *b = &pair->target_relation->columns[pair->target_columns[i].index];
        if (a->type_oid != b->type_oid || a->typmod != b->typmod) {
            return true;
        }
    }
    return false;
}

static const char *refuse_state(const VerifyPair *pair, const Table *table)
{
    if (table == NULL || table->state != TABLE_READY || table->target == NULL) {
        return "it is still to be copied";
    }
    if (table->copied_at == LSN_NONE) {
        return "it was never copied, only followed: the target need not have all of its rows";
    }
    if (table->copied_at > pair->target->verify->lsn) {
        return "it was copied meanwhile: verify again";
    }
    if (relation_is_rewritten(table->target, pair->source_relation) ||
        relation_has_gap(table->target, pair->source_relation)) {
        return "it has been rewritten, or not been published for a while: its next change has it "
               "copied again";
    }
    return NULL;
}

static Status refuse_table(VerifyPair *pair, const Table *table, const char **ret, Error *err)
{
    Sink *sink = pair->target->sink;
    *ret = refuse_state(pair, table);
    if (*ret != NULL) {
        return STATUS_OK;
    }
    bool has;
    if (sink->ops->has(sink, table->target, &has, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!has) {
        *ret = "the target's table is gone, or is another one now";
    } else if (sink->ops->keeps_rows != NULL && sink->ops->keeps_rows(sink, table->target)) {
        *ret = "the target's table has rows of others that are to stay";
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// A table: comparing
// ---------------------------------------------------------------------------------------------

static Status ask_source(void *context, const DigestQuery *query, DigestReader **ret, Error *err)
{
    const VerifyPair *pair = context;
    Verify *verify = pair->target->verify;
    return verify->source->ops->digest_open(verify->source, verify->snapshot, query, verify->cancel,
                                            ret, err);
}

static Status ask_target(void *context, const DigestQuery *query, DigestReader **ret, Error *err)
{
    const VerifyPair *pair = context;
    Sink *sink = pair->target->sink;
    return sink->ops->digest_open(sink, query, ret, err) == STATUS_OK ? STATUS_OK
                                                                      : error_wrap(err, "sink");
}

static void init_sides(VerifyPair *pair, int64_t row_estimate)
{
    DigestQuery query = {.column_count = pair->column_count,
                         .key_count = pair->key_count,
                         .digits = compare_digits(row_estimate)};
    pair->source_side = (CompareSide){query, ask_source, pair};
    pair->source_side.query.relation = pair->source_relation;
    pair->source_side.query.columns = pair->source_columns;
    pair->target_side = (CompareSide){query, ask_target, pair};
    pair->target_side.query.relation = pair->target_relation;
    pair->target_side.query.columns = pair->target_columns;
}

Status verify_compare(VerifyPair *pair, size_t keys_max, Comparison *ret, Error *err)
{
    return compare_tables(&pair->source_side, &pair->target_side, keys_max, ret, err);
}

// ---------------------------------------------------------------------------------------------
// A table: what differs
// ---------------------------------------------------------------------------------------------

typedef struct Shown {
    const VerifyPair *pair;
    VerifyTable *table;
    size_t max;
    Arena *arena;
} Shown;

static bool is_in_character(Value value, size_t at)
{
    return at < value.len && utf8_goes_on(value.ptr[at]);
}

// SHOWN_BYTES of it, from @start on; no character is cut in two.
static Str shorten(Value value, size_t start, Arena *arena)
{
    if (!value_is_data(value)) {
        return (Str){0};
    }
    const char *bytes = value.len == 0 ? "" : value.ptr; // which may be NULL then
    start = MIN(start, (size_t)value.len);
    Str from_there = {bytes + start, value.len - start};
    size_t end = start + utf8_cut(from_there, SHOWN_BYTES);
    if (start == 0 && end == value.len) {
        return (Str){arena_copy(arena, bytes, value.len), value.len};
    }
    int shown = (int)(end - start);
    if (start == 0) {
        return str_from(arena_printf(arena, "%.*s… (%" PRIu32 " bytes)", shown, bytes, value.len));
    }
    return str_from(arena_printf(arena, "…%.*s%s (from byte %zu of %" PRIu32 ")", shown,
                                 bytes + start, end == value.len ? "" : "…", start + 1, value.len));
}

// Where two values have to be shown from for what differs to be seen: 0, unless it is far behind.
static size_t find_start(Value a, Value b)
{
    bool both = value_is_data(a) && value_is_data(b);
    size_t same = 0;
    while (both && same < a.len && same < b.len && a.ptr[same] == b.ptr[same]) {
        same++;
    }
    bool are_same = both && same == a.len && same == b.len;
    if (!both || are_same || same + SHOWN_BEFORE < SHOWN_BYTES) {
        return 0;
    }
    size_t start = same - SHOWN_BEFORE;
    while (start > 0 && is_in_character(a, start)) {
        start--;
    }
    return start;
}

static VerifyValue show_value(const Shown *shown, size_t at, const DigestRow *source,
                              const DigestRow *target)
{
    const VerifyPair *pair = shown->pair;
    const Column *column = &pair->target_relation->columns[pair->target_columns[at].index];
    static const Value nothing = {.state = VALUE_NULL};
    Value here = source == NULL ? nothing : source->values[at];
    Value there = target == NULL ? nothing : target->values[at];
    size_t start = find_start(here, there);
    return (VerifyValue){
        .column = str_copy(shown->arena, column->name),
        .source = shorten(here, start, shown->arena),
        .target = shorten(there, start, shown->arena),
    };
}

static Status show_one(void *context, DifferenceKind kind, const DigestRow *source,
                       const DigestRow *target, Error *err)
{
    (void)err;
    Shown *shown = context;
    const VerifyPair *pair = shown->pair;
    if (shown->table->difference_count == shown->max) {
        return STATUS_OK;
    }
    VerifyDifference *difference = &shown->table->differences[shown->table->difference_count++];
    *difference = (VerifyDifference){.kind = kind, .key_count = pair->key_count};
    difference->key = ARENA_ARRAY(shown->arena, VerifyValue, pair->key_count);
    for (size_t i = 0; i < pair->key_count; i++) {
        difference->key[i] = show_value(shown, i, source, target);
    }
    if (kind != DIFFERENCE_VALUES) {
        return STATUS_OK;
    }
    difference->values = ARENA_ARRAY(shown->arena, VerifyValue, pair->column_count);
    for (size_t i = 0; i < pair->column_count; i++) {
        if (!str_equal(digest_field(source->text, i), digest_field(target->text, i))) {
            difference->values[difference->value_count++] = show_value(shown, i, source, target);
        }
    }
    return STATUS_OK;
}

static Status show_differences(VerifyPair *pair, VerifyTable *table, Arena *arena, Error *err)
{
    size_t limit = (size_t)pair->target->options->limit;
    size_t keys = MIN(table->comparison.key_count, limit);
    if (keys == 0) {
        return STATUS_OK;
    }
    Shown shown = {pair, table, limit, arena};
    table->differences = ARENA_ARRAY(arena, VerifyDifference, limit);
    return compare_rows(&pair->source_side, &pair->target_side, table->comparison.keys, keys,
                        show_one, &shown, err);
}

// ---------------------------------------------------------------------------------------------
// Tables
// ---------------------------------------------------------------------------------------------

static void add_note(VerifyTable *table, const char *text, Arena *arena)
{
    table->note = str_from(arena_printf(arena, "%" STR_FMT "%s%s", STR_ARG(table->note),
                                        table->note.len == 0 ? "" : "; ", text));
}

static Status compare_pair(VerifyPair *pair, VerifyTable *table, Arena *arena, Error *err)
{
    const VerifyOptions *options = pair->target->options;
    size_t keys_max = MAX((size_t)options->limit, (size_t)VERIFY_REPAIR_KEYS);
    if (verify_compare(pair, keys_max, &table->comparison, err) != STATUS_OK ||
        show_differences(pair, table, arena, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!options->repair) {
        return STATUS_OK;
    }
    const char *reason = NULL;
    bool is_equal = comparison_differences(&table->comparison) == 0;
    if (!is_equal && verify_repair(pair, table, &reason, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    table->is_mended = !is_equal && reason == NULL;
    if (reason != NULL) {
        add_note(table, reason, arena);
        return STATUS_OK;
    }
    return verify_void_letters(pair, table, err);
}

static Status verify_table(VerifyTarget *target, const SourceTable *source, VerifyTable *ret,
                           Arena *arena, Error *err)
{
    const Table *table = tables_find(&target->tables, source->relation->oid);
    VerifyPair pair = {.target = target, .source_relation = source->relation};
    const char *reason;
    if (refuse_table(&pair, table, &reason, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (reason == NULL) {
        pair.target_relation = table->target;
        find_columns(&pair, arena);
        reason = has_other_types(&pair) ? "a column has another type by now, which the target gets "
                                          "with the table's next change"
                                        : NULL;
    }
    if (reason != NULL) {
        ret->reason = str_from(reason);
        return STATUS_OK;
    }
    Sink *sink = target->sink;
    if (sink->ops->digest_columns(sink, pair.target_relation, pair.target_columns,
                                  pair.column_count, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < pair.column_count; i++) {
        pair.source_columns[i].form = pair.target_columns[i].form;
        pair.source_columns[i].type = pair.target_columns[i].type;
        pair.target_columns[i].type = (Str){0}; // that is how it is kept
    }
    ret->note = left_out(&pair, arena);
    init_sides(&pair, source->row_estimate);
    return compare_pair(&pair, ret, arena, err);
}

static Str target_name(Sink *sink, const Relation *relation, Arena *arena)
{
    CLEANUP(buf_done) Buf text;
    buf_init(&text, NAME_BYTES);
    if (sink->ops->describe_table != NULL) {
        sink->ops->describe_table(sink, relation, &text);
    }
    return str_copy(arena, buf_view(&text));
}

static const VerifyTable *find_result(const VerifyResult *result, uint32_t oid)
{
    for (size_t i = 0; i < result->table_count; i++) {
        if (result->tables[i].oid == oid) {
            return &result->tables[i];
        }
    }
    return NULL;
}

static bool is_wanted(const VerifyOptions *options, const Relation *relation)
{
    if (options->before != NULL) {
        const VerifyTable *before = find_result(options->before, relation->oid);
        return before != NULL && before->is_to_copy;
    }
    bool wanted = options->only.count == 0;
    for (size_t i = 0; !wanted && i < options->only.count; i++) {
        wanted = table_pattern_matches(options->only.items[i], relation->schema, relation->name);
    }
    return wanted;
}

// One that was altered or rewritten since the snapshot was taken cannot be read in it any more.
// That is no reason to give up the others.
static Status verify_one(VerifyTarget *target, const SourceTable *source, VerifyTable *ret,
                         Arena *arena, Error *err)
{
    const Relation *relation = source->relation;
    int64_t began_us = clock_monotonic_us();
    *ret = (VerifyTable){
        .oid = relation->oid,
        .schema = str_copy(arena, relation->schema),
        .name = str_copy(arena, relation->name),
        .target = target_name(target->sink, relation, arena),
    };
    Error failure = {0};
    Status status = verify_table(target, source, ret, arena, &failure);
    ret->us = clock_monotonic_us() - began_us;
    bool is_changed = status != STATUS_OK && failure.kind == ERROR_TRANSIENT &&
                      strncmp(failure.sqlstate, "42", 2) == 0;
    if (is_changed) {
        ret->reason = str_copy(arena, str_from(failure.message));
        return STATUS_OK;
    }
    if (status != STATUS_OK) {
        *err = failure;
        return error_wrap(err, "table \"%" STR_FMT ".%" STR_FMT "\"", STR_ARG(relation->schema),
                          STR_ARG(relation->name));
    }
    return STATUS_OK;
}

// So that a typing error does not pass for something that is equal.
static Status check_only(const VerifyTarget *target, Error *err)
{
    const SourceTables *tables = target->verify->tables;
    const StrList *only = &target->options->only;
    for (size_t p = 0; p < only->count; p++) {
        bool matches = false;
        for (size_t i = 0; !matches && i < tables->count; i++) {
            const Relation *relation = tables->items[i].relation;
            matches = table_pattern_matches(only->items[p], relation->schema, relation->name);
        }
        if (!matches) {
            error_set(err, ERROR_CONFIG,
                      "no table that is to be compared of the pipeline \"%" STR_FMT
                      "\" matches --only \"%" STR_FMT "\"",
                      STR_ARG(target->verify->pipeline->name), STR_ARG(only->items[p]));
            return error_hint(err, "Write schema.table, schema.* or table, as the source calls it. "
                                   "Of a project with several pipelines, --name says which.");
        }
    }
    return STATUS_OK;
}

// What the target has of tables that are not in the publication any more is as it was then.
static Status tell_left_behind(VerifyTarget *target, Error *err)
{
    const Notice notice = {log_notice, &target->verify->scope};
    const SourceTables *tables = target->verify->tables;
    Map listed = {0};
    for (size_t i = 0; i < tables->count; i++) {
        (void)map_put_u64(&listed, tables->items[i].relation->oid, &tables->items[i]);
    }
    Status status = STATUS_OK;
    size_t cursor = 0;
    void *value;
    while (status == STATUS_OK && map_next(&target->tables.by_oid, &cursor, &value)) {
        const Table *table = value;
        bool has = false;
        if (table->target == NULL || map_get_u64(&listed, table->oid) != NULL) {
            continue;
        }
        status = target->sink->ops->has(target->sink, table->target, &has, err);
        if (status == STATUS_OK && has) {
            notice_tell(&notice,
                        "table \"%" STR_FMT ".%" STR_FMT
                        "\" is not compared: it is not in the publication any more, or was dropped",
                        STR_ARG(table->target->schema), STR_ARG(table->target->name));
        }
    }
    map_done(&listed);
    return status;
}

static Status verify_tables(VerifyTarget *target, VerifyResult *ret, Error *err)
{
    const SourceTables *tables = target->verify->tables;
    const VerifyOptions *options = target->options;
    if (options->only.count == 0 && options->before == NULL &&
        tell_left_behind(target, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (check_only(target, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    size_t wanted = 0;
    for (size_t i = 0; i < tables->count; i++) {
        wanted += is_wanted(options, tables->items[i].relation) ? 1 : 0;
    }
    if (wanted == 0 && options->before == NULL) {
        return error_set(err, ERROR_CONFIG,
                         "there is no table to compare in the pipeline \"%" STR_FMT "\"",
                         STR_ARG(target->verify->pipeline->name));
    }
    ret->tables = ARENA_ARRAY(&ret->arena, VerifyTable, wanted);
    for (size_t i = 0; i < tables->count; i++) {
        const SourceTable *source = &tables->items[i];
        if (!is_wanted(options, source->relation)) {
            continue;
        }
        if (options->progress != NULL) {
            options->progress(options->progress_context,
                              arena_printf(&ret->arena, "%" STR_FMT ".%" STR_FMT,
                                           STR_ARG(source->relation->schema),
                                           STR_ARG(source->relation->name)),
                              ret->table_count + 1, wanted);
        }
        if (verify_one(target, source, &ret->tables[ret->table_count++], &ret->arena, err) !=
            STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

Status verify_route(Verify *verify, size_t route, const VerifyOptions *options, VerifyResult *ret,
                    Error *err)
{
    VerifyTarget target = {.verify = verify, .options = options};
    *ret = (VerifyResult){.lsn = verify->lsn};
    tables_init(&target.tables);
    Status status = open_target(&target, route, err);
    if (status == STATUS_OK) {
        status = verify_tables(&target, ret, err);
    }
    close_target(&target);
    return status;
}

bool verify_has_copies(const VerifyResult *result)
{
    bool has = false;
    for (size_t i = 0; i < result->table_count; i++) {
        has = has || result->tables[i].is_to_copy;
    }
    return has;
}

static void take_copy(VerifyTable *table, const VerifyTable *after, Arena *arena)
{
    if (after == NULL || after->reason.len > 0) {
        const char *reason =
            after == NULL ? "it is not published any more" : str_to_cstr(arena, after->reason);
        add_note(table, "not compared afterwards", arena);
        add_note(table, reason, arena);
        return;
    }
    table->repaired = after->comparison.target_rows;
    table->is_mended = comparison_differences(&after->comparison) == 0;
    table->us += after->us;
    if (!table->is_mended) {
        add_note(table, "what was copied is not equal: is somebody else writing to it?", arena);
    }
}

void verify_take_copies(VerifyResult *result, const VerifyResult *after)
{
    for (size_t i = 0; i < result->table_count; i++) {
        VerifyTable *table = &result->tables[i];
        if (table->is_to_copy) {
            take_copy(table, find_result(after, table->oid), &result->arena);
        }
    }
}

void verify_result_done(VerifyResult *result)
{
    for (size_t i = 0; i < result->table_count; i++) {
        mem_free(result->tables[i].comparison.keys);
    }
    arena_done(&result->arena);
    *result = (VerifyResult){0};
}
