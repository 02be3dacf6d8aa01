/* _call_hook.c - the module: calls as they happen, seen by the interpreter's own events, and
 * answered in C.
 *
 * Here: the callback of sys.monitoring's CALL (3.12 and later) and the module's functions. Not
 * here: the tables, the answers and 3.11 (the files that call_hook.h names), which call fails
 * (watch.py decides), what with (fault.py). */
#include "call_hook.h"

static PyObject *disable;

static PyObject *
on_call(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "on_call(code, offset, callable, first)");
        return NULL;
    }
    if (fi_asking)
        Py_RETURN_NONE;
#if PY_VERSION_HEX >= 0x030C0000
    fi_learn_quiet(module);
#else
    (void)module;
#endif
    if (fi_awaited)
        fi_retire_stale(PyThreadState_Get(), 0);
    PyObject *callable = args[2];
    uintptr_t called = fi_key_of(callable);
    int index = fi_find(&fi_callables, called);
    if (index < 0) {
        int is_done = !fi_may_match_later(callable) && fi_is_settled(args[0], args[1], called);
        return Py_NewRef(is_done && disable ? disable : Py_None);
    }
    if (fi_arrange(index, callable, args[3]) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
key(PyObject *Py_UNUSED(module), PyObject *callable)
{
    return PyLong_FromVoidPtr((void *)fi_key_of(callable));
}

static PyObject *
watch(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *keys, *kept, *asked, *never, *lasting, *iterables, *method;
    PyTypeObject *type;
    if (!PyArg_ParseTuple(args, "O!O!OOO!O!", &PyTuple_Type, &keys, &PyTuple_Type, &kept, &asked,
                          &never, &PyTuple_Type, &lasting, &PyTuple_Type, &iterables))
        return NULL;
    Table new_callables = {0}, new_names = {0};
    if (fi_make_table(&new_callables, PyTuple_GET_SIZE(keys)) < 0)
        return NULL;
    if (fi_make_table(&new_names, PyTuple_GET_SIZE(kept)) < 0)
        goto failed;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(keys); i++) {
        void *value = PyLong_AsVoidPtr(PyTuple_GET_ITEM(keys, i));
        if (!value && PyErr_Occurred())
            goto failed;
        fi_put(&new_callables, (uintptr_t)value, (int)i);
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kept); i++) {
        const char *name = PyUnicode_AsUTF8(PyTuple_GET_ITEM(kept, i));
        if (!name)
            goto failed;
        fi_put(&new_names, fi_name_key(name), 0);
    }
    if (fi_prepare_questions(PyTuple_GET_SIZE(keys)) < 0)
        goto failed;
    fi_clear_table(&fi_callables);
    fi_clear_table(&fi_names);
    fi_callables = new_callables;
    fi_names = new_names;
    Py_XSETREF(fi_decide, Py_NewRef(asked));
    Py_XSETREF(disable, Py_NewRef(never));
    fi_retire_stale(NULL, 1);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(lasting); i++) {
        if (fi_put_lasting(PyTuple_GET_ITEM(lasting, i)) < 0)
            return NULL;
    }
    fi_iterate_no_more();
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(iterables); i++) {
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(iterables, i), "O!O", &PyType_Type, &type, &method) ||
            fi_iterate(type, method) < 0)
            return NULL;
    }
    if (fi_follow_import() < 0)
        return NULL;
    Py_RETURN_NONE;
failed:
    fi_clear_table(&new_callables);
    fi_clear_table(&new_names);
    return NULL;
}

static PyObject *
forget(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    fi_clear_table(&fi_callables);
    fi_clear_table(&fi_names);
    fi_clear_places();
    fi_iterate_no_more();
    fi_retire_stale(NULL, 1);
    Py_CLEAR(fi_decide);
    Py_CLEAR(disable);
    if (fi_follow_import() < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"key", key, METH_O, PyDoc_STR("A number that is the same for all ways to call something.")},
    {"watch", watch, METH_VARARGS,
     PyDoc_STR("watch(keys, names, decide, disable, lasting, iterables): look out for these.")},
    {"quiet", fi_quiet, METH_NOARGS,
     PyDoc_STR("Addresses of functions beneath which memory is asked for only to see.")},
    {"forget", forget, METH_NOARGS, PyDoc_STR("Look out for nothing any more.")},
    {"original", fi_original, METH_O,
     PyDoc_STR("What a stand-in for __import__ stands in for; anything else is given back.")},
    {"on_call", (PyCFunction)(void (*)(void))on_call, METH_FASTCALL,
     PyDoc_STR("The callback of sys.monitoring's CALL.")},
#if PY_VERSION_HEX < 0x030C0000
    {"start_profile", fi_start_profile, METH_NOARGS, PyDoc_STR("See the calls of every thread.")},
    {"stop_profile", fi_stop_profile, METH_NOARGS, PyDoc_STR("See no calls any more.")},
    {"profile_this_thread", fi_profile_this_thread, METH_NOARGS,
     PyDoc_STR("See the calls of a thread that began later.")},
    {"is_evaluated", fi_is_evaluated, METH_NOARGS,
     PyDoc_STR("Whether somebody else evaluates frames.")},
    {"start_evaluating", fi_start_evaluating, METH_NOARGS,
     PyDoc_STR("See the calls of Python functions.")},
    {"stop_evaluating", fi_stop_evaluating, METH_NOARGS, PyDoc_STR("See them no more.")},
    {"is_profiling", fi_is_profiling, METH_NOARGS, PyDoc_STR("Whether this thread's calls are seen.")},
#endif
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_call_hook",
    .m_doc = PyDoc_STR("Calls as they happen; see hook.py."),
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC
PyInit__call_hook(void)
{
    return PyModule_Create(&module);
}
