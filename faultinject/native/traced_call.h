/* traced_call.h - what 3.11 makes for a tracer or a profiler at each call of a C method.
 *
 * Where either is active the interpreter binds the method anew, to show it to the profiler,
 * even if there is none.  Code that is not traced asks for no such memory, so it is nobody's.
 * From 3.12 on there is nothing of the kind. */
#ifndef FAULTINJECT_TRACED_CALL_H
#define FAULTINJECT_TRACED_CALL_H

#include <Python.h>

#if PY_VERSION_HEX < 0x030C0000

/* Walk the C stack from here: is this request one for such a method? */
int fi_is_for_traced_call(void);

/* The same, mostly without a walk, for a request whose frame address is `cfa`, and whose
 * caller is one of fi_makers: `beyond` is who called that. */
int fi_is_for_traced_call_at(const PyThreadState *state, const char *cfa, const void *beyond);

static inline int
fi_is_traced(const PyThreadState *state)
{
    return state->cframe->use_tracing;
}

#else

static inline int
fi_is_traced(const PyThreadState *state)
{
    (void)state;
    return 0;
}

static inline int
fi_is_for_traced_call(void)
{
    return 0;
}

static inline int
fi_is_for_traced_call_at(const PyThreadState *state, const char *cfa, const void *beyond)
{
    (void)state;
    (void)cfa;
    (void)beyond;
    return 0;
}

#endif
#endif
