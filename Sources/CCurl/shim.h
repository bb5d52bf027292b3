// libcurl. Its setopt/getinfo are C varargs, which Swift cannot call: typed wrappers stand here.
#include <stddef.h>
#include <curl/curl.h>
