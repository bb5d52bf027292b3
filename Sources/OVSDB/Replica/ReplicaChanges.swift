import FoundationEssentials

/// What has changed since the batch before, and the content behind it.
public struct ReplicaBatch: Sendable {
  public let snapshot: ReplicaSnapshot
  /// Empty when only ``ReplicaSnapshot/isCurrent`` has changed.
  public let rows: [RowChange]
}

/// The changes of a replica. The first batch holds all rows that are there when iteration begins; a reader that is slow
/// gets several changes as one, and never more than one of a row. Ends when the client is closed or the replica stopped;
/// throws when the server refused to be monitored.
public struct ReplicaChanges: AsyncSequence, Sendable {
  public typealias Element = ReplicaBatch
  public typealias Failure = OVSDBError

  let replica: Replica

  public func makeAsyncIterator() -> Iterator { Iterator(replica) }

  public struct Iterator: AsyncIteratorProtocol {
    private let registration: Registration
    private var signals: AsyncStream<Void>.Iterator

    init(_ replica: Replica) {
      let (signals, signal) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
      self.signals = signals.makeAsyncIterator()
      registration = Registration(replica, signal)
    }

    public mutating func next() async throws(OVSDBError) -> ReplicaBatch? {
      while true {
        if let batch = registration.take() { return batch }
        if await signals.next() == nil {
          if let failure = registration.failure { throw failure }
          return nil
        }
      }
    }
  }

  /// A reader of the replica for as long as the iterator lives.
  private final class Registration: Sendable {
    private let replica: Replica
    private let key: Int

    init(_ replica: Replica, _ signal: AsyncStream<Void>.Continuation) {
      self.replica = replica
      key = replica.state.withLock { state in
        var reader = Replica.Reader(signal: signal)
        reader.add(ReplicaContent().changes(to: state.content))
        state.nextReader += 1
        state.readers[state.nextReader] = reader
        signal.yield()
        if state.isFinished { signal.finish() }
        return state.nextReader
      }
    }

    deinit { replica.state.withLock { $0.readers[key] = nil } }

    var failure: OVSDBError? { replica.state.withLock { $0.failure } }

    /// Nil when there is nothing new.
    func take() -> ReplicaBatch? {
      replica.state.withLock { state in
        guard var reader = state.readers[key], state.revision > 0,
          !reader.pending.isEmpty || reader.toldCurrent != state.isCurrent
        else { return nil }
        let rows = Array(reader.pending.values)
        reader.pending = [:]
        reader.toldCurrent = state.isCurrent
        state.readers[key] = reader
        return ReplicaBatch(
          snapshot: ReplicaSnapshot(
            revision: state.revision, isCurrent: state.isCurrent, content: state.content), rows: rows)
      }
    }
  }
}
