/* frame_compat.h - the running frames, as each CPython version keeps them.
 *
 * Here: the only file that knows CPython's private structures: where the
 * innermost frame is, which frames count, and their code and offset.
 * Not here: whose code a frame is (scope.h).
 *
 * Nothing here allocates, raises, or touches a reference count, because it
 * runs inside the allocator.  The structures change with every minor version;
 * the file name of the built module carries that version, and
 * native/core.py compares a walk with sys._getframe before it trusts any of
 * this.  Tested on 3.11, 3.12 and 3.13; written for 3.14, refused there. */
#ifndef FAULTINJECT_FRAME_COMPAT_H
#define FAULTINJECT_FRAME_COMPAT_H

#include <Python.h>

#if PY_VERSION_HEX < 0x030B0000
#error "faultinject needs CPython 3.11 or newer"
#endif

/* CPython's own headers are not clean under -Wextra. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#ifndef Py_BUILD_CORE_MODULE
#define Py_BUILD_CORE_MODULE 1
#endif
#ifndef Py_BUILD_CORE
#define Py_BUILD_CORE 1
#endif
#include <internal/pycore_frame.h>
#include <opcode.h>
#if PY_VERSION_HEX < 0x030D0000
#include <internal/pycore_code.h>
#endif
#if PY_VERSION_HEX >= 0x030E0000
#include <internal/pycore_interpframe.h>
#endif
#pragma GCC diagnostic pop

typedef struct _PyInterpreterFrame fi_frame;

/* The thread's state, or NULL if this thread does not hold the GIL now.
 *
 * From 3.12 on the getter is thread-local.  On 3.11 it is one variable of the
 * process and shows the state of whoever holds the GIL: the raw domain, which
 * may run without it, has to compare with the thread's own. */
static inline PyThreadState *
fi_thread_state(int may_lack_gil)
{
#if PY_VERSION_HEX >= 0x030D0000
    (void)may_lack_gil;
    return PyThreadState_GetUnchecked();
#else
    PyThreadState *state = _PyThreadState_UncheckedGet();
#if PY_VERSION_HEX < 0x030C0000
    if (may_lack_gil && state != NULL && state != PyGILState_GetThisThreadState()) {
        return NULL;
    }
#else
    (void)may_lack_gil;
#endif
    return state;
#endif
}

static inline fi_frame *
fi_innermost(PyThreadState *state)
{
#if PY_VERSION_HEX >= 0x030D0000
    return state->current_frame;
#else
    return state->cframe != NULL ? state->cframe->current_frame : NULL;
#endif
}

static inline fi_frame *
fi_outer(fi_frame *frame)
{
    return frame->previous;
}

/* What the frame runs, as it stands there: a code object, or what marks a shim
 * between C and Python.  Good only to be compared. */
static inline const void *
fi_frame_runs(fi_frame *frame)
{
#if PY_VERSION_HEX >= 0x030E0000
    return PyStackRef_AsPyObjectBorrow(frame->f_executable);
#elif PY_VERSION_HEX >= 0x030D0000
    return frame->f_executable;
#else
    return frame->f_code;
#endif
}

enum fi_frame_kind {
    FI_FRAME_SHIM,    /* the interpreter puts it between C and Python */
    FI_FRAME_STARTING, /* not yet at its RESUME: no traceback shows it */
    FI_FRAME_COUNTS,
};

/* Give the code and offset (f_lasti, in bytes) of a frame that counts: one that
 * a traceback would show.  Of one that is starting, the code alone. */
static inline enum fi_frame_kind
fi_frame_place(fi_frame *frame, PyCodeObject **code, int *lasti)
{
#if PY_VERSION_HEX >= 0x030E0000
    if (frame->owner >= FRAME_OWNED_BY_INTERPRETER) {
        return FI_FRAME_SHIM;
    }
    PyObject *running = PyStackRef_AsPyObjectBorrow(frame->f_executable);
    if (running == NULL || !PyCode_Check(running)) {
        return FI_FRAME_SHIM;
    }
    PyCodeObject *co = (PyCodeObject *)running;
    _Py_CODEUNIT *at = frame->instr_ptr;
#elif PY_VERSION_HEX >= 0x030D0000
    if (frame->owner == FRAME_OWNED_BY_CSTACK || frame->f_executable == NULL ||
        !PyCode_Check(frame->f_executable)) {
        return FI_FRAME_SHIM;
    }
    PyCodeObject *co = (PyCodeObject *)frame->f_executable;
    _Py_CODEUNIT *at = frame->instr_ptr;
#else
#if PY_VERSION_HEX >= 0x030C0000
    if (frame->owner == FRAME_OWNED_BY_CSTACK) {
        return FI_FRAME_SHIM;
    }
#endif
    PyCodeObject *co = frame->f_code;
    if (co == NULL) {
        return FI_FRAME_SHIM;
    }
    _Py_CODEUNIT *at = frame->prev_instr;
#endif
    _Py_CODEUNIT *first = _PyCode_CODE(co);
    *code = co;
    if (frame->owner != FRAME_OWNED_BY_GENERATOR && at < first + co->_co_firsttraceable) {
        return FI_FRAME_STARTING;
    }
    *lasti = (int)((char *)at - (char *)first);
    return FI_FRAME_COUNTS;
}

/* Whether what the innermost frame does just now must not fail.
 *
 * Before 3.13 that is to make a cell when it starts: the way out forgets the frame's
 * stack top, and so leaks all of its arguments.  From 3.12 on it is RESUME, where the
 * code is prepared anew for whoever monitors it: a matter of tools, and once per code
 * after each of their changes, so that no other run does the same. */
static inline int
fi_frame_vetoes(fi_frame *frame)
{
    PyCodeObject *code = NULL;
    int lasti = 0;
    enum fi_frame_kind kind = FI_FRAME_SHIM;
    for (; frame != NULL; frame = fi_outer(frame)) {
        kind = fi_frame_place(frame, &code, &lasti);
        if (kind != FI_FRAME_SHIM) {
            break;
        }
    }
#if PY_VERSION_HEX < 0x030D0000
    if (kind == FI_FRAME_STARTING) {
        return frame->prev_instr >= _PyCode_CODE(code) &&
               _Py_OPCODE(*frame->prev_instr) == MAKE_CELL;
    }
#endif
#if PY_VERSION_HEX >= 0x030C0000
    if (kind == FI_FRAME_COUNTS && lasti >= 0) {
        int at = _PyCode_CODE(code)[lasti / (int)sizeof(_Py_CODEUNIT)].op.code;
#ifdef RESUME_CHECK
        if (at == RESUME_CHECK) { /* that it has specialized, and is about to undo */
            return 1;
        }
#endif
        return at == RESUME || at == INSTRUMENTED_RESUME;
    }
#endif
    return 0;
}

#endif
