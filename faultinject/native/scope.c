/* scope.c - matching code objects with the rules; see scope.h.
 *
 * Runs inside the allocator with the GIL held: it reads strings in place,
 * takes memory from libc only, and adds references but never drops one. */
#include "scope.h"

#include <limits.h>
#include <stdlib.h>

enum { FIRST_SLOTS = 512 };

static Py_UCS4
char_at(PyObject *text, Py_ssize_t at)
{
    return PyUnicode_READ(PyUnicode_KIND(text), PyUnicode_DATA(text), at);
}

static int
starts_with(PyObject *text, PyObject *start)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(start);
    if (PyUnicode_GET_LENGTH(text) < length) {
        return 0;
    }
    for (Py_ssize_t i = length; i-- > 0;) { /* paths differ at their ends */
        if (char_at(text, i) != char_at(start, i)) {
            return 0;
        }
    }
    return 1;
}

/* Whether name is top, or nested in it. */
static int
is_or_below(PyObject *name, PyObject *top)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(top);
    return starts_with(name, top) &&
           (PyUnicode_GET_LENGTH(name) == length || char_at(name, length) == '.');
}

/* A glob from here on: * and ? stay within one part of a path, ** does not;
 * a folder means all below. */
static int
glob_here(PyObject *glob, Py_ssize_t g, PyObject *path, Py_ssize_t p)
{
    Py_ssize_t glob_end = PyUnicode_GET_LENGTH(glob);
    Py_ssize_t path_end = PyUnicode_GET_LENGTH(path);
    for (; g < glob_end; g++, p++) {
        Py_UCS4 wanted = char_at(glob, g);
        if (wanted == '*') {
            int crosses = g + 1 < glob_end && char_at(glob, g + 1) == '*';
            for (g += crosses ? 2 : 1;; p++) {
                if (glob_here(glob, g, path, p)) {
                    return 1;
                }
                if (p >= path_end || (!crosses && char_at(path, p) == '/')) {
                    return 0;
                }
            }
        }
        if (p >= path_end) {
            return 0;
        }
        Py_UCS4 seen = char_at(path, p);
        if (wanted == '?' ? seen == '/' : seen != wanted) {
            return 0;
        }
    }
    return p == path_end || char_at(path, p) == '/';
}

/* A relative glob matches the end of a path, from a / on; "*" is everything. */
static int
glob_matches(PyObject *glob, PyObject *path)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(glob);
    if (length == 1 && char_at(glob, 0) == '*') {
        return 1;
    }
    if (glob_here(glob, 0, path, 0)) {
        return 1;
    }
    if (length > 0 && char_at(glob, 0) == '/') {
        return 0;
    }
    for (Py_ssize_t p = 0; p < PyUnicode_GET_LENGTH(path); p++) {
        if (char_at(path, p) == '/' && glob_here(glob, 0, path, p + 1)) {
            return 1;
        }
    }
    return 0;
}

static int
matches_code(const fi_rule *rule, PyCodeObject *code)
{
    PyObject *file = code->co_filename;
    switch (rule->kind) {
    case FI_EXACT:
        if (PyUnicode_GET_LENGTH(file) != PyUnicode_GET_LENGTH(rule->path) ||
            !starts_with(file, rule->path)) {
            return 0;
        }
        break;
    case FI_PREFIX:
        if (!starts_with(file, rule->path)) {
            return 0;
        }
        break;
    case FI_GLOB:
        if (!glob_matches(rule->path, file)) {
            return 0;
        }
        break;
    }
    return PyUnicode_GET_LENGTH(rule->qualname) == 0 ||
           is_or_below(code->co_qualname, rule->qualname);
}

static int
has_lines(const fi_rule *rule)
{
    return rule->first > 0 || rule->last != INT_MAX;
}

unsigned
fi_scope_at_line(const fi_scope *scope, PyCodeObject *code, int line)
{
    unsigned says = scope->any_include ? 0 : FI_INCLUDE;
    unsigned added = 0;
    int highest = -1;
    for (int i = 0; i < scope->n_rules; i++) {
        const fi_rule *rule = &scope->rules[i];
        if (has_lines(rule) && (line < rule->first || line > rule->last)) {
            continue;
        }
        if (!matches_code(rule, code)) {
            continue;
        }
        added |= rule->says & (FI_REQUIRE | FI_REJECT);
        if (rule->says & (FI_INCLUDE | FI_OMIT | FI_STOP)) {
            if (rule->rank >= highest) {
                highest = rule->rank;
                says = rule->says & (FI_INCLUDE | FI_STOP);
            }
        }
    }
    return says | added;
}

static uint64_t
hash_text(uint64_t hash, PyObject *text)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    for (Py_ssize_t i = 0; i < length; i++) {
        hash = (hash ^ char_at(text, i)) * UINT64_C(0x100000001B3);
    }
    return (hash ^ (uint64_t)length) * UINT64_C(0x100000001B3);
}

uint64_t
fi_content(PyObject *filename, PyObject *qualname, int first_line)
{
    uint64_t hash = hash_text(UINT64_C(0xCBF29CE484222325), filename);
    hash = hash_text(hash, qualname);
    hash = (hash ^ (uint64_t)(unsigned)first_line) * UINT64_C(0x9E3779B97F4A7C15);
    return hash != 0 ? hash : 1;
}

static int
grow(fi_scope *scope)
{
    size_t n_slots = scope->n_slots * 2;
    fi_code *slots = calloc(n_slots, sizeof(fi_code));
    if (slots == NULL) {
        return 0;
    }
    fi_code *old = scope->slots;
    size_t n_old = scope->n_slots;
    scope->slots = slots;
    scope->n_slots = n_slots;
    for (size_t i = 0; i < n_old; i++) {
        if (old[i].code != NULL) {
            size_t at = fi_scope_slot(scope, old[i].code);
            while (slots[at].code != NULL) {
                at = (at + 1) & (n_slots - 1);
            }
            slots[at] = old[i];
        }
    }
    free(old);
    return 1;
}

const fi_code *
fi_scope_add(fi_scope *scope, PyCodeObject *code)
{
    if (scope->n_codes * 2 >= scope->n_slots && !grow(scope)) {
        return &scope->unknown; /* nobody's code: it is left alone */
    }
    size_t at = fi_scope_slot(scope, code);
    while (scope->slots[at].code != NULL) {
        at = (at + 1) & (scope->n_slots - 1);
    }
    fi_code *added = &scope->slots[at];
    Py_INCREF(code); /* does not allocate */
    added->code = code;
    added->content = fi_content(code->co_filename, code->co_qualname, code->co_firstlineno);
    added->is_target =
        added->content == scope->targets[0] || added->content == scope->targets[1];
    for (int i = 0; i < scope->n_rules; i++) {
        if (has_lines(&scope->rules[i]) && matches_code(&scope->rules[i], code)) {
            added->by_line = 1;
        }
    }
    added->says = (uint8_t)fi_scope_at_line(scope, code, -1);
    scope->n_codes++;
    return added;
}

int
fi_scope_init(fi_scope *scope, PyObject *rules)
{
    scope->slots = calloc(FIRST_SLOTS, sizeof(fi_code));
    PyObject *items = PySequence_Fast(rules, "rules is not a sequence");
    if (items == NULL || scope->slots == NULL) {
        Py_XDECREF(items);
        return PyErr_Occurred() ? -1 : (PyErr_NoMemory(), -1);
    }
    scope->n_slots = FIRST_SLOTS;
    Py_ssize_t n = PySequence_Fast_GET_SIZE(items);
    scope->rules = calloc((size_t)n + 1, sizeof(fi_rule));
    for (Py_ssize_t i = 0; scope->rules != NULL && i < n; i++) {
        fi_rule *rule = &scope->rules[i];
        int kind;
        if (!PyArg_ParseTuple(PySequence_Fast_GET_ITEM(items, i), "iIUUiii", &kind, &rule->says,
                              &rule->path, &rule->qualname, &rule->first, &rule->last,
                              &rule->rank)) {
            rule->path = rule->qualname = NULL;
            break;
        }
        rule->kind = (enum fi_rule_kind)kind;
        Py_INCREF(rule->path);
        Py_INCREF(rule->qualname);
        scope->n_rules++;
        scope->any_include |= (rule->says & FI_INCLUDE) != 0;
        scope->filters |= (int)(rule->says & (FI_REQUIRE | FI_REJECT));
    }
    Py_DECREF(items);
    if (scope->rules == NULL) {
        PyErr_NoMemory();
    }
    return PyErr_Occurred() ? -1 : 0;
}

void
fi_scope_clear(fi_scope *scope)
{
    fi_code *slots = scope->slots;
    size_t n_slots = scope->n_slots;
    scope->slots = NULL;
    scope->n_slots = scope->n_codes = 0;
    for (size_t i = 0; slots != NULL && i < n_slots; i++) {
        Py_XDECREF(slots[i].code);
    }
    free(slots);
    for (int i = 0; i < scope->n_rules; i++) {
        Py_XDECREF(scope->rules[i].path);
        Py_XDECREF(scope->rules[i].qualname);
    }
    free(scope->rules);
    scope->rules = NULL;
    scope->n_rules = 0;
}
