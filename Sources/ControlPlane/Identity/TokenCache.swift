import AloftModel
import Execution
import Foundation
import Postgres

/// Looks up API tokens, and remembers them for a moment: a token that was revoked or has expired is refused within ``lifetime`` by every replica.
final class TokenCache: Sendable {
  static let lifetime = 0.5
  private static let mostEntries = 10_000

  private struct Entry {
    var id: UUID
    /// When it expired by the database's clock, which alone judges; nil while it is good.
    var expired: Date?
    var until: Date
    /// Anything made of the secret but its hash, which the database holds.
    var seal: [UInt8]
  }

  private let entries = Lock<[[UInt8]: Entry]>([:])
  private let database: Database
  private let environment: Environment

  init(database: Database, environment: Environment) {
    self.database = database
    self.environment = environment
  }

  /// Who holds the token of an `Authorization` header. Throws a ``Problem`` that says what is wrong with it.
  func authenticate(_ header: String?) async throws -> Principal {
    guard let header else {
      throw Problem(.unauthenticated, "send a token as Authorization: Bearer aloft_…")
    }
    let parts = header.split(separator: " ", maxSplits: 1)
    guard parts.count == 2, parts[0].lowercased() == "bearer" else {
      throw Problem(.unauthenticated, "the Authorization header is not of the form Bearer aloft_…")
    }
    let secret = String(parts[1].drop { $0 == " " || $0 == "\t" })
    let hash = Secret.hash(secret)
    let now = environment.now()
    let cached = entries.withLock { $0[hash] }
    let entry: Entry
    if let cached, cached.until > now { entry = cached } else { entry = try await load(hash, secret, now: now) }
    if let expired = entry.expired {
      throw Problem(.tokenExpired, "the token expired at \(expired.formatted(.iso8601)); ask for a new one")
    }
    return .admin(token: entry.id, seal: entry.seal)
  }

  private func load(_ hash: [UInt8], _ secret: String, now: Date) async throws -> Entry {
    let row = try await database.query(
      "SELECT id, CASE WHEN expires_at <= aloft_now() THEN expires_at END FROM api_tokens WHERE secret_hash = \(hash)"
    ).first
    guard let row else { throw Problem(.tokenInvalid, "the token is unknown or was revoked") }
    let entry = Entry(
      id: try row.get(0), expired: try row.get(1), until: now.addingTimeInterval(Self.lifetime),
      seal: Secret.hash("seal:" + secret))
    entries.withLock { entries in
      if entries.count >= Self.mostEntries { entries = entries.filter { $0.value.until > now } }
      if entries.count < Self.mostEntries { entries[hash] = entry }
    }
    return entry
  }
}

/// Makes API tokens.
public enum APITokens {
  /// Stores a new admin token and returns its secret, which is kept nowhere.
  public static func create(
    description: String, expiresAfter: Duration?, in database: Database, environment: Environment = .live
  ) async throws -> String {
    let secret = Secret.tokenPrefix + environment.newSecret(words: 4)
    let seconds = expiresAfter.map { Double($0.components.seconds) }
    let id = environment.newUUID()
    _ = try await database.transaction { session in
      try session.execute(
        """
        INSERT INTO api_tokens (id, secret_hash, description, role, expires_at)
        VALUES (\(id), \(Secret.hash(secret)), \(description), 'admin', aloft_now() + make_interval(secs => \(seconds)))
        """)
    }
    return secret
  }
}
