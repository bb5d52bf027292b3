// libpq.
#include <stddef.h>
#include <postgresql/libpq-fe.h>
