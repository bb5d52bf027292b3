/// What a domain does and why, as `virDomainGetState` and the bulk statistics tell it.
///
/// libvirt's reason belongs to its state; here the reasons of one state cannot be mixed with those of another. Numbers of
/// libvirt versions to come are `unknown`.
public enum DomainState: Sendable, Hashable {
  case running(RunningReason)
  case paused(PausedReason)
  /// The guest is shutting down; QEMU has not ended yet.
  case shuttingDown
  case shutOff(ShutOffReason)
  /// The guest's kernel panicked; QEMU still holds it.
  case crashed(panicked: Bool)
  /// Suspended by the guest's own power management.
  case suspended
  /// Blocked on a resource: Xen only.
  case blocked
  case unknown(state: Int, reason: Int)

  /// `virDomainRunningReason`
  public enum RunningReason: Int, Sendable {
    case unknown, booted, migrated, restored, fromSnapshot, unpaused, migrationCanceled, saveCanceled, wokenUp, crashed
    case postCopy, postCopyFailed
  }

  /// `virDomainPausedReason`
  public enum PausedReason: Int, Sendable {
    case unknown, user, migration, save, dump, ioError, watchdog, fromSnapshot, shuttingDown, snapshot, crashed,
      startingUp
    case postCopy, postCopyFailed
  }

  /// `virDomainShutoffReason`
  public enum ShutOffReason: Int, Sendable {
    case unknown, shutdown, destroyed, crashed, migrated, saved, failed, fromSnapshot
    /// libvirtd found it dead when it started.
    case daemon
  }

  /// From the two numbers of libvirt.
  public init(state: Int, reason: Int) {
    switch state {
    case 1: self = .running(RunningReason(rawValue: reason) ?? .unknown)
    case 2: self = .blocked
    case 3: self = .paused(PausedReason(rawValue: reason) ?? .unknown)
    case 4: self = .shuttingDown
    case 5: self = .shutOff(ShutOffReason(rawValue: reason) ?? .unknown)
    case 6: self = .crashed(panicked: reason == 1)
    case 7: self = .suspended
    default: self = .unknown(state: state, reason: reason)
    }
  }

  /// Whether a QEMU process exists for the domain.
  public var isActive: Bool {
    switch self {
    case .running, .paused, .shuttingDown, .crashed, .suspended, .blocked: true
    case .shutOff, .unknown: false
    }
  }
}
