import Foundation
import Postgres

/// Puts the documents of a node's VMs in front of its agent again, after something changed that they tell of their networks.
///
/// A change of a network cannot do it itself: it has locked the network, and VMs and nodes are locked before.
struct AnnouncementReconciler: Reconciler {
  func reconcile(_ node: UUID, in session: Session, effects: inout Effects) throws -> Date? {
    let machines = try session.query(
      """
      SELECT v.id FROM claims c JOIN vms v ON v.id = c.vm_id
       WHERE c.node_id = \(node) AND c.purpose = 'run' AND EXISTS (SELECT 1 FROM nics n WHERE n.vm_id = v.id)
       ORDER BY v.id FOR NO KEY UPDATE OF v
      """
    ).map { try $0.get(0, as: UUID.self) }
    let counted = try session.one(
      "UPDATE nodes SET assignment_revision = assignment_revision + 1 WHERE id = \(node) RETURNING assignment_revision")
    guard let revision = try counted?.get(0, as: Int.self) else { return nil }
    try session.execute("UPDATE vms SET assignment_revision = \(revision) WHERE id = ANY(\(machines))")
    effects.wake.insert(.node(node))
    return nil
  }
}
