import AloftModel
import Foundation
import Postgres

extension ImageStore {
  /// What a list keeps.
  struct Filter: Sendable {
    var name: String?
    var labels: [VMStore.LabelFilter] = []
    var visibility: ImageVisibility?
    /// Only those of this project; nil: of all that may be seen.
    var owner: ProjectID?
    var withDeprecated = false
  }

  /// What a project sees, in the order of ids. Each of the three ways to see an image is read by an index of its own.
  static func page(
    project: ProjectID, _ filter: Filter, after: UUID?, limit: Int, in session: Session
  ) throws -> [ImageRecord] {
    let rest = condition(filter, after)
    return try session.query(
      """
      SELECT \(fragment: ImageRecord.columns) FROM \(fragment: ImageRecord.source)
       WHERE i.id IN (
         (SELECT i.id FROM images i WHERE i.project_id = \(project) AND \(fragment: rest) ORDER BY i.id LIMIT \(limit))
         UNION ALL
         (SELECT i.id FROM images i WHERE i.is_public AND \(fragment: rest) ORDER BY i.id LIMIT \(limit))
         UNION ALL
         (SELECT i.id FROM image_shares s JOIN images i ON i.id = s.image_id
           WHERE s.project_id = \(project) AND \(fragment: rest) ORDER BY i.id LIMIT \(limit)))
       ORDER BY i.id LIMIT \(limit)
      """
    ).map { try ImageRecord($0) }
  }

  private static func condition(_ filter: Filter, _ after: UUID?) -> SQL {
    var condition: SQL = "true"
    if let after { condition.append(" AND i.id > \(after)") }
    if let name = filter.name { condition.append(" AND i.name = \(name)") }
    if let owner = filter.owner { condition.append(" AND i.project_id = \(owner)") }
    if !filter.withDeprecated { condition.append(" AND i.deprecated_at IS NULL") }
    let shared: SQL = "EXISTS (SELECT 1 FROM image_shares h WHERE h.image_id = i.id)"
    switch filter.visibility {
    case nil: break
    case .public: condition.append(" AND i.is_public")
    case .shared: condition.append(" AND NOT i.is_public AND \(fragment: shared)")
    case .private: condition.append(" AND NOT i.is_public AND NOT \(fragment: shared)")
    }
    for label in filter.labels { condition.append(VMStore.labelCondition("i.labels", label)) }
    return condition
  }
}
