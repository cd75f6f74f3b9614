/* sys_table.c - the table mg_sys, through which all others call, and in which tests put what fails. */
#include "sys_calls.h"

mg_sys_table mg_sys = {
#define X(name, type, params, args) .name = mg_sys_##name,
    MG_SYS_CALLS(X)
#undef X
};
