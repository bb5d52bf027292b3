import CLibvirt
import Execution
import Foundation

extension Connection {
  /// All domains' events from now on.
  ///
  /// The stream never skips one. It ends instead when the connection is lost or closed, and when its reader has fallen
  /// behind by ``eventBufferSize`` events: the reader then lists all domains and subscribes again. libvirt's drivers may
  /// refuse a second stream on a connection while there is a first (`invalidArgument`).
  public func domainEvents() async throws(LibvirtError) -> AsyncStream<DomainEvent> {
    let (stream, continuation) = AsyncStream.makeStream(
      of: DomainEvent.self, bufferingPolicy: .bufferingOldest(Connection.eventBufferSize))
    let sink = EventSink(continuation)
    // A registered callback keeps libvirt's connection object alive, so what deregisters needs a reference of its own,
    // which works after this connection was closed.
    let (identifiers, handle) = try await quick { connection throws(LibvirtError) in
      let identifiers = try sink.register(connection)
      virConnectRef(connection)
      return (identifiers, ConnectionHandle(connection))
    }
    let closed = closed
    let token = Lock<Int?>(nil)
    continuation.onTermination = { _ in
      closed.forget(token.withLock { $0 })
      let thread = EventSink.cleanUpThread
      Task {
        await thread.run {
          _ = try? handle.use { connection throws(LibvirtError) in
            for identifier in identifiers { virConnectDomainEventDeregisterAny(connection, identifier) }
          }
          handle.close()
        }
      }
    }
    let listening = closed.listen { _ in continuation.finish() }
    token.withLock { $0 = listening }
    return stream
  }

  /// How many events wait for a slow reader.
  public static let eventBufferSize = 4096
}

/// What libvirt's callbacks get as their opaque pointer. They run on the event loop's thread and only pass a value on.
private final class EventSink: Sendable {
  /// Deregistering waits for libvirtd's answer.
  static let cleanUpThread = DedicatedThread(name: "libvirt-cleanup")

  private let continuation: AsyncStream<DomainEvent>.Continuation

  init(_ continuation: AsyncStream<DomainEvent>.Continuation) { self.continuation = continuation }

  private static func yield(_ opaque: UnsafeMutableRawPointer?, _ domain: virDomainPtr?, _ kind: DomainEvent.Kind) {
    guard let opaque, let domain, let uuid = Domain.uuid(of: domain) else { return }
    let continuation = Unmanaged<EventSink>.fromOpaque(opaque).takeUnretainedValue().continuation
    let result = continuation.yield(DomainEvent(uuid: uuid, name: Domain.name(of: domain), kind: kind))
    if case .dropped = result { continuation.finish() }
  }

  /// Registers one callback for each kind and returns their ids. Kinds that a driver does not know (test:///) are left out.
  func register(_ connection: virConnectPtr) throws(LibvirtError) -> [Int32] {
    var identifiers: [Int32] = []
    func add(required: Bool = false, _ register: (UnsafeMutableRawPointer, virFreeCallback) -> Int32)
      throws(LibvirtError)
    {
      let opaque = Unmanaged.passRetained(self)
      let identifier = register(opaque.toOpaque()) { opaque in
        if let opaque { Unmanaged<EventSink>.fromOpaque(opaque).release() }
      }
      if identifier >= 0 {
        identifiers.append(identifier)
      } else {
        opaque.release()
        if required { throw LibvirtError.last() }
      }
    }
    try add(required: true) { opaque, release in
      aloft_register_lifecycle(
        connection,
        { _, domain, event, detail, opaque in
          EventSink.yield(
            opaque, domain, .lifecycle(DomainEvent.Lifecycle(event: Int(event), detail: Int(detail))))
          return 0
        }, opaque, release)
    }
    try add { opaque, release in
      aloft_register_reboot(
        connection, { _, domain, opaque in EventSink.yield(opaque, domain, .rebooted) }, opaque, release)
    }
    try add { opaque, release in
      aloft_register_watchdog(
        connection,
        { _, domain, action, opaque in
          let action = DomainEvent.WatchdogAction(rawValue: Int(action)) ?? .unknown
          EventSink.yield(opaque, domain, .watchdogFired(action))
        }, opaque, release)
    }
    try add { opaque, release in
      aloft_register_io_error(
        connection,
        { _, domain, path, alias, action, reason, opaque in
          let action = DomainEvent.IOErrorAction(rawValue: Int(action)) ?? .unknown
          EventSink.yield(
            opaque, domain, .ioError(path: text(path), alias: text(alias), action: action, reason: text(reason)))
        }, opaque, release)
    }
    try add { opaque, release in
      aloft_register_block_job(
        connection,
        { _, domain, disk, type, status, opaque in
          let type = DomainEvent.BlockJobType(rawValue: Int(type)) ?? .unknown
          let status = DomainEvent.BlockJobStatus(rawValue: Int(status)) ?? .unknown
          EventSink.yield(opaque, domain, .blockJob(disk: text(disk), type: type, status: status))
        }, opaque, release)
    }
    try add { opaque, release in
      aloft_register_device_removed(
        connection,
        { _, domain, alias, opaque in EventSink.yield(opaque, domain, .deviceRemoved(alias: text(alias))) },
        opaque, release)
    }
    try add { opaque, release in
      aloft_register_device_removal_failed(
        connection,
        { _, domain, alias, opaque in EventSink.yield(opaque, domain, .deviceRemovalFailed(alias: text(alias))) },
        opaque, release)
    }
    try add { opaque, release in
      aloft_register_agent_lifecycle(
        connection,
        { _, domain, state, _, opaque in EventSink.yield(opaque, domain, .guestAgent(connected: state == 1)) },
        opaque, release)
    }
    return identifiers
  }
}

private func text(_ pointer: UnsafePointer<CChar>?) -> String { pointer.map { String(cString: $0) } ?? "" }
