#include "change/change.h"

const char *change_op_name(ChangeOp op)
{
    static const char *const names[] = {"read",     "insert",  "update", "delete",
                                        "truncate", "message", "schema"};
    return names[op];
}
