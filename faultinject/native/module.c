/* module.c - the module `faultinject.native._hook`.
 *
 * Here: the table of functions, and the little ones.
 * Not here: whether the module may be used at all (native/core.py decides). */
#include "crash_stack.h"
#include "hooks.h"
#include "rule_type.h"

static PyObject *
domains(unsigned set)
{
    return PyLong_FromUnsignedLong(set);
}

static PyObject *
disarm(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return domains(fi_now.arming != NULL ? fi_hooks_remove() : fi_hooks_settle());
}

static PyObject *
settle(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return domains(fi_hooks_settle());
}

static PyObject *
covered(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return domains(fi_hooks_covered());
}

static PyObject *
pause_(PyObject *Py_UNUSED(module), PyObject *on)
{
    int pause = PyObject_IsTrue(on);
    if (pause < 0) {
        return NULL;
    }
    fi_hooks_pause(pause);
    Py_RETURN_NONE;
}

static PyObject *
armed(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(fi_now.arming != NULL ? (PyObject *)fi_now.arming : Py_None);
}

/* The frames as frame_compat.h sees them, innermost first: (code, offset). */
static PyObject *
frames(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    PyThreadState *state = fi_thread_state(1);
    PyObject *rows = PyList_New(0);
    fi_frame *frame = state != NULL ? fi_innermost(state) : NULL;
    for (; rows != NULL && frame != NULL; frame = fi_outer(frame)) {
        PyCodeObject *code;
        int lasti;
        if (fi_frame_place(frame, &code, &lasti) != FI_FRAME_COUNTS) {
            continue;
        }
        PyObject *row = Py_BuildValue("(Oi)", code, lasti);
        if (row == NULL || PyList_Append(rows, row) < 0) {
            Py_CLEAR(rows);
        }
        Py_XDECREF(row);
    }
    return rows;
}

static PyObject *
learn(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(fi_cstack_learn());
}

static PyObject *
address(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *name;
    Py_ssize_t offset;
    if (!PyArg_ParseTuple(args, "sn", &name, &offset)) {
        return NULL;
    }
    return PyLong_FromVoidPtr(fi_cstack_address(name, (size_t)offset));
}

static PyObject *
watch_crashes(PyObject *Py_UNUSED(module), PyObject *descriptor)
{
    int to = PyObject_AsFileDescriptor(descriptor);
    return to < 0 ? NULL : PyBool_FromLong(fi_crash_stack_watch(to));
}

static PyObject *
fault_stack(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return fi_crash_stack_kept();
}

static PyObject *
forget_fault(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    fi_crash_stack_forget();
    Py_RETURN_NONE;
}

/* The allocators that are installed now, as numbers to compare; for tests. */
static PyObject *
allocators(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    PyMemAllocatorEx at[3];
    PyObjectArenaAllocator arena;
    PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &at[0]);
    PyMem_GetAllocator(PYMEM_DOMAIN_MEM, &at[1]);
    PyMem_GetAllocator(PYMEM_DOMAIN_OBJ, &at[2]);
    PyObject_GetArenaAllocator(&arena);
    PyObject *rows = PyList_New(0);
    for (int i = 0; rows != NULL && i < 3; i++) {
        PyObject *row = Py_BuildValue("(NNNNN)", PyLong_FromVoidPtr(at[i].ctx),
                                      PyLong_FromVoidPtr((void *)at[i].malloc),
                                      PyLong_FromVoidPtr((void *)at[i].calloc),
                                      PyLong_FromVoidPtr((void *)at[i].realloc),
                                      PyLong_FromVoidPtr((void *)at[i].free));
        if (row == NULL || PyList_Append(rows, row) < 0) {
            Py_CLEAR(rows);
        }
        Py_XDECREF(row);
    }
    return rows == NULL ? NULL
                        : Py_BuildValue("(NNNN)", rows, PyLong_FromVoidPtr(arena.ctx),
                                        PyLong_FromVoidPtr((void *)arena.alloc),
                                        PyLong_FromVoidPtr((void *)arena.free));
}

/* Ask the raw domain from here without the GIL, n times; returns how many
 * requests failed.  For tests: no Python code can do that. */
static PyObject *
raw_without_gil(PyObject *Py_UNUSED(module), PyObject *args)
{
    long n, failed = 0;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "ln", &n, &size)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    for (long i = 0; i < n; i++) {
        void *block = PyMem_RawMalloc((size_t)size);
        failed += block == NULL;
        PyMem_RawFree(block);
    }
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(failed);
}

/* Make one request of each kind in a domain and free it; returns a set of those
 * that failed: 1 malloc, 2 calloc, 4 realloc of nothing, 8 realloc.  For tests. */
static PyObject *
ask(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_ssize_t size;
    int domain, failed = 0;
    if (!PyArg_ParseTuple(args, "in", &domain, &size)) {
        return NULL;
    }
    PyMemAllocatorEx at;
    PyMem_GetAllocator((PyMemAllocatorDomain)domain, &at);
    void *blocks[] = {at.malloc(at.ctx, (size_t)size), at.calloc(at.ctx, 1, (size_t)size),
                      at.realloc(at.ctx, NULL, (size_t)size)};
    for (int i = 0; i < 3; i++) {
        void *grown = blocks[i] != NULL ? at.realloc(at.ctx, blocks[i], (size_t)size * 2) : NULL;
        failed |= blocks[i] == NULL ? 1 << i : grown == NULL ? 8 : 0;
        at.free(at.ctx, grown != NULL ? grown : blocks[i]);
    }
    return PyLong_FromLong(failed); /* a small number: it is not allocated */
}

static PyMethodDef methods[] = {
    {"disarm", disarm, METH_NOARGS, "Take the hooks out; the set of domains that keep one."},
    {"settle", settle, METH_NOARGS, "Take out what another hook kept in; what is left."},
    {"covered", covered, METH_NOARGS, "The set of domains in which another hook lies on ours."},
    {"pause", pause_, METH_O, "Begin a pause, in which nothing counts, or end one. They nest."},
    {"armed", armed, METH_NOARGS, "The arming in force, or None."},
    {"frames", frames, METH_NOARGS, "The stack as the hook sees it."},
    {"learn", learn, METH_NOARGS, "Find where frame objects are made; whether it did."},
    {"address", address, METH_VARARGS, "The address of an offset in a shared object, or 0."},
    {"watch_crashes", watch_crashes, METH_O, "Write C stacks to a descriptor at a crash."},
    {"fault_stack", fault_stack, METH_NOARGS, "The C stack of the last fault."},
    {"forget_fault", forget_fault, METH_NOARGS, "Forget the last fault's C stack."},
    {"allocators", allocators, METH_NOARGS, "What is installed now; for tests."},
    {"raw_without_gil", raw_without_gil, METH_VARARGS, "Raw requests without the GIL; for tests."},
    {"ask", ask, METH_VARARGS, "One request of each kind; for tests."},
    {0},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "faultinject.native._hook",
    .m_doc = "The allocator hooks; use faultinject.native.",
    .m_size = -1, /* one per process: the allocators are the process's */
    .m_methods = methods,
};

PyMODINIT_FUNC
PyInit__hook(void)
{
    if (PyType_Ready(&fi_arming_type) < 0 || PyType_Ready(&fi_rule_type) < 0) {
        return NULL;
    }
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL || PyModule_AddObjectRef(module, "Arming", (PyObject *)&fi_arming_type) < 0 ||
        PyModule_AddObjectRef(module, "Rule", (PyObject *)&fi_rule_type) < 0 ||
        PyModule_AddIntConstant(module, "BUILT_FOR", PY_VERSION_HEX >> 16) < 0) {
        Py_XDECREF(module);
        return NULL;
    }
    fi_hooks_init();
    fi_cstack_warm_up();
    return module;
}
