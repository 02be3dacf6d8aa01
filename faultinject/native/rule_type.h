/* rule_type.h - see rule_type.c. */
#ifndef FAULTINJECT_RULE_TYPE_H
#define FAULTINJECT_RULE_TYPE_H

#include <Python.h>

extern PyTypeObject fi_rule_type;

#endif
