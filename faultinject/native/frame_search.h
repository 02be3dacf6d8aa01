/* frame_search.h - the frame that a request belongs to.
 *
 * Here: the nearest frame under test, and the kernel's require/reject test of
 * the whole stack.
 * Not here: how frames are laid out (frame_compat.h), whose they are (scope.h).
 *
 * Hot: a few loads and one table look-up for each frame on the way. */
#ifndef FAULTINJECT_FRAME_SEARCH_H
#define FAULTINJECT_FRAME_SEARCH_H

#include "arming.h"

/* A frame's place: copied, because the cache may move. */
typedef struct {
    PyCodeObject *code;
    uint64_t content;
    int lasti;
    unsigned says;
    int is_target;
} fi_place;

/* Read one frame; 0 if it is none that counts.  *steady becomes 0 if the answer
 * may be another one for the same code.
 *
 * What a frame allocates before its RESUME (cells, the tuple of *args) belongs to
 * its caller, except that the harness's own is the harness's: a sticky fault must
 * not strike the very call that would end it. */
static inline int
fi_place_at(fi_arming *arming, fi_frame *frame, fi_place *place, int *steady)
{
    PyCodeObject *code;
    enum fi_frame_kind kind = fi_frame_place(frame, &code, &place->lasti);
    if (kind == FI_FRAME_SHIM) {
        return 0;
    }
    const fi_code *known = fi_scope_find(&arming->scope, code);
    if (kind == FI_FRAME_STARTING) {
        *steady = 0;
        place->says = known->says & FI_STOP;
        return place->says != 0;
    }
    place->code = code;
    place->content = known->content;
    place->is_target = known->is_target;
    place->says = fi_scope_says(&arming->scope, known, code, place->lasti);
    *steady &= !known->by_line && known->code == code;
    return 1;
}

static inline int
fi_place_of(fi_arming *arming, fi_frame *frame, fi_place *place)
{
    int steady = 1;
    return fi_place_at(arming, frame, place, &steady);
}

/* The state of the thread that asks; NULL if it does not hold the GIL.  The mem
 * and obj domains are only ever asked with it held, so that there the state of
 * the one thread that counts is known. */
static inline PyThreadState *
fi_asker(const fi_arming *arming, int domain)
{
    int may_lack_gil = domain == FI_RAW || domain == FI_ARENA;
    return arming->state != NULL && !may_lack_gil ? arming->state : fi_thread_state(may_lack_gil);
}

/* Find the nearest frame that is under test, from *frame outwards, at most
 * *depth frames away; a frame of the harness in between ends the search,
 * because the request is then the harness's.  Both are left behind it. */
static inline int
fi_nearest(fi_arming *arming, fi_frame **frame, int *depth, fi_place *place)
{
    for (; *frame != NULL; *frame = fi_outer(*frame)) {
        if (!fi_place_of(arming, *frame, place)) {
            continue;
        }
        if (place->says & (FI_INCLUDE | FI_STOP)) {
            *frame = fi_outer(*frame);
            if (place->says & FI_STOP) {
                arming->stats.harness++;
                return 0;
            }
            --*depth;
            return 1;
        }
        if (--*depth <= 0) {
            arming->stats.too_deep++;
            return 0;
        }
    }
    arming->stats.nobody++;
    return 0;
}

/* The same from the innermost frame, and remember the way. */
static __attribute__((noinline)) int
fi_nearest_anew(fi_arming *arming, fi_frame *frame, fi_place *place)
{
    fi_path *path = &arming->path;
    int depth = arming->scope_depth, length = 0, steady = 1;
    path->length = 0;
    for (; frame != NULL; frame = fi_outer(frame)) {
        if (length < FI_MAX_PATH) {
            path->runs[length] = fi_frame_runs(frame);
        }
        length++;
        if (!fi_place_at(arming, frame, place, &steady)) {
            continue;
        }
        if (place->says & (FI_INCLUDE | FI_STOP)) {
            if (steady && length <= FI_MAX_PATH) {
                path->length = length;
                path->content = place->content;
                path->says = place->says;
                path->is_target = place->is_target;
            }
            arming->stats.harness += (place->says & FI_STOP) != 0;
            return !(place->says & FI_STOP);
        }
        if (--depth <= 0) {
            arming->stats.too_deep++;
            return 0;
        }
    }
    arming->stats.nobody++;
    return 0;
}

/* Find the nearest frame under test as fi_nearest does, from the innermost on.
 *
 * If the same code runs in the same order as at the last search, the answer is
 * the same frame; only its offset is new.  Whether the frames in between have
 * come to their RESUME does not matter: they are not under test. */
static inline int
fi_nearest_from_top(fi_arming *arming, fi_frame *frame, fi_place *place)
{
    const fi_path *path = &arming->path;
    int last = path->length - 1;
    fi_frame *at = frame;
    for (int i = 0; at != NULL && i <= last; i++, at = fi_outer(at)) {
        if (fi_frame_runs(at) != path->runs[i]) {
            break;
        }
        if (i < last) {
            continue;
        }
        if (fi_frame_place(at, &place->code, &place->lasti) != FI_FRAME_COUNTS) {
            break;
        }
        place->content = path->content;
        place->says = path->says;
        place->is_target = path->is_target;
        if (__builtin_expect(path->says & FI_STOP, 0)) {
            arming->stats.harness++;
            return 0;
        }
        return 1;
    }
    return fi_nearest_anew(arming, frame, place);
}

/* The kernel's fail_stacktrace, one frame at a time. */
typedef struct {
    int found; /* a required frame, or none is required */
    int left;  /* frames still to be looked at */
} fi_filter;

static inline fi_filter
fi_filter_begin(const fi_arming *arming)
{
    return (fi_filter){.found = !(arming->scope.filters & FI_REQUIRE),
                       .left = arming->scope.filters ? arming->filter_depth : 0};
}

/* Look at a frame; 0 if it refuses.  The harness's frames are passed over. */
static inline int
fi_filter_step(fi_filter *filter, unsigned says)
{
    if (filter->left > 0 && !(says & FI_STOP)) {
        filter->left--;
        if (says & FI_REJECT) {
            return 0;
        }
        filter->found |= (says & FI_REQUIRE) != 0;
    }
    return 1;
}

/* Find the place under test and apply the filters, in one walk. */
static inline int
fi_permitted(fi_arming *arming, PyThreadState *state, fi_place *place)
{
    fi_frame *frame = fi_innermost(state);
    int depth = arming->scope_depth;
    fi_filter filter = fi_filter_begin(arming);
    if (filter.left == 0) {
        return filter.found && fi_nearest_from_top(arming, frame, place);
    }
    int under_test = 0;
    for (; frame != NULL && (filter.left > 0 || !under_test); frame = fi_outer(frame)) {
        fi_place at;
        if (!fi_place_of(arming, frame, &at)) {
            continue;
        }
        if (!under_test) {
            if (at.says & FI_STOP) {
                arming->stats.harness++;
                return 0;
            }
            if (at.says & FI_INCLUDE) {
                *place = at;
                under_test = 1;
            } else if (--depth <= 0) {
                arming->stats.too_deep++;
                return 0;
            }
        }
        if (!fi_filter_step(&filter, at.says)) {
            return 0;
        }
        if (under_test && filter.found && !(arming->scope.filters & FI_REJECT)) {
            return 1;
        }
    }
    arming->stats.nobody += !under_test;
    return under_test && filter.found;
}

#endif
