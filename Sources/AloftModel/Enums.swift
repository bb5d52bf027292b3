/// Whether a VM is meant to run.
public enum Power: String, Sendable, Codable, CaseIterable { case running, stopped }

/// How a CPU is virtualized: by itself, or emulated by QEMU.
public enum Accelerator: String, Sendable, Codable, CaseIterable { case kvm, tcg }

/// Which accelerator a VM accepts.
public enum AcceleratorChoice: String, Sendable, Codable, CaseIterable { case any, kvm, tcg }

/// The format of an image's content, found in the content itself.
public enum ImageFormat: String, Sendable, Codable, CaseIterable { case qcow2, raw }

/// What a VM is doing, as users see it. Derived, never stored.
public enum VMState: String, Sendable, Codable, CaseIterable {
  case creating, starting, running, stopping, stopped, rebooting, deleting, failed, unknown
}

/// How far an operation is.
public enum OperationStatus: String, Sendable, Codable, CaseIterable { case queued, running, succeeded, failed }

/// What an operation was asked to do.
public enum OperationKind: String, Sendable, Codable, CaseIterable {
  case createVM = "vm.create"
  case startVM = "vm.start"
  case stopVM = "vm.stop"
  case rebootVM = "vm.reboot"
  case deleteVM = "vm.delete"
  case attachNIC = "vm.attach_nic"
  case detachNIC = "vm.detach_nic"
  case deleteProject = "project.delete"
}

/// Why an operation failed: a closed list.
public enum OperationFailure: String, Sendable, Codable, CaseIterable {
  case superseded
  case deadlineExceeded = "deadline_exceeded"
  case nodeRemoved = "node_removed"
  case imageCorrupt = "image_corrupt"
  case nodeDiskFull = "node_disk_full"
  case hypervisorRefused = "hypervisor_refused"
  case guestIgnored = "guest_ignored"
  case networkNotReady = "network_not_ready"
}

/// What a user is: a person, or a program that acts for itself (a service account).
public enum UserKind: String, Sendable, Codable, CaseIterable { case person, service }

/// What somebody may do in a project; a later one includes those before it.
public enum ProjectRole: String, Sendable, Codable, CaseIterable { case viewer, member, admin }

/// What somebody may do in the whole cloud; a later one includes those before it.
public enum CloudRole: String, Sendable, Codable, CaseIterable { case auditor, `operator`, admin }

/// How guests get their addresses in a subnet: from DHCP, by themselves in IPv6 (stateless address autoconfiguration), or not at
/// all by the network.
public enum SubnetConfiguration: String, Sendable, Codable, CaseIterable { case dhcp, slaac, none }

/// Which way a security group's rule lets through: to a VM, or from it.
public enum TrafficDirection: String, Sendable, Codable, CaseIterable { case ingress, egress }

/// What a security group's rule lets through. For IPv6 `icmp` is ICMPv6.
public enum RuleProtocol: String, Sendable, Codable, CaseIterable { case any, tcp, udp, icmp }

/// What a load balancer balances.
public enum ListenerProtocol: String, Sendable, Codable, CaseIterable { case tcp, udp }
