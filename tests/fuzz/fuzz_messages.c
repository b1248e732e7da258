// The stream of a server that sends anything in any order: changes come out in order and fit their
// tables, what is kept stays within its budget, or the server is refused with a message.
//
// The first byte is the protocol's version, then come messages: two bytes of length, the message.
// The second byte of a length of more than 2,048 bytes is how many bytes of answers follow it, for
// what is asked about relations.
#include "catalog_answers.h"
#include "sources/postgres.h"

enum { KEYED = 1, FULL = 2, COLUMNS = 3, BUDGET = 128 << 10, LENGTH_MASK = 0x7FF };

static Relation *relation_of(Arena *arena, uint32_t oid, bool is_keyed)
{
    static const char *const names[COLUMNS] = {"id", "long", "note"};
    Column columns[COLUMNS];
    uint16_t key[] = {0};
    for (int16_t i = 0; i < COLUMNS; i++) {
        columns[i] = (Column){.name = str_from(names[i]),
                              .attnum = (int16_t)(i + 1),
                              .type_oid = OID_TEXT,
                              .typmod = -1,
                              .type_name = STR("text"),
                              .base_type_oid = OID_TEXT,
                              .base_typmod = -1,
                              .base_type_name = STR("text"),
                              .type = TYPE_TEXT,
                              .is_identity = !is_keyed || i == 0};
    }
    const Relation relation = {.oid = oid,
                               .schema = STR("public"),
                               .name = is_keyed ? STR("keyed") : STR("full"),
                               .identity = is_keyed ? IDENTITY_DEFAULT : IDENTITY_FULL,
                               .column_count = COLUMNS,
                               .columns = columns,
                               .key_count = is_keyed ? 1 : 0,
                               .key = key};
    return relation_copy(arena, &relation);
}

static size_t touch_row(const Relation *relation, const Value *row)
{
    size_t sum = 0;
    for (uint16_t i = 0; row != NULL && i < relation->column_count; i++) {
        for (uint32_t at = 0; value_is_data(row[i]) && at < row[i].len; at++) {
            sum += (unsigned char)row[i].ptr[at];
        }
    }
    return sum;
}

// A description stands where the change does that needs it.
static void check_batch(const Batch *batch)
{
    static volatile size_t seen; // so that every byte is read
    size_t sum = 0;
    Position last = {0, 0};
    for (size_t i = 0; i < batch->count; i++) {
        const Change *change = &batch->changes[i];
        int order = position_compare(last, change_position(change));
        bool may_repeat =
            i > 0 && (change->op == CHANGE_SCHEMA || batch->changes[i - 1].op == CHANGE_SCHEMA);
        FUZZ_CHECK(order < 0 || (order == 0 && may_repeat));
        last = change_position(change);
        FUZZ_CHECK((change->op == CHANGE_MESSAGE) == (change->relation == NULL));
        if (change->relation != NULL) {
            sum += touch_row(change->relation, change->old_row) +
                   touch_row(change->relation, change->new_row);
        }
    }
    seen = sum;
    (void)seen;
}

static Status take(Postgres *postgres, Str message, Error *err)
{
    PostgresStream *stream = &postgres->stream;
    Position before = stream->end;
    if (postgres_message(postgres, 1, message, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    while (stream->replayed != NULL && stream->distrust == NULL) {
        if (postgres_replay(postgres, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    FUZZ_CHECK(position_compare(stream->end, before) >= 0);
    FUZZ_CHECK(spill_memory_used() <= BUDGET);
    return STATUS_OK;
}

static void take_all(Postgres *postgres, Reader *in)
{
    Error err = {0};
    uint16_t len;
    Str message;
    Str told = {"", 0};
    while (postgres->stream.distrust == NULL && reader_u16(in, &len) &&
           reader_bytes(in, MIN(len & LENGTH_MASK, reader_left(in)), &message)) {
        uint8_t more = 0;
        if (len > LENGTH_MASK && reader_u8(in, &more)) {
            (void)(reader_bytes(in, MIN(more, reader_left(in)), &told) ? 0 : 1);
        }
        answers = reader_from(told.ptr, told.len);
        if (take(postgres, message, &err) != STATUS_OK) {
            FUZZ_CHECK(err.message[0] != '\0');
            return;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Reader in = reader_from(data, size);
    uint8_t version;
    if (!reader_u8(&in, &version)) {
        return 0;
    }
    Postgres *postgres = mem_alloc_zero(sizeof(*postgres));
    postgres->owns_publication = (version & 4) == 0;
    postgres->stream.context.protocol_version = 1 + (version & 3);
    postgres->stream.end = (Position){0x20, 0};
    streamed_init(&postgres->stream.streamed, "/tmp", BUDGET);
    SourceTable items[] = {{.relation = relation_of(&postgres->arena, KEYED, true)},
                           {.relation = relation_of(&postgres->arena, FULL, false)}};
    postgres_stream_know(postgres, &(SourceTables){items, ARRAY_LEN(items)});
    take_all(postgres, &in);
    if (postgres->stream.batch != NULL) {
        check_batch(postgres->stream.batch);
    }
    postgres_stream_done(postgres);
    FUZZ_CHECK(spill_memory_used() == 0);
    arena_done(&postgres->arena);
    mem_free(postgres);
    return 0;
}
