/// How to reach PostgreSQL and how much to ask of it.
public struct DatabaseConfiguration: Sendable {
  /// A libpq connection string: `postgresql://user@host/db?sslmode=verify-full` or `host=/run/postgresql dbname=aloft`.
  /// What it says wins over the defaults that this module sets (keep-alive, application name).
  public var url: String
  /// The most connections that are open for transactions; listeners have one more each.
  public var poolSize: Int
  /// The server gives a statement up after this; if it falls silent for `silenceGrace` longer, the connection is dropped.
  public var statementTimeout: Duration
  /// How much longer than `statementTimeout` a silent server is waited for.
  public var silenceGrace: Duration
  /// For one attempt to connect.
  public var connectTimeout: Duration
  /// How long a transaction may wait for a free connection, or for the server to come back.
  public var poolTimeout: Duration
  /// Shown in `pg_stat_activity`.
  public var applicationName: String
  /// Run on every new connection, before its first use.
  public var sessionSetup: [String]
  /// The most statements that stay prepared on one connection.
  public var preparedStatements: Int
  /// A connection that was idle for longer is asked for a sign of life before it is used.
  public var idleCheckAfter: Duration
  /// Between attempts to connect.
  public var reconnectBackoff: Backoff
  /// Between attempts of a transaction that the server undid.
  public var retryBackoff: Backoff
  /// Asked before every round trip whether something goes wrong with it; nil, as in production, is nothing. `commits`
  /// says that the round trip ends a transaction that may have written. A simulation lets processes die by it.
  public var interruption: (@Sendable (_ commits: Bool) -> Interruption?)?
  /// Awaited before every transaction; nil, as in production, is no wait. A simulation lets others go first.
  public var interlude: (@Sendable () async -> Void)?

  public init(
    url: String, poolSize: Int = 8, statementTimeout: Duration = .seconds(30), silenceGrace: Duration = .seconds(5),
    connectTimeout: Duration = .seconds(5), poolTimeout: Duration = .seconds(5), applicationName: String = "aloft",
    sessionSetup: [String] = [], preparedStatements: Int = 256, idleCheckAfter: Duration = .seconds(30),
    reconnectBackoff: Backoff = Backoff(first: .milliseconds(50), limit: .seconds(2)),
    retryBackoff: Backoff = Backoff(first: .milliseconds(2), limit: .milliseconds(250)),
    interruption: (@Sendable (_ commits: Bool) -> Interruption?)? = nil,
    interlude: (@Sendable () async -> Void)? = nil
  ) {
    self.url = url
    self.poolSize = poolSize
    self.statementTimeout = statementTimeout
    self.silenceGrace = silenceGrace
    self.connectTimeout = connectTimeout
    self.poolTimeout = poolTimeout
    self.applicationName = applicationName
    self.sessionSetup = sessionSetup
    self.preparedStatements = preparedStatements
    self.idleCheckAfter = idleCheckAfter
    self.reconnectBackoff = reconnectBackoff
    self.retryBackoff = retryBackoff
    self.interruption = interruption
    self.interlude = interlude
  }
}

/// What may happen to a round trip; see ``DatabaseConfiguration/interruption``. The connection itself stays whole and is
/// rolled back before its next use, so that a run can be repeated exactly.
public enum Interruption: Sendable {
  /// It never reaches the server: a transaction is undone.
  case before
  /// The server does it, its answer is lost: a commit has happened and nobody knows.
  case after
}
