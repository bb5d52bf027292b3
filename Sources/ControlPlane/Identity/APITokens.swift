import AloftModel
import Foundation
import Postgres

/// Why a command of `aloftd` does nothing.
public struct CommandRefusal: Error, CustomStringConvertible {
  public let description: String

  init(_ description: String) { self.description = description }
}

/// Makes API tokens of the user `root`: the way in for whoever has the database.
public enum APITokens {
  /// Stores a new token of `root` and returns its secret, which is kept nowhere.
  ///
  /// Throws a ``CommandRefusal`` when `root` is disabled or no admin any more; `restoring` makes it an enabled admin again.
  public static func create(
    description: String, expiresAfter: Duration?, restoring: Bool = false, in database: Database,
    environment: Environment = .live
  ) async throws -> String {
    let secret = TokenSecret.make(environment)
    let seconds = expiresAfter.map { Int($0.components.seconds) }
    let id = APITokenID(environment.newUUID())
    try await database.transaction { session in
      try UserStore.lockAll(in: session)
      guard var root = try UserStore.find(UserRecord.root.description, in: session) else {
        throw CommandRefusal("there is no user root")
      }
      if !root.isAdmin {
        guard restoring else {
          throw CommandRefusal(
            "the user root is disabled or no admin, so its tokens would be good for little; --restore-root changes that"
          )
        }
        (root.cloudRole, root.disabled) = (.admin, false)
        try UserStore.update(root, in: session)
        try record("restoreRootUser", .userUpdated, root.id.uuid, data: ["name": root.name], in: session)
      }
      let token = NewToken(description: description, user: root.id, limit: nil, seconds: seconds)
      try TokenStore.insert(id, secret: secret, token, in: session)
      try record("createToken", .tokenCreated, id.uuid, data: ["user": root.name], in: session)
    }
    return secret
  }

  /// Makes the first person with the cloud role `admin`, and returns the secret of a token for it.
  ///
  /// Throws a ``CommandRefusal`` when there is such a person; of several at once, one makes it.
  public static func bootstrap(
    name: String, in database: Database, environment: Environment = .live
  ) async throws -> String {
    guard isName(name) else {
      throw CommandRefusal(
        "\(name) is no name: 1 to 63 lower-case letters, digits and dashes, a letter first, no dash at the end")
    }
    let secret = TokenSecret.make(environment)
    let (user, id) = (UserID(environment.newUUID()), APITokenID(environment.newUUID()))
    try await database.transaction { session in
      try UserStore.lockAll(in: session)
      let there = try session.one("SELECT name FROM users WHERE kind = 'person' AND cloud_role = 'admin' LIMIT 1")
      if let there = try there?.get(0, as: String.self) {
        throw CommandRefusal(
          "this cloud has an admin, \(there), who can make more users; aloftd token create is the way back in")
      }
      do {
        try UserStore.insert(user, name: name, kind: .person, cloudRole: .admin, disabled: false, in: session)
      } catch let problem as Problem {
        throw CommandRefusal(problem.detail)
      }
      let token = NewToken(description: "made by aloftd bootstrap", user: user, limit: nil, seconds: nil)
      try TokenStore.insert(id, secret: secret, token, in: session)
      try record("bootstrapUser", .userCreated, user.uuid, data: ["name": name], in: session)
    }
    return secret
  }

  /// Audit and event, as of a change by the API.
  private static func record(
    _ operation: String, _ kind: EventKind, _ resource: UUID, data: [String: String], in session: Session
  ) throws {
    try session.execute(
      """
      INSERT INTO audit (actor, peer, request_id, operation, resource_id)
      VALUES ('aloftd', 'local', '', \(operation), \(resource))
      """)
    try EventStore.append(kind, project: nil, resource: resource, data: data, in: session)
  }

  /// As the contract's `Name`.
  private static func isName(_ text: String) -> Bool {
    func isLetter(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) }
    func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
    let bytes = Array(text.utf8)
    guard let first = bytes.first, let last = bytes.last, bytes.count <= 63 else { return false }
    return isLetter(first) && last != UInt8(ascii: "-")
      && bytes.allSatisfy { isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "-") }
  }
}
