/* attr.h - the rule: whether one call fails.
 *
 * Here: the C mirror of faultinject/engine/attr.py, in the order of Linux 6.6
 * should_fail_ex(), held to it by tests/vectors/should_fail.toml.
 * Not here: which calls are eligible (hooks.c), messages (Python prints them
 * after the fact: nothing may be printed from inside an allocator).
 *
 * No Python.h: the raw domain asks without the GIL, from any thread.  What
 * changes while armed is therefore atomic; relaxed, as no other memory hangs
 * on these numbers. */
#ifndef FAULTINJECT_ATTR_H
#define FAULTINJECT_ATTR_H

#include <stdatomic.h>
#include <stdint.h>

/* As faultinject.engine.attr.Decision, in the same order of meaning. */
enum fi_decision {
    FI_FAIL,
    FI_FAIL_NTH,
    FI_COUNTED,    /* fail_nth has not yet come to its call */
    FI_OFF,        /* probability is 0 */
    FI_NOT_MARKED, /* task_filter is set, the task is not made to fail */
    FI_EXHAUSTED,  /* times is 0 */
    FI_FILTERED,   /* the stack filter refuses its callers */
    FI_IN_BUDGET,  /* space is not yet used up */
    FI_OFF_BEAT,   /* interval skips it */
    FI_SPARED,     /* the draw spares it */
};

typedef struct {
    uint64_t probability; /* percent; 100 and above always fail */
    uint64_t interval;    /* 0 is as 1 */
    int task_filter;
    int shared;           /* several threads are charged: counting needs locked instructions */
    atomic_int marked;    /* the task's make_it_fail, handed in by Python */
    _Atomic int64_t times; /* failures left; -1 is no limit */
    _Atomic int64_t space;
    _Atomic uint64_t count; /* what interval has counted; never reset */
    _Atomic int64_t nth;    /* fail_nth: calls to come, 0 is none */
    _Atomic uint64_t prng;  /* state of splitmix64; the seed at first */
} fi_attr;

/* The answer of the stack filter; a null pointer permits everything. */
typedef int (*fi_permits)(void *closure);
/* Draws 0 to 99 in place of the seeded stream; a null pointer for the stream. */
typedef unsigned (*fi_draw)(void *closure);

/* faultinject.prng.Prng.next: splitmix64.  One atomic step per draw, so two
 * threads never get the same number. */
static inline uint64_t
fi_attr_next(fi_attr *attr)
{
    const uint64_t step = UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = atomic_fetch_add_explicit(&attr->prng, step, memory_order_relaxed) + step;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* faultinject.prng.Prng.roll: 0 to 99, each equally likely. */
static inline unsigned
fi_attr_roll(fi_attr *attr)
{
    for (;;) {
        uint64_t drawn = fi_attr_next(attr) >> 32;
        if (drawn < UINT64_C(4294967200)) {
            return (unsigned)(drawn % 100);
        }
    }
}

/* Count the countdown of fail_nth down; the call that takes it to 0 fails. */
static inline int
fi_attr_count_down(fi_attr *attr)
{
    int64_t left = atomic_load_explicit(&attr->nth, memory_order_relaxed);
    while (left > 0) {
        if (atomic_compare_exchange_weak_explicit(&attr->nth, &left, left - 1,
                                                  memory_order_relaxed, memory_order_relaxed)) {
            return left == 1;
        }
    }
    return 0;
}

/* Take size from space if that is strictly greater: then the call passes. */
static inline int
fi_attr_within_budget(fi_attr *attr, int64_t size)
{
    int64_t space = atomic_load_explicit(&attr->space, memory_order_relaxed);
    if (!attr->shared && space > size) {
        atomic_store_explicit(&attr->space, space - size, memory_order_relaxed);
        return 1;
    }
    while (space > size) {
        if (atomic_compare_exchange_weak_explicit(&attr->space, &space, space - size,
                                                  memory_order_relaxed, memory_order_relaxed)) {
            return 1;
        }
    }
    return 0;
}

/* Count the call for interval; 0 if it is off the beat. */
static inline int
fi_attr_on_beat(fi_attr *attr)
{
    uint64_t count;
    if (attr->shared) {
        count = atomic_fetch_add_explicit(&attr->count, 1, memory_order_relaxed) + 1;
    } else {
        count = atomic_load_explicit(&attr->count, memory_order_relaxed) + 1;
        atomic_store_explicit(&attr->count, count, memory_order_relaxed);
    }
    return count >= attr->interval && count % attr->interval == 0; /* a division is slow */
}

/* Decide one call.  Everything but `times` is charged here; `times` by
 * fi_attr_charge, once it is certain that the fault strikes. */
__attribute__((always_inline)) static inline enum fi_decision
fi_attr_decide(fi_attr *attr, int64_t size, fi_permits permits, void *permits_closure,
               fi_draw draw, void *draw_closure)
{
    /* One place that asks the filter, so that it is inlined where it is known. */
    int by_nth = atomic_load_explicit(&attr->nth, memory_order_relaxed) > 0;
    if (!by_nth) {
        if (attr->probability == 0) {
            return FI_OFF;
        }
        if (attr->task_filter && !atomic_load_explicit(&attr->marked, memory_order_relaxed)) {
            return FI_NOT_MARKED;
        }
        if (atomic_load_explicit(&attr->times, memory_order_relaxed) == 0) {
            return FI_EXHAUSTED;
        }
    }
    if (permits != 0 && !permits(permits_closure)) {
        return FI_FILTERED;
    }
    if (by_nth) {
        return fi_attr_count_down(attr) ? FI_FAIL_NTH : FI_COUNTED;
    }
    if (fi_attr_within_budget(attr, size)) {
        return FI_IN_BUDGET;
    }
    if (attr->interval > 1 && !fi_attr_on_beat(attr)) {
        return FI_OFF_BEAT;
    }
    /* The draw is made even at 100 percent, as the reference makes it. */
    if (attr->probability <= (draw != 0 ? draw(draw_closure) : fi_attr_roll(attr))) {
        return FI_SPARED;
    }
    return FI_FAIL;
}

/* Take one from `times`.  Returns 0 if another thread took the last one since
 * the decision; a countdown needs none. */
static inline int
fi_attr_charge(fi_attr *attr, enum fi_decision decision)
{
    int64_t times = atomic_load_explicit(&attr->times, memory_order_relaxed);
    for (;;) {
        if (times == 0) {
            return decision == FI_FAIL_NTH;
        }
        if (times == -1 ||
            atomic_compare_exchange_weak_explicit(&attr->times, &times, times - 1,
                                                  memory_order_relaxed, memory_order_relaxed)) {
            return 1;
        }
    }
}

/* The call may not fail after all (a veto): the countdown's turn goes to the
 * next call, so that a fail_nth is never lost. */
static inline void
fi_attr_pass_on(fi_attr *attr, enum fi_decision decision)
{
    if (decision == FI_FAIL_NTH) {
        atomic_fetch_add_explicit(&attr->nth, 1, memory_order_relaxed);
    }
}

#endif
