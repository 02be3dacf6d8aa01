/* rule_type.c - the Python type `_hook.Rule`: the C rule by itself.
 *
 * Here: nothing but a door to attr.h, so that tests/native can drive it through
 * the same table of cases as the reference.  Nothing else uses it. */
#include "rule_type.h"

#include "attr.h"

typedef struct {
    PyObject_HEAD
    fi_attr attr;
} fi_rule_object;

static PyObject *
rule_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"probability", "interval", "times", "space",
                            "task_filter", "marked",   "nth",   "seed",
                            "shared",      NULL};
    unsigned long long probability = 0, interval = 1, seed = 0;
    long long times = 1, space = 0, nth = 0;
    int task_filter = 0, marked = 0, shared = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|KKLLppLKp", names, &probability, &interval,
                                     &times, &space, &task_filter, &marked, &nth, &seed,
                                     &shared)) {
        return NULL;
    }
    fi_rule_object *self = (fi_rule_object *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->attr.probability = probability;
        self->attr.interval = interval;
        self->attr.task_filter = task_filter;
        self->attr.shared = shared;
        atomic_init(&self->attr.times, times);
        atomic_init(&self->attr.space, space);
        atomic_init(&self->attr.marked, marked);
        atomic_init(&self->attr.nth, nth);
        atomic_init(&self->attr.prng, seed);
    }
    return (PyObject *)self;
}

static unsigned
given(void *closure)
{
    return *(unsigned *)closure;
}

static int
refuse(void *Py_UNUSED(closure))
{
    return 0;
}

/* decide(size, permitted, draw): draw -1 takes one from the seeded stream. */
static PyObject *
rule_decide(fi_rule_object *self, PyObject *args)
{
    static const char *const names[] = {
        [FI_FAIL] = "FAIL",           [FI_FAIL_NTH] = "FAIL_NTH",   [FI_COUNTED] = "COUNTED",
        [FI_OFF] = "OFF",             [FI_NOT_MARKED] = "NOT_MARKED", [FI_EXHAUSTED] = "EXHAUSTED",
        [FI_FILTERED] = "FILTERED",   [FI_IN_BUDGET] = "IN_BUDGET", [FI_OFF_BEAT] = "OFF_BEAT",
        [FI_SPARED] = "SPARED",
    };
    long long size;
    int permitted, draw;
    if (!PyArg_ParseTuple(args, "Lpi", &size, &permitted, &draw)) {
        return NULL;
    }
    unsigned number = (unsigned)draw;
    enum fi_decision decision = fi_attr_decide(&self->attr, size, permitted ? NULL : refuse, NULL,
                                               draw < 0 ? NULL : given, &number);
    if (decision <= FI_FAIL_NTH && !fi_attr_charge(&self->attr, decision)) {
        decision = FI_EXHAUSTED;
    }
    return PyUnicode_FromString(names[decision]);
}

static PyObject *
rule_state(fi_rule_object *self, PyObject *Py_UNUSED(ignored))
{
    return Py_BuildValue("{sLsLsLsL}", "times", (long long)atomic_load(&self->attr.times), "space",
                         (long long)atomic_load(&self->attr.space), "count",
                         (long long)atomic_load(&self->attr.count), "nth",
                         (long long)atomic_load(&self->attr.nth));
}

static PyObject *
rule_roll(fi_rule_object *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromUnsignedLong(fi_attr_roll(&self->attr));
}

static PyMethodDef rule_methods[] = {
    {"decide", (PyCFunction)rule_decide, METH_VARARGS, "Decide and charge one call."},
    {"state", (PyCFunction)rule_state, METH_NOARGS, "times, space, count and nth."},
    {"roll", (PyCFunction)rule_roll, METH_NOARGS, "Draw 0 to 99."},
    {0},
};

PyTypeObject fi_rule_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "faultinject.native._hook.Rule",
    .tp_basicsize = sizeof(fi_rule_object),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "The C rule by itself, for the table of cases.",
    .tp_methods = rule_methods,
    .tp_new = rule_new,
};
