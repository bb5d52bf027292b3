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

  public init(
    environment: [String: String], output: any ByteSink, errors: any ByteSink,
    now: @escaping @Sendable () -> Date, uptime: @escaping @Sendable () -> Duration,
    sleep: @escaping @Sendable (Duration) async -> Void, randomKey: @escaping @Sendable () -> String
  ) {
    self.environment = environment
    self.output = output
    self.errors = errors
    self.now = now
    self.uptime = uptime
    self.sleep = sleep
    self.randomKey = randomKey
  }

  /// The process's own.
  static func ofProcess() -> Surroundings {
    let start = ContinuousClock.now
    return Surroundings(
      environment: ProcessInfo.processInfo.environment, output: DescriptorSink(descriptor: 1),
      errors: DescriptorSink(descriptor: 2), now: { Date() }, uptime: { ContinuousClock.now - start },
      // Only cancellation ends a sleep early, and whoever sleeps looks at that by itself.
      sleep: { duration in _ = try? await Task.sleep(for: duration) },
      randomKey: { UUID().uuidString.lowercased() })
  }

  /// Writes a line for people to standard error. That it cannot be written must not change what the command does.
  func say(_ line: String) async { _ = try? await errors.write(Array((PrintableText.sanitized(line) + "\n").utf8)) }

  var errorStyle: Style { Style(isTerminal: errors.isTerminal, environment: environment) }
}
