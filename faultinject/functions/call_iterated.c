/* call_iterated.c - `for line in file` is no call, and so no event.
 *
 * The slot by which a type gives its next item is ours as long as somebody watches. */
#include "call_hook.h"

/* A type whose instances are iterated over; its slot is ours as long as somebody watches. */
typedef struct Iterated {
    struct Iterated *next;
    PyTypeObject *type;
    PyObject *method; /* its __next__, which is what is watched */
    iternextfunc original;
} Iterated;

static Iterated *iterated;

static PyObject *next_standin(PyObject *);

static const Iterated *
iterated_as(PyTypeObject *type)
{
    for (; type; type = type->tp_base) {
        for (const Iterated *item = iterated; item; item = item->next) {
            if (item->type == type)
                return item;
        }
    }
    return NULL;
}

/* What a type's slot was before; also that of a class that was made in between, and kept ours. */
static iternextfunc
next_of(PyTypeObject *type)
{
    const Iterated *item = iterated_as(type);
    if (item)
        return item->original;
    while (type->tp_iternext == next_standin && type->tp_base)
        type = type->tp_base;
    return type->tp_iternext;
}

static PyObject *
next_standin(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    const Iterated *item = iterated_as(type);
    iternextfunc original = next_of(type);
    PyObject *payload = NULL, *result, *changed;
    enum act act = ACT_RAISE;
    int index = item ? fi_find(&fi_callables, fi_key_of(item->method)) : -1;
    int answer = fi_ask(index, item ? item->method : Py_None, &self, 1, NULL, &act, &payload);
    if (answer < 0)
        return NULL;
    if (answer == 0 && act == ACT_RAISE) {
        result = fi_raise_error(payload);
    }
    else if (answer == 0 && act == ACT_RETURN) {
        result = Py_NewRef(payload);
    }
    else {
        result = original(self);
        if (result && answer == 0 && act == ACT_AFTER) {
            Py_DECREF(result);
            result = fi_raise_error(payload);
        }
        else if (result && answer == 0 && act == ACT_RESULT) {
            changed = PyObject_CallOneArg(payload, result);
            Py_SETREF(result, changed);
        }
    }
    Py_XDECREF(payload);
    return result;
}

int
fi_iterate(PyTypeObject *type, PyObject *method)
{
    if (!type->tp_iternext || type->tp_iternext == next_standin)
        return 0;
    Iterated *item = PyMem_RawCalloc(1, sizeof *item);
    if (!item) {
        PyErr_NoMemory();
        return -1;
    }
    *item = (Iterated){
        .next = iterated,
        .type = (PyTypeObject *)Py_NewRef(type),
        .method = Py_NewRef(method),
        .original = type->tp_iternext,
    };
    iterated = item;
    type->tp_iternext = next_standin;
    return 0;
}

void
fi_iterate_no_more(void)
{
    while (iterated) {
        Iterated *item = iterated;
        iterated = item->next;
        item->type->tp_iternext = item->original;
        Py_DECREF(item->type);
        Py_DECREF(item->method);
        PyMem_RawFree(item);
    }
}
