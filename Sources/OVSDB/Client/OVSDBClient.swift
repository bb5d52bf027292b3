import Execution
import JSON
import Logging

/// A client of one OVSDB database: a thread that keeps one connection, to the leader where the database is clustered.
///
/// It connects by itself and for as long as it lives. Requests that come while there is no connection wait for one until
/// their deadline. Replicas and locks live on from one connection to the next.
public final class OVSDBClient: Sendable {
  private let configuration: OVSDBConfiguration
  private let inbox: Inbox

  /// Begins to connect. Throws `invalidRequest` when the configuration cannot be used.
  public init(_ configuration: OVSDBConfiguration, logger: Logger) throws(OVSDBError) {
    try configuration.check()
    self.configuration = configuration
    let inbox = try Inbox()
    self.inbox = inbox
    let thread = DedicatedThread(name: "ovsdb")
    Task {
      await thread.run { ClientLoop(configuration: configuration, inbox: inbox, logger: logger).run() }
    }
  }

  deinit { inbox.send(.close) }

  /// How the connection is now, for operators.
  public var status: ConnectionStatus { inbox.status }

  /// Ends the connection, all replicas and locks; what waits fails.
  public func close() { inbox.send(.close) }

  /// Runs the operations as one transaction, and returns a result for each.
  ///
  /// It is sent once at most. Throws `notConnected` when no server was ready in time, `outcomeUnknown` when it was sent and
  /// not answered, and the server's refusals as `requestRefused`, `operationFailed` and `commitFailed`: then nothing was
  /// committed.
  @discardableResult
  public func transact(
    _ operations: [Operation], timeout: Duration = .seconds(30)
  ) async throws(OVSDBError) -> [OperationResult] {
    for (index, operation) in operations.enumerated() {
      if let fault = operation.fault {
        throw OVSDBError(.invalidRequest, "operation \(index) (\(operation.name)) cannot be sent: \(fault)")
      }
    }
    let params = [.string(configuration.database)] + operations.map(\.json)
    let result = try await call("transact", .array(params), timeout: timeout)
    return try TransactReply.results(result, of: operations, at: configuration.database)
  }

  /// The database's schema as the server has it now.
  public func schema(timeout: Duration = .seconds(30)) async throws(OVSDBError) -> DatabaseSchema {
    let result = try await call("get_schema", [.string(configuration.database)], timeout: timeout)
    guard let schema = DatabaseSchema(json: result) else {
      throw OVSDBError(.protocolViolation, "\(configuration.database): the server's schema cannot be read")
    }
    return schema
  }

  /// Begins to copy tables, each named once; see ``Replica``.
  public func replica(of tables: [MonitoredTable]) -> Replica {
    let replica = Replica(tables: tables, identifier: "replica\(inbox.makeID())")
    if !inbox.send(.addReplica(replica)) { replica.finish() }
    return replica
  }

  /// Ends a replica: it keeps its content and follows no more.
  public func stop(_ replica: Replica) {
    if !inbox.send(.removeReplica(replica)) { replica.finish() }
  }

  /// Queues for a lock, or takes it from whoever holds it (`steal`, once). A client must not ask for a lock that it has asked
  /// for and not given back. Throws `invalidRequest` for a name that is none.
  public func lock(_ name: String, steal: Bool = false) throws(OVSDBError) -> DatabaseLock {
    guard Identifier.isValid(name) else { throw OVSDBError(.invalidRequest, Identifier.lockFault(name)) }
    let lock = DatabaseLock(name: name, steal: steal)
    if !inbox.send(.addLock(lock)) { lock.become(.released) }
    return lock
  }

  /// Gives a lock back, or leaves its queue.
  public func unlock(_ lock: DatabaseLock) {
    if !inbox.send(.removeLock(lock)) { lock.become(.released) }
  }

  /// Sends a request and returns the `result` of its answer.
  func call(_ method: String, _ params: JSONValue, timeout: Duration) async throws(OVSDBError) -> JSONValue {
    let id = inbox.makeID()
    let bytes = Message.request(id: id, method: method, params: params)
    let deadline = configuration.environment.now() + timeout
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { (continuation: CheckedContinuation<Result<JSONValue, OVSDBError>, Never>) in
        let call = Call(id: id, method: method, bytes: bytes, deadline: deadline) { continuation.resume(returning: $0) }
        if !inbox.send(.call(call)) {
          continuation.resume(returning: .failure(OVSDBError(.closed, "the OVSDB client is closed")))
        } else if Task.isCancelled {
          // The handler below may have run before there was anything to cancel.
          inbox.send(.cancel(id))
        }
      }
    } onCancel: {
      inbox.send(.cancel(id))
    }
    return try result.get()
  }
}
