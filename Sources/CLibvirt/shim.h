// libvirt. Cast macros are invisible to Swift: they are wrapped here, one function for each use.
#include <stddef.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
