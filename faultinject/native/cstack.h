/* cstack.h - what stands on the C stack between a request and Python.
 *
 * Here: the veto (functions of CPython that do not survive a failure) and the
 * search for an extension under test.
 * Not here: which functions those are (native/veto.py).
 *
 * An unwind costs microseconds: only when a fault is about to strike, at the
 * first request of a new site, and where an extension under test has a site. */
#ifndef FAULTINJECT_CSTACK_H
#define FAULTINJECT_CSTACK_H

#include <Python.h>

#include <stdatomic.h>
#include <stdint.h>

enum {
    FI_STACK_VETOED = 1,
    FI_STACK_EXTENSION = 2,
};

enum { FI_SEEN_SLOTS = 512 }; /* a power of two */

typedef struct {
    void **vetoed; /* owned, libc: where the functions begin */
    int n_vetoed;
    int any_unnamed; /* of the vetoed ones: they ask for ints, as everybody does */
    char **extensions; /* owned, libc: paths of shared objects */
    int n_extensions;
    /* Addresses that were looked up, each with the answer in its lowest bit: dladdr
     * reads a whole symbol table.  Atomic, because the raw domain asks on any thread. */
    _Atomic uintptr_t seen[FI_SEEN_SLOTS];
} fi_cstack;

/* Read the names of functions and the paths of shared objects. */
int fi_cstack_init(fi_cstack *cstack, PyObject *vetoed, PyObject *extensions);
void fi_cstack_clear(fi_cstack *cstack);

/* Unwind from here to the innermost evaluation of Python code. */
unsigned fi_cstack_look(fi_cstack *cstack);

/* A C stack: the innermost frames of it, as far as to the evaluation of Python code.
 * Each address lies in the call instruction, or is where a signal interrupted. */
enum { FI_STACK_MAX = 40 };
typedef struct {
    int n;
    int interrupted; /* a signal's frame was passed */
    void *at[FI_STACK_MAX];
} fi_stack;

/* Take the stack that this is called on.  In a signal handler it begins at what
 * the signal interrupted.  Takes no memory; warm up before. */
void fi_cstack_take(fi_stack *stack);

/* Where PyObject_GC_New and its like are.  Objects of most types come from there,
 * what is vetoed and what is not: there the caller alone does not tell. */
typedef struct {
    uintptr_t start, size;
} fi_code_range;
enum { FI_MAKERS = 3 };
extern fi_code_range fi_makers[FI_MAKERS];

static inline int
fi_is_maker(const void *address)
{
    uintptr_t at = (uintptr_t)address;
    int found = 0;
    for (int i = 0; i < FI_MAKERS; i++) {
        found |= at - fi_makers[i].start < fi_makers[i].size;
    }
    return found;
}

/* Who called the function of CPython's that asks, such as PyObject_GC_New: NULL if
 * that cannot be told.  Unwound at the first request from each caller; from then on
 * one load, because between a call and its function's own return address lies always
 * the same distance.  With the GIL held.
 *
 * caller: where in that function the allocator was called.
 * cfa: the canonical frame address of the function that was called there. */
void *fi_cstack_beyond(void *caller, const char *cfa);

/* Describe an address as (symbol, shared object, offset in it), or None. */
PyObject *fi_cstack_describe(void *address);

/* The address at an offset in a loaded shared object, named by its last path
 * part; NULL if there is none such. */
void *fi_cstack_address(const char *name, size_t offset);

/* Find out where the interpreter makes frame objects, which no exported name
 * tells.  Call it from a Python function that is running for the first time
 * and has no frame object yet; returns whether it was found. */
int fi_cstack_learn(void);

/* Find the evaluation loop, and make the unwinder load what it needs. */
void fi_cstack_warm_up(void);

#endif
