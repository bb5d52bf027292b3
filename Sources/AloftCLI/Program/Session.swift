import JSON
import Logging

/// A command under way: where it prints to and how it reaches the server.
struct Session: Sendable {
  let surroundings: Surroundings
  let api: API
  let printer: Printer

  init(_ options: CommonOptions, _ surroundings: Surroundings) async throws(CommandFailure) {
    let (address, project) = try await ServerAddress.resolve(options, surroundings)
    var surroundings = surroundings
    if let project, surroundings.environment["ALOFT_PROJECT"]?.isEmpty != false {
      surroundings.environment["ALOFT_PROJECT"] = project
    }
    if address.sendsTokenInClear {
      await surroundings.say("warning: the token crosses the network in clear text; use https://")
    }
    self.surroundings = surroundings
    api = API(address: address, surroundings: surroundings, logger: Self.logger(options))
    printer = Printer(format: options.output, surroundings: surroundings)
  }

  static func logger(_ options: CommonOptions) -> Logger {
    var logger = Logger(label: "aloft") { label -> any LogHandler in
      if options.verbose { StreamLogHandler.standardError(label: label) } else { SwiftLogNoOpLogHandler() }
    }
    logger.logLevel = .trace
    return logger
  }

  /// The query that names the project; empty: the one named `default`.
  func query(_ project: ProjectOption, dryRun: DryRunOption? = nil) -> [(String, String)] {
    var query: [(String, String)] = []
    if let name = project.project ?? surroundings.environment["ALOFT_PROJECT"], !name.isEmpty {
      query.append(("project", name))
    }
    return query + Self.query(dryRun)
  }

  /// The query of a change that belongs to no project.
  static func query(_ dryRun: DryRunOption?) -> [(String, String)] {
    dryRun?.dryRun == true ? [("dry_run", "true")] : []
  }

  /// The key of a POST; with several of them in one command each has its own.
  func key(_ options: KeyOption, for name: String? = nil) -> String {
    guard let key = options.idempotencyKey else { return surroundings.randomKey() }
    return name.map { "\(key)/\($0)" } ?? key
  }
}

/// Runs what a command does for each of several names: one that fails does not keep the others from being tried.
struct Batch: Sendable {
  private(set) var firstFailure: CommandFailure?

  /// Runs `body` for `name`. When it fails and `several` are asked for, the failure is told at once and remembered.
  mutating func attempt<Value: Sendable>(
    _ name: String, several: Bool, _ surroundings: Surroundings, _ body: () async throws(CommandFailure) -> Value
  ) async throws(CommandFailure) -> Value? {
    do throws(CommandFailure) {
      return try await body()
    } catch {
      guard several, error.status != .interrupted, error.status != .outputClosed else { throw error }
      if firstFailure == nil { firstFailure = error }
      var failure = error
      if !failure.detail.contains(name) { failure.detail = "\(name): \(failure.detail)" }
      _ = try? await surroundings.errors.write(Array(failure.rendered(style: surroundings.errorStyle).utf8))
      return nil
    }
  }
}
