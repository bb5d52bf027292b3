import AloftModel
import Foundation
import Postgres

/// The rows of `passwords`.
enum PasswordStore {
  /// What a new password must be. The contract counts characters; what is hashed are its bytes in UTF-8.
  static let mostBytes = 1024

  static let notForServices = Problem(
    .wrongState, "a service has no password; it calls with API tokens: POST /v1/tokens")

  static let columns: SQL = "w.cost, w.block_size, w.parallelism, w.salt, w.hash"

  /// The hash from ``columns`` that begin at `column`; nil when there is none.
  static func hash(_ row: Row, from column: Int) throws -> PasswordHash? {
    guard let cost = try row.get(column, as: Int?.self) else { return nil }
    return PasswordHash(
      cost: PasswordCost(cost: cost, blockSize: try row.get(column + 1), parallelism: try row.get(column + 2)),
      salt: try row.get(column + 3), hash: try row.get(column + 4))
  }

  static func find(_ user: UserID, in session: Session) throws -> PasswordHash? {
    try session.one("SELECT \(fragment: columns) FROM passwords w WHERE w.user_id = \(user)").flatMap {
      try hash($0, from: 0)
    }
  }

  /// Gives a person a password. `changed_at` stays where only the cost is another.
  static func set(_ hash: PasswordHash, of user: UserID, isSame: Bool = false, in session: Session) throws {
    try session.execute(
      """
      INSERT INTO passwords AS w (user_id, cost, block_size, parallelism, salt, hash)
      VALUES (\(user), \(hash.cost.cost), \(hash.cost.blockSize), \(hash.cost.parallelism), \(hash.salt), \(hash.hash))
      ON CONFLICT (user_id) DO UPDATE
         SET (cost, block_size, parallelism, salt, hash) =
             (excluded.cost, excluded.block_size, excluded.parallelism, excluded.salt, excluded.hash),
             changed_at = CASE WHEN \(isSame) THEN w.changed_at ELSE aloft_now() END
      """
    ) { error in error.isForeignKeyViolation("passwords_user_id_kind_fkey") ? notForServices : nil }
  }

  /// Returns whether there was one.
  static func remove(_ user: UserID, in session: Session) throws -> Bool {
    try session.execute("DELETE FROM passwords WHERE user_id = \(user)") == 1
  }

  /// The bytes that are hashed. Throws the ``Problem`` of a password that is too long.
  static func bytes(_ password: String, at pointer: String) throws -> [UInt8] {
    let bytes = Array(password.utf8)
    guard bytes.count <= mostBytes else {
      throw Problem(
        .tooLong, "the password has \(bytes.count) bytes in UTF-8; \(mostBytes) are taken",
        errors: [.init(code: .tooLong, detail: "at most \(mostBytes) bytes", pointer: pointer)])
    }
    return bytes
  }
}
