/* call_tables.c - which callables are watched, and what each place of the code has called.
 *
 * Not here: what is done with a call of one (call_standin.c). */
#include "call_hook.h"

#include <string.h>

Table fi_callables; /* by fi_key_of() */
Table fi_names;     /* by the hash of a name: a site that calls one of these stays watched */

static size_t
slot_of(const Table *table, uintptr_t key)
{
    size_t at = (size_t)(((uint64_t)key * 0x9E3779B97F4A7C15ull) >> 20) & table->mask;
    while (table->keys[at] && table->keys[at] != key)
        at = (at + 1) & table->mask;
    return at;
}

int
fi_find(const Table *table, uintptr_t key)
{
    if (!table->keys)
        return -1;
    size_t at = slot_of(table, key);
    return table->keys[at] ? table->values[at] : -1;
}

void
fi_clear_table(Table *table)
{
    PyMem_RawFree(table->keys);
    PyMem_RawFree(table->values);
    *table = (Table){0};
}

int
fi_make_table(Table *table, Py_ssize_t count)
{
    size_t size = 64;
    while (size < (size_t)count * 3)
        size *= 2;
    table->keys = PyMem_RawCalloc(size, sizeof *table->keys);
    table->values = PyMem_RawCalloc(size, sizeof *table->values);
    table->mask = size - 1;
    if (table->keys && table->values)
        return 0;
    fi_clear_table(table);
    PyErr_NoMemory();
    return -1;
}

void
fi_put(Table *table, uintptr_t key, int value)
{
    size_t at = slot_of(table, key);
    table->keys[at] = key;
    table->values[at] = value;
}

/* -- which callable is called --------------------------------------------------------------- */

PyObject *
fi_unbound(PyObject *callable)
{
    while (PyMethod_Check(callable))
        callable = PyMethod_GET_FUNCTION(callable);
    return callable;
}

/* The row of a C type's or module's table of methods; NULL if it is not made from one. */
static PyMethodDef *
method_def(PyObject *callable)
{
    if (PyCFunction_Check(callable))
        return ((PyCFunctionObject *)callable)->m_ml;
    if (Py_IS_TYPE(callable, &PyMethodDescr_Type) || Py_IS_TYPE(callable, &PyClassMethodDescr_Type))
        return ((PyMethodDescrObject *)callable)->d_method;
    return NULL;
}

/* The same for `f.write` and `TextIOWrapper.write`, for a function and its bound method. */
uintptr_t
fi_key_of(PyObject *callable)
{
    callable = fi_unbound(callable);
    PyMethodDef *def = method_def(callable);
    return def ? (uintptr_t)def : (uintptr_t)callable;
}

static const char *
name_of(PyObject *callable)
{
    callable = fi_unbound(callable);
    PyMethodDef *def = method_def(callable);
    if (def)
        return def->ml_name;
    if (PyFunction_Check(callable)) {
        const char *name = PyUnicode_AsUTF8(((PyFunctionObject *)callable)->func_name);
        if (!name)
            PyErr_Clear();
        return name;
    }
    if (PyType_Check(callable)) {
        const char *name = ((PyTypeObject *)callable)->tp_name;
        const char *dot = strrchr(name, '.');
        return dot ? dot + 1 : name;
    }
    return NULL;
}

uintptr_t
fi_name_key(const char *name)
{
    uint64_t hash = 0xCBF29CE484222325ull;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001B3ull;
    return (uintptr_t)hash | 1;
}

/* Whether another call from the same place may be one of those that are watched. */
int
fi_may_match_later(PyObject *callable)
{
    const char *name = name_of(callable);
    return name && fi_find(&fi_names, fi_name_key(name)) >= 0;
}

/* -- places: what each has called so far -------------------------------------------------------- */

/* A place that calls the same thing so often in a row is switched off; one that calls now this
 * and now that, when it has done so for long. */
#define PATIENCE 8
#define LONG_PATIENCE 512

typedef struct {
    uintptr_t place, last;
    unsigned short count, all;
} Place;

static Place *places;
static size_t places_size, places_used;

void
fi_clear_places(void)
{
    PyMem_RawFree(places);
    places = NULL;
    places_size = places_used = 0;
}

static Place *
place_slot(uintptr_t place)
{
    size_t at = (size_t)(((uint64_t)place * 0x9E3779B97F4A7C15ull) >> 20) & (places_size - 1);
    while (places[at].place && places[at].place != place)
        at = (at + 1) & (places_size - 1);
    return &places[at];
}

static int
grow_places(void)
{
    size_t before = places_size, size = before ? before * 2 : 1024;
    Place *old = places, *new = PyMem_RawCalloc(size, sizeof *new);
    if (!new)
        return -1;
    places = new;
    places_size = size;
    for (size_t i = 0; i < before; i++) {
        if (old[i].place)
            *place_slot(old[i].place) = old[i];
    }
    PyMem_RawFree(old);
    return 0;
}

/* Whether a place that calls something else than what is watched need not be heard again. */
int
fi_is_settled(PyObject *code, PyObject *offset, uintptr_t key)
{
    if (places_used * 2 >= places_size && grow_places() < 0)
        return 1;
    uintptr_t name = ((uintptr_t)code << 4) ^ (uintptr_t)PyLong_AsLong(offset);
    Place *place = place_slot(name | 1);
    if (!place->place) {
        place->place = name | 1;
        places_used++;
    }
    if (place->last != key) {
        place->last = key;
        place->count = 0;
    }
    return ++place->count >= PATIENCE || ++place->all >= LONG_PATIENCE;
}
