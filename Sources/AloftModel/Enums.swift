/// Whether a VM is meant to run.
public enum Power: String, Sendable, Codable, CaseIterable { case running, stopped }

/// How a CPU is virtualized: by itself, or emulated by QEMU.
public enum Accelerator: String, Sendable, Codable, CaseIterable { case kvm, tcg }

/// Which accelerator a VM accepts.
public enum AcceleratorChoice: String, Sendable, Codable, CaseIterable { case any, kvm, tcg }

/// The format of an image's content, found in the content itself.
public enum ImageFormat: String, Sendable, Codable, CaseIterable { case qcow2, raw }

/// Who may use an image: its project, projects that it is shared with as well, or everybody.
public enum ImageVisibility: String, Sendable, Codable, CaseIterable { case `private`, shared, `public` }

/// What a guest's disk is made for being started by.
public enum ImageFirmware: String, Sendable, Codable, CaseIterable { case bios, uefi }

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
  case attachVolume = "vm.attach_volume"
  case detachVolume = "vm.detach_volume"
  case limitVolume = "vm.limit_volume"
  case createVolume = "volume.create"
  case growVolume = "volume.grow"
  case deleteVolume = "volume.delete"
  case restoreVolume = "volume.restore"
  case moveVolume = "volume.move"
  case createSnapshot = "snapshot.create"
  case revertSnapshot = "snapshot.revert"
  case deleteSnapshot = "snapshot.delete"
  case fetchImage = "image.fetch"
  case captureImage = "image.capture"
  case createBackup = "backup.create"
  case verifyBackup = "backup.verify"
  case deleteProject = "project.delete"
}

/// Whether a volume can be used, as users see it. Derived, never stored.
public enum VolumeState: String, Sendable, Codable, CaseIterable {
  case creating, available
  case inUse = "in_use"
  case deleting, failed, unknown
}

/// Whether a snapshot can be used, as users see it. Derived, never stored.
public enum SnapshotState: String, Sendable, Codable, CaseIterable { case creating, available, deleting, failed }

/// What a backup is good for.
public enum BackupState: String, Sendable, Codable, CaseIterable { case creating, available, damaged, failed }

/// What a node read for a backup: the whole volume, or what was written since another one.
public enum BackupReading: String, Sendable, Codable, CaseIterable { case full, incremental }

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
  case volumeDamaged = "volume_damaged"
  case volumeLocked = "volume_locked"
  case cancelled
  case fetchRefused = "fetch_refused"
  case fetchFailed = "fetch_failed"
  case checksumMismatch = "checksum_mismatch"
  case imageInvalid = "image_invalid"
  case quotaExceeded = "quota_exceeded"
  case backupDamaged = "backup_damaged"
  /// What a guest's memory held cannot be kept with a snapshot any more.
  case memoryUnsaved = "memory_unsaved"
  /// The machine is not the one whose memory is to be loaded.
  case memoryMismatch = "memory_mismatch"
  /// The memory cannot be loaded.
  case memoryUnusable = "memory_unusable"
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

/// How a storage pool keeps volumes: as qcow2 files in a directory of one node, or as images of a Ceph pool that nodes share.
public enum StoragePoolKind: String, Sendable, Codable, CaseIterable {
  case directory = "dir"
  case rbd

  /// All nodes that reach such a pool reach all of it: its volumes are on none of them.
  public var isShared: Bool { self == .rbd }
}

/// What a guest sees a volume as: a virtio-blk disk of its own, or a disk of a virtio-scsi bus.
public enum DiskBus: String, Sendable, Codable, CaseIterable { case virtio, scsi }
