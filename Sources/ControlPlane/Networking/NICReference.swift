import AloftModel
import Postgres

/// A NIC that the body of another noun names.
enum NICReference {
  /// The NIC of that id in the call's project, unless its guest is to let go of it.
  static func require(_ reference: String, _ call: Call, at pointer: String, in session: Session) throws -> NICID {
    let found = try NICID(reference).flatMap { id in
      try session.one(
        """
        SELECT id FROM nics
         WHERE id = \(id) AND project_id = \(fragment: ProjectStore.id(call)) AND deleted_at IS NULL
        """)
    }
    guard let found else {
      throw Problem.field(
        .notFound, pointer, "there is no NIC \(reference) in this project; NICs have no names but ids")
    }
    return try found.get(0)
  }
}
