/* arming.h - one arming: everything that the hooks read and write.
 *
 * Here: the structure that the hooks (hooks.c) and its Python type
 * (arming_type.c) share.
 * Not here: the process's own state, which hooks.h has. */
#ifndef FAULTINJECT_ARMING_H
#define FAULTINJECT_ARMING_H

#include "attr.h"
#include "cstack.h"
#include "event_ring.h"
#include "scope.h"
#include "site_table.h"

enum fi_domain { FI_RAW, FI_MEM, FI_OBJ, FI_ARENA, FI_DOMAINS };

enum fi_mode {
    FI_MODE_RULE,     /* the rule alone; frames are read when a fault is about to strike */
    FI_MODE_FILTERED, /* the rule, for calls that the scope and the filters permit */
    FI_MODE_CENSUS,   /* count, fail nothing */
    FI_MODE_STRIKE,   /* fail one hit of a site, or of two, and perhaps all after it */
    FI_MODES,
};

/* Marks a thread: the address of its copy is its identity. */
typedef struct {
    int busy;    /* inside an allocator that we called: requests are part of that one */
    int starved; /* an arena failed inside: pymalloc's second way must fail as well */
} fi_thread;

/* Which sizes of a domain count, both included. */
typedef struct {
    size_t min, span; /* span = max - min */
    int on;
} fi_sizes;

typedef struct {
    uint64_t content; /* of the code, see fi_content */
    int *offsets;     /* owned, libc */
    int n_offsets;
    int domain;   /* -1 is any */
    void *caller; /* NULL is any */
    uint64_t hit; /* from 1 */
    int persistent;
    uint64_t hits; /* so far */
    int struck;
} fi_target;

/* The faults of one strike: the second may be reached only because of the first. */
enum { FI_TARGETS = 2 };

typedef struct {
    uint64_t requests; /* that reached the site table */
    _Atomic uint64_t nogil;
    uint64_t tracing;    /* under a trace function */
    uint64_t harness;    /* of the harness's own frames */
    uint64_t nobody;     /* no frame under test in the stack */
    uint64_t too_deep;   /* none within the depth */
    uint64_t vetoed;
} fi_stats;

/* The frames of the last search, innermost first, and what it found at the last
 * of them.  Most requests come from where the one before came from: comparing
 * is then all that a search costs. */
enum { FI_MAX_PATH = 48 };

typedef struct {
    const void *runs[FI_MAX_PATH]; /* see fi_frame_runs; kept alive by the scope's cache */
    int length;                    /* 0 is none */
    uint64_t content;
    unsigned says;
    int is_target;
} fi_path;

typedef struct {
    PyObject_HEAD
    enum fi_mode mode;
    fi_sizes sizes[FI_DOMAINS];
    int everyone;     /* all threads, not only the one that arms */
    int scope_depth;  /* frames to look for one under test */
    int filter_depth; /* frames that require and reject look at */
    fi_thread *owner; /* the thread that armed */
    PyThreadState *state; /* that thread's, unless everyone counts: then it must be asked for */
    fi_attr attr;
    fi_scope scope;
    fi_path path;
    fi_cstack cstack;
    fi_sites sites;
    fi_target targets[FI_TARGETS];
    int n_targets;
    int to_strike; /* of the targets */
    int persists;  /* everything fails from now on */
    int counts;    /* a strike that is a census as well */
    fi_ring ring;
    fi_stats stats;
} fi_arming;

extern PyTypeObject fi_arming_type;

#endif
