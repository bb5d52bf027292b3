import AloftModel
import Postgres

/// The networks of a project that is being emptied.
enum ProjectNetworks {
  /// Deletes all of them, which no VM uses any more. The project is locked, so that nothing comes to refer to them.
  static func delete(of project: ProjectID, in session: Session) throws {
    try SecurityGroupStore.deleteAll(of: project, in: session)
    try ResourceStore<FloatingIPRecord>.deleteAll(of: project, in: session)
    try ResourceStore<LoadBalancerRecord>.deleteAll(of: project, in: session)
    try ResourceStore<NetworkPeeringRecord>.deleteAll(of: project, in: session)
    try session.execute(
      "DELETE FROM router_interfaces WHERE router_id IN (SELECT id FROM routers WHERE project_id = \(project))")
    try ResourceStore<RouterRecord>.deleteAll(of: project, in: session)
    try session.execute("DELETE FROM subnets WHERE project_id = \(project)")
    try ResourceStore<NetworkRecord>.deleteAll(of: project, in: session)
  }
}
