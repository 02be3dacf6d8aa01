/* interner.c - keeps one copy of each text, and numbers the copies.
 *
 * Compiled twice: as it should be, and with PLANTED defined, which puts in
 * three bugs of the kinds that extension modules have. Between #ifdef PLANTED
 * and #endif each stands beside what is right; the rest is the same. */
#include <Python.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef PLANTED
#define NAME "interner_wrong"
#define PyInit PyInit_interner_wrong
#else
#define NAME "interner_right"
#define PyInit PyInit_interner_right
#endif

enum { LIMIT = 1 << 20 }; /* bytes of text */

typedef struct entry {
    struct entry *next; /* the one before it in time */
    Py_ssize_t number, size;
    char text[];
} entry;

static entry *newest;
static Py_ssize_t count, used; /* entries, bytes of text in them */

/* The entry of a text, made if there is none; NULL with an exception set. */
static entry *
entry_of(const char *text, Py_ssize_t size)
{
    for (entry *at = newest; at != NULL; at = at->next) {
        if (at->size == size && memcmp(at->text, text, (size_t)size) == 0) {
            return at;
        }
    }
    if (size > LIMIT - used) {
        PyErr_SetString(PyExc_OverflowError, "the interner is full");
        return NULL;
    }
#ifdef PLANTED
    used += size; /* Bug 1: charged for an entry that may never be made. */
#endif
    entry *made = PyMem_Malloc(sizeof(entry) + (size_t)size);
    if (made == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
#ifndef PLANTED
    used += size;
#endif
    made->next = newest;
    made->number = count++;
    made->size = size;
    memcpy(made->text, text, (size_t)size);
    return newest = made;
}

static PyObject *
intern(PyObject *Py_UNUSED(module), PyObject *text)
{
    Py_ssize_t size;
    const char *bytes = PyUnicode_AsUTF8AndSize(text, &size);
    entry *found = bytes != NULL ? entry_of(bytes, size) : NULL;
    return found != NULL ? PyLong_FromSsize_t(found->number) : NULL;
}

static PyObject *
texts(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    PyObject *list = PyList_New(count);
#ifndef PLANTED /* Bug 2: the result is used unchecked. */
    if (list == NULL) {
        return NULL;
    }
#endif
    for (entry *at = newest; at != NULL; at = at->next) {
        PyObject *text = PyUnicode_FromStringAndSize(at->text, at->size);
        if (text == NULL) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SET_ITEM(list, at->number, text);
    }
    return list;
}

/* Read `size` bytes of a file, or as many as there are; -1 with an exception set. */
static Py_ssize_t
read_all(int file, char *into, Py_ssize_t size)
{
    Py_ssize_t had = 0;
    while (had < size) {
        ssize_t more = read(file, into + had, (size_t)(size - had));
        if (more < 0) {
            PyErr_SetFromErrno(PyExc_OSError);
            return -1;
        }
        if (more == 0) {
            break;
        }
        had += more;
    }
    return had;
}

static PyObject *
load(PyObject *Py_UNUSED(module), PyObject *path)
{
    PyObject *name;
    if (!PyUnicode_FSConverter(path, &name)) {
        return NULL;
    }
    int file = open(PyBytes_AS_STRING(name), O_RDONLY | O_CLOEXEC);
    Py_DECREF(name);
    struct stat about;
    if (file < 0 || fstat(file, &about) < 0) {
        PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
        if (file >= 0) {
            close(file);
        }
        return NULL;
    }
    char *lines = PyMem_Malloc((size_t)about.st_size);
    if (lines == NULL) {
#ifndef PLANTED /* Bug 3: nobody closes the file. */
        close(file);
#endif
        return PyErr_NoMemory();
    }
    Py_ssize_t size = read_all(file, lines, about.st_size);
    close(file);
    Py_ssize_t loaded = 0;
    for (char *line = lines, *end; size > 0; loaded++, size -= end + 1 - line, line = end + 1) {
        end = memchr(line, '\n', (size_t)size);
        end = end != NULL ? end : line + size;
        if (entry_of(line, end - line) == NULL) {
            break;
        }
    }
    PyMem_Free(lines);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(loaded);
}

static PyObject *
used_(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromSsize_t(used);
}

static PyObject *
clear(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    for (entry *at = newest, *next; at != NULL; at = next) {
        next = at->next;
        used -= at->size;
        PyMem_Free(at);
    }
    newest = NULL;
    count = 0;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"intern", intern, METH_O, "The number of a text, the same for equal texts; from 0 on."},
    {"texts", texts, METH_NOARGS, "A list of all texts, each at its number."},
    {"load", load, METH_O, "Intern every line of a file; how many lines there were."},
    {"used", used_, METH_NOARGS, "How many bytes the texts take."},
    {"clear", clear, METH_NOARGS, "Forget all texts."},
    {0},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = NAME,
    .m_doc = "One copy of each text.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC
PyInit(void)
{
    return PyModule_Create(&definition);
}
