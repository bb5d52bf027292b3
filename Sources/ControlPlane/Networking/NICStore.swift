import AloftModel
import Foundation
import Postgres

/// The rows of `nics`.
enum NICStore {
  /// Puts the documents of all VMs on a network in front of their agents: what guests are told of it has changed.
  ///
  /// Locks: the VMs and their nodes would have to come before the network, so each document is put forward by its own VM's
  /// reconciler.
  static func announce(network: NetworkID, in session: Session) throws {
    try session.execute(
      """
      INSERT INTO work (kind, id, due_at)
      SELECT DISTINCT \(WorkKind.announcement.rawValue), c.node_id, aloft_now()
        FROM nics n JOIN claims c ON c.vm_id = n.vm_id AND c.purpose = 'run'
       WHERE n.network_id = \(network)
       ORDER BY 1
      ON CONFLICT (kind, id) DO UPDATE SET due_at = least(work.due_at, excluded.due_at), wakes = work.wakes + 1
      """)
  }

  /// Removes NICs that their guests do not have any more; their addresses are given back.
  static func remove(_ ids: [UUID], in session: Session) throws {
    try session.execute("DELETE FROM nics WHERE id = ANY(\(ids)) AND deleted_at IS NOT NULL")
  }
}
