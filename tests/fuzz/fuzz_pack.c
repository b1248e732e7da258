// Records of the disk buffer of any bytes: refused with a message, or changes that can be packed
// again and are the same then. An input is records one behind the other: kind, length, bytes.
#include "base/reader.h"
#include "fuzz.h"
#include "packed_changes.h"

static void pack_again(const Batch *batch)
{
    Packer packer = {0};
    Unpacker unpacker = {0};
    Batch *again = batch_new();
    Error err = {0};
    Buf out;
    buf_init(&out, 64 << 20);
    for (size_t i = 0; i < batch->count; i++) {
        const Relation *relation = batch->changes[i].relation;
        buf_reset(&out);
        if (relation != NULL && pack_relation(&packer, relation, &out)) {
            FUZZ_CHECK(unpack_relation(&unpacker, buf_view(&out), &err) == STATUS_OK);
        }
    }
    buf_reset(&out);
    FUZZ_CHECK(pack_changes(&packer, batch->changes, batch->count, SIZE_MAX, &out) == batch->count);
    FUZZ_CHECK(unpack_changes(&unpacker, buf_view(&out), again, &err) == STATUS_OK);
    FUZZ_CHECK(again->count == batch->count);
    for (size_t i = 0; i < batch->count; i++) {
        FUZZ_CHECK(change_is_same(&batch->changes[i], &again->changes[i]));
    }
    batch_unref(again);
    unpacker_done(&unpacker);
    packer_done(&packer);
    buf_done(&out);
}

static void take_changes(Unpacker *unpacker, Str record)
{
    Batch *batch = batch_new();
    Error err = {0};
    if (unpack_changes(unpacker, record, batch, &err) != STATUS_OK) {
        FUZZ_CHECK(err.kind == ERROR_FATAL && err.message[0] != '\0');
    } else if (batch->count > 0) {
        pack_again(batch);
    }
    batch_unref(batch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Reader in = reader_from(data, size);
    Unpacker unpacker = {0};
    uint8_t kind;
    uint16_t len;
    Str record;
    while (reader_u8(&in, &kind) && reader_u16(&in, &len)) {
        if (!reader_bytes(&in, len < reader_left(&in) ? len : reader_left(&in), &record)) {
            break;
        }
        Error err = {0};
        if (kind == 'c') {
            take_changes(&unpacker, record);
        } else if (kind == 's') {
            unpacker_begin_segment(&unpacker);
        } else if (unpack_relation(&unpacker, record, &err) != STATUS_OK) {
            FUZZ_CHECK(err.kind == ERROR_FATAL && err.message[0] != '\0');
        }
    }
    unpacker_done(&unpacker);
    return 0;
}
