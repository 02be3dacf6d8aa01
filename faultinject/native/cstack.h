/* cstack.h - what stands on the C stack between a request and Python.
 *
 * Here: the veto (functions of CPython that do not survive a failure) and the
 * search for an extension under test.
 * Not here: which functions those are (native/veto.py).
 *
 * An unwind costs microseconds: only when a fault is about to strike, or at
 * the first request of a new site. */
#ifndef FAULTINJECT_CSTACK_H
#define FAULTINJECT_CSTACK_H

#include <Python.h>

enum {
    FI_STACK_VETOED = 1,
    FI_STACK_EXTENSION = 2,
};

typedef struct {
    void **vetoed; /* owned, libc: where the functions begin */
    int n_vetoed;
    char **extensions; /* owned, libc: paths of shared objects */
    int n_extensions;
} fi_cstack;

/* Read the names of functions and the paths of shared objects. */
int fi_cstack_init(fi_cstack *cstack, PyObject *vetoed, PyObject *extensions);
void fi_cstack_clear(fi_cstack *cstack);

/* Unwind from here to the innermost evaluation of Python code. */
unsigned fi_cstack_look(const fi_cstack *cstack);

/* Where PyObject_GC_New and its like are.  Everything that is collected comes from
 * there, what is vetoed and what is not: there the caller alone does not tell. */
typedef struct {
    uintptr_t start, size;
} fi_code_range;
extern fi_code_range fi_gc_makers[2];

static inline int
fi_is_gc_maker(const void *address)
{
    uintptr_t at = (uintptr_t)address;
    return at - fi_gc_makers[0].start < fi_gc_makers[0].size ||
           at - fi_gc_makers[1].start < fi_gc_makers[1].size;
}

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
