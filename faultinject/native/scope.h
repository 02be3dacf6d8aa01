/* scope.h - whose code a code object is.
 *
 * Here: the table of rules that Python made of the sources, and the cache of
 * its answers, one entry per code object.
 * Not here: where the rules come from (native/places.py).
 *
 * The rules are matched once per code object (scope.c); the lookup after that
 * is hot and stays in this header. */
#ifndef FAULTINJECT_SCOPE_H
#define FAULTINJECT_SCOPE_H

#include "frame_compat.h"

#include <stdint.h>

/* What a rule says of the code that it matches.  Of the first three the rule of
 * the highest rank wins, and the later one of equals; the last two add up. */
enum {
    FI_INCLUDE = 1, /* under test */
    FI_OMIT = 2,    /* not under test: its callers may be */
    FI_STOP = 4,    /* the harness: neither it nor what it runs for counts */
    FI_REQUIRE = 8,
    FI_REJECT = 16,
};

enum fi_rule_kind { FI_EXACT, FI_PREFIX, FI_GLOB };

typedef struct {
    enum fi_rule_kind kind;
    unsigned says;
    PyObject *path;     /* owned; str */
    PyObject *qualname; /* owned; "" is any */
    int first, last;    /* lines, both included; first 0 and last INT_MAX are any */
    int rank; /* native/places.py: the length of the text, and more for an omission */
} fi_rule;

typedef struct {
    PyCodeObject *code; /* owned, so that the address is not given to another */
    uint64_t content;   /* see fi_content; what survives exec() */
    uint8_t says;       /* FI_INCLUDE ... FI_REJECT; FI_INCLUDE is also the default */
    uint8_t by_line;    /* says depends on the line: ask fi_scope_at_line */
    uint8_t is_target;  /* its content is that of a target of the strike's */
} fi_code;

typedef struct {
    fi_rule *rules; /* owned, libc */
    int n_rules;
    int any_include; /* without one, all code is under test that is not omitted */
    int filters;     /* which of FI_REQUIRE and FI_REJECT occur */
    uint64_t targets[2]; /* contents of the code that is to fail; 0 is none */
    fi_code *slots;  /* owned, libc */
    size_t n_slots;  /* a power of two */
    size_t n_codes;
    fi_code unknown; /* the answer when libc has no memory for more slots */
} fi_scope;

/* Read the rules: a sequence of (kind, says, path, qualname, first, last, rank). */
int fi_scope_init(fi_scope *scope, PyObject *rules);
void fi_scope_clear(fi_scope *scope);

/* Hash a code object's identity by content: file, qualified name, first line. */
uint64_t fi_content(PyObject *filename, PyObject *qualname, int first_line);

/* What the rules say of a place; line -1 leaves rules with lines out. */
unsigned fi_scope_at_line(const fi_scope *scope, PyCodeObject *code, int line);

/* Match the rules with a code object that is not in the cache yet. */
const fi_code *fi_scope_add(fi_scope *scope, PyCodeObject *code);

static inline size_t
fi_scope_slot(const fi_scope *scope, const PyCodeObject *code)
{
    return (size_t)(((uint64_t)(uintptr_t)code * UINT64_C(0x9E3779B97F4A7C15)) >> 32) &
           (scope->n_slots - 1);
}

/* Find the cached answer for a code object.  The pointer is good until the
 * next call, which may grow the table. */
static inline const fi_code *
fi_scope_find(fi_scope *scope, PyCodeObject *code)
{
    size_t at = fi_scope_slot(scope, code);
    for (;;) {
        const fi_code *found = &scope->slots[at];
        if (found->code == code) {
            return found;
        }
        if (found->code == NULL) {
            return fi_scope_add(scope, code);
        }
        at = (at + 1) & (scope->n_slots - 1);
    }
}

/* What the rules say of a frame's place. */
static inline unsigned
fi_scope_says(fi_scope *scope, const fi_code *known, PyCodeObject *code, int lasti)
{
    if (__builtin_expect(known->by_line, 0)) {
        /* Does not allocate, but decodes the line table: only for code that
         * a rule with lines matches. */
        return fi_scope_at_line(scope, code, PyCode_Addr2Line(code, lasti));
    }
    return known->says;
}

#endif
