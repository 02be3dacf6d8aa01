/* crash_stack.h - the C stacks of the last fault and of the crash that follows it.
 *
 * Here: keeping the one, and writing both down when the process dies.
 * Not here: names for what they hold, which the parent finds
 * (campaign/c_symbols.py). */
#ifndef FAULTINJECT_CRASH_STACK_H
#define FAULTINJECT_CRASH_STACK_H

#include <Python.h>

/* Keep the stack that this is called on as that of the last fault. */
void fi_crash_stack_keep(void);

/* From now on a fatal signal writes both stacks to a descriptor, if it is this
 * process that dies, and then does what it would have done.  Returns whether
 * this platform can. */
int fi_crash_stack_watch(int descriptor);

/* The stack of the last fault, as a list of (shared object, offset in it),
 * innermost first. */
PyObject *fi_crash_stack_kept(void);

/* There was no fault yet. */
void fi_crash_stack_forget(void);

#endif
