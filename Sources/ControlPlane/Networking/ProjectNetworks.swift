import AloftModel
import Postgres

/// The networks of a project that is being emptied.
enum ProjectNetworks {
  /// Deletes all of them, which no VM uses any more. The project is locked, so that nothing comes to refer to them.
  static func delete(of project: ProjectID, in session: Session) throws {
    try session.execute("DELETE FROM subnets WHERE project_id = \(project)")
    for row in try session.query("DELETE FROM networks WHERE project_id = \(project) RETURNING id, name") {
      try EventStore.append(
        .networkDeleted, project: project, resource: try row.get(0), data: ["name": try row.get(1)], in: session)
    }
  }
}
