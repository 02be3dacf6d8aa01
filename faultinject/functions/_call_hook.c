/* Calls as they happen: seen by the interpreter's own events, and answered in C.
 *
 * Lives here: the table of watched callables, the callback of sys.monitoring's CALL (Python
 * 3.12 and later) or the profile function and the evaluation of frames (3.11), and the
 * stand-in: for the length of one call it takes the place of a callable's vectorcall, so that the call itself fails, returns
 * something else, or transfers less. Nothing of the code under test is replaced or patched
 * beyond that call, and no frame of ours stands in a traceback. Not here: which call fails
 * (watch.py decides), what with (fault.py).
 *
 * Some callables have a stand-in for as long as they are watched: functions of Python, whose
 * calls CALL does not always tell of (3.12.1 leaves out f(*a)), and on 3.11 classes.
 *
 * All of it runs with the GIL held; a free-threaded build is refused by hook.py.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <frameobject.h>
#include <stdint.h>
#include <string.h>

/* What becomes of a call; the numbers are those of acts.py. */
enum act { ACT_RAISE, ACT_AFTER, ACT_RETURN, ACT_ARGUMENTS, ACT_RESULT };

/* -- the table ---------------------------------------------------------------------------- */

/* Open addressing over keys that are never 0; `value` is the index that Python knows. */
typedef struct {
    uintptr_t *keys;
    int *values;
    size_t mask;
} Table;

static Table callables; /* by key_of() */
static Table names;     /* by the hash of a name: a site that calls one of these stays watched */
static PyObject *decide, *disable;
static _Thread_local int asking; /* what we call ourselves is no call of the code under test */

static size_t
slot_of(const Table *table, uintptr_t key)
{
    size_t at = (size_t)(((uint64_t)key * 0x9E3779B97F4A7C15ull) >> 20) & table->mask;
    while (table->keys[at] && table->keys[at] != key)
        at = (at + 1) & table->mask;
    return at;
}

static int
find(const Table *table, uintptr_t key)
{
    if (!table->keys)
        return -1;
    size_t at = slot_of(table, key);
    return table->keys[at] ? table->values[at] : -1;
}

static void
clear_table(Table *table)
{
    PyMem_RawFree(table->keys);
    PyMem_RawFree(table->values);
    *table = (Table){0};
}

static int
make_table(Table *table, Py_ssize_t count)
{
    size_t size = 64;
    while (size < (size_t)count * 3)
        size *= 2;
    table->keys = PyMem_RawCalloc(size, sizeof *table->keys);
    table->values = PyMem_RawCalloc(size, sizeof *table->values);
    table->mask = size - 1;
    if (table->keys && table->values)
        return 0;
    clear_table(table);
    PyErr_NoMemory();
    return -1;
}

static void
put(Table *table, uintptr_t key, int value)
{
    size_t at = slot_of(table, key);
    table->keys[at] = key;
    table->values[at] = value;
}

/* -- which callable is called --------------------------------------------------------------- */

static PyObject *
unbound(PyObject *callable)
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
static uintptr_t
key_of(PyObject *callable)
{
    callable = unbound(callable);
    PyMethodDef *def = method_def(callable);
    return def ? (uintptr_t)def : (uintptr_t)callable;
}

static const char *
name_of(PyObject *callable)
{
    callable = unbound(callable);
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

static uintptr_t
name_key(const char *name)
{
    uint64_t hash = 0xCBF29CE484222325ull;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001B3ull;
    return (uintptr_t)hash | 1;
}

/* Whether another call from the same place may be one of those that are watched. */
static int
may_match_later(PyObject *callable)
{
    const char *name = name_of(callable);
    return name && find(&names, name_key(name)) >= 0;
}

/* -- places: what each has called so far -------------------------------------------------------- */

/* A place that calls the same thing so often in a row is switched off; one that calls now this
 * and now that, when it has done so for long. */
#define PATIENCE 16
#define LONG_PATIENCE 512

typedef struct {
    uintptr_t place, last;
    unsigned short count, all;
} Place;

static Place *places;
static size_t places_size, places_used;

static void
clear_places(void)
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
static int
is_settled(PyObject *code, PyObject *offset, uintptr_t key)
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

/* -- the stand-in ---------------------------------------------------------------------------- */

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
static int awaited; /* how many of them are for one call that is about to happen */

static PyObject *stand_in(PyObject *, PyObject *const *, size_t, PyObject *);
#if PY_VERSION_HEX < 0x030C0000
static int is_inside_c(void);
#endif

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

/* Take one out of the list, and out of its callable if it was the last one there. */
static void
retire(Standin **link)
{
    Standin *item = *link;
    *link = item->next;
    awaited -= !item->lasting;
    if (!other_of(item->callable)) {
        vectorcallfunc *slot = vectorcall_slot(item->callable);
        if (slot && *slot == stand_in)
            *slot = item->original;
    }
    PyObject *callable = item->callable;
    PyMem_RawFree(item);
    Py_DECREF(callable);
}

/* Calls that did not happen after all, on this thread or (NULL) on any. */
static void
retire_stale(PyThreadState *thread, int lasting)
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
    Standin *item = PyMem_RawCalloc(1, sizeof *item);
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
    awaited += !lasting;
    *slot = stand_in;
    return 1;
}

/* Stand in for as long as somebody watches. 0 is success, also where it cannot be done. */
static int
put_lasting(PyObject *callable)
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

static PyObject *
raise_error(PyObject *error)
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
static void
drop_unseen(PyObject *result)
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
        return raise_error(payload);
    case ACT_RETURN:
        return Py_NewRef(payload);
    case ACT_ARGUMENTS:
        return call_changed(original, callable, payload, args, nargsf, kwnames);
    case ACT_AFTER:
        result = call_original(original, callable, args, nargsf, kwnames);
        if (!result)
            return NULL; /* it has an error of its own */
        drop_unseen(result);
        return raise_error(payload);
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

/* Ask Python about a call. 1: it goes on; 0: `act` and `payload` (a new reference) say what
 * becomes of it; -1: an error. */
static int
ask(int index, PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames,
    enum act *act, PyObject **payload)
{
    PyObject *asked = decide;
    if (!asked || index < 0 || asking)
        return 1;
    Py_ssize_t count = PyVectorcall_NARGS(nargsf), named = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    PyObject *number = PyLong_FromLong(index), *given = PyTuple_New(count + named);
    PyObject *answer = NULL;
    Py_INCREF(asked);
    if (number && given) {
        for (Py_ssize_t i = 0; i < count + named; i++)
            PyTuple_SET_ITEM(given, i, Py_NewRef(args[i] ? args[i] : Py_None));
        asking = 1;
        answer = PyObject_CallFunctionObjArgs(asked, number, callable, given,
                                              kwnames ? kwnames : Py_None, NULL);
        asking = 0;
    }
    Py_XDECREF(number);
    Py_XDECREF(given);
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
    PyObject *payload = NULL, *result = NULL;
    enum act act = ACT_RAISE;
#if PY_VERSION_HEX < 0x030C0000
    asks = asks && !(lasting && is_inside_c());
#endif
    int index = asks ? find(&callables, key_of(callable)) : -1;
    int answer = ask(index, callable, args, nargsf, kwnames, &act, &payload);
    if (answer > 0)
        result = call_original(original, callable, args, nargsf, kwnames);
    else if (answer == 0)
        result = act_on(act, payload, original, callable, args, nargsf, kwnames);
    Py_XDECREF(payload);
    Py_DECREF(callable);
    return result;
}

/* Ask about the call that is about to happen, when it does: only then are all arguments known.
 * 0 is success. */
static int
arrange(int index, PyObject *callable, PyObject *first)
{
    callable = unbound(callable);
    const Standin *other = other_of(callable);
    if (other && other->lasting)
        return 0; /* it asks anyway */
    int put = put_standin(callable, 0);
    if (put)
        return put < 0 ? -1 : 0;
    /* A callable that nothing can stand in for can fail now, and nothing else. */
    PyObject *payload = NULL;
    enum act act = ACT_RETURN;
    int answer = ask(index, callable, &first, first ? 1 : 0, NULL, &act, &payload);
    if (answer == 0 && act == ACT_RAISE) {
        raise_error(payload);
        answer = -1;
    }
    Py_XDECREF(payload);
    return answer < 0 ? -1 : 0;
}

/* -- `for line in file`: no call, and so no event ------------------------------------------------ */

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
    int index = item ? find(&callables, key_of(item->method)) : -1;
    int answer = ask(index, item ? item->method : Py_None, &self, 1, NULL, &act, &payload);
    if (answer < 0)
        return NULL;
    if (answer == 0 && act == ACT_RAISE) {
        result = raise_error(payload);
    }
    else if (answer == 0 && act == ACT_RETURN) {
        result = Py_NewRef(payload);
    }
    else {
        result = original(self);
        if (result && answer == 0 && act == ACT_AFTER) {
            Py_DECREF(result);
            result = raise_error(payload);
        }
        else if (result && answer == 0 && act == ACT_RESULT) {
            changed = PyObject_CallOneArg(payload, result);
            Py_SETREF(result, changed);
        }
    }
    Py_XDECREF(payload);
    return result;
}

static int
iterate(PyTypeObject *type, PyObject *method)
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

static void
iterate_no_more(void)
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

/* -- 3.12 and later: the callback of sys.monitoring's CALL --------------------------------- */

static PyObject *
on_call(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "on_call(code, offset, callable, first)");
        return NULL;
    }
    if (asking)
        Py_RETURN_NONE;
    if (awaited)
        retire_stale(PyThreadState_Get(), 0);
    PyObject *callable = args[2];
    uintptr_t called = key_of(callable);
    int index = find(&callables, called);
    if (index < 0) {
        int is_done = !may_match_later(callable) && is_settled(args[0], args[1], called);
        return Py_NewRef(is_done && disable ? disable : Py_None);
    }
    if (arrange(index, callable, args[3]) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* -- 3.11: C functions by the profile function, Python ones where frames are evaluated ---- */

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

static int
is_inside_c(void)
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
    if (asking)
        return 0;
    if (awaited)
        retire_stale(PyThreadState_Get(), 0);
    int index = find(&callables, key_of(arg));
    if (index < 0)
        return 0;
    return arrange(index, arg, NULL);
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
                    : find(&callables, (uintptr_t)frame->function);
    if (index < 0)
        return _PyEval_EvalFrameDefault(thread, frame, throws);
    PyObject *payload = NULL, *changed;
    enum act act = ACT_RAISE;
    int answer = ask(index, (PyObject *)frame->function, frame->locals,
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
            drop_unseen(result);
            result = raise_error(payload);
        }
    }
    else {
        result = act == ACT_RETURN ? Py_NewRef(payload) : raise_error(payload);
    }
    Py_XDECREF(payload);
    return result;
}

/* Whether somebody else evaluates frames. */
static PyObject *
is_evaluated(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    _PyFrameEvalFunction now = _PyInterpreterState_GetEvalFrameFunc(PyInterpreterState_Get());
    return PyBool_FromLong(now != _PyEval_EvalFrameDefault && now != evaluate);
}

static PyObject *
start_evaluating(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    _PyInterpreterState_SetEvalFrameFunc(PyInterpreterState_Get(), evaluate);
    Py_RETURN_NONE;
}

static PyObject *
stop_evaluating(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    PyInterpreterState *interpreter = PyInterpreterState_Get();
    if (_PyInterpreterState_GetEvalFrameFunc(interpreter) == evaluate)
        _PyInterpreterState_SetEvalFrameFunc(interpreter, _PyEval_EvalFrameDefault);
    Py_RETURN_NONE;
}

/* In every thread. */
static PyObject *
start_profile(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    PyThreadState *thread = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; thread; thread = PyThreadState_Next(thread)) {
        if (thread->c_profilefunc == NULL && _PyEval_SetProfile(thread, profile, NULL) < 0)
            return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
profile_this_thread(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    deep = 0;
    PyEval_SetProfile(profile, NULL);
    Py_RETURN_NONE;
}

static PyObject *
stop_profile(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    PyThreadState *thread = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; thread; thread = PyThreadState_Next(thread)) {
        if (thread->c_profilefunc == profile && _PyEval_SetProfile(thread, NULL, NULL) < 0)
            return NULL;
    }
    Py_RETURN_NONE;
}

/* Whether this thread is profiled by us: somebody else may have taken our place. */
static PyObject *
is_profiling(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(PyThreadState_Get()->c_profilefunc == profile);
}

#endif

/* -- the module ------------------------------------------------------------------------------ */

static PyObject *
key(PyObject *Py_UNUSED(module), PyObject *callable)
{
    return PyLong_FromVoidPtr((void *)key_of(callable));
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
    if (make_table(&new_callables, PyTuple_GET_SIZE(keys)) < 0)
        return NULL;
    if (make_table(&new_names, PyTuple_GET_SIZE(kept)) < 0)
        goto failed;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(keys); i++) {
        void *value = PyLong_AsVoidPtr(PyTuple_GET_ITEM(keys, i));
        if (!value && PyErr_Occurred())
            goto failed;
        put(&new_callables, (uintptr_t)value, (int)i);
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kept); i++) {
        const char *name = PyUnicode_AsUTF8(PyTuple_GET_ITEM(kept, i));
        if (!name)
            goto failed;
        put(&new_names, name_key(name), 0);
    }
    clear_table(&callables);
    clear_table(&names);
    callables = new_callables;
    names = new_names;
    Py_XSETREF(decide, Py_NewRef(asked));
    Py_XSETREF(disable, Py_NewRef(never));
    retire_stale(NULL, 1);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(lasting); i++) {
        if (put_lasting(PyTuple_GET_ITEM(lasting, i)) < 0)
            return NULL;
    }
    iterate_no_more();
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(iterables); i++) {
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(iterables, i), "O!O", &PyType_Type, &type, &method) ||
            iterate(type, method) < 0)
            return NULL;
    }
    Py_RETURN_NONE;
failed:
    clear_table(&new_callables);
    clear_table(&new_names);
    return NULL;
}

static PyObject *
forget(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    clear_table(&callables);
    clear_table(&names);
    clear_places();
    iterate_no_more();
    retire_stale(NULL, 1);
    Py_CLEAR(decide);
    Py_CLEAR(disable);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"key", key, METH_O, PyDoc_STR("A number that is the same for all ways to call something.")},
    {"watch", watch, METH_VARARGS,
     PyDoc_STR("watch(keys, names, decide, disable, lasting, iterables): look out for these.")},
    {"forget", forget, METH_NOARGS, PyDoc_STR("Look out for nothing any more.")},
    {"on_call", (PyCFunction)(void (*)(void))on_call, METH_FASTCALL,
     PyDoc_STR("The callback of sys.monitoring's CALL.")},
#if PY_VERSION_HEX < 0x030C0000
    {"start_profile", start_profile, METH_NOARGS, PyDoc_STR("See the calls of every thread.")},
    {"stop_profile", stop_profile, METH_NOARGS, PyDoc_STR("See no calls any more.")},
    {"profile_this_thread", profile_this_thread, METH_NOARGS,
     PyDoc_STR("See the calls of a thread that began later.")},
    {"is_evaluated", is_evaluated, METH_NOARGS,
     PyDoc_STR("Whether somebody else evaluates frames.")},
    {"start_evaluating", start_evaluating, METH_NOARGS,
     PyDoc_STR("See the calls of Python functions.")},
    {"stop_evaluating", stop_evaluating, METH_NOARGS, PyDoc_STR("See them no more.")},
    {"is_profiling", is_profiling, METH_NOARGS, PyDoc_STR("Whether this thread's calls are seen.")},
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
