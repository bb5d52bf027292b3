import AloftModel
import Execution
import Foundation
import Logging
import OVSDB

/// Keeps OVN's northbound database as a ``NetworkModel`` wants it.
///
/// Of all that want to write one does at a time, for a *term*: from ``acquire()`` until lock or connection are lost or given
/// back. A term begins without a model, because another writer may have had a newer one, and ends before anything of an older
/// term can be written: each transaction asserts the lock, and that the database has this term's mark.
///
/// While a term lasts, rows that others change or delete are put right as soon as the replica shows it.
///
/// Calls run one after another. A call whose task is cancelled goes on nevertheless, so that nothing is half done.
public actor NorthboundWriter {
  /// What all writers share.
  public static let lockName = "aloft_nb_writer"

  struct Term {
    let mark: UUID
    /// Nil until there is a model.
    var state: NorthboundState?
    var watchers: [Task<Void, Never>] = []
    var watchesRows = false
    var listeners: [AsyncStream<Void>.Continuation] = []
    /// The transaction that is on its way. One that waits for a connection is of no use when the term is over.
    var sending: Task<Result<Void, OVSDBError>, Never>?
  }

  let client: OVSDBClient
  nonisolated let replica: Replica
  let logger: Logger
  /// How many operations one of several transactions has, more or less.
  let operationsAtOnce: Int
  private let makeID: @Sendable () -> UUID
  private let thread = DedicatedThread(name: "northbound")
  private var lock: DatabaseLock?
  private var lastTurn: Task<Void, Never>?
  var term: Term?

  public nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  /// Begins to follow the database, and writes nothing. The client's database is `OVN_Northbound`; closing it ends everything
  /// here. `makeID` gives each term its mark.
  public init(
    client: OVSDBClient, operationsAtOnce: Int = 1000, makeID: @escaping @Sendable () -> UUID = { UUID() },
    logger: Logger
  ) {
    self.client = client
    self.operationsAtOnce = operationsAtOnce
    self.makeID = makeID
    self.logger = logger
    replica = client.replica(of: Table.monitored)
  }

  deinit {
    client.stop(replica)
    if let lock { client.unlock(lock) }
    for watcher in term?.watchers ?? [] { watcher.cancel() }
    for listener in term?.listeners ?? [] { listener.finish() }
  }

  /// Waits until this client may write, however long that takes, and begins a term. Does nothing during one.
  ///
  /// When a term has ended by an error, or this was cancelled, the client stays in the lock's queue until ``resign()``.
  ///
  /// Throws `unavailable` or `outcomeUnknown` when the connection ended at the wrong moment, or the client is closed.
  public func acquire() async throws(NorthboundError) {
    if term != nil { return }
    let lock: DatabaseLock
    do throws(OVSDBError) {
      lock = try await acquireLock()
      _ = try await replica.current()
    } catch {
      throw NorthboundError(error)
    }
    try await inTurn { (writer) async throws(NorthboundError) in
      if writer.term == nil { try await writer.begin(lock, mark: writer.makeID()) }
    }
  }

  private func acquireLock() async throws(OVSDBError) -> DatabaseLock {
    while true {
      let lock: DatabaseLock
      if let asked = self.lock { lock = asked } else { lock = try client.lock(Self.lockName) }
      self.lock = lock
      do throws(OVSDBError) {
        try await lock.acquired()
        return lock
      } catch {
        // It may have been given back for one that was stolen.
        guard let other = self.lock, other !== lock else { throw error }
      }
    }
  }

  /// Whether this client waits for another one to let it write.
  public var isQueued: Bool { lock?.status == .waiting || lock?.status == .stolen }

  /// Takes the lock from the client that has it, where this one waits for it in ``acquire()``: for when it is known that the
  /// other one does nothing with it. It cannot write any more, whatever it believes, as soon as this one's term has begun.
  public func overtake() {
    guard isQueued, let waiting = lock else { return }
    client.unlock(waiting)
    do throws(OVSDBError) {
      lock = try client.lock(Self.lockName, steal: true)
    } catch {
      logger.error("OVN's lock cannot be taken", metadata: ["error": "\(error)"])
      lock = nil
    }
  }

  /// Ends the term, if there is one, and lets another client write.
  public func resign() async {
    try? await inTurn { (writer) async throws(NorthboundError) in
      if let lock = writer.lock { writer.client.unlock(lock) }
      writer.lock = nil
      writer.endTerm()
    }
  }

  /// Waits until the term has ended; returns at once when there is none, and when the task is cancelled.
  public func termEnded() async {
    guard term != nil else { return }
    let (stream, continuation) = AsyncStream<Void>.makeStream()
    term?.listeners.append(continuation)
    for await _ in stream {}
  }

  /// The states of all NICs' ports, whoever writes.
  public nonisolated var portStates: PortStates { PortStates(replica: replica) }

  /// What is not as the model wants it, without changing anything; no term is needed.
  ///
  /// Throws `unavailable` when there is no server within the timeout.
  public nonisolated func discrepancies(
    from model: NetworkModel, timeout: Duration = .seconds(10)
  ) async throws(NorthboundError) -> [Discrepancy] {
    do throws(OVSDBError) {
      // The replica would wait for ever.
      try await client.transact([.comment("aloft: comparing")], timeout: timeout)
      let snapshot = try await replica.current()
      return await DedicatedThread(name: "northbound-check").run {
        Discrepancy.all(desired: NorthboundState(model).desired, actual: snapshot)
      }
    } catch {
      throw NorthboundError(error)
    }
  }

  /// Runs `body` behind all that were asked for before.
  func inTurn<Result: Sendable>(
    _ body: @escaping @Sendable (isolated NorthboundWriter) async throws(NorthboundError) -> Result
  ) async throws(NorthboundError) -> Result {
    let previous = lastTurn
    let turn = Task { () async -> Swift.Result<Result, NorthboundError> in
      await previous?.value
      do throws(NorthboundError) { return .success(try await body(self)) } catch { return .failure(error) }
    }
    lastTurn = Task { _ = await turn.value }
    return try await turn.value.get()
  }
}
