/* event_ring.h - the faults that were injected, as the hook saw them.
 *
 * Here: a ring of fixed size; the oldest are overwritten and counted.
 * Not here: turning them into text (native/site.py, after disarming).
 *
 * A slot is claimed atomically, because the raw domain may fail on a thread
 * without the GIL.  Read it only while disarmed. */
#ifndef FAULTINJECT_EVENT_RING_H
#define FAULTINJECT_EVENT_RING_H

#include <Python.h>

#include <stdatomic.h>
#include <stdint.h>

enum { FI_RING_SIZE = 256 };

typedef struct {
    PyCodeObject *code; /* borrowed from the scope's cache; NULL if unknown */
    void *caller;
    uint64_t size;
    uint64_t thread; /* as threading.get_ident() */
    int lasti;
    int domain;
} fi_event;

typedef struct {
    fi_event slots[FI_RING_SIZE];
    _Atomic uint64_t total;
} fi_ring;

static inline void
fi_ring_add(fi_ring *ring, const fi_event *event)
{
    uint64_t number = atomic_fetch_add_explicit(&ring->total, 1, memory_order_relaxed);
    ring->slots[number % FI_RING_SIZE] = *event;
}

#endif
