#include <stdio.h>

#include "pipeline/sink.h"

typedef struct CsvSink {
    Sink base; // every sink starts with this
    Str path;
    FILE *file;
} CsvSink;

static const Option csv_options[] = {
    {"path", OPTION_STRING(CsvSink, path), .required = true, .is_path = true, .help = "The file."},
    {0},
};

static Status csv_open(Sink *sink, Error *err)
{
    CsvSink *csv = (CsvSink *)sink;
    csv->file = fopen(str_to_cstr(&sink->options_arena, csv->path), "ae");
    return csv->file != NULL ? STATUS_OK : error_set_errno(err, ERROR_CONFIG, errno, "open it");
}

static Status csv_resume(Sink *sink, Checkpoint *checkpoint, Error *err)
{
    return STATUS_OK; // the runner keeps the checkpoint: stores_checkpoint is false
}

static Status csv_prepare(Sink *sink, const Relation *was, const Relation *now, Error *err)
{
    return STATUS_OK; // no tables to make
}

static Status csv_write(Sink *sink, const Change *changes, size_t count, Error *err)
{
    FILE *file = ((CsvSink *)sink)->file;
    for (const Change *change = changes; change < changes + count; change++) {
        const Value *row = change->new_row != NULL ? change->new_row : change->old_row;
        if (row == NULL) {
            continue; // a truncate, a message, a new shape: nothing to put into columns
        }
        fprintf(file, "%s,%" STR_FMT, change_op_name(change->op), STR_ARG(change->relation->name));
        for (uint16_t i = 0; i < change->relation->column_count; i++) {
            fputs(",\"", file);
            for (uint32_t at = 0; value_is_data(row[i]) && at < row[i].len; at++) {
                fputs(row[i].ptr[at] == '"' ? "\"\"" : (char[]){row[i].ptr[at], 0}, file);
            }
            fputc('"', file);
        }
        fputc('\n', file);
    }
    return STATUS_OK;
}

static Status csv_commit(Sink *sink, Checkpoint *changed, Error *err)
{
    bool written = fflush(((CsvSink *)sink)->file) == 0;
    return written ? STATUS_OK : error_set_errno(err, ERROR_TRANSIENT, errno, "write");
}

static void csv_close(Sink *sink)
{
    if (((CsvSink *)sink)->file != NULL) {
        (void)fclose(((CsvSink *)sink)->file);
    }
}

const SinkOps csv_sink = {
    .name = "csv",
    .summary = "Lines of a CSV file.",
    .options = csv_options,
    .instance_size = sizeof(CsvSink),
    .guarantee = GUARANTEE_AT_LEAST_ONCE,
    .open = csv_open,
    .resume = csv_resume,
    .prepare = csv_prepare,
    .write = csv_write,
    .commit = csv_commit,
    .close = csv_close,
};
