#include "model/schema_program.h"

// Takes away, again and again, blocks that lead to no other: what is left is in a circle or leads
// to one.
uint32_t schema_find_circle(Arena *scratch, const BlockEdge *edges, size_t edge_count,
                            size_t blocks)
{
    uint32_t *ways = ARENA_ARRAY(scratch, uint32_t, blocks + 1);  // on from a block
    uint32_t *start = ARENA_ARRAY(scratch, uint32_t, blocks + 2); // of those that lead to it
    uint32_t *from = ARENA_ARRAY(scratch, uint32_t, edge_count + 1);
    uint32_t *ready = ARENA_ARRAY(scratch, uint32_t, blocks + 1);
    for (size_t i = 0; i < edge_count; i++) {
        ways[edges[i].from]++;
        start[edges[i].to + 1]++;
    }
    for (size_t i = 0; i < blocks; i++) {
        start[i + 1] += start[i];
    }
    uint32_t *fill = ARENA_ARRAY(scratch, uint32_t, blocks + 1);
    for (size_t i = 0; i < edge_count; i++) {
        from[start[edges[i].to] + fill[edges[i].to]++] = edges[i].from;
    }
    size_t count = 0;
    for (uint32_t i = 0; i < blocks; i++) {
        if (ways[i] == 0) {
            ready[count++] = i;
        }
    }
    for (size_t done = 0; done < count; done++) {
        for (uint32_t i = start[ready[done]]; i < start[ready[done] + 1]; i++) {
            if (--ways[from[i]] == 0) {
                ready[count++] = from[i];
            }
        }
    }
    for (uint32_t i = 0; i < blocks && count < blocks; i++) {
        if (ways[i] > 0) {
            return i;
        }
    }
    return SCHEMA_NONE;
}
