/* call_hook.h - what the files of the module _call_hook share.
 *
 * All of it runs with the GIL held; a free-threaded build is refused by hook.py. */
#ifndef FAULTINJECT_CALL_HOOK_H
#define FAULTINJECT_CALL_HOOK_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <frameobject.h>
#include <stdint.h>

/* What becomes of a call; the numbers are those of acts.py. */
enum act { ACT_RAISE, ACT_AFTER, ACT_RETURN, ACT_ARGUMENTS, ACT_RESULT };

/* -- call_tables.c: what is watched, and what each place has called so far ----------------- */

/* Open addressing over keys that are never 0; `value` is the index that Python knows. */
typedef struct {
    uintptr_t *keys;
    int *values;
    size_t mask;
} Table;

extern Table fi_callables; /* by fi_key_of() */
extern Table fi_names;     /* by fi_name_key() */

int fi_find(const Table *table, uintptr_t key);
void fi_clear_table(Table *table);
int fi_make_table(Table *table, Py_ssize_t count);
void fi_put(Table *table, uintptr_t key, int value);

PyObject *fi_unbound(PyObject *callable);
uintptr_t fi_key_of(PyObject *callable);
uintptr_t fi_name_key(const char *name);
int fi_may_match_later(PyObject *callable);

int fi_is_settled(PyObject *code, PyObject *offset, uintptr_t key);
void fi_clear_places(void);

/* -- call_standin.c: asking about a call, and doing as was answered ------------------------- */

extern PyObject *fi_decide;
extern _Thread_local int fi_asking; /* what we call ourselves is no call of the code under test */
extern int fi_awaited;              /* stand-ins for one call that is about to happen */

int fi_ask(int index, PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames,
           enum act *act, PyObject **payload);
int fi_arrange(int index, PyObject *callable, PyObject *first);
PyObject *fi_call_asking(int index, vectorcallfunc original, PyObject *callable,
                         PyObject *const *args, size_t nargsf, PyObject *kwnames);
int fi_prepare_questions(Py_ssize_t count);
int fi_put_lasting(PyObject *callable);
void fi_retire_stale(PyThreadState *thread, int lasting);
void fi_drop_unseen(PyObject *result);
PyObject *fi_raise_error(PyObject *error);

/* -- call_quiet.c: where in C this makes the interpreter ask for memory ------------------------ */

PyObject *fi_quiet(PyObject *module, PyObject *ignored);
#if PY_VERSION_HEX >= 0x030C0000
void fi_learn_quiet(PyObject *module);
#endif

/* -- call_iterated.c: `for line in file` ------------------------------------------------------ */

int fi_iterate(PyTypeObject *type, PyObject *method);
void fi_iterate_no_more(void);

/* -- call_import.c: `import x` ---------------------------------------------------------------- */

PyObject *fi_original(PyObject *module, PyObject *callable);
int fi_follow_import(void);

/* -- call_profile.c: how calls are seen on 3.11 ------------------------------------------------ */

#if PY_VERSION_HEX < 0x030C0000
int fi_is_inside_c(void);
PyObject *fi_start_profile(PyObject *module, PyObject *ignored);
PyObject *fi_stop_profile(PyObject *module, PyObject *ignored);
PyObject *fi_profile_this_thread(PyObject *module, PyObject *ignored);
PyObject *fi_is_profiling(PyObject *module, PyObject *ignored);
PyObject *fi_is_evaluated(PyObject *module, PyObject *ignored);
PyObject *fi_start_evaluating(PyObject *module, PyObject *ignored);
PyObject *fi_stop_evaluating(PyObject *module, PyObject *ignored);
#endif

#endif
