import CLibvirt
import Execution
import Logging

/// A connection to one libvirtd.
///
/// Invariants:
/// - No call blocks Swift's cooperative pool. Quick calls (look-ups, lists, states, XML) share one thread; calls that may
///   take long (start, destroy, migrate, attach, storage) go to the least busy of a few others, so a slow one never delays
///   a quick one. Fewer long calls run at once than libvirtd's `max_client_requests` (5 by default) admits.
/// - An error is read on the thread on which the call failed, before anything else runs there.
/// - Streams (consoles, uploads, downloads) have connections of their own.
/// - A connection that was lost stays lost: ``closeReason`` is set, event streams end, calls throw `connectionLost`. The
///   user opens a new one and takes stock again by listing, because events of the time between are gone.
public final class Connection: Sendable {
  /// Where it leads, as given to ``open(_:options:logger:)``.
  public let uri: String
  let handle: ConnectionHandle
  let closed: CloseSignal
  let logger: Logger
  private let quickThread: DedicatedThread
  private let longThreads: [DedicatedThread]
  /// How many calls each long thread has accepted and not finished.
  private let load: Lock<[Int]>

  /// How a connection behaves.
  public struct Options: Sendable {
    /// Seconds between probes to libvirtd; 0 sends none.
    public var keepAliveInterval: Int32 = 5
    /// Probes without an answer after which the connection counts as lost.
    public var keepAliveCount: UInt32 = 5
    /// Threads for calls that may take long; with 0 they share the thread of quick calls.
    public var longCallThreads = 3

    public init() {}
  }

  private init(
    uri: String, handle: ConnectionHandle, closed: CloseSignal, logger: Logger, quickThread: DedicatedThread,
    longCallThreads: Int
  ) {
    self.uri = uri
    self.handle = handle
    self.closed = closed
    self.logger = logger
    self.quickThread = quickThread
    longThreads = (0..<longCallThreads).map { DedicatedThread(name: "libvirt-long\($0)") }
    load = Lock(Array(repeating: 0, count: longCallThreads))
  }

  deinit {
    closed.fire(.client)
    let (handle, thread) = (handle, quickThread)
    Task { await thread.run { Connection.release(handle) } }
  }

  /// Opens a connection, such as `qemu:///system` or `qemu+unix:///system?socket=/path`.
  ///
  /// Throws `connectionLost` if nobody answers there.
  public static func open(
    _ uri: String, options: Options = Options(), logger: Logger = Logger(label: "libvirt")
  ) async throws(LibvirtError) -> Connection {
    guard EventLoop.isRunning else {
      throw LibvirtError(.internalError, message: "libvirt's event loop could not be started")
    }
    let thread = DedicatedThread(name: "libvirt-quick")
    let closed = CloseSignal()
    let handle = try await thread.run { () throws(LibvirtError) -> ConnectionHandle in
      guard let pointer = virConnectOpen(uri) else { throw LibvirtError.last() }
      // Drivers inside this process (test:///) have neither keep-alive nor a close callback, and do not need them.
      if options.keepAliveInterval > 0 {
        _ = virConnectSetKeepAlive(pointer, options.keepAliveInterval, options.keepAliveCount)
      }
      registerCloseCallback(pointer, closed)
      return ConnectionHandle(pointer)
    }
    logger.debug("connected to libvirt", metadata: ["uri": "\(uri)"])
    return Connection(
      uri: uri, handle: handle, closed: closed, logger: logger, quickThread: thread,
      longCallThreads: options.longCallThreads)
  }

  private static func registerCloseCallback(_ pointer: virConnectPtr, _ closed: CloseSignal) {
    let opaque = Unmanaged.passRetained(closed)
    let result = virConnectRegisterCloseCallback(
      pointer, closeCallback, opaque.toOpaque(),
      { opaque in
        if let opaque { Unmanaged<CloseSignal>.fromOpaque(opaque).release() }
      })
    if result < 0 { opaque.release() }
  }

  private static let closeCallback: virConnectCloseFunc = { _, reason, opaque in
    guard let opaque else { return }
    let reasons: [Int32: CloseReason] = [1: .endOfFile, 2: .keepAlive, 3: .client]
    Unmanaged<CloseSignal>.fromOpaque(opaque).takeUnretainedValue().fire(reasons[reason] ?? .error)
  }

  /// May block. The registered callback would keep libvirt's object, and with it the socket, alive.
  private static func release(_ handle: ConnectionHandle) {
    _ = try? handle.use { connection throws(LibvirtError) in
      virConnectUnregisterCloseCallback(connection, closeCallback)
    }
    handle.close()
  }

  /// Ends the connection: event streams finish, later calls throw `connectionLost`. Calls that run are not interrupted.
  public func close() async {
    closed.fire(.client)
    let handle = handle
    await quickThread.run { Connection.release(handle) }
  }

  /// Why the connection ended; nil while it has not.
  public var closeReason: CloseReason? { closed.reason }

  /// Calls `action` once when the connection ends, for whatever reason; at once if it has ended already. `action` runs on
  /// libvirt's event thread: it must not block.
  public func onClose(_ action: @escaping @Sendable (CloseReason) -> Void) { closed.listen(action) }

  /// Whether the connection stands and libvirtd answers keep-alive probes on it.
  public func isAlive() async -> Bool {
    guard closeReason == nil else { return false }
    return (try? await quick { connection throws(LibvirtError) in virConnectIsAlive(connection) == 1 }) ?? false
  }

  /// Runs calls that answer at once.
  func quick<Result: Sendable>(
    _ body: @escaping @Sendable (virConnectPtr) throws(LibvirtError) -> Result
  ) async throws(LibvirtError) -> Result {
    let handle = handle
    return try await quickThread.run { () throws(LibvirtError) -> Result in try handle.use(body) }
  }

  /// Runs calls that may take long.
  func long<Result: Sendable>(
    _ body: @escaping @Sendable (virConnectPtr) throws(LibvirtError) -> Result
  ) async throws(LibvirtError) -> Result {
    let leastBusy = load.withLock { load -> Int? in
      guard let index = load.indices.min(by: { load[$0] < load[$1] }) else { return nil }
      load[index] += 1
      return index
    }
    guard let index = leastBusy else { return try await quick(body) }
    defer { load.withLock { load in load[index] -= 1 } }
    let handle = handle
    return try await longThreads[index].run { () throws(LibvirtError) -> Result in try handle.use(body) }
  }
}
