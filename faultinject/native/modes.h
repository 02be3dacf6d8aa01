/* modes.h - what each mode makes of a request that counts.
 *
 * Here: one function `MODE_fails` for each mode, and the cold paths behind it.
 * Not here: the wrappers that call them (hooks.c), which includes this file
 * once, so that each wrapper holds its mode's hot path.
 *
 * The raw domain runs without the GIL, on any thread, and during shutdown.
 * So nothing here calls the Python API without a thread state, takes a lock,
 * or takes memory from Python. */
#ifndef FAULTINJECT_MODES_H
#define FAULTINJECT_MODES_H

#include "crash_stack.h"
#include "frame_search.h"
#include "hooks.h"
#include "traced_call.h"

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define COLD __attribute__((cold, noinline))

/* Does nothing: a place for a debugger to stop at when a fault is injected. */
static __attribute__((noinline)) void
fi_injected(void)
{
    __asm__ volatile("");
}

/* What the C stack says of this request, and the little that only frames tell. */
static COLD unsigned
stack_says(fi_arming *arming, PyThreadState *state)
{
    unsigned says = fi_cstack_look(&arming->cstack);
    if (state != NULL && (fi_frame_vetoes(fi_innermost(state)) ||
                          (fi_is_traced(state) && fi_is_for_traced_call()))) {
        says |= FI_STACK_VETOED;
    }
    return says;
}

static void
note(fi_arming *arming, int domain, size_t size, void *caller, const fi_place *place)
{
    fi_event event = {.code = place->code,
                      .caller = caller,
                      .size = size,
                      .thread = PyThread_get_thread_ident(),
                      .lasti = place->lasti,
                      .domain = domain};
    fi_ring_add(&arming->ring, &event);
    fi_crash_stack_keep();
    fi_injected();
}

/* The rule alone says that this request fails.  Now the frames are read: the
 * harness's own requests and those of tracers pass, and so do vetoed ones. */
static COLD int
rule_fails(fi_arming *arming, enum fi_decision decision, int domain, size_t size, void *caller)
{
    fi_place place = {0};
    PyThreadState *state = fi_asker(arming, domain);
    if (state == NULL) {
        atomic_fetch_add_explicit(&arming->stats.nogil, 1, memory_order_relaxed);
    } else {
        fi_frame *frame = fi_innermost(state);
        int depth = arming->scope_depth;
        if (state->tracing) {
            arming->stats.tracing++;
            fi_attr_pass_on(&arming->attr, decision);
            return 0;
        }
        if (!fi_nearest(arming, &frame, &depth, &place)) {
            fi_attr_pass_on(&arming->attr, decision);
            return 0;
        }
    }
    if (stack_says(arming, state) & FI_STACK_VETOED) {
        arming->stats.vetoed++;
        fi_attr_pass_on(&arming->attr, decision);
        return 0;
    }
    if (!fi_attr_charge(&arming->attr, decision)) {
        return 0;
    }
    note(arming, domain, size, caller, &place);
    return 1;
}

static inline int
RULE_fails(fi_arming *arming, int domain, size_t size, void *caller, const char *cfa)
{
    (void)cfa;
    enum fi_decision decision =
        fi_attr_decide(&arming->attr, (int64_t)size, NULL, NULL, NULL, NULL);
    return UNLIKELY(decision <= FI_FAIL_NTH) &&
           rule_fails(arming, decision, domain, size, caller);
}

typedef struct {
    fi_arming *arming;
    int domain;
    fi_place place;
} fi_asked;

__attribute__((always_inline)) static inline int
permits(void *closure)
{
    fi_asked *asked = closure;
    PyThreadState *state = fi_asker(asked->arming, asked->domain);
    if (state == NULL) {
        atomic_fetch_add_explicit(&asked->arming->stats.nogil, 1, memory_order_relaxed);
        return 0;
    }
    if (state->tracing) {
        asked->arming->stats.tracing++;
        return 0;
    }
    return fi_permitted(asked->arming, state, &asked->place);
}

static COLD int
filtered_fails(fi_arming *arming, enum fi_decision decision, int domain, size_t size,
               void *caller, const fi_place *place)
{
    if (stack_says(arming, fi_asker(arming, domain)) & FI_STACK_VETOED) {
        arming->stats.vetoed++;
        fi_attr_pass_on(&arming->attr, decision);
        return 0;
    }
    if (!fi_attr_charge(&arming->attr, decision)) {
        return 0;
    }
    note(arming, domain, size, caller, place);
    return 1;
}

static inline int
FILTERED_fails(fi_arming *arming, int domain, size_t size, void *caller, const char *cfa)
{
    (void)cfa;
    fi_asked asked = {.arming = arming, .domain = domain};
    enum fi_decision decision =
        fi_attr_decide(&arming->attr, (int64_t)size, permits, &asked, NULL, NULL);
    return UNLIKELY(decision <= FI_FAIL_NTH) &&
           filtered_fails(arming, decision, domain, size, caller, &asked.place);
}

static int
is_at(const fi_target *target, const fi_place *place, int domain, void *caller)
{
    if (target->content != place->content || (target->domain >= 0 && target->domain != domain) ||
        (target->caller != NULL && target->caller != caller)) {
        return 0;
    }
    for (int i = 0; i < target->n_offsets; i++) {
        if (target->offsets[i] == place->lasti) {
            return 1;
        }
    }
    return 0;
}

/* Write down a new site, once its C stack has been looked at. */
static COLD fi_site *
new_site(fi_arming *arming, fi_site *slot, uint64_t key, const fi_place *place, int domain,
         void *caller)
{
    unsigned stack = stack_says(arming, fi_asker(arming, domain));
    fi_site site = {.key = key,
                    .code = place->code,
                    .caller = caller,
                    .lasti = place->lasti,
                    .domain = (uint8_t)domain};
    if (stack & FI_STACK_VETOED) {
        site.flags |= FI_SITE_VETOED;
    }
    if (stack & FI_STACK_EXTENSION) {
        site.flags |= FI_SITE_EXTENSION;
    } else if (!(place->says & FI_INCLUDE)) {
        site.flags |= FI_SITE_FOREIGN;
    }
    for (int i = 0; place->is_target && i < arming->n_targets; i++) {
        if (is_at(&arming->targets[i], place, domain, caller)) {
            site.flags |= (uint8_t)(FI_SITE_TARGET << i);
        }
    }
    return fi_sites_fill(&arming->sites, slot, &site) ? slot : NULL;
}

static inline fi_site *
site_of(fi_arming *arming, const fi_place *place, int domain, size_t size, void *caller,
        const char *cfa)
{
    /* What the C stack says is found out once for each key and holds for all its
     * hits.  One instruction makes lists, which count, and tracebacks, which are
     * vetoed, through one C caller: who called that one tells them apart, or where
     * that is unknown at least the size. */
    uint64_t key = place->content;
    if (fi_is_maker(caller)) {
        key += (size + (uintptr_t)fi_cstack_beyond(caller, cfa)) * UINT64_C(0x9E3779B97F4A7C15);
        key += key == 0;
    }
    fi_site *site = fi_sites_slot(&arming->sites, key, place->lasti, domain, caller);
    if (UNLIKELY(site->key == 0)) {
        site = new_site(arming, site, key, place, domain, caller);
    }
    return site;
}

/* With an extension under test: the nearest frame of any code is the site if
 * the extension asks; otherwise it is the nearest frame under test, as ever.
 *
 * One instruction can ask both ways through one C caller, as pickle does around
 * the extension's __reduce__.  So the hits of an extension's site are looked at:
 * what others ask for there is not a failure that the extension has to bear.
 * Where the first ones are all its own, a loop in the extension is what is left. */
static COLD fi_site *
site_with_extension(fi_arming *arming, fi_frame *frame, int domain, size_t size, void *caller,
                    const char *cfa)
{
    fi_place place;
    while (frame != NULL && !fi_place_of(arming, frame, &place)) {
        frame = fi_outer(frame);
    }
    if (frame == NULL) {
        arming->stats.nobody++;
        return NULL;
    }
    if (place.says & FI_STOP) {
        arming->stats.harness++;
        return NULL;
    }
    fi_site *site = site_of(arming, &place, domain, size, caller, cfa);
    if (site == NULL || place.says & FI_INCLUDE) {
        return site;
    }
    if (!(site->flags & FI_SITE_FOREIGN)) {
        if (site->sure == FI_SURE && !(site->flags & FI_SITE_MIXED)) {
            return site;
        }
        unsigned says = fi_cstack_look(&arming->cstack);
        if (says == FI_STACK_EXTENSION) {
            site->sure += site->sure < FI_SURE;
            return site;
        }
        site->flags |= FI_SITE_MIXED;
        if (says & FI_STACK_VETOED) {
            arming->stats.vetoed++;
            return NULL;
        }
    }
    int depth = arming->scope_depth;
    if (!fi_nearest(arming, &frame, &depth, &place)) {
        return NULL;
    }
    return site_of(arming, &place, domain, size, caller, cfa);
}

/* Whether a tool of sys.monitoring is told of an event, which takes an int.  Ints of the code
 * under test come from the same C callers at the same instructions, so each is looked at. */
enum { INT_SIZE = 40 };

static COLD int
is_for_a_tool(fi_arming *arming)
{
    if (!(fi_cstack_look(&arming->cstack) & FI_STACK_VETOED)) {
        return 0;
    }
    arming->stats.vetoed++;
    return 1;
}

/* The site that a request belongs to; NULL if it is nobody's, vetoed, or found
 * no room.  In a strike (only_target) sites of other code are not written
 * down: nobody asks for them. */
static inline fi_site *
resolve(fi_arming *arming, int domain, size_t size, void *caller, const char *cfa,
        int only_target)
{
    PyThreadState *state = fi_asker(arming, domain);
    if (UNLIKELY(state == NULL)) {
        atomic_fetch_add_explicit(&arming->stats.nogil, 1, memory_order_relaxed);
        return NULL;
    }
    if (UNLIKELY(state->tracing)) {
        arming->stats.tracing++;
        return NULL;
    }
    if (UNLIKELY(fi_is_traced(state)) && domain == FI_OBJ && fi_is_maker(caller) &&
        fi_is_for_traced_call_at(state, cfa, fi_cstack_beyond(caller, cfa))) {
        arming->stats.tracing++;
        return NULL;
    }
    fi_frame *frame = fi_innermost(state);
    fi_site *site;
    if (UNLIKELY(arming->cstack.n_extensions > 0)) {
        site = site_with_extension(arming, frame, domain, size, caller, cfa);
    } else {
        fi_place place;
        if (!fi_nearest_from_top(arming, frame, &place) || (only_target && !place.is_target)) {
            return NULL;
        }
        if (UNLIKELY(arming->cstack.any_unnamed) && domain == FI_OBJ && size <= INT_SIZE &&
            is_for_a_tool(arming)) {
            return NULL;
        }
        site = site_of(arming, &place, domain, size, caller, cfa);
    }
    if (UNLIKELY(site != NULL && (site->flags & FI_SITE_VETOED))) {
        arming->stats.vetoed++;
        return NULL;
    }
    return site;
}

static inline int
CENSUS_fails(fi_arming *arming, int domain, size_t size, void *caller, const char *cfa)
{
    fi_site *site = resolve(arming, domain, size, caller, cfa, 0);
    if (LIKELY(site != NULL)) {
        fi_site_hit(site, size);
    }
    return 0;
}

/* The planned hit, or one after it where the fault persists. */
static COLD int
strike(fi_arming *arming, const fi_site *site, size_t size)
{
    /* The site passed the veto when it was new; this very stack may not. */
    if (stack_says(arming, fi_asker(arming, site->domain)) & FI_STACK_VETOED) {
        arming->stats.vetoed++;
        return 0;
    }
    fi_place place = {.code = site->code, .lasti = site->lasti};
    note(arming, site->domain, size, site->caller, &place);
    return 1;
}

/* A request at a site of the strike's. */
static COLD int
target_fails(fi_arming *arming, const fi_site *site, size_t size)
{
    int fails = arming->persists;
    for (int i = 0; i < arming->n_targets; i++) {
        fi_target *target = &arming->targets[i];
        /* Not "==": a hit whose own stack is vetoed hands its turn on. */
        if (site->flags & (FI_SITE_TARGET << i) && ++target->hits >= target->hit &&
            !target->struck) {
            fails |= 1 << (i + 1);
        }
    }
    if (!fails || !strike(arming, site, size)) {
        return 0;
    }
    for (int i = 0; i < arming->n_targets; i++) {
        fi_target *target = &arming->targets[i];
        if (fails & 1 << (i + 1)) {
            target->struck = 1;
            arming->to_strike--;
            arming->persists |= target->persistent;
        }
    }
    return 1;
}

static inline int
STRIKE_fails(fi_arming *arming, int domain, size_t size, void *caller, const char *cfa)
{
    int counts = arming->counts;
    if (!arming->to_strike && !arming->persists && !counts) {
        return 0;
    }
    fi_site *site = resolve(arming, domain, size, caller, cfa, !arming->persists && !counts);
    if (LIKELY(site == NULL)) {
        return 0;
    }
    if (counts) {
        fi_site_hit(site, size);
    }
    if (LIKELY(site->flags < FI_SITE_TARGET)) {
        return arming->persists && strike(arming, site, size);
    }
    return target_fails(arming, site, size);
}

#endif
