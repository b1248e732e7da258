// Spills on the simulated disk. They are compiled in here because a process that dies has to lose
// what is counted in a static variable.
#include "io/spill.c" // NOLINT(bugprone-suspicious-include)
#include "sim.h"

void spills_forget(void)
{
    atomic_store(&memory_used, 0);
}

// So little memory that what is held goes to disk at once, or after a while, or never.
SpillStore *__real_spill_store_new(const char *directory, size_t memory_max);
SpillStore *__wrap_spill_store_new(const char *directory, size_t memory_max);

SpillStore *__wrap_spill_store_new(const char *directory, size_t memory_max)
{
    static const size_t budgets[] = {0, 0, CHUNK_BYTES};
    uint32_t which = sim_below(ARRAY_LEN(budgets) + 1);
    return __real_spill_store_new(directory,
                                  which < ARRAY_LEN(budgets) ? budgets[which] : memory_max);
}

void __real_spill_free(Spill *spill);
void __wrap_spill_free(Spill *spill);

void __wrap_spill_free(Spill *spill)
{
    sim_seen.spilled += spill != NULL && spill_size_on_disk(spill) > 0;
    __real_spill_free(spill);
}
