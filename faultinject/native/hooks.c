/* hooks.c - what CPython calls in place of its own allocators.
 *
 * Here: the wrappers of the three domains and of the arenas, one set for each
 * mode, so that no hot path asks which mode it is in.
 * Not here: what a mode decides (modes.h), installing them (install.c).
 *
 * free is never replaced: the interpreter's own pointer and context stay in
 * the structure.  The hooks ignore the context, so that a structure that
 * another thread sees half written is good in every mixture of old and new. */
#include "modes.h"

/* initial-exec: read with one instruction, and never allocated by the dynamic
 * linker at a thread's first touch, which could be inside malloc. */
#if defined(__ELF__)
_Thread_local fi_thread fi_here __attribute__((tls_model("initial-exec")));
#else
_Thread_local fi_thread fi_here;
#endif
fi_live fi_now;
PyMemAllocatorEx fi_saved[FI_ARENA];
PyObjectArenaAllocator fi_saved_arena;

static inline int
counts(const fi_arming *arming, int domain, size_t size)
{
    const fi_sizes *sizes = &arming->sizes[domain];
    return sizes->on && size - sizes->min <= sizes->span;
}

/* One set of wrappers.
 *
 * A request inside another one (pymalloc hands blocks above 512 bytes and its
 * own shortages to the raw domain) is part of it: one request, one fault point.
 * Only where an arena has just failed does it fail too; pymalloc would serve
 * the request from the raw domain, and no arena fault would ever be seen.
 *
 * realloc of a block counts whether it grows or shrinks: no domain tells the
 * size of a block, and pymalloc itself may fail to shrink, since it copies. */
#define WRAP(MODE, DOMAIN, NAME, PARAMETERS, SIZE, CALL)                                          \
    static void *MODE##_##DOMAIN##_##NAME PARAMETERS                                              \
    {                                                                                             \
        fi_thread *here = &fi_here;                                                               \
        const PyMemAllocatorEx *next = &fi_saved[FI_##DOMAIN];                                       \
        (void)context;                                                                            \
        if (UNLIKELY(here->busy)) {                                                               \
            return here->starved ? NULL : next->CALL;                                             \
        }                                                                                         \
        if (UNLIKELY(fi_now.owner != here && !fi_now.everyone)) {                                 \
            return next->CALL;                                                                    \
        }                                                                                         \
        fi_arming *arming = fi_now.arming;                                                        \
        if (LIKELY(arming != NULL) && counts(arming, FI_##DOMAIN, SIZE) &&                                                  \
            MODE##_fails(arming, FI_##DOMAIN, SIZE, __builtin_return_address(0),                  \
                         __builtin_dwarf_cfa())) {                                                \
            return NULL;                                                                          \
        }                                                                                         \
        here->busy = 1;                                                                           \
        void *block = next->CALL;                                                                 \
        here->busy = here->starved = 0;                                                           \
        return block;                                                                             \
    }

#define WRAP_DOMAIN(MODE, DOMAIN)                                                                 \
    WRAP(MODE, DOMAIN, malloc, (void *context, size_t size), size, malloc(next->ctx, size))       \
    WRAP(MODE, DOMAIN, calloc, (void *context, size_t n, size_t each), n *each,                   \
         calloc(next->ctx, n, each))                                                              \
    WRAP(MODE, DOMAIN, realloc, (void *context, void *old, size_t size), size,                    \
         realloc(next->ctx, old, size))

/* An arena inside a request of ours ignores that it is inside: it is the one
 * request of that kind, and the outer one's size does not count. */
#define WRAP_ARENA(MODE)                                                                          \
    static void *MODE##_ARENA_alloc(void *context, size_t size)                                   \
    {                                                                                             \
        fi_thread *here = &fi_here;                                                               \
        (void)context;                                                                            \
        fi_arming *arming = fi_now.arming;                                                        \
        if ((fi_now.owner == here || fi_now.everyone) && arming != NULL &&                        \
            counts(arming, FI_ARENA, size) &&                                                     \
            MODE##_fails(arming, FI_ARENA, size, __builtin_return_address(0),                     \
                         __builtin_dwarf_cfa())) {                                                \
            here->starved = here->busy;                                                           \
            return NULL;                                                                          \
        }                                                                                         \
        return fi_saved_arena.alloc(fi_saved_arena.ctx, size);                                          \
    }

#define WRAP_MODE(MODE)                                                                           \
    WRAP_DOMAIN(MODE, RAW)                                                                        \
    WRAP_DOMAIN(MODE, MEM)                                                                        \
    WRAP_DOMAIN(MODE, OBJ)                                                                        \
    WRAP_ARENA(MODE)

WRAP_MODE(RULE)
WRAP_MODE(FILTERED)
WRAP_MODE(CENSUS)
WRAP_MODE(STRIKE)

#define WRAPPERS(MODE, DOMAIN)                                                                    \
    [FI_##DOMAIN] = {MODE##_##DOMAIN##_malloc, MODE##_##DOMAIN##_calloc, MODE##_##DOMAIN##_realloc}
#define WRAPPERS_OF(MODE)                                                                         \
    [FI_MODE_##MODE] = {WRAPPERS(MODE, RAW), WRAPPERS(MODE, MEM), WRAPPERS(MODE, OBJ)}

const fi_wrappers fi_wrappers_of[FI_MODES][FI_ARENA] = {
    WRAPPERS_OF(RULE), WRAPPERS_OF(FILTERED), WRAPPERS_OF(CENSUS), WRAPPERS_OF(STRIKE)};
void *(*const fi_arena_wrapper_of[FI_MODES])(void *, size_t) = {
    [FI_MODE_RULE] = RULE_ARENA_alloc,
    [FI_MODE_FILTERED] = FILTERED_ARENA_alloc,
    [FI_MODE_CENSUS] = CENSUS_ARENA_alloc,
    [FI_MODE_STRIKE] = STRIKE_ARENA_alloc};
