/* traced_call.c - telling a method that is bound for a tracer from any other; see
 * traced_call.h. */
#define _GNU_SOURCE
#include "traced_call.h"

#if PY_VERSION_HEX < 0x030C0000

#include <dlfcn.h>
#include <stddef.h>
#include <unwind.h>

enum { MAX_FRAMES = 12 };

typedef struct {
    void *binds, *binds_simply, *evaluates;
    int frames;
    int bound; /* what binds methods has been passed */
    int found;
} fi_walk;

static int
is_exported(void *start)
{
    Dl_info info;
    return dladdr(start, &info) != 0 && info.dli_saddr == start;
}

/* Binding a method is what an attribute's look-up does, through functions that have exported
 * names.  Between it and the evaluation of a frame itself there are none but static ones. */
static _Unwind_Reason_Code
walk_at(struct _Unwind_Context *context, void *closure)
{
    fi_walk *walk = closure;
    void *start = (void *)(uintptr_t)_Unwind_GetRegionStart(context);
    if (start == walk->evaluates) {
        walk->found = walk->bound;
        return _URC_END_OF_STACK;
    }
    if (start == walk->binds || start == walk->binds_simply) {
        walk->bound = 1;
    } else if (walk->bound && is_exported(start)) {
        return _URC_END_OF_STACK;
    }
    return ++walk->frames < MAX_FRAMES ? _URC_NO_REASON : _URC_END_OF_STACK;
}

int
fi_is_for_traced_call(void)
{
    static void *binds, *binds_simply, *evaluates;
    if (evaluates == NULL) {
        binds = dlsym(RTLD_DEFAULT, "PyCMethod_New");
        binds_simply = dlsym(RTLD_DEFAULT, "PyCFunction_NewEx");
        evaluates = dlsym(RTLD_DEFAULT, "_PyEval_EvalFrameDefault");
    }
    fi_walk walk = {.binds = binds, .binds_simply = binds_simply, .evaluates = evaluates};
    if (evaluates != NULL) {
        _Unwind_Backtrace(walk_at, &walk);
    }
    return walk.found;
}

/* How far from the evaluation's own frame, where `cframe` lies, requests come from, and what
 * was found there: one way through C always takes as much of the stack. */
typedef struct {
    ptrdiff_t distance; /* 0: free */
    const void *beyond;
    int answer;
} fi_known;

enum { KNOWN = 64 };
static fi_known known[KNOWN];

int
fi_is_for_traced_call_at(const PyThreadState *state, const char *cfa, const void *beyond)
{
    ptrdiff_t distance = (const char *)state->cframe - cfa;
    fi_known *here = &known[(((size_t)distance >> 3) ^ ((uintptr_t)beyond >> 2)) % KNOWN];
    if (here->distance != distance || here->beyond != beyond) {
        *here = (fi_known){distance, beyond, fi_is_for_traced_call()};
    }
    return here->answer;
}

#else
typedef int fi_nothing_here; /* a file of C must not be empty */
#endif
