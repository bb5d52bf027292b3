import Foundation

/// Everything that a command reaches outside itself except the server; tests pass their own.
public struct Surroundings: Sendable {
  /// The environment's variables.
  public var environment: [String: String]
  /// Standard output: data only.
  public var output: any ByteSink
  /// Standard error: messages and progress.
  public var errors: any ByteSink
  /// The time of day.
  public var now: @Sendable () -> Date
  /// Time since some fixed moment, for measuring spans.
  public var uptime: @Sendable () -> Duration
  /// Waits; ends early when the task is cancelled.
  public var sleep: @Sendable (Duration) async -> Void
  /// A word that nobody chose before.
  public var randomKey: @Sendable () -> String
  /// So many bytes that nobody can guess.
  public var randomBytes: @Sendable (Int) -> [UInt8]
  /// Shows a page in a browser where that is possible.
  public var openPage: @Sendable (_ url: String) async -> Void
  /// Asks the person at the terminal; what is typed is not shown where it is hidden. Nil when nobody is there, or they broke off.
  public var ask: @Sendable (_ prompt: String, _ isHidden: Bool) async -> String?
  /// What this machine is called.
  public var hostName: String

  public init(
    environment: [String: String], output: any ByteSink, errors: any ByteSink,
    now: @escaping @Sendable () -> Date, uptime: @escaping @Sendable () -> Duration,
    sleep: @escaping @Sendable (Duration) async -> Void, randomKey: @escaping @Sendable () -> String,
    randomBytes: @escaping @Sendable (Int) -> [UInt8] = { count in (0..<count).map { _ in .random(in: 0...255) } },
    openPage: @escaping @Sendable (_ url: String) async -> Void = { _ in },
    ask: @escaping @Sendable (_ prompt: String, _ isHidden: Bool) async -> String? = { _, _ in nil },
    hostName: String = "this machine"
  ) {
    self.environment = environment
    self.output = output
    self.errors = errors
    self.now = now
    self.uptime = uptime
    self.sleep = sleep
    self.randomKey = randomKey
    self.randomBytes = randomBytes
    self.openPage = openPage
    self.ask = ask
    self.hostName = hostName
  }

  /// The process's own.
  static func ofProcess() -> Surroundings {
    let start = ContinuousClock.now
    let environment = ProcessInfo.processInfo.environment
    return Surroundings(
      environment: environment, output: DescriptorSink(descriptor: 1),
      errors: DescriptorSink(descriptor: 2), now: { Date() }, uptime: { ContinuousClock.now - start },
      // Only cancellation ends a sleep early, and whoever sleeps looks at that by itself.
      sleep: { duration in _ = try? await Task.sleep(for: duration) },
      randomKey: { UUID().uuidString.lowercased() },
      openPage: { await Browser.open($0, environment: environment) }, ask: { await Terminal.ask($0, isHidden: $1) },
      hostName: ProcessInfo.processInfo.hostName)
  }

  /// Writes a line for people to standard error. That it cannot be written must not change what the command does.
  func say(_ line: String) async { _ = try? await errors.write(Array((PrintableText.sanitized(line) + "\n").utf8)) }

  var errorStyle: Style { Style(isTerminal: errors.isTerminal, environment: environment) }
}
