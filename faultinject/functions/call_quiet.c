/* call_quiet.c - where in C the interpreter asks for memory because calls are seen.
 *
 * Those requests are nobody's: fail_pymem leaves alone what is asked for beneath such a
 * function (native/cstack.h), so that a call is not failed because somebody looks at it. We
 * ourselves ask for none (call_standin.c). */
#define _GNU_SOURCE
#include "call_hook.h"

#include <dlfcn.h>
#include <unwind.h>

/* What the interpreter calls to tell tools of an event; it makes an int of the offset.
 * It has no exported name. NULL: not known, or part of another function. */
static void *instrumenter;

#if PY_VERSION_HEX >= 0x030C0000
typedef struct {
    void *evaluation, *last;
    int frames;
} Look;

static _Unwind_Reason_Code
look_at(struct _Unwind_Context *context, void *closure)
{
    Look *look = closure;
    void *start = (void *)(uintptr_t)_Unwind_GetRegionStart(context);
    if (start == look->evaluation) {
        instrumenter = look->last;
        return _URC_END_OF_STACK;
    }
    look->last = start;
    return ++look->frames < 16 ? _URC_NO_REASON : _URC_END_OF_STACK;
}

/* Find it out from within the callback: it stands between that and the evaluation of a frame. */
void
fi_learn_quiet(PyObject *module)
{
    static int has_looked;
    if (has_looked)
        return;
    has_looked = 1;
    Look look = {.evaluation = dlsym(RTLD_DEFAULT, "_PyEval_EvalFrameDefault")};
    if (!look.evaluation)
        return;
    _Unwind_Backtrace(look_at, &look);
    PyObject *callback = PyObject_GetAttrString(module, "on_call");
    if (!callback)
        PyErr_Clear();
    /* Inlined into the evaluation? Then this is what calls all other functions as well. */
    if (!callback || instrumenter == (void *)(uintptr_t)PyVectorcall_Function(callback))
        instrumenter = NULL;
    Py_XDECREF(callback);
}
#endif

/* The addresses of such functions. */
PyObject *
fi_quiet(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return instrumenter ? Py_BuildValue("(N)", PyLong_FromVoidPtr(instrumenter)) : PyTuple_New(0);
}
