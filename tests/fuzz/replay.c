// Runs a fuzz target over a folder of inputs without a fuzzer, so that every compiler and every
// test run has it: each file as it is, each of its prefixes, and each of its bytes changed.
//
//   replay_<target> FOLDER...
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "fuzz.h"

enum { INPUT_MAX = 16 << 20, VARIED_MAX = 1024 };

// In memory of exactly its size, so that the address sanitizer sees the first byte read behind it.
static void run(const uint8_t *data, size_t size)
{
    uint8_t *exact = mem_alloc(size);
    if (size > 0) {
        memcpy(exact, data, size);
    }
    (void)LLVMFuzzerTestOneInput(exact, size);
    mem_free(exact);
}

static void run_varied(uint8_t *data, size_t size)
{
    static const uint8_t flips[] = {0x01, 0x02, 0x20, 0x80, 0xff};
    for (size_t len = 0; len < size; len++) {
        run(data, len);
    }
    for (size_t at = 0; at < size; at++) {
        uint8_t byte = data[at];
        for (size_t i = 0; i < sizeof(flips); i++) {
            data[at] = byte ^ flips[i];
            run(data, size);
        }
        data[at] = 0;
        run(data, size);
        data[at] = byte;
    }
}

static bool read_file(const char *folder, const char *name, Buf *ret)
{
    char path[4096];
    int len = snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = len > 0 && (size_t)len < sizeof(path) ? fopen(path, "rb") : NULL;
    if (file == NULL) {
        return false;
    }
    char block[4096];
    size_t got;
    while ((got = fread(block, 1, sizeof(block), file)) > 0) {
        buf_bytes(ret, block, got);
    }
    bool fine = ferror(file) == 0 && !ret->overflowed;
    (void)fclose(file);
    return fine;
}

/** How many files were run; -1 when one could not be read. */
static int replay_folder(const char *folder)
{
    DIR *entries = opendir(folder);
    if (entries == NULL) {
        (void)fprintf(stderr, "%s: %s\n", folder, strerror(errno));
        return -1;
    }
    int count = 0;
    Buf input;
    buf_init(&input, INPUT_MAX);
    for (const struct dirent *entry; count >= 0 && (entry = readdir(entries)) != NULL;) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        buf_reset(&input);
        if (!read_file(folder, entry->d_name, &input)) {
            (void)fprintf(stderr, "%s/%s: cannot be read\n", folder, entry->d_name);
            count = -1;
            break;
        }
        run((const uint8_t *)input.ptr, input.len);
        if (input.len <= VARIED_MAX) {
            run_varied((uint8_t *)input.ptr, input.len);
        }
        count++;
    }
    buf_done(&input);
    (void)closedir(entries);
    return count;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        int count = replay_folder(argv[i]);
        if (count <= 0) {
            (void)fprintf(stderr, "%s: nothing to replay\n", argv[i]);
            return 1;
        }
        printf("%s: %d files\n", argv[i], count);
    }
    return argc > 1 ? 0 : 2;
}
