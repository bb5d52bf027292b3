import AloftModel
import OVSDB

/// Whether a NIC's port is plugged in on a node, and its flows are installed there (`Logical_Switch_Port.up`, ovn-nb(5)).
public struct PortState: Sendable, Hashable {
  public let nic: NICID
  /// False also for a port that is gone.
  public let isUp: Bool

  static let column = "up"

  /// Nil when the row is no NIC's.
  init?(_ change: RowChange) {
    guard change.table == Table.logicalSwitchPort.rawValue, let row = change.new ?? change.old,
      let owner = row.owner.flatMap({ NICID($0) }), owner.uuid == change.id
    else { return nil }
    nic = owner
    isUp = change.new?[Self.column]?.boolean ?? false
  }
}

/// The states of all ports, and then what changes: each batch holds at most one state of a port. Goes on from one connection to
/// the next, and ends when the client is closed.
public struct PortStates: AsyncSequence, Sendable {
  let replica: Replica

  public func makeAsyncIterator() -> Iterator { Iterator(changes: replica.changes.makeAsyncIterator()) }

  public struct Iterator: AsyncIteratorProtocol {
    var changes: ReplicaChanges.Iterator

    public mutating func next() async throws(OVSDBError) -> [PortState]? {
      while let batch = try await changes.next() {
        let states = batch.rows.compactMap { change -> PortState? in
          let (old, new) = (change.old?[PortState.column]?.boolean, change.new?[PortState.column]?.boolean)
          return change.old != nil && (old ?? false) == (new ?? false) ? nil : PortState(change)
        }
        if !states.isEmpty { return states }
      }
      return nil
    }
  }
}
