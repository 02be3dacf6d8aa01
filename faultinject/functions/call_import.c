/* call_import.c - `import x` is no call, and so no event.
 *
 * It calls builtins.__import__, if that is not the interpreter's own: so one of ours takes its
 * place as long as somebody watches it, hands on what it is given, and leaves no frame in a
 * traceback. Not here: which imports fail (imports.py), calls of __import__ by a name that
 * somebody has kept (they are ordinary ones). */
#include "call_hook.h"

static PyObject *import_standin(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);

static PyMethodDef standin_def = {
    "__import__", (PyCFunction)(void (*)(void))import_standin, METH_FASTCALL | METH_KEYWORDS, NULL};

static int
is_standin(PyObject *callable)
{
    return PyCFunction_Check(callable) && ((PyCFunctionObject *)callable)->m_ml == &standin_def;
}

/* `self` is what it stands in for: somebody may keep a stand-in that is in force no more. */
static PyObject *
import_standin(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwnames)
{
    return fi_call_asking(fi_find(&fi_callables, fi_key_of(self)), PyVectorcall_Function(self), self,
                          args, (size_t)count, kwnames);
}

PyObject *
fi_original(PyObject *Py_UNUSED(module), PyObject *callable)
{
    while (is_standin(callable))
        callable = PyCFunction_GET_SELF(callable);
    return Py_NewRef(callable);
}

/* Stand in for builtins.__import__ if it is watched now, else no longer; 0 is success. A
 * replacement that somebody put over ours is left alone, and so is one that is written in
 * Python, whose calls are seen. */
int
fi_follow_import(void)
{
    PyObject *builtins = PyImport_AddModule("builtins");
    PyObject *names = builtins ? PyModule_GetDict(builtins) : NULL;
    PyObject *name = names ? PyUnicode_InternFromString("__import__") : NULL;
    if (!name)
        return -1;
    int done = 0;
    PyObject *now = PyDict_GetItemWithError(names, name);
    Py_XINCREF(now);
    if (now && is_standin(now)) {
        PyObject *original = PyCFunction_GET_SELF(now);
        if (fi_find(&fi_callables, fi_key_of(original)) < 0)
            done = PyDict_SetItem(names, name, original);
    }
    else if (now && !PyFunction_Check(now) && fi_find(&fi_callables, fi_key_of(now)) >= 0) {
        PyObject *module = PyUnicode_FromString("builtins");
        PyObject *standin = module ? PyCFunction_NewEx(&standin_def, now, module) : NULL;
        done = standin ? PyDict_SetItem(names, name, standin) : -1;
        Py_XDECREF(standin);
        Py_XDECREF(module);
    }
    else if (!now && PyErr_Occurred()) {
        done = -1;
    }
    Py_XDECREF(now);
    Py_DECREF(name);
    return done;
}
