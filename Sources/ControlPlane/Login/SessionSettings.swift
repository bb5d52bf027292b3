/// How long sessions of browsers last.
public struct SessionSettings: Sendable, Equatable {
  /// Behind the login, in seconds; then the person logs in again.
  public var absoluteSeconds = 12 * 3600
  /// Behind the last call, in seconds.
  public var idleSeconds = 30 * 60

  public init() {}
}
