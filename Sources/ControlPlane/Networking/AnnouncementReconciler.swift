import Foundation
import Postgres

/// Puts the documents of VMs in front of their node's agent again, after something changed that they tell of their networks: of
/// those VMs that are on them.
///
/// A change of a network cannot do it itself: it has locked the network, and VMs and nodes are locked before.
struct AnnouncementReconciler: Reconciler {
  func reconcile(_ node: UUID, in session: Session, effects: inout Effects) throws -> Date? {
    let networks = try ids("SELECT network_id FROM network_announcements WHERE node_id = \(node)", session)
    let machines = try ids(
      """
      SELECT v.id FROM claims c JOIN vms v ON v.id = c.vm_id
       WHERE c.node_id = \(node) AND c.purpose = 'run'
         AND EXISTS (SELECT 1 FROM nics n WHERE n.vm_id = v.id AND n.network_id = ANY(\(networks)))
       ORDER BY v.id FOR NO KEY UPDATE OF v
      """, session)
    if !machines.isEmpty {
      let counted = try session.one(
        "UPDATE nodes SET assignment_revision = assignment_revision + 1 WHERE id = \(node) RETURNING assignment_revision"
      )
      if let revision = try counted?.get(0, as: Int.self) {
        try session.execute("UPDATE vms SET assignment_revision = \(revision) WHERE id = ANY(\(machines))")
        effects.wake.insert(.node(node))
      }
    }
    // What a network tells is read when the agent fetches it: a change that comes now is in it, and has woken this row.
    try session.execute(
      "DELETE FROM network_announcements WHERE node_id = \(node) AND network_id = ANY(\(networks))")
    return nil
  }

  private func ids(_ statement: SQL, _ session: Session) throws -> [UUID] {
    try session.query(statement).map { try $0.get(0) }
  }
}
