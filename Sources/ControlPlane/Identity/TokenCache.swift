import AloftModel
import Execution
import Foundation
import Logging
import Postgres

/// Looks up API tokens with what they allow, and remembers them for a moment.
///
/// Invariants:
/// - What was revoked, has expired or was taken from the user is felt within ``lifetime`` by every replica, and at once by the
///   one that was asked to do it.
/// - Only tokens that exist are remembered, and only so many: whoever guesses takes no memory.
/// - When a token was used is written behind the requests, for many at once.
final class TokenCache: Sendable {
  static let lifetime = 0.5
  /// How often it is written which tokens were used.
  static let tick = Duration.seconds(10)
  private static let mostEntries = 10_000

  private struct Entry {
    var known: KnownToken
    /// In the time of `Environment.uptime`: a clock that is set back must not keep a revoked token good.
    var until: TimeInterval
  }

  private struct State {
    var entries: [[UInt8]: Entry] = [:]
    /// The tokens that were used and not yet written.
    var used: Set<UUID> = []
    /// How often something was forgotten: what was read before must not be remembered behind it.
    var forgettings = 0

    mutating func use(_ known: KnownToken) {
      if known.refusal == nil, let token = known.principal.token { used.insert(token.uuid) }
    }

    mutating func forget(_ isMeant: (Principal) -> Bool) {
      forgettings += 1
      entries = entries.filter { !isMeant($0.value.known.principal) }
    }
  }

  private let state = Lock(State())
  private let database: Database
  private let environment: Environment
  private let logger: Logger

  init(database: Database, environment: Environment, logger: Logger) {
    self.database = database
    self.environment = environment
    self.logger = logger
  }

  /// Who holds the token of an `Authorization` header. Throws a ``Problem`` that says what is wrong with it.
  ///
  /// - Parameter beforeLookup: called when the token is not remembered, so that the database would be asked; may throw.
  func authenticate(_ header: String?, beforeLookup: () throws -> Void = {}) async throws -> Principal {
    guard let header else {
      throw Problem(.unauthenticated, "send a token as Authorization: Bearer aloft_…")
    }
    let parts = header.split(separator: " ", maxSplits: 1)
    guard parts.count == 2, parts[0].lowercased() == "bearer" else {
      throw Problem(.unauthenticated, "the Authorization header is not of the form Bearer aloft_…")
    }
    let secret = String(parts[1].drop { $0 == " " || $0 == "\t" })
    let hash = Secret.hash(secret)
    let now = environment.uptime()
    let remembered = state.withLock { state -> KnownToken? in
      guard let entry = state.entries[hash], entry.until > now else { return nil }
      state.use(entry.known)
      return entry.known
    }
    let known: KnownToken
    if let remembered {
      known = remembered
    } else {
      try beforeLookup()
      known = try await load(hash, secret, now: now)
    }
    if let refusal = known.refusal { throw refusal }
    return known.principal
  }

  private func load(_ hash: [UInt8], _ secret: String, now: TimeInterval) async throws -> KnownToken {
    try TokenSecret.check(secret)
    let before = state.withLock { $0.forgettings }
    let row = try await database.query(KnownToken.query("t.secret_hash = \(hash)")).first
    guard let row else { throw KnownToken.unknown }
    let known = try KnownToken(row, seal: Secret.hash("seal:" + secret))
    state.withLock { state in
      state.use(known)
      if state.entries.count >= Self.mostEntries { state.entries = state.entries.filter { $0.value.until > now } }
      guard state.entries.count < Self.mostEntries, state.forgettings == before else { return }
      state.entries[hash] = Entry(known: known, until: now + Self.lifetime)
    }
    return known
  }

  /// Forgets a token that was revoked.
  func forget(_ token: APITokenID) { state.withLock { $0.forget { $0.token == token } } }

  /// Forgets the tokens of a user that was changed.
  func forget(_ user: UserID) { state.withLock { $0.forget { $0.user == user } } }

  /// How many tokens are remembered.
  var count: Int { state.withLock { $0.entries.count } }

  /// Writes which tokens were used since the last time. A failed write is tried again with the next tick.
  func step() async throws {
    let used = state.withLock { state in
      defer { state.used = [] }
      return state.used
    }
    if used.isEmpty { return }
    do {
      // In the order of ids, so that two replicas cannot lock each other out.
      try await database.execute(
        """
        UPDATE api_tokens t SET last_used_at = aloft_now()
          FROM (SELECT id FROM api_tokens WHERE id = ANY(\(Array(used))) ORDER BY id FOR NO KEY UPDATE) u
         WHERE t.id = u.id
        """)
    } catch {
      state.withLock { $0.used.formUnion(used) }
      throw error
    }
  }

  /// Runs until cancelled.
  func run() async {
    while !Task.isCancelled {
      do {
        try await environment.sleep(Self.tick)
        try await step()
      } catch is CancellationError {
        return
      } catch {
        logger.warning("when tokens were used could not be written", metadata: ["error": "\(error)"])
      }
    }
  }
}
