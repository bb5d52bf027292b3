// libvirt. Cast macros are invisible to Swift: they are wrapped here, one function for each use.
#include <stddef.h>
#include <libvirt/libvirt.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>

// virConnectDomainEventRegisterAny takes every kind of callback cast to one type. Each wrapper accepts the type that
// belongs to its event only, so the compiler checks the callbacks.
#define ALOFT_DOMAIN_EVENT(name, event_id, callback_type)                                                      \
  static inline int aloft_register_##name(virConnectPtr connection, callback_type callback, void *opaque,      \
                                          virFreeCallback release) {                                           \
    return virConnectDomainEventRegisterAny(connection, NULL, event_id, VIR_DOMAIN_EVENT_CALLBACK(callback),   \
                                            opaque, release);                                                  \
  }

ALOFT_DOMAIN_EVENT(lifecycle, VIR_DOMAIN_EVENT_ID_LIFECYCLE, virConnectDomainEventCallback)
ALOFT_DOMAIN_EVENT(reboot, VIR_DOMAIN_EVENT_ID_REBOOT, virConnectDomainEventGenericCallback)
ALOFT_DOMAIN_EVENT(watchdog, VIR_DOMAIN_EVENT_ID_WATCHDOG, virConnectDomainEventWatchdogCallback)
ALOFT_DOMAIN_EVENT(io_error, VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, virConnectDomainEventIOErrorReasonCallback)
ALOFT_DOMAIN_EVENT(block_job, VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, virConnectDomainEventBlockJobCallback)
ALOFT_DOMAIN_EVENT(device_removed, VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, virConnectDomainEventDeviceRemovedCallback)
ALOFT_DOMAIN_EVENT(device_removal_failed, VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED,
                   virConnectDomainEventDeviceRemovalFailedCallback)
ALOFT_DOMAIN_EVENT(agent_lifecycle, VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, virConnectDomainEventAgentLifecycleCallback)
#undef ALOFT_DOMAIN_EVENT

// A typed parameter is a tagged union. Every kind of number is widened to one of two.
static inline unsigned long long aloft_parameter_unsigned(const virTypedParameter *parameter) {
  switch (parameter->type) {
    case VIR_TYPED_PARAM_INT: return parameter->value.i < 0 ? 0 : (unsigned long long)parameter->value.i;
    case VIR_TYPED_PARAM_UINT: return parameter->value.ui;
    case VIR_TYPED_PARAM_LLONG: return parameter->value.l < 0 ? 0 : (unsigned long long)parameter->value.l;
    case VIR_TYPED_PARAM_ULLONG: return parameter->value.ul;
    case VIR_TYPED_PARAM_DOUBLE: return parameter->value.d < 0 ? 0 : (unsigned long long)parameter->value.d;
    case VIR_TYPED_PARAM_BOOLEAN: return parameter->value.b != 0;
    default: return 0;
  }
}

static inline const char *aloft_parameter_string(const virTypedParameter *parameter) {
  return parameter->type == VIR_TYPED_PARAM_STRING ? parameter->value.s : NULL;
}
