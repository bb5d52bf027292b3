import AloftModel
import Execution
import Foundation
import Logging
import Postgres

/// Looks up API tokens and sessions with what they allow, and remembers them for a moment.
///
/// Invariants:
/// - What was revoked, has expired or was taken from the user is felt within ``lifetime`` by every replica, and at once by the
///   one that was asked to do it.
/// - Only what exists is remembered, and only so much: whoever guesses takes no memory.
/// - When a token or a session was used is written behind the requests, for many at once. A call that goes on for long is one
///   use of a session: a page that is left open does not keep it from becoming idle.
final class TokenCache: Sendable {
  static let lifetime = 0.5
  /// How often it is written what was used.
  static let tick = Duration.seconds(10)
  private static let mostEntries = 10_000

  private struct Entry {
    var known: KnownCaller
    /// In the time of `Environment.uptime`: a clock that is set back must not keep a revoked token good.
    var until: TimeInterval
  }

  private struct State {
    var entries: [[UInt8]: Entry] = [:]
    /// What was used and is not yet written.
    var used: Set<UUID> = []
    var usedSessions: Set<UUID> = []
    /// How often something was forgotten: what was read before must not be remembered behind it.
    var forgettings = 0

    mutating func use(_ known: KnownCaller, isFirst: Bool) {
      guard known.refusal == nil else { return }
      switch known.principal.means {
      case .token(let token): used.insert(token.uuid)
      case .session(let session): if isFirst { usedSessions.insert(session.uuid) }
      case .assertion, nil: break
      }
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
  /// After how many seconds a session ends that is not used.
  private let idleSeconds: Int

  private let issuers: IssuedUsers?

  init(
    database: Database, environment: Environment, idleSeconds: Int = SessionSettings().idleSeconds,
    issuers: IssuedUsers? = nil, logger: Logger
  ) {
    self.database = database
    self.issuers = issuers
    self.idleSeconds = idleSeconds
    self.environment = environment
    self.logger = logger
  }

  /// Whose token or session is shown. Throws a ``Problem`` that says what is wrong with it.
  ///
  /// - Parameters:
  ///   - isFirst: it is a new call, not another look at one that goes on.
  ///   - beforeLookup: called when it is not remembered, so that the database would be asked; may throw.
  func authenticate(
    _ credentials: Credentials, isFirst: Bool = true, beforeLookup: () throws -> Void = {}
  ) async throws -> Principal {
    let shown = try credentials.shown()
    let key = Self.key(shown)
    let now = environment.uptime()
    let remembered = state.withLock { state -> KnownCaller? in
      guard let entry = state.entries[key], entry.until > now else { return nil }
      state.use(entry.known, isFirst: isFirst)
      return entry.known
    }
    let known: KnownCaller
    if let remembered {
      known = remembered
    } else {
      try beforeLookup()
      known = try await load(shown, key, isFirst: isFirst, now: now)
    }
    if let refusal = known.refusal { throw refusal }
    return known.principal
  }

  /// What it is remembered by: never the secret itself.
  private static func key(_ shown: Credentials.Shown) -> [UInt8] {
    switch shown {
    case .bearer(let secret): Secret.hash(secret)
    case .session(let secret): Secret.hash("session:" + secret)
    }
  }

  private func find(_ shown: Credentials.Shown) async throws -> KnownCaller {
    switch shown {
    case .bearer(let secret):
      if let issuers, JSONWebToken.isMeant(by: secret) { return try await issuers.caller(bearer: secret) }
      try TokenSecret.check(secret)
      let query = KnownCaller.tokenQuery("t.secret_hash = \(Secret.hash(secret))")
      guard let row = try await database.query(query).first else { throw KnownCaller.unknown }
      return try KnownCaller(token: row, seal: Secret.hash("seal:" + secret))
    case .session(let secret):
      guard SessionCookie.isSecret(secret) else { throw KnownCaller.ended }
      let query = KnownCaller.sessionQuery(
        "s.secret_hash = \(Secret.hash(secret))", projects: issuers?.issuers.projectNames ?? [],
        idleSeconds: idleSeconds)
      guard let row = try await database.query(query).first else { throw KnownCaller.ended }
      return try KnownCaller(
        session: row, seal: Secret.hash("seal:" + secret), csrfToken: SessionCookie.csrfToken(secret)
      ) { issuer, values in issuers?.issuers.grants(values, of: issuer) }
    }
  }

  private func load(
    _ shown: Credentials.Shown, _ key: [UInt8], isFirst: Bool, now: TimeInterval
  ) async throws -> KnownCaller {
    let before = state.withLock { $0.forgettings }
    let known = try await find(shown)
    state.withLock { state in
      state.use(known, isFirst: isFirst)
      if state.entries.count >= Self.mostEntries { state.entries = state.entries.filter { $0.value.until > now } }
      guard state.entries.count < Self.mostEntries, state.forgettings == before else { return }
      state.entries[key] = Entry(known: known, until: now + Self.lifetime)
    }
    return known
  }

  /// Forgets a token that was revoked.
  func forget(_ token: APITokenID) { state.withLock { $0.forget { $0.token == token } } }

  /// Forgets a session that was ended.
  func forget(_ session: SessionID) { state.withLock { $0.forget { $0.session == session } } }

  /// Forgets all sessions: those of somebody were ended.
  func forgetSessions() { state.withLock { $0.forget { $0.session != nil } } }

  /// Forgets the tokens and sessions of a user that was changed.
  func forget(_ user: UserID) { state.withLock { $0.forget { $0.user == user } } }

  /// How many are remembered.
  var count: Int { state.withLock { $0.entries.count } }

  /// Writes what was used since the last time. A failed write is tried again with the next tick.
  func step() async throws {
    let (tokens, sessions) = state.withLock { state in
      defer { (state.used, state.usedSessions) = ([], []) }
      return (state.used, state.usedSessions)
    }
    do {
      // In the order of ids, so that two replicas cannot lock each other out.
      if !tokens.isEmpty {
        try await database.execute(
          """
          UPDATE api_tokens t SET last_used_at = aloft_now()
            FROM (SELECT id FROM api_tokens WHERE id = ANY(\(Array(tokens))) ORDER BY id FOR NO KEY UPDATE) u
           WHERE t.id = u.id
          """)
      }
      if !sessions.isEmpty {
        try await database.execute(
          """
          UPDATE sessions s SET last_used_at = aloft_now()
            FROM (SELECT id FROM sessions WHERE id = ANY(\(Array(sessions))) ORDER BY id FOR NO KEY UPDATE) u
           WHERE s.id = u.id
          """)
      }
    } catch {
      state.withLock { state in
        state.used.formUnion(tokens)
        state.usedSessions.formUnion(sessions)
      }
      throw error
    }
  }

  /// Runs until cancelled.
  func run() async {
    await environment.repeating(
      every: Self.tick, orWarn: "when tokens and sessions were used could not be written", logger
    ) { try await step() }
  }
}
