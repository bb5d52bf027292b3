import Foundation

/// Something that happened to a domain.
public struct DomainEvent: Sendable, Hashable {
  public let uuid: UUID
  public let name: String
  public let kind: Kind

  public init(uuid: UUID, name: String, kind: Kind) {
    self.uuid = uuid
    self.name = name
    self.kind = kind
  }

  public enum Kind: Sendable, Hashable {
    case lifecycle(Lifecycle)
    /// The guest's machine was reset, by the guest or from outside. One reboot makes several of these: not a counter.
    case rebooted
    case watchdogFired(WatchdogAction)
    /// A disk failed; `reason` is `enospc` when the host's storage is full, else usually empty.
    case ioError(path: String, alias: String, action: IOErrorAction, reason: String)
    case blockJob(disk: String, type: BlockJobType, status: BlockJobStatus)
    case deviceRemoved(alias: String)
    /// The guest refused to give the device back.
    case deviceRemovalFailed(alias: String)
    case guestAgent(connected: Bool)
  }

  /// `virDomainEventType` with the details on which one acts.
  public enum Lifecycle: Sendable, Hashable {
    case defined
    case undefined
    case renamed
    case started
    case suspended(SuspendReason)
    case resumed
    case shuttingDown(ShutdownReason)
    case stopped(StopReason)
    case suspendedByGuest
    case crashed
    case other(event: Int, detail: Int)

    public enum SuspendReason: Int, Sendable {
      case paused, migrated, ioError, watchdog, restored, fromSnapshot, apiError, postCopy, postCopyFailed
    }

    public enum ShutdownReason: Int, Sendable {
      case finished
      /// The guest powered off by itself.
      case guest
      /// QEMU got a signal.
      case host
    }

    public enum StopReason: Int, Sendable {
      case shutdown, destroyed, crashed, migrated, saved
      /// QEMU ended by itself, or could not be started.
      case failed
      case fromSnapshot
    }

    /// From the two numbers of libvirt.
    public init(event: Int, detail: Int) {
      let other = Lifecycle.other(event: event, detail: detail)
      switch event {
      case 0: self = detail == 2 ? .renamed : .defined
      case 1: self = detail == 1 ? .renamed : .undefined
      case 2: self = .started
      case 3: self = SuspendReason(rawValue: detail).map { .suspended($0) } ?? other
      case 4: self = .resumed
      case 5: self = StopReason(rawValue: detail).map { .stopped($0) } ?? other
      case 6: self = ShutdownReason(rawValue: detail).map { .shuttingDown($0) } ?? other
      case 7: self = .suspendedByGuest
      case 8: self = .crashed
      default: self = other
      }
    }
  }

  /// `virDomainEventWatchdogAction`
  public enum WatchdogAction: Int, Sendable { case none, pause, reset, powerOff, shutdown, debug, injectNMI, unknown }

  /// `virDomainEventIOErrorAction`
  public enum IOErrorAction: Int, Sendable { case none, pause, report, unknown }

  /// `virDomainBlockJobType`
  public enum BlockJobType: Int, Sendable { case unknown, pull, copy, commit, activeCommit, backup }

  /// `virConnectDomainEventBlockJobStatus`
  public enum BlockJobStatus: Int, Sendable {
    case completed, failed, canceled
    /// A copy or active commit waits to be pivoted.
    case ready
    case unknown
  }
}
