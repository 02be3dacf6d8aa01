/* call_standin.c - asking Python about a call, and doing in its place as was answered.
 *
 * A stand-in takes the place of a callable's vectorcall for the length of one call, so that the
 * call itself fails, returns something else, or transfers less, and no frame of ours stands in
 * a traceback. Some callables have one for as long as they are watched: functions of Python,
 * whose calls CALL does not always tell of (3.12.1 leaves out f(*a)), and on 3.11 classes.
 * Not here: who sees a call (_call_hook.c, call_profile.c), what the answer means (acts.py). */
#include "call_hook.h"

PyObject *fi_decide;
_Thread_local int fi_asking;

/* A callable whose vectorcall is ours until its next call on one thread, or for as long as it
 * is watched (`lasting`). */
typedef struct Standin {
    struct Standin *next;
    PyObject *callable;
    vectorcallfunc original;
    PyThreadState *thread;
    int lasting;
} Standin;

static Standin *standins;

/* Looking at a call asks for no memory where that can be helped: somebody may be counting, or
 * failing, what the code under test asks for. */
enum { SPARE_STANDINS = 16, SPARE_TUPLES = 9 };
static Standin spare_standins[SPARE_STANDINS]; /* free where there is no callable */
static PyObject *spare_tuples[SPARE_TUPLES];   /* by length, without items; never tracked */
static PyObject *numbers;                      /* of the callables, as Python's ints */
int fi_awaited; /* how many of them are for one call that is about to happen */

static PyObject *stand_in(PyObject *, PyObject *const *, size_t, PyObject *);
static vectorcallfunc *
vectorcall_slot(PyObject *callable)
{
    if (PyType_Check(callable))
        return Py_TYPE(callable) == &PyType_Type ? &((PyTypeObject *)callable)->tp_vectorcall : NULL;
    PyTypeObject *type = Py_TYPE(callable);
    if (!PyType_HasFeature(type, Py_TPFLAGS_HAVE_VECTORCALL) || type->tp_vectorcall_offset <= 0)
        return NULL;
    return (vectorcallfunc *)((char *)callable + type->tp_vectorcall_offset);
}

static Standin *
other_of(PyObject *callable)
{
    Standin *item = standins;
    while (item && item->callable != callable)
        item = item->next;
    return item;
}

static Standin *
new_standin(void)
{
    for (int i = 0; i < SPARE_STANDINS; i++) {
        if (!spare_standins[i].callable)
            return &spare_standins[i];
    }
    return PyMem_RawCalloc(1, sizeof(Standin));
}

static void
free_standin(Standin *item)
{
    if (item >= spare_standins && item < spare_standins + SPARE_STANDINS)
        item->callable = NULL;
    else
        PyMem_RawFree(item);
}

/* Take one out of the list, and out of its callable if it was the last one there. */
static void
retire(Standin **link)
{
    Standin *item = *link;
    *link = item->next;
    fi_awaited -= !item->lasting;
    if (!other_of(item->callable)) {
        vectorcallfunc *slot = vectorcall_slot(item->callable);
        if (slot && *slot == stand_in)
            *slot = item->original;
    }
    PyObject *callable = item->callable;
    free_standin(item);
    Py_DECREF(callable);
}

/* Calls that did not happen after all, on this thread or (NULL) on any. */
void
fi_retire_stale(PyThreadState *thread, int lasting)
{
    Standin **link = &standins;
    while (*link) {
        Standin *item = *link;
        if ((lasting || !item->lasting) && (!thread || item->thread == thread)) {
            retire(link);
            link = &standins;
        }
        else {
            link = &item->next;
        }
    }
}

static int
put_standin(PyObject *callable, int lasting)
{
    vectorcallfunc *slot = vectorcall_slot(callable);
    if (!slot)
        return 0;
    Standin *other = other_of(callable);
    Standin *item = new_standin();
    if (!item) {
        PyErr_NoMemory();
        return -1;
    }
    *item = (Standin){
        .next = standins,
        .callable = Py_NewRef(callable),
        .original = other ? other->original : *slot,
        .thread = PyThreadState_Get(),
        .lasting = lasting,
    };
    standins = item;
    fi_awaited += !lasting;
    *slot = stand_in;
    return 1;
}

/* Stand in for as long as somebody watches. 0 is success, also where it cannot be done. */
int
fi_put_lasting(PyObject *callable)
{
    int put = put_standin(callable, 1);
    if (put < 0)
        return -1;
#if PY_VERSION_HEX >= 0x030C0000
    if (put && PyFunction_Check(callable)) /* places that know it already must look again */
        PyFunction_SetVectorcall((PyFunctionObject *)callable, stand_in);
#endif
    return 0;
}

static PyObject *
call_original(vectorcallfunc original, PyObject *callable, PyObject *const *args, size_t nargsf,
              PyObject *kwnames)
{
    if (original)
        return original(callable, args, nargsf, kwnames);
    /* A class without a vectorcall of its own: by tp_call, as the interpreter does it. */
    Py_ssize_t count = PyVectorcall_NARGS(nargsf);
    PyObject *positional = PyTuple_New(count), *named = NULL, *result = NULL;
    if (!positional)
        return NULL;
    for (Py_ssize_t i = 0; i < count; i++)
        PyTuple_SET_ITEM(positional, i, Py_NewRef(args[i]));
    if (kwnames && PyTuple_GET_SIZE(kwnames)) {
        named = PyDict_New();
        for (Py_ssize_t i = 0; named && i < PyTuple_GET_SIZE(kwnames); i++) {
            if (PyDict_SetItem(named, PyTuple_GET_ITEM(kwnames, i), args[count + i]) < 0)
                Py_CLEAR(named);
        }
        if (!named)
            goto done;
    }
    result = Py_TYPE(callable)->tp_call(callable, positional, named);
done:
    Py_DECREF(positional);
    Py_XDECREF(named);
    return result;
}

PyObject *
fi_raise_error(PyObject *error)
{
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    return NULL;
}

/* Call with positional arguments that Python has changed: a short write. */
static PyObject *
call_changed(vectorcallfunc original, PyObject *callable, PyObject *change, PyObject *const *args,
             size_t nargsf, PyObject *kwnames)
{
    Py_ssize_t count = PyVectorcall_NARGS(nargsf);
    Py_ssize_t named = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    PyObject *given = PyTuple_New(count);
    if (!given)
        return NULL;
    for (Py_ssize_t i = 0; i < count; i++)
        PyTuple_SET_ITEM(given, i, Py_NewRef(args[i]));
    PyObject *changed = PyObject_CallOneArg(change, given);
    Py_DECREF(given);
    if (!changed)
        return NULL;
    PyObject *result = NULL;
    PyObject **all = NULL;
    if (!PyTuple_Check(changed)) {
        PyErr_SetString(PyExc_TypeError, "faultinject: changed arguments are no tuple");
        goto done;
    }
    Py_ssize_t now = PyTuple_GET_SIZE(changed), total = now + named;
    all = PyMem_RawMalloc((size_t)(total + 1) * sizeof *all);
    if (!all) {
        PyErr_NoMemory();
        goto done;
    }
    for (Py_ssize_t i = 0; i < total; i++)
        all[i] = i < now ? PyTuple_GET_ITEM(changed, i) : args[count + i - now];
    result = call_original(original, callable, all, (size_t)now, kwnames);
done:
    PyMem_RawFree(all);
    Py_DECREF(changed);
    return result;
}

/* Let go of what a call has made and nobody will ever see: a file is closed without a word. */
void
fi_drop_unseen(PyObject *result)
{
    if (Py_REFCNT(result) == 1 && PyObject_HasAttrString(result, "close")) {
        PyObject *closed = PyObject_CallMethod(result, "close", NULL);
        if (!closed)
            PyErr_Clear();
        Py_XDECREF(closed);
    }
    Py_DECREF(result);
}

static PyObject *
act_on(enum act act, PyObject *payload, vectorcallfunc original, PyObject *callable,
       PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    PyObject *result, *changed;

    switch (act) {
    case ACT_RAISE:
        return fi_raise_error(payload);
    case ACT_RETURN:
        return Py_NewRef(payload);
    case ACT_ARGUMENTS:
        return call_changed(original, callable, payload, args, nargsf, kwnames);
    case ACT_AFTER:
        result = call_original(original, callable, args, nargsf, kwnames);
        if (!result)
            return NULL; /* it has an error of its own */
        fi_drop_unseen(result);
        return fi_raise_error(payload);
    case ACT_RESULT:
        result = call_original(original, callable, args, nargsf, kwnames);
        if (!result)
            return NULL;
        changed = PyObject_CallOneArg(payload, result);
        Py_DECREF(result);
        return changed;
    }
    Py_UNREACHABLE();
}

/* Make ready for questions about so many callables; 0 is success. */
int
fi_prepare_questions(Py_ssize_t count)
{
    PyObject *made = PyTuple_New(count);
    for (Py_ssize_t i = 0; made && i < count; i++) {
        PyObject *number = PyLong_FromSsize_t(i);
        if (!number)
            Py_CLEAR(made);
        else
            PyTuple_SET_ITEM(made, i, number);
    }
    if (!made)
        return -1;
    Py_XSETREF(numbers, made);
    for (Py_ssize_t length = 1; length < SPARE_TUPLES; length++) {
        if (!spare_tuples[length]) {
            if (!(spare_tuples[length] = PyTuple_New(length)))
                return -1;
            PyObject_GC_UnTrack(spare_tuples[length]);
        }
    }
    return 0;
}

static PyObject *
take_tuple(Py_ssize_t length)
{
    PyObject *spare = length > 0 && length < SPARE_TUPLES ? spare_tuples[length] : NULL;
    if (!spare)
        return PyTuple_New(length);
    spare_tuples[length] = NULL;
    return spare;
}

static void
give_back(PyObject *tuple)
{
    Py_ssize_t length = PyTuple_GET_SIZE(tuple);
    if (length == 0 || length >= SPARE_TUPLES || spare_tuples[length]) {
        Py_DECREF(tuple);
    }
    else if (Py_REFCNT(tuple) > 1) { /* somebody keeps it: from now on it is one like others */
        if (!PyObject_GC_IsTracked(tuple))
            PyObject_GC_Track(tuple);
        Py_DECREF(tuple);
    }
    else {
        if (PyObject_GC_IsTracked(tuple))
            PyObject_GC_UnTrack(tuple); /* nobody must find it while it has no items */
        for (Py_ssize_t i = 0; i < length; i++) {
            PyObject *item = PyTuple_GET_ITEM(tuple, i);
            PyTuple_SET_ITEM(tuple, i, NULL);
            Py_XDECREF(item);
        }
        if (spare_tuples[length])
            Py_DECREF(tuple); /* an item's end has asked meanwhile */
        else
            spare_tuples[length] = tuple;
    }
}

/* Ask Python about a call. 1: it goes on; 0: `act` and `payload` (a new reference) say what
 * becomes of it; -1: an error. */
int
fi_ask(int index, PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames,
    enum act *act, PyObject **payload)
{
    PyObject *asked = fi_decide;
    if (!asked || index < 0 || fi_asking)
        return 1;
    Py_ssize_t count = PyVectorcall_NARGS(nargsf), named = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    PyObject *number = PyTuple_GET_ITEM(numbers, index), *given = take_tuple(count + named);
    PyObject *answer = NULL;
    Py_INCREF(asked);
    Py_INCREF(number);
    if (given) {
        for (Py_ssize_t i = 0; i < count + named; i++)
            PyTuple_SET_ITEM(given, i, Py_NewRef(args[i] ? args[i] : Py_None));
        fi_asking = 1;
        answer = PyObject_CallFunctionObjArgs(asked, number, callable, given,
                                              kwnames ? kwnames : Py_None, NULL);
        fi_asking = 0;
    }
    Py_DECREF(number);
    if (given)
        give_back(given);
    Py_DECREF(asked);
    if (!answer)
        return -1;
    int which, found = 1;
    if (answer != Py_None) {
        found = PyArg_ParseTuple(answer, "iO", &which, payload) ? 0 : -1;
        if (found == 0) {
            Py_INCREF(*payload);
            *act = (enum act)which;
        }
    }
    Py_DECREF(answer);
    return found;
}

/* Call, or do as Python answers when it is asked. */
PyObject *
fi_call_asking(int index, vectorcallfunc original, PyObject *callable, PyObject *const *args,
               size_t nargsf, PyObject *kwnames)
{
    PyObject *payload = NULL, *result = NULL;
    enum act act = ACT_RAISE;
    int answer = fi_ask(index, callable, args, nargsf, kwnames, &act, &payload);
    if (answer > 0)
        result = call_original(original, callable, args, nargsf, kwnames);
    else if (answer == 0)
        result = act_on(act, payload, original, callable, args, nargsf, kwnames);
    Py_XDECREF(payload);
    return result;
}

static PyObject *
stand_in(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    PyThreadState *thread = PyThreadState_Get();
    vectorcallfunc original = NULL;
    Standin **link;
    int asks = 0;
    for (link = &standins; *link; link = &(*link)->next) {
        if ((*link)->callable != callable)
            continue;
        original = (*link)->original;
        asks |= (*link)->lasting;
        if (!(*link)->lasting && (*link)->thread == thread)
            break;
    }
    Py_INCREF(callable);
    int lasting = !*link;
    (void)lasting; /* 3.12 and later have none that last */
    if (*link) { /* this very call */
        asks = 1;
        retire(link);
    }
#if PY_VERSION_HEX < 0x030C0000
    asks = asks && !(lasting && fi_is_inside_c());
#endif
    int index = asks ? fi_find(&fi_callables, fi_key_of(callable)) : -1;
    PyObject *result = fi_call_asking(index, original, callable, args, nargsf, kwnames);
    Py_DECREF(callable);
    return result;
}

/* Ask about the call that is about to happen, when it does: only then are all arguments known.
 * 0 is success. */
int
fi_arrange(int index, PyObject *callable, PyObject *first)
{
    callable = fi_unbound(callable);
    const Standin *other = other_of(callable);
    if (other && other->lasting)
        return 0; /* it asks anyway */
    int put = put_standin(callable, 0);
    if (put)
        return put < 0 ? -1 : 0;
    /* A callable that nothing can stand in for can fail now, and nothing else. */
    PyObject *payload = NULL;
    enum act act = ACT_RETURN;
    int answer = fi_ask(index, callable, &first, first ? 1 : 0, NULL, &act, &payload);
    if (answer == 0 && act == ACT_RAISE) {
        fi_raise_error(payload);
        answer = -1;
    }
    Py_XDECREF(payload);
    return answer < 0 ? -1 : 0;
}
