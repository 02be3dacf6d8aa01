/* site_table.h - the call sites that a run reaches, and how often.
 *
 * Here: a table of fixed size, open addressing, in libc memory; what does not
 * fit is counted.
 * Not here: which requests come here (hooks.c), lines and names (Python
 * decodes them after the fact).
 *
 * Touched only with the GIL held, so nothing in it is atomic. */
#ifndef FAULTINJECT_SITE_TABLE_H
#define FAULTINJECT_SITE_TABLE_H

#include <Python.h>

#include <stdint.h>

/* What was found out about a site when it was new; but for FI_SITE_MIXED it never
 * changes, so that a census and the strikes after it agree. */
enum {
    FI_SITE_VETOED = 1,
    FI_SITE_EXTENSION = 2, /* an extension under test asks: any Python frame will do */
    FI_SITE_FOREIGN = 4,   /* looked at for an extension, and nobody's */
    FI_SITE_MIXED = 8,     /* an extension's, where others have asked as well */
    FI_SITE_TARGET = 16,   /* the strike's first one; those of its others follow */
};

enum { FI_SURE = 64 };

/* One call site: an instruction of a code object, a domain, and the C function
 * that asks.  64 bytes: one line of the cache. */
typedef struct {
    uint64_t key;       /* of the code's content, and of the size where modes.h says so;
                           0 is an empty slot */
    PyCodeObject *code; /* borrowed from the scope's cache */
    void *caller;       /* where in C the allocator was called */
    uint64_t hits;
    size_t min_size, max_size;
    uint32_t order; /* the n-th site that was reached, from 0 */
    int lasti;
    uint8_t domain;
    uint8_t flags;
    uint8_t sure; /* hits that were seen to be an extension's, up to FI_SURE */
} fi_site;

typedef struct {
    fi_site *slots;  /* owned, libc */
    size_t n_slots;  /* a power of two */
    uint32_t n_sites;
    uint32_t capacity;
    uint64_t overflow; /* requests of sites that found no room */
} fi_sites;

int fi_sites_init(fi_sites *sites, uint32_t capacity);
void fi_sites_clear(fi_sites *sites);

/* Find a site's slot, or the empty one where it belongs. */
static inline fi_site *
fi_sites_slot(fi_sites *sites, uint64_t key, int lasti, int domain, void *caller)
{
    uint64_t hash = key ^ ((uint64_t)(uintptr_t)caller * UINT64_C(0xBF58476D1CE4E5B9)) ^
                    ((((uint64_t)(unsigned)lasti << 2) | (unsigned)domain) *
                     UINT64_C(0x94D049BB133111EB));
    size_t at = (size_t)(hash ^ (hash >> 29)) & (sites->n_slots - 1);
    for (;;) {
        fi_site *site = &sites->slots[at];
        if (site->key == 0 || (site->key == key && site->lasti == lasti &&
                                   site->caller == caller && site->domain == domain)) {
            return site;
        }
        at = (at + 1) & (sites->n_slots - 1);
    }
}

/* Fill an empty slot; returns 0 if the table is full. */
int fi_sites_fill(fi_sites *sites, fi_site *slot, const fi_site *site);

static inline void
fi_site_hit(fi_site *site, size_t size)
{
    site->hits++;
    if (size < site->min_size) {
        site->min_size = size;
    }
    if (size > site->max_size) {
        site->max_size = size;
    }
}

#endif
