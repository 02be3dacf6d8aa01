/* install.c - swapping the interpreter's allocators for ours and back.
 *
 * Here: what is saved, what is installed, and the care that another hook needs
 * which was stacked on top of ours.
 * Not here: the hooks themselves (hooks.c). */
#include "hooks.h"

static PyMemAllocatorEx pristine[FI_ARENA]; /* as they were when we were imported */
static PyObjectArenaAllocator pristine_arena;
static fi_arming *retired; /* owned: a call on another thread may still be inside */

static const PyMemAllocatorDomain domain_of[FI_ARENA] = {
    [FI_RAW] = PYMEM_DOMAIN_RAW,
    [FI_MEM] = PYMEM_DOMAIN_MEM,
    [FI_OBJ] = PYMEM_DOMAIN_OBJ,
};

static int pauses;         /* that have begun and not ended, also before an arming */
static unsigned installed; /* domains whose allocator has ours in its chain */

/* Open the hooks for those who count, or shut them. */
static void
gate(int open)
{
    int on = open && pauses == 0 && fi_now.arming != NULL;
    fi_now.everyone = on && fi_now.arming->everyone;
    fi_now.owner = on ? fi_now.arming->owner : NULL;
}

void
fi_hooks_pause(int begins)
{
    pauses += begins ? 1 : -1;
    gate(1);
}

static int
is_ours(int domain)
{
    if (domain == FI_ARENA) {
        PyObjectArenaAllocator now;
        PyObject_GetArenaAllocator(&now);
        for (int mode = 0; mode < FI_MODES; mode++) {
            if (now.alloc == fi_arena_wrapper_of[mode]) {
                return 1;
            }
        }
        return 0;
    }
    PyMemAllocatorEx now;
    PyMem_GetAllocator(domain_of[domain], &now);
    for (int mode = 0; mode < FI_MODES; mode++) {
        if (now.malloc == fi_wrappers_of[mode][domain].malloc) {
            return 1;
        }
    }
    return 0;
}

/* Whether the domain is as it was before we were imported: then nothing of
 * ours can lie underneath. */
static int
is_pristine(int domain)
{
    if (domain == FI_ARENA) {
        PyObjectArenaAllocator now;
        PyObject_GetArenaAllocator(&now);
        return now.alloc == pristine_arena.alloc && now.ctx == pristine_arena.ctx;
    }
    PyMemAllocatorEx now;
    PyMem_GetAllocator(domain_of[domain], &now);
    return now.malloc == pristine[domain].malloc && now.ctx == pristine[domain].ctx;
}

static void
put_back(int domain)
{
    if (domain == FI_ARENA) {
        PyObject_SetArenaAllocator(&fi_saved_arena);
    } else {
        PyMem_SetAllocator(domain_of[domain], &fi_saved[domain]);
    }
    installed &= ~(1u << domain);
}

unsigned
fi_hooks_settle(void)
{
    for (int domain = 0; fi_now.arming == NULL && domain < FI_DOMAINS; domain++) {
        if (installed & (1u << domain)) {
            if (is_ours(domain)) {
                put_back(domain); /* what lay on top is gone, and we are the top again */
            } else if (is_pristine(domain)) {
                installed &= ~(1u << domain);
            }
        }
    }
    return installed;
}

unsigned
fi_hooks_covered(void)
{
    unsigned covered = 0;
    for (int domain = 0; domain < FI_DOMAINS; domain++) {
        if ((installed & (1u << domain)) && !is_ours(domain) && !is_pristine(domain)) {
            covered |= 1u << domain;
        }
    }
    return covered;
}

void
fi_hooks_init(void)
{
    for (int domain = 0; domain < FI_ARENA; domain++) {
        PyMem_GetAllocator(domain_of[domain], &pristine[domain]);
    }
    PyObject_GetArenaAllocator(&pristine_arena);
}

int
fi_hooks_install(fi_arming *arming)
{
    if (fi_hooks_settle() != 0) {
        return -1;
    }
    if (arming->owner == NULL) {
        arming->owner = &fi_here;
        arming->state = arming->everyone ? NULL : PyThreadState_Get();
    }
    Py_INCREF(arming);
    fi_now.arming = arming;
    gate(1);
    for (int domain = 0; domain < FI_ARENA; domain++) {
        if (arming->sizes[domain].on || arming->sizes[FI_ARENA].on) {
            const fi_wrappers *ours = &fi_wrappers_of[arming->mode][domain];
            PyMemAllocatorEx hook;
            PyMem_GetAllocator(domain_of[domain], &fi_saved[domain]);
            hook = fi_saved[domain];
            hook.malloc = ours->malloc;
            hook.calloc = ours->calloc;
            hook.realloc = ours->realloc;
            PyMem_SetAllocator(domain_of[domain], &hook);
            installed |= 1u << domain;
        }
    }
    if (arming->sizes[FI_ARENA].on) {
        PyObjectArenaAllocator hook;
        PyObject_GetArenaAllocator(&fi_saved_arena);
        hook = fi_saved_arena;
        hook.alloc = fi_arena_wrapper_of[arming->mode];
        PyObject_SetArenaAllocator(&hook);
        installed |= 1u << FI_ARENA;
    }
    return 0;
}

unsigned
fi_hooks_remove(void)
{
    gate(0);
    for (int domain = 0; domain < FI_DOMAINS; domain++) {
        if ((installed & (1u << domain)) && is_ours(domain)) {
            put_back(domain);
        }
    }
    /* fi_now.arming stays readable for a call that has just passed the gate. */
    fi_arming *before = retired;
    retired = fi_now.arming;
    fi_now.arming = NULL;
    Py_XDECREF(before);
    return installed;
}
