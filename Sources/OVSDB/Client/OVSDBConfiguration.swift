/// How a client reaches its database.
public struct OVSDBConfiguration: Sendable {
  /// The database's name, for example `OVN_Northbound`.
  public var database: String
  /// The servers; of a clustered database all members. Tried in this order, beginning anew behind the last.
  public var remotes: [Remote]
  /// Talk to the leader of a clustered database only. The others forward transactions and lag behind; locks are kept by the
  /// server that one is connected to, so whoever uses locks must be connected to the leader.
  public var leaderOnly = true
  /// For `ssl:` remotes.
  public var tls: TLSCredentials?
  /// For connecting, handshake and the first answers together.
  public var connectTimeout: Duration = .seconds(5)
  /// A server that said nothing for so long is asked for an echo,
  public var probeInterval: Duration = .seconds(5)
  /// and given up when it stays silent for so long after that.
  public var probeTimeout: Duration = .seconds(5)
  /// The pause after all remotes have failed once; doubles up to the limit.
  public var firstPause: Duration = .milliseconds(100)
  public var longestPause: Duration = .seconds(5)
  /// The largest message that is taken from a server, in bytes. A database's first content comes as one message.
  public var maximumMessageSize = 256 << 20
  /// How deep JSON may nest in messages.
  public var maximumDepth = 32
  public var environment = Environment()

  public init(database: String, remotes: [Remote]) {
    self.database = database
    self.remotes = remotes
  }

  /// What tests replace.
  public struct Environment: Sendable {
    public var now: @Sendable () -> ContinuousClock.Instant = { ContinuousClock.now }
    /// A number in 0..<1.
    public var random: @Sendable () -> Double = { Double.random(in: 0..<1) }

    public init() {}
  }

  func check() throws(OVSDBError) {
    guard !remotes.isEmpty else { throw OVSDBError(.invalidRequest, "an OVSDB client needs at least one remote") }
    let needsTLS = remotes.contains { if case .tls = $0 { true } else { false } }
    guard !needsTLS || tls != nil else {
      throw OVSDBError(.invalidRequest, "an ssl: remote needs TLS credentials")
    }
  }
}
