/* hooks.h - putting an arming into force, and taking it out.
 *
 * Here: the process's state and the swap of the allocators.
 * Not here: what a hook does (hooks.c), the order of nested armings
 * (native/arming.py). */
#ifndef FAULTINJECT_HOOKS_H
#define FAULTINJECT_HOOKS_H

#include "arming.h"

/* What is in force.  Read by every hook, written only with the GIL held. */
typedef struct {
    fi_thread *owner;  /* whose requests count; NULL while gated off */
    int everyone;      /* everybody's requests count */
    fi_arming *arming; /* owned while in force */
} fi_live;

extern fi_live fi_now;
extern _Thread_local fi_thread fi_here;

/* The allocators that ours lie on.  Never cleared: a call may outlive the arming. */
extern PyMemAllocatorEx fi_saved[FI_ARENA];
extern PyObjectArenaAllocator fi_saved_arena;

typedef struct {
    void *(*malloc)(void *, size_t);
    void *(*calloc)(void *, size_t, size_t);
    void *(*realloc)(void *, void *, size_t);
} fi_wrappers;

extern const fi_wrappers fi_wrappers_of[FI_MODES][FI_ARENA];
extern void *(*const fi_arena_wrapper_of[FI_MODES])(void *, size_t);

/* Remember the allocators that the interpreter has before we touch any. */
void fi_hooks_init(void);

/* Install the hooks of the arming's mode.  Returns 0, or -1 if a hook of ours
 * still lies under somebody else's from last time; then nothing was done. */
int fi_hooks_install(fi_arming *arming);

/* Put the saved allocators back.  A domain on which somebody stacked another
 * hook keeps ours, gated off; returns the set of those, one bit each. */
unsigned fi_hooks_remove(void);

/* Take out what the last removal had to leave, as far as that is possible now;
 * returns what is still left. */
unsigned fi_hooks_settle(void);

/* The domains in which somebody put another hook on top of ours, one bit each. */
unsigned fi_hooks_covered(void);

/* Begin a stretch in which nothing counts, whatever is or gets armed, or end one.
 * They nest. */
void fi_hooks_pause(int begins);

#endif
