import Foundation
import Northbound
import Postgres

/// The rows of `network_refusals`: what OVN does not take, and why.
enum NetworkRefusals {
  /// Which objects were tried.
  enum Objects: Sendable {
    case all
    case these(Set<NetworkObjects.Name>)
  }

  /// Writes down what was refused of those that were tried, and forgets the rest of them. The last statement gives ``news(_:)``.
  static func writing(_ refused: [NetworkModel.ObjectID: String], among tried: Objects) -> [SQL] {
    let names = refused.map { (name: NetworkObjects.Name(of: $0.key), reason: $0.value) }
    let (kinds, ids) = (names.map(\.name.kind), names.map(\.name.id))
    var condition: SQL = "true"
    if case .these(let tried) = tried {
      let tried = tried.map(\.self)
      condition = "(kind, id) IN (SELECT * FROM unnest(\(tried.map(\.kind))::text[], \(tried.map(\.id))::uuid[]))"
    }
    return [
      """
      DELETE FROM network_refusals WHERE \(fragment: condition)
         AND (kind, id) NOT IN (SELECT * FROM unnest(\(kinds)::text[], \(ids)::uuid[]))
      """,
      """
      INSERT INTO network_refusals AS f (kind, id, reason)
      SELECT * FROM unnest(\(kinds)::text[], \(ids)::uuid[], \(names.map(\.reason))::text[])
      ON CONFLICT (kind, id) DO UPDATE SET reason = excluded.reason, tries = f.tries + 1, tried_at = aloft_now()
      RETURNING tries, format('%s %s: %s', kind, id, reason)
      """,
    ]
  }

  /// What was not refused before, in words.
  static func news(_ written: Rows) throws -> [String] {
    try written.compactMap { try $0.get(0, as: Int.self) == 1 ? try $0.get(1) : nil }
  }

  /// Why OVN does not have an object of this kind, whose row is `r`, as it is: it refuses it, or cannot be told. Null when it has,
  /// or is about to.
  static func problem(_ kind: StaticString) -> SQL {
    """
    coalesce(
      (SELECT 'OVN refuses it: ' || f.reason FROM network_refusals f WHERE f.kind = '\(raw: kind)' AND f.id = r.id),
      (SELECT CASE WHEN k.seen_at < aloft_now() - interval '30 seconds' THEN coalesce(k.problem, 'no replica serves networks')
                   ELSE k.problem END
         FROM network_controller k
        WHERE EXISTS (SELECT 1 FROM network_changes h WHERE h.kind = '\(raw: kind)' AND h.id = r.id)))
    """
  }
}
