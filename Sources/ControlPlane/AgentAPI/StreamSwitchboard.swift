import AloftModel
import Execution
import Foundation
import HTTP
import Postgres

/// Connects a client that waits for bytes of a node with the agent that brings them.
///
/// The agent dials the replica that has the client; nothing ever dials an agent. The rows of `stream_requests` carry the wish
/// to whichever replica the agent polls.
final class StreamSwitchboard: Sendable {
  /// How long an agent may take to come.
  static let patience = Duration.seconds(10)

  /// A stream is expected from the moment before its row can be seen, so that no agent comes too early.
  private enum Place {
    case expected
    case waited(CheckedContinuation<Arrival?, Never>)
    case arrived(Arrival)
  }

  private struct Entry {
    let node: NodeID
    var place: Place
  }

  private let entries = Lock<[StreamID: Entry]>([:])
  private let carried = Lock(0)
  private let database: Database
  private let wakeups: Wakeups
  private let environment: Environment
  private let url: String

  init(database: Database, wakeups: Wakeups, environment: Environment, url: String) {
    self.database = database
    self.wakeups = wakeups
    self.environment = environment
    self.url = url
  }

  /// How many agents bring bytes now. Each has its client; when that one has left it soon goes too.
  var open: Int { carried.withLock { $0 } }

  /// Asks the node for a VM's serial log and answers with its bytes as they come.
  ///
  /// - Parameter admit: throws a ``Problem`` when the reader may not follow the log any more, which then breaks off.
  func serialLog(
    of vm: VMID, on node: NodeID, offset: Int, follow: Bool, admit: @escaping @Sendable () async throws -> Void
  ) async throws -> Reply {
    let id = StreamID(environment.newUUID())
    entries.withLock { $0[id] = Entry(node: node, place: .expected) }
    do {
      _ = try await database.transaction { session in
        try session.execute(
          """
          INSERT INTO stream_requests (id, node_id, vm_id, kind, byte_offset, follow, replica_url)
          VALUES (\(id), \(node), \(vm), 'serial_log', \(offset), \(follow), \(self.url))
          """)
      }
    } catch {
      giveUp(id)
      throw error
    }
    wakeups.signal([.node(node.uuid)])
    return try await answer(to: id, admit: follow ? admit : nil)
  }

  /// Nobody new can come to this replica: whoever still waits for an agent is told now.
  func drain() {
    for id in entries.withLock({ Array($0.keys) }) { giveUp(id) }
  }

  private func answer(to id: StreamID, admit: (@Sendable () async throws -> Void)?) async throws -> Reply {
    guard let arrival = await arrival(of: id) else {
      _ = try? await database.transaction { session in
        try session.execute("DELETE FROM stream_requests WHERE id = \(id)")
      }
      try Task.checkCancellation()
      throw Problem(.nodeUnreachable, "the node's agent did not bring the log in time; try again")
    }
    var reply = Reply(contentType: "application/octet-stream")
    reply.headers[header: "X-Log-Start"] = arrival.request.headers[header: "X-Log-Start"] ?? "0"
    reply.body = .stream { writer in
      defer { arrival.finish() }
      try await self.copy(arrival.request.body.sparse, to: writer, following: admit)
    }
    return reply
  }

  /// Passes the bytes on. A log that is followed has no end of its own: when the replica is about to go down it is cut, so
  /// that the reader sees that there is more and goes on elsewhere; and when the reader may not read it any more.
  private func copy(
    _ body: RequestBody, to writer: BodyWriter, following admit: (@Sendable () async throws -> Void)?
  ) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { for try await chunk in body { try await writer.write(chunk) } }
      if let admit {
        group.addTask {
          while true {
            try await self.environment.sleep(.seconds(TokenCache.lifetime))
            do { try await admit() } catch let problem as Problem { throw problem } catch {
              // The database cannot be asked now, which is no reason to break off.
            }
          }
        }
        group.addTask {
          await self.wakeups.untilDraining()
          try Task.checkCancellation()
          throw ReplicaDraining()
        }
      }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  /// An agent has come with the bytes. Returns when the client has them all or has left.
  func deliver(_ id: StreamID, from node: NodeID, request: Request) async throws {
    let finished = try handOver(request, to: id, from: node)
    carried.withLock { $0 += 1 }
    defer { carried.withLock { $0 -= 1 } }
    for await _ in finished {}
  }

  /// Gives the request to whoever waits for it. The stream ends when that one is done with it; nobody else may hold the
  /// ``Arrival``, or it would not end when the client has left.
  private func handOver(_ request: Request, to id: StreamID, from node: NodeID) throws -> AsyncStream<Never> {
    let (finished, finish) = AsyncStream<Never>.makeStream()
    let arrival = Arrival(request: request, finish: finish)
    let (expected, continuation) = entries.withLock { entries -> (Bool, CheckedContinuation<Arrival?, Never>?) in
      guard let entry = entries[id], entry.node == node else { return (false, nil) }
      switch entry.place {
      case .expected:
        entries[id]?.place = .arrived(arrival)
        return (true, nil)
      case .waited(let continuation):
        entries[id] = nil
        return (true, continuation)
      case .arrived: return (false, nil)
      }
    }
    guard expected else { throw Problem(.notFound, "nobody waits for this stream any more") }
    continuation?.resume(returning: arrival)
    return finished
  }

  private func arrival(of id: StreamID) async -> Arrival? {
    let timer = Task {
      try? await environment.sleep(Self.patience)
      self.giveUp(id)
    }
    defer { timer.cancel() }
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let now = entries.withLock { entries -> Arrival?? in
          guard let entry = entries[id], !Task.isCancelled else {
            entries[id] = nil
            return .some(nil)
          }
          if case .arrived(let arrival) = entry.place {
            entries[id] = nil
            return arrival
          }
          entries[id]?.place = .waited(continuation)
          return nil
        }
        if let now { continuation.resume(returning: now) }
      }
    } onCancel: {
      self.giveUp(id)
    }
  }

  private func giveUp(_ id: StreamID) {
    let entry = entries.withLock { $0.removeValue(forKey: id) }
    if case .waited(let continuation) = entry?.place { continuation.resume(returning: nil) }
  }
}

/// Why a log that was followed broke off.
private struct ReplicaDraining: Error {}

/// An agent's request that carries the bytes. Lets the agent go when it is finished, or when nobody holds it any more.
final class Arrival: Sendable {
  let request: Request
  private let finished: AsyncStream<Never>.Continuation

  init(request: Request, finish: AsyncStream<Never>.Continuation) {
    self.request = request
    finished = finish
  }

  deinit { finished.finish() }

  func finish() { finished.finish() }
}
