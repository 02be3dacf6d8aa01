/* site_table.c - the table's memory; see site_table.h. */
#include "site_table.h"

#include <stdlib.h>
#include <string.h>

int
fi_sites_init(fi_sites *sites, uint32_t capacity)
{
    /* At most half full, so that a search ends soon.  Pages that are never
     * touched cost nothing. */
    size_t n_slots = 16;
    while (n_slots < (size_t)capacity * 2) {
        n_slots *= 2;
    }
    sites->slots = calloc(n_slots, sizeof(fi_site));
    if (sites->slots == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    sites->n_slots = n_slots;
    sites->capacity = capacity;
    return 0;
}

void
fi_sites_clear(fi_sites *sites)
{
    free(sites->slots);
    memset(sites, 0, sizeof(*sites));
}

int
fi_sites_fill(fi_sites *sites, fi_site *slot, const fi_site *site)
{
    if (sites->n_sites >= sites->capacity) {
        sites->overflow++;
        return 0;
    }
    *slot = *site;
    slot->order = sites->n_sites++;
    slot->min_size = SIZE_MAX;
    return 1;
}
