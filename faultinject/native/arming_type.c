/* arming_type.c - the Python type `_hook.Arming`: one arming's settings and results.
 *
 * Here: reading the settings, arming and disarming, and giving out what was
 * seen, as plain tuples.
 * Not here: the words for them (native/arming.py and its neighbours), what the
 * settings do (hooks.c). */
#include "frame_search.h"
#include "hooks.h"

#include <limits.h>
#include <stdlib.h>

/* Read ((min, max) | None, ...), one for each domain. */
static int
read_sizes(fi_arming *self, PyObject *sizes)
{
    if (PyTuple_GET_SIZE(sizes) != FI_DOMAINS) {
        PyErr_SetString(PyExc_ValueError, "sizes has not one entry for each domain");
        return -1;
    }
    for (int domain = 0; domain < FI_DOMAINS; domain++) {
        PyObject *item = PyTuple_GET_ITEM(sizes, domain);
        Py_ssize_t min, max;
        if (item == Py_None) {
            continue;
        }
        if (!PyArg_ParseTuple(item, "nn", &min, &max)) {
            return -1;
        }
        self->sizes[domain] =
            (fi_sizes){.min = (size_t)min, .span = (size_t)max - (size_t)min, .on = max >= min};
    }
    return 0;
}

/* Read (probability, interval, times, space, task_filter, marked, nth, seed, count). */
static int
read_attr(fi_attr *attr, PyObject *knobs)
{
    unsigned long long probability, interval, seed, count;
    long long times, space, nth;
    int task_filter, marked;
    if (!PyArg_ParseTuple(knobs, "KKLLppLKK", &probability, &interval, &times, &space,
                          &task_filter, &marked, &nth, &seed, &count)) {
        return -1;
    }
    attr->probability = probability;
    attr->interval = interval;
    attr->task_filter = task_filter;
    atomic_init(&attr->times, times);
    atomic_init(&attr->space, space);
    atomic_init(&attr->marked, marked);
    atomic_init(&attr->nth, nth);
    atomic_init(&attr->count, count);
    atomic_init(&attr->prng, seed);
    return 0;
}

/* Read (filename, qualname, first_line, offsets, domain, caller, hit, persistent). */
static int
read_target(fi_target *target, PyObject *given)
{
    PyObject *filename, *qualname, *offsets;
    unsigned long long caller, hit;
    int first_line;
    if (!PyArg_ParseTuple(given, "UUiO!iKKp", &filename, &qualname, &first_line, &PyTuple_Type,
                          &offsets, &target->domain, &caller, &hit, &target->persistent)) {
        return -1;
    }
    Py_ssize_t n = PyTuple_GET_SIZE(offsets);
    target->offsets = calloc((size_t)n + 1, sizeof(int));
    if (target->offsets == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        long offset = PyLong_AsLong(PyTuple_GET_ITEM(offsets, i));
        if (offset == -1 && PyErr_Occurred()) {
            return -1;
        }
        target->offsets[target->n_offsets++] = (int)offset;
    }
    target->content = fi_content(filename, qualname, first_line);
    target->caller = (void *)(uintptr_t)caller;
    target->hit = hit;
    return 0;
}

/* Read the targets of a strike; other modes have none. */
static int
read_targets(fi_arming *self, PyObject *given)
{
    Py_ssize_t n = given != NULL ? PyTuple_GET_SIZE(given) : 0;
    if ((self->mode == FI_MODE_STRIKE) != (n > 0) || n > FI_TARGETS) {
        PyErr_SetString(PyExc_ValueError, "a strike has one target or two, other modes have none");
        return -1;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        fi_target *target = &self->targets[self->n_targets++];
        if (read_target(target, PyTuple_GET_ITEM(given, i)) < 0) {
            return -1;
        }
        self->scope.targets[i] = target->content;
    }
    self->to_strike = self->n_targets;
    return 0;
}

static PyObject *
arming_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"mode",       "sizes",    "rules",    "everyone", "scope_depth",
                            "filter_depth", "vetoed", "extensions", "capacity", "attr",
                            "targets",    "counts",   NULL};
    PyObject *sizes, *rules, *vetoed, *extensions, *attr = Py_None, *targets = NULL;
    int mode, everyone, scope_depth, filter_depth, counts = 0;
    unsigned capacity;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iO!OpiiO!O!I|OO!p", names, &mode,
                                     &PyTuple_Type, &sizes, &rules, &everyone, &scope_depth,
                                     &filter_depth, &PyTuple_Type, &vetoed, &PyTuple_Type,
                                     &extensions, &capacity, &attr, &PyTuple_Type, &targets,
                                     &counts)) {
        return NULL;
    }
    if (mode < 0 || mode >= FI_MODES) {
        PyErr_SetString(PyExc_ValueError, "no such mode");
        return NULL;
    }
    fi_arming *self = (fi_arming *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->mode = (enum fi_mode)mode;
    self->everyone = everyone;
    self->attr.shared = everyone;
    self->scope_depth = scope_depth;
    self->filter_depth = filter_depth;
    self->counts = counts;
    if (read_sizes(self, sizes) < 0 || (attr != Py_None && read_attr(&self->attr, attr) < 0) ||
        fi_scope_init(&self->scope, rules) < 0 || read_targets(self, targets) < 0 ||
        fi_cstack_init(&self->cstack, vetoed, extensions) < 0 ||
        fi_sites_init(&self->sites, capacity) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void
arming_dealloc(fi_arming *self)
{
    fi_scope_clear(&self->scope);
    fi_cstack_clear(&self->cstack);
    fi_sites_clear(&self->sites);
    for (int i = 0; i < self->n_targets; i++) {
        free(self->targets[i].offsets);
    }
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *
arming_arm(fi_arming *self, PyObject *Py_UNUSED(ignored))
{
    if (fi_now.arming != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "an arming is in force already");
        return NULL;
    }
    if (fi_hooks_install(self) < 0) {
        PyErr_SetString(PyExc_RuntimeError, "a hook of ours still lies under another one");
        return NULL;
    }
    Py_RETURN_NONE;
}

/* One site as (order, code, offset, domain, caller, hits, min, max, flags). */
static PyObject *
site_row(const fi_site *site)
{
    PyObject *caller = fi_cstack_describe(site->caller);
    return caller == NULL ? NULL
                          : Py_BuildValue("(IOiiNKnni)", site->order, site->code, site->lasti,
                                          site->domain, caller, (unsigned long long)site->hits,
                                          (Py_ssize_t)(site->hits ? site->min_size : 0),
                                          (Py_ssize_t)site->max_size, site->flags);
}

static PyObject *
arming_sites(fi_arming *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *rows = PyList_New(0);
    for (size_t i = 0; rows != NULL && i < self->sites.n_slots; i++) {
        const fi_site *site = &self->sites.slots[i];
        if (site->key == 0) {
            continue;
        }
        PyObject *row = site_row(site);
        if (row == NULL || PyList_Append(rows, row) < 0) {
            Py_CLEAR(rows);
        }
        Py_XDECREF(row);
    }
    return rows;
}

/* The last faults, oldest first, as (number, code | None, offset, domain, caller,
 * size, thread); the number counts from 1. */
static PyObject *
arming_events(fi_arming *self, PyObject *Py_UNUSED(ignored))
{
    uint64_t total = atomic_load_explicit(&self->ring.total, memory_order_acquire);
    PyObject *rows = PyList_New(0);
    for (uint64_t i = total > FI_RING_SIZE ? total - FI_RING_SIZE : 0; rows != NULL && i < total;
         i++) {
        const fi_event *event = &self->ring.slots[i % FI_RING_SIZE];
        PyObject *caller = fi_cstack_describe(event->caller);
        PyObject *row =
            caller == NULL
                ? NULL
                : Py_BuildValue("(KOiiNKK)", (unsigned long long)(i + 1),
                                event->code != NULL ? (PyObject *)event->code : Py_None,
                                event->lasti, event->domain, caller,
                                (unsigned long long)event->size,
                                (unsigned long long)event->thread);
        if (row == NULL || PyList_Append(rows, row) < 0) {
            Py_CLEAR(rows);
        }
        Py_XDECREF(row);
    }
    return rows;
}

static PyObject *
arming_stats(fi_arming *self, PyObject *Py_UNUSED(ignored))
{
    const fi_stats *stats = &self->stats;
    return Py_BuildValue(
        "{sKsKsKsKsKsKsKsKsK}", "injected",
        (unsigned long long)atomic_load_explicit(&self->ring.total, memory_order_relaxed), "nogil",
        (unsigned long long)atomic_load_explicit(&stats->nogil, memory_order_relaxed), "tracing",
        (unsigned long long)stats->tracing, "harness", (unsigned long long)stats->harness,
        "nobody", (unsigned long long)stats->nobody, "too_deep",
        (unsigned long long)stats->too_deep, "vetoed", (unsigned long long)stats->vetoed,
        "overflow", (unsigned long long)self->sites.overflow, "sites",
        (unsigned long long)self->sites.n_sites);
}

/* Of each target how often its site was reached, and whether it has struck. */
static PyObject *
arming_targets(fi_arming *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *rows = PyList_New(0);
    for (int i = 0; rows != NULL && i < self->n_targets; i++) {
        const fi_target *target = &self->targets[i];
        PyObject *row = Py_BuildValue("(KO)", (unsigned long long)target->hits,
                                      target->struck ? Py_True : Py_False);
        if (row == NULL || PyList_Append(rows, row) < 0) {
            Py_CLEAR(rows);
        }
        Py_XDECREF(row);
    }
    return rows;
}

/* Feed frames to the filters as if they were the stack: for the rule's vectors. */
static PyObject *
arming_permits(fi_arming *self, PyObject *codes)
{
    PyObject *items = PySequence_Fast(codes, "codes is not a sequence");
    if (items == NULL) {
        return NULL;
    }
    fi_filter filter = fi_filter_begin(self);
    int permitted = 1;
    for (Py_ssize_t i = 0; permitted && i < PySequence_Fast_GET_SIZE(items); i++) {
        PyCodeObject *code = (PyCodeObject *)PySequence_Fast_GET_ITEM(items, i);
        const fi_code *known = fi_scope_find(&self->scope, code);
        permitted = fi_filter_step(&filter, fi_scope_says(&self->scope, known, code, 0));
    }
    Py_DECREF(items);
    return PyBool_FromLong(permitted && filter.found);
}

/* What the rules say of a code object at its first line; for tests. */
static PyObject *
arming_says(fi_arming *self, PyObject *code)
{
    if (!PyCode_Check(code)) {
        PyErr_SetString(PyExc_TypeError, "not a code object");
        return NULL;
    }
    const fi_code *known = fi_scope_find(&self->scope, (PyCodeObject *)code);
    return PyLong_FromUnsignedLong(
        fi_scope_says(&self->scope, known, (PyCodeObject *)code, 0));
}

#define LIVE(FIELD)                                                                               \
    static PyObject *get_##FIELD(fi_arming *self, void *Py_UNUSED(closure))                       \
    {                                                                                             \
        return PyLong_FromLongLong(                                                               \
            (long long)atomic_load_explicit(&self->attr.FIELD, memory_order_relaxed));            \
    }                                                                                             \
    static int set_##FIELD(fi_arming *self, PyObject *value, void *Py_UNUSED(closure))            \
    {                                                                                             \
        long long number = value != NULL ? PyLong_AsLongLong(value) : -1;                         \
        if (value == NULL || (number == -1 && PyErr_Occurred())) {                                \
            return value == NULL ? (PyErr_SetNone(PyExc_AttributeError), -1) : -1;                \
        }                                                                                         \
        atomic_store_explicit(&self->attr.FIELD, number, memory_order_relaxed);                   \
        return 0;                                                                                 \
    }

LIVE(times)
LIVE(space)
LIVE(nth)

static PyObject *
get_count(fi_arming *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(
        atomic_load_explicit(&self->attr.count, memory_order_relaxed));
}

static PyObject *
get_struck(fi_arming *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(atomic_load_explicit(&self->ring.total, memory_order_relaxed) > 0);
}

static PyObject *
get_marked(fi_arming *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(atomic_load_explicit(&self->attr.marked, memory_order_relaxed));
}

static int
set_marked(fi_arming *self, PyObject *value, void *Py_UNUSED(closure))
{
    int marked = value != NULL ? PyObject_IsTrue(value) : 0;
    if (marked >= 0) {
        atomic_store_explicit(&self->attr.marked, marked, memory_order_relaxed);
    }
    return marked < 0 ? -1 : 0;
}

static PyGetSetDef arming_getset[] = {
    {"times", (getter)get_times, (setter)set_times, "Failures left; -1 is no limit.", NULL},
    {"space", (getter)get_space, (setter)set_space, "Bytes to let pass.", NULL},
    {"nth", (getter)get_nth, (setter)set_nth, "The countdown of fail_nth; 0 is none.", NULL},
    {"count", (getter)get_count, NULL, "What interval has counted.", NULL},
    {"struck", (getter)get_struck, NULL, "Whether a fault was injected.", NULL},
    {"marked", (getter)get_marked, (setter)set_marked, "The task's make_it_fail.", NULL},
    {0},
};

static PyMethodDef arming_methods[] = {
    {"arm", (PyCFunction)arming_arm, METH_NOARGS, "Put it into force."},
    {"sites", (PyCFunction)arming_sites, METH_NOARGS, "What the site table holds, in no order."},
    {"events", (PyCFunction)arming_events, METH_NOARGS, "The last faults, oldest first."},
    {"targets", (PyCFunction)arming_targets, METH_NOARGS, "How far each target is."},
    {"stats", (PyCFunction)arming_stats, METH_NOARGS, "Counters by name."},
    {"permits", (PyCFunction)arming_permits, METH_O, "The filters' answer for these codes."},
    {"says", (PyCFunction)arming_says, METH_O, "What the rules say of a code object."},
    {0},
};

PyTypeObject fi_arming_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "faultinject.native._hook.Arming",
    .tp_basicsize = sizeof(fi_arming),
    .tp_dealloc = (destructor)arming_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "Settings and results of one arming; see native/arming.py.",
    .tp_methods = arming_methods,
    .tp_getset = arming_getset,
    .tp_new = arming_new,
};
