import Execution
import FoundationEssentials
import JSON

/// A replica's content at one moment: all of it as the server had committed it.
public struct ReplicaSnapshot: Sendable {
  /// Counts the changes of this replica.
  public let revision: UInt64
  /// Whether the connection stands. Otherwise this is how things were when it ended.
  public let isCurrent: Bool
  let content: ReplicaContent

  /// The rows of a table by identity; none if the table is not monitored.
  public subscript(table: String) -> [UUID: Row] { content.tables[table] ?? [:] }
}

/// A copy of tables in memory that follows the server. Made by ``OVSDBClient/replica(of:)``.
///
/// After a reconnect it is brought up to date: by what it missed, if the server remembers (clustered databases), otherwise
/// by the whole content, of which readers are told the difference.
public final class Replica: Sendable {
  struct State {
    var content = ReplicaContent()
    var revision: UInt64 = 0
    var isCurrent = false
    /// Where the server's history was; zeros ask for everything.
    var lastTransaction = Replica.beginning
    var schema: DatabaseSchema?
    var isFinished = false
    var failure: OVSDBError?
    var readers: [Int: Reader] = [:]
    var nextReader = 0
  }

  struct Reader {
    var pending: [RowKey: RowChange] = [:]
    /// What the reader was told last; nil: nothing yet.
    var toldCurrent: Bool?
    let signal: AsyncStream<Void>.Continuation
  }

  struct RowKey: Hashable {
    let table: String
    let id: UUID
  }

  static let beginning = "00000000-0000-0000-0000-000000000000"

  /// What is copied.
  public let tables: [MonitoredTable]
  let identifier: String
  let state = Lock(State())

  init(tables: [MonitoredTable], identifier: String) {
    self.tables = tables
    self.identifier = identifier
  }

  /// The content now. Empty and not current until the first answer; see ``current()``.
  public var snapshot: ReplicaSnapshot {
    state.withLock { ReplicaSnapshot(revision: $0.revision, isCurrent: $0.isCurrent, content: $0.content) }
  }

  /// The content as soon as the connection stands and it is up to date.
  ///
  /// Throws what ended the replica: a refusal of the server (an unknown table), `closed`, or `cancelled`.
  public func current() async throws(OVSDBError) -> ReplicaSnapshot {
    for try await batch in changes where batch.snapshot.isCurrent { return batch.snapshot }
    throw Task.isCancelled
      ? OVSDBError(.cancelled, "the task was cancelled while it waited for the replica")
      : OVSDBError(.closed, "the replica was ended before it had any content")
  }

  /// What changes from now on, beginning with all that is there: the sum of the changes is the content. See
  /// ``ReplicaChanges``.
  public var changes: ReplicaChanges { ReplicaChanges(replica: self) }
}

/// What the connection tells a replica.
extension Replica {
  /// What to ask the server for the history since.
  func resumePoint(for schema: DatabaseSchema) -> String {
    state.withLock { $0.schema == schema ? $0.lastTransaction : Self.beginning }
  }

  /// The answer to the monitor's request: all content, or what was missed since the point of resumption.
  func begin(
    _ updates: JSONValue, isContinuation: Bool, lastTransaction: String, schema: DatabaseSchema
  ) throws(ReplicaContent.Fault) {
    let changes =
      isContinuation
      ? try missedChanges(updates, schema) : try replacement(updates, schema)
    state.withLock {
      $0.schema = schema
      $0.isCurrent = true
      $0.lastTransaction = lastTransaction
      $0.publish(changes)
    }
  }

  /// A notification.
  func apply(_ updates: JSONValue, lastTransaction: String?) throws(ReplicaContent.Fault) {
    guard let schema = state.withLock({ $0.schema }) else {
      throw ReplicaContent.Fault(description: "an update came before the first content")
    }
    let changes = try missedChanges(updates, schema)
    state.withLock {
      if let lastTransaction { $0.lastTransaction = lastTransaction }
      $0.publish(changes)
    }
  }

  // Only the client's thread changes the content, so changes are worked out beside the lock, and put in place under it: the
  // content is copied only where a reader keeps a snapshot.

  private func missedChanges(_ updates: JSONValue, _ schema: DatabaseSchema) throws(ReplicaContent.Fault) -> [RowChange]
  {
    try state.withLock { $0.content }.changes(by: updates, schema: schema, monitored: tables)
  }

  private func replacement(_ updates: JSONValue, _ schema: DatabaseSchema) throws(ReplicaContent.Fault) -> [RowChange] {
    var content = ReplicaContent()
    content.apply(try content.changes(by: updates, schema: schema, monitored: tables))
    return state.withLock { $0.content }.changes(to: content)
  }

  func connectionEnded() {
    state.withLock {
      guard $0.isCurrent else { return }
      $0.isCurrent = false
      $0.publish([])
    }
  }

  /// There will be no more changes.
  func finish(_ failure: OVSDBError? = nil) {
    state.withLock {
      $0.isFinished = true
      $0.isCurrent = false
      $0.failure = failure
      for reader in $0.readers.values { reader.signal.finish() }
    }
  }
}

extension Replica.State {
  mutating func publish(_ changes: [RowChange]) {
    content.apply(changes)
    revision += 1
    for key in readers.keys {
      readers[key]?.add(changes)
      readers[key]?.signal.yield()
    }
  }
}

extension Replica.Reader {
  /// Joins changes to those that wait: a reader that is slow keeps one change per row, however many there were.
  mutating func add(_ changes: [RowChange]) {
    for change in changes {
      let key = Replica.RowKey(table: change.table, id: change.id)
      let old = if let waiting = pending[key] { waiting.old } else { change.old }
      // What went and came back, or came and went, is no change to this reader.
      pending[key] = old == change.new ? nil : RowChange(table: change.table, id: change.id, old: old, new: change.new)
    }
  }
}
