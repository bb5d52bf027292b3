import AloftModel
import Foundation
import JSON
import Testing

@testable import ControlPlane

extension TestPlane {
  /// The token of a new user with a role in the cloud, roles in projects, or none.
  func makeToken(
    cloudRole: CloudRole? = nil, _ roles: [String: ProjectRole] = [:],
    limit: (project: String, role: ProjectRole)? = nil, name: String? = nil
  ) async throws -> String {
    let (user, secret) = (UserID(UUID()), TokenSecret.make(.live))
    try await database.transaction { session in
      _ = try session.execute(
        """
        INSERT INTO users (id, kind, name, cloud_role)
        VALUES (\(user), 'person', \(name ?? "u-" + user.uuid.uuidString.lowercased()), \(cloudRole))
        """)
      for (project, role) in roles {
        _ = try session.execute(
          """
          INSERT INTO project_members (project_id, user_id, role)
          SELECT id, \(user), \(role) FROM projects WHERE name = \(project)
          """)
      }
      _ = try session.execute(
        """
        INSERT INTO api_tokens (id, secret_hash, description, user_id, project_id, project_role)
        VALUES (\(UUID()), \(Secret.hash(secret)), '', \(user), (SELECT id FROM projects WHERE name = \(limit?.project)),
                \(limit?.role))
        """)
    }
    return secret
  }

  /// A project besides `default`.
  func makeProjectRow(_ name: String) async throws {
    _ = try await database.query("INSERT INTO projects (id, name) VALUES (\(UUID()), \(name)) RETURNING 1")
  }

  /// Calls with a token of ``makeToken(cloudRole:_:limit:)``.
  static func bearer(_ token: String) -> [String: String] { ["Authorization": "Bearer \(token)"] }
}

extension TestPlane {
  /// Makes a user by the API. Returns its id.
  @discardableResult
  func makeUser(_ name: String, cloudRole: CloudRole? = nil) async throws -> UserID {
    var body: JSONObject = ["name": .string(name)]
    body["cloud_role"] = cloudRole.map { .string($0.rawValue) }
    let made = await call(.post, "/v1/users", .object(body))
    try #require(made.status == 201, "\(made)")
    return try #require(made["id"]?.stringValue.flatMap { UserID($0) })
  }

  /// Makes a token by the API, by root's token or another's.
  func issue(_ body: JSONValue = [:], by token: String? = nil) async throws -> (id: APITokenID, secret: String) {
    let made = await call(.post, "/v1/tokens", body, headers: token.map { Self.bearer($0) } ?? [:])
    try #require(made.status == 201, "\(made)")
    let id = try #require(made["id"]?.stringValue.flatMap { APITokenID($0) })
    return (id, try #require(made["secret"]?.stringValue))
  }
}
