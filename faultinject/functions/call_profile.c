/* call_profile.c - how calls are seen on 3.11: those of C functions by the profile function,
 * those of Python functions where their frames are evaluated.
 *
 * From 3.12 on there is nothing here: see on_call in _call_hook.c. */
#include "call_hook.h"

#if PY_VERSION_HEX < 0x030C0000

/* The first part of 3.11's struct _PyInterpreterFrame, which will not change any more. */
typedef struct _PyInterpreterFrame {
    PyFunctionObject *function;
    PyObject *globals, *builtins, *names;
    PyCodeObject *code;
    PyFrameObject *frame_object;
    struct _PyInterpreterFrame *previous;
    uint16_t *previous_instruction;
    int stack_top;
    char is_entry, owner;
    PyObject *locals[1];
} Frame;

#define OWNED_BY_THREAD 0 /* and not by a generator that goes on */

/* The frames of this thread that are inside a C function, the innermost last: a class that is
 * called from there is no call of the frame's own. */
#define DEEPEST 64
static _Thread_local PyFrameObject *inside_c[DEEPEST];
static _Thread_local int deep;

int
fi_is_inside_c(void)
{
    return deep > 0 && deep <= DEEPEST && inside_c[deep - 1] == PyEval_GetFrame();
}

static int
profile(PyObject *Py_UNUSED(self), PyFrameObject *frame, int what, PyObject *arg)
{
    if ((what == PyTrace_C_RETURN || what == PyTrace_C_EXCEPTION) && deep > 0)
        deep--;
    if (what != PyTrace_C_CALL)
        return 0;
    if (deep < DEEPEST)
        inside_c[deep] = frame;
    deep++;
    if (fi_asking)
        return 0;
    if (fi_awaited)
        fi_retire_stale(PyThreadState_Get(), 0);
    int index = fi_find(&fi_callables, fi_key_of(arg));
    if (index < 0)
        return 0;
    return fi_arrange(index, arg, NULL);
}

/* Give a function that begins other arguments; 0 is success. */
static int
change_locals(Frame *frame, PyObject *change)
{
    Py_ssize_t count = frame->code->co_argcount;
    PyObject *given = PyTuple_New(count);
    if (!given)
        return -1;
    for (Py_ssize_t i = 0; i < count; i++)
        PyTuple_SET_ITEM(given, i, Py_NewRef(frame->locals[i] ? frame->locals[i] : Py_None));
    PyObject *changed = PyObject_CallOneArg(change, given);
    Py_DECREF(given);
    if (!changed)
        return -1;
    for (Py_ssize_t i = 0; PyTuple_Check(changed) && i < PyTuple_GET_SIZE(changed) && i < count; i++)
        Py_XSETREF(frame->locals[i], Py_NewRef(PyTuple_GET_ITEM(changed, i)));
    Py_DECREF(changed);
    return 0;
}

static PyObject *
evaluate(PyThreadState *thread, Frame *frame, int throws)
{
    int index = frame->owner != OWNED_BY_THREAD || throws
                    ? -1
                    : fi_find(&fi_callables, (uintptr_t)frame->function);
    if (index < 0)
        return _PyEval_EvalFrameDefault(thread, frame, throws);
    PyObject *payload = NULL, *changed;
    enum act act = ACT_RAISE;
    int answer = fi_ask(index, (PyObject *)frame->function, frame->locals,
                     (size_t)frame->code->co_argcount, NULL, &act, &payload);
    if (answer < 0)
        return NULL;
    if (answer == 0 && act == ACT_ARGUMENTS && change_locals(frame, payload) < 0) {
        Py_DECREF(payload);
        return NULL;
    }
    PyObject *result = NULL;
    if (answer > 0 || act == ACT_ARGUMENTS || act == ACT_AFTER || act == ACT_RESULT) {
        result = _PyEval_EvalFrameDefault(thread, frame, 0);
        if (result && answer == 0 && act == ACT_RESULT) {
            changed = PyObject_CallOneArg(payload, result);
            Py_SETREF(result, changed);
        }
        else if (result && answer == 0 && act == ACT_AFTER) {
            fi_drop_unseen(result);
            result = fi_raise_error(payload);
        }
    }
    else {
        result = act == ACT_RETURN ? Py_NewRef(payload) : fi_raise_error(payload);
    }
    Py_XDECREF(payload);
    return result;
}

/* Whether somebody else evaluates frames. */
PyObject *
fi_is_evaluated(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    _PyFrameEvalFunction now = _PyInterpreterState_GetEvalFrameFunc(PyInterpreterState_Get());
    return PyBool_FromLong(now != _PyEval_EvalFrameDefault && now != evaluate);
}

PyObject *
fi_start_evaluating(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    _PyInterpreterState_SetEvalFrameFunc(PyInterpreterState_Get(), evaluate);
    Py_RETURN_NONE;
}

PyObject *
fi_stop_evaluating(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    PyInterpreterState *interpreter = PyInterpreterState_Get();
    if (_PyInterpreterState_GetEvalFrameFunc(interpreter) == evaluate)
        _PyInterpreterState_SetEvalFrameFunc(interpreter, _PyEval_EvalFrameDefault);
    Py_RETURN_NONE;
}

/* In every thread. */
PyObject *
fi_start_profile(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    PyThreadState *thread = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; thread; thread = PyThreadState_Next(thread)) {
        if (thread->c_profilefunc == NULL && _PyEval_SetProfile(thread, profile, NULL) < 0)
            return NULL;
    }
    Py_RETURN_NONE;
}

PyObject *
fi_profile_this_thread(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    deep = 0;
    PyEval_SetProfile(profile, NULL);
    Py_RETURN_NONE;
}

PyObject *
fi_stop_profile(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    PyThreadState *thread = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; thread; thread = PyThreadState_Next(thread)) {
        if (thread->c_profilefunc == profile && _PyEval_SetProfile(thread, NULL, NULL) < 0)
            return NULL;
    }
    Py_RETURN_NONE;
}

/* Whether this thread is profiled by us: somebody else may have taken our place. */
PyObject *
fi_is_profiling(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(PyThreadState_Get()->c_profilefunc == profile);
}

#else
typedef int nothing_here; /* a file of C must not be empty */
#endif
