/* cstack.c - walking the C stack; see cstack.h.
 *
 * A function is recognised by where its unwind region begins.  That needs
 * neither symbol sizes nor debug data and holds for glibc, musl and macOS
 * alike.  What it cannot see: static functions, which have no exported name,
 * and the part of a function that the compiler moved away as cold. */
#define _GNU_SOURCE
#include "cstack.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unwind.h>
#ifdef __linux__
#include <link.h>
#endif

enum { MAX_FRAMES = 128 };

/* The name by which the veto list asks for what fi_cstack_learn found. */
static const char frame_maker_name[] = "_PyFrame_New_NoTrack";

static void *evaluation;  /* _PyEval_EvalFrameDefault */
static void *frame_maker; /* NULL until it is learnt */

typedef struct {
    fi_cstack *cstack;
    unsigned found;
    int frames;
} fi_look;

static int
lies_in_extension(const fi_cstack *cstack, void *address)
{
    Dl_info info;
    if (dladdr(address, &info) == 0 || info.dli_fname == NULL) {
        return 0;
    }
    for (int i = 0; i < cstack->n_extensions; i++) {
        if (strcmp(info.dli_fname, cstack->extensions[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

static int
is_extension(fi_cstack *cstack, uintptr_t address)
{
    uint64_t hash = (uint64_t)address * UINT64_C(0x9E3779B97F4A7C15);
    _Atomic uintptr_t *slot = &cstack->seen[(hash >> 32) & (FI_SEEN_SLOTS - 1)];
    uintptr_t seen = atomic_load_explicit(slot, memory_order_relaxed);
    if (seen >> 1 != address) {
        seen = address << 1 | (uintptr_t)lies_in_extension(cstack, (void *)address);
        atomic_store_explicit(slot, seen, memory_order_relaxed);
    }
    return (int)(seen & 1);
}

static _Unwind_Reason_Code
look_at(struct _Unwind_Context *context, void *closure)
{
    fi_look *look = closure;
    void *start = (void *)(uintptr_t)_Unwind_GetRegionStart(context);
    if (start == evaluation || ++look->frames > MAX_FRAMES) {
        return _URC_END_OF_STACK;
    }
    fi_cstack *cstack = look->cstack;
    for (int i = 0; i < cstack->n_vetoed; i++) {
        if (start == cstack->vetoed[i]) {
            look->found |= FI_STACK_VETOED;
        }
    }
    /* Our own frames come first; they lie in no extension under test. */
    if (cstack->n_extensions > 0 && !(look->found & FI_STACK_EXTENSION) &&
        is_extension(cstack, (uintptr_t)_Unwind_GetIP(context))) {
        look->found |= FI_STACK_EXTENSION;
    }
    return _URC_NO_REASON;
}

unsigned
fi_cstack_look(fi_cstack *cstack)
{
    if (cstack->n_vetoed == 0 && cstack->n_extensions == 0) {
        return 0;
    }
    fi_look look = {.cstack = cstack};
    _Unwind_Backtrace(look_at, &look);
    return look.found;
}

static _Unwind_Reason_Code
take_at(struct _Unwind_Context *context, void *closure)
{
    fi_stack *stack = closure;
    int interrupted = 0;
    uintptr_t at = (uintptr_t)_Unwind_GetIPInfo(context, &interrupted);
    if (interrupted) {
        stack->n = 0; /* so far it was the handler's own */
        stack->interrupted = 1;
    }
    if (stack->n == FI_STACK_MAX) {
        return _URC_END_OF_STACK;
    }
    stack->at[stack->n++] = (void *)(at - !interrupted);
    void *start = (void *)(uintptr_t)_Unwind_GetRegionStart(context);
    return start == evaluation ? _URC_END_OF_STACK : _URC_NO_REASON;
}

void
fi_cstack_take(fi_stack *stack)
{
    stack->n = stack->interrupted = 0;
    _Unwind_Backtrace(take_at, stack);
}

fi_code_range fi_makers[FI_MAKERS];

/* Without symbol sizes (not glibc) the range stays empty: then a site may count
 * a hit that is vetoed later. */
static void
find_maker(fi_code_range *range, const char *name)
{
#if defined(__GLIBC__)
    Dl_info info;
    const ElfW(Sym) *entry = NULL;
    void *start = dlsym(RTLD_DEFAULT, name);
    if (start != NULL && dladdr1(start, &info, (void **)&entry, RTLD_DL_SYMENT) != 0 &&
        entry != NULL) {
        *range = (fi_code_range){(uintptr_t)start, entry->st_size};
    }
#else
    (void)range;
    (void)name;
#endif
}

/* How far beyond a call's frame address the return address of its function lies. */
typedef struct {
    void *caller; /* NULL: free */
    ptrdiff_t distance; /* 0: cannot be told */
} fi_beyond;

enum { MAX_BEYOND = 8 }; /* each maker calls from one or two places */
static fi_beyond beyond[MAX_BEYOND];

typedef struct {
    fi_beyond *learnt;
    const char *cfa;
    int inside; /* the last frame was that of the caller */
} fi_measure;

static _Unwind_Reason_Code
measure_at(struct _Unwind_Context *context, void *closure)
{
    fi_measure *measure = closure;
    const char *below = (const char *)(uintptr_t)_Unwind_GetCFA(context);
    void *ip = (void *)(uintptr_t)_Unwind_GetIP(context);
    if (measure->inside) {
        const char *at = below - sizeof(void *);
        /* Not so where the return address is kept elsewhere, or is signed. */
        if (*(void *const *)at == ip) {
            measure->learnt->distance = at - measure->cfa;
        }
        return _URC_END_OF_STACK;
    }
    measure->inside = ip == measure->learnt->caller && below == measure->cfa;
    return _URC_NO_REASON;
}

void *
fi_cstack_beyond(void *caller, const char *cfa)
{
    int i = 0;
    while (i < MAX_BEYOND && beyond[i].caller != NULL && beyond[i].caller != caller) {
        i++;
    }
    if (i == MAX_BEYOND) {
        return NULL;
    }
    if (beyond[i].caller == NULL) {
        beyond[i].caller = caller;
        _Unwind_Backtrace(measure_at, &(fi_measure){.learnt = &beyond[i], .cfa = cfa});
    }
    return beyond[i].distance != 0 ? *(void *const *)(cfa + beyond[i].distance) : NULL;
}

static PyMemAllocatorEx learning_from;
static void *gc_new;     /* what the frame maker calls, unless it was inlined */
static void *gets_frame; /* what calls the frame maker, unless more was inlined */

typedef struct {
    void *below; /* the function that was passed last */
    int passed;  /* the frame maker stands on the stack */
} fi_learn;

/* The function that the frame maker is, is the one that called gc_new; where that
 * is inlined, the one that PyThreadState_GetFrame called. */
static _Unwind_Reason_Code
learn_at(struct _Unwind_Context *context, void *closure)
{
    fi_learn *learn = closure;
    void *start = (void *)(uintptr_t)_Unwind_GetRegionStart(context);
    if (learn->below == gc_new && gc_new != NULL) {
        frame_maker = start;
    }
    else if (start == gets_frame) {
        frame_maker = learn->below;
    }
    learn->below = start;
    return frame_maker != NULL ? _URC_END_OF_STACK : _URC_NO_REASON;
}

static _Unwind_Reason_Code
pass_at(struct _Unwind_Context *context, void *closure)
{
    fi_learn *learn = closure;
    learn->passed |= (void *)(uintptr_t)_Unwind_GetRegionStart(context) == frame_maker;
    return learn->passed ? _URC_END_OF_STACK : _URC_NO_REASON;
}

static int makes_others;

static void *
learning_malloc(void *context, size_t size)
{
    fi_learn learn = {0};
    if (frame_maker == NULL) {
        _Unwind_Backtrace(learn_at, &learn);
    }
    else {
        _Unwind_Backtrace(pass_at, &learn);
        makes_others |= learn.passed;
    }
    return learning_from.malloc(context, size);
}

int
fi_cstack_learn(void)
{
    enum { LARGE = 100 }; /* items: more than a tuple from a free list has */
    gc_new = dlsym(RTLD_DEFAULT, "_PyObject_GC_NewVar");
    gets_frame = (void *)PyThreadState_GetFrame;
    frame_maker = NULL;
    PyMem_GetAllocator(PYMEM_DOMAIN_OBJ, &learning_from);
    PyMemAllocatorEx hook = learning_from;
    hook.malloc = learning_malloc;
    PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &hook);
    PyFrameObject *frame = PyThreadState_GetFrame(PyThreadState_Get()); /* makes it */
    /* Of all that is collected, a veto would leave nothing to fail. */
    PyObject *other = frame_maker != NULL ? PyTuple_New(LARGE) : NULL;
    PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &learning_from);
    Py_XDECREF(other);
    Py_XDECREF(frame);
    PyErr_Clear();
    /* Inlined into its caller it has no address of its own. */
    if (makes_others || frame_maker == gets_frame || frame_maker == (void *)fi_cstack_learn) {
        frame_maker = NULL;
    }
    return frame_maker != NULL;
}

void
fi_cstack_warm_up(void)
{
    fi_look look = {.cstack = &(fi_cstack){0}};
    evaluation = dlsym(RTLD_DEFAULT, "_PyEval_EvalFrameDefault");
    _Unwind_Backtrace(look_at, &look);
    find_maker(&fi_makers[0], "_PyObject_GC_New");
    find_maker(&fi_makers[1], "_PyObject_GC_NewVar");
    find_maker(&fi_makers[2], "PyType_GenericAlloc");
}

/* Where a function begins that is given by its name, or by just that; NULL if there is none. */
static void *
address_of(PyObject *function)
{
    if (PyLong_Check(function)) {
        return PyLong_AsVoidPtr(function);
    }
    const char *name = PyUnicode_AsUTF8(function);
    void *start = name != NULL ? dlsym(RTLD_DEFAULT, name) : NULL;
    return start == NULL && name != NULL && strcmp(name, frame_maker_name) == 0 ? frame_maker
                                                                                : start;
}

int
fi_cstack_init(fi_cstack *cstack, PyObject *vetoed, PyObject *extensions)
{
    Py_ssize_t n_vetoed = PyTuple_GET_SIZE(vetoed);
    Py_ssize_t n_extensions = PyTuple_GET_SIZE(extensions);
    cstack->vetoed = calloc((size_t)n_vetoed + 1, sizeof(void *));
    cstack->extensions = calloc((size_t)n_extensions + 1, sizeof(char *));
    if (cstack->vetoed == NULL || cstack->extensions == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < n_vetoed; i++) {
        void *start = address_of(PyTuple_GET_ITEM(vetoed, i));
        if (start == NULL && PyErr_Occurred()) {
            return -1;
        }
        if (start != NULL) { /* not every version has every function */
            cstack->any_unnamed |= PyLong_Check(PyTuple_GET_ITEM(vetoed, i));
            cstack->vetoed[cstack->n_vetoed++] = start;
        }
    }
    for (Py_ssize_t i = 0; i < n_extensions; i++) {
        const char *path = PyUnicode_AsUTF8(PyTuple_GET_ITEM(extensions, i));
        char *copy = path != NULL ? strdup(path) : NULL;
        if (copy == NULL) {
            return PyErr_Occurred() ? -1 : (PyErr_NoMemory(), -1);
        }
        cstack->extensions[cstack->n_extensions++] = copy;
    }
    return 0;
}

void
fi_cstack_clear(fi_cstack *cstack)
{
    for (int i = 0; i < cstack->n_extensions; i++) {
        free(cstack->extensions[i]);
    }
    free(cstack->extensions);
    free(cstack->vetoed);
    memset(cstack, 0, sizeof(*cstack));
}

static const char *
last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

PyObject *
fi_cstack_describe(void *address)
{
    Dl_info info;
    if (address == NULL || dladdr(address, &info) == 0 || info.dli_fname == NULL) {
        Py_RETURN_NONE;
    }
    /* dladdr names the nearest exported symbol below, which may end before the
     * address: then the function is a static one and has no name. */
    const char *symbol = info.dli_sname;
#if defined(__GLIBC__)
    const ElfW(Sym) *entry = NULL;
    if (symbol != NULL &&
        dladdr1(address, &info, (void **)&entry, RTLD_DL_SYMENT) != 0 && entry != NULL &&
        (char *)address > (char *)info.dli_saddr + entry->st_size) {
        symbol = NULL;
    }
#endif
    return Py_BuildValue("(ssn)", symbol != NULL ? symbol : "", last_part(info.dli_fname),
                         (Py_ssize_t)((char *)address - (char *)info.dli_fbase));
}

#ifdef __linux__
typedef struct {
    const char *name;
    size_t offset;
    void *found;
} fi_sought;

static int
seek(struct dl_phdr_info *info, size_t size, void *closure)
{
    (void)size;
    fi_sought *sought = closure;
    if (strcmp(last_part(info->dlpi_name), sought->name) != 0) {
        return 0;
    }
    sought->found = (void *)(info->dlpi_addr + sought->offset);
    return 1;
}
#endif

void *
fi_cstack_address(const char *name, size_t offset)
{
#ifdef __linux__
    fi_sought sought = {name, offset, NULL};
    dl_iterate_phdr(seek, &sought);
    if (sought.found == NULL) { /* the program itself goes by the name "" there */
        Dl_info info;
        if (evaluation != NULL && dladdr(evaluation, &info) != 0 && info.dli_fname != NULL &&
            strcmp(last_part(info.dli_fname), name) == 0) {
            return (char *)info.dli_fbase + offset;
        }
    }
    return sought.found;
#else
    (void)name;
    (void)offset;
    return NULL;
#endif
}
