import ArgumentParser

// The AloftCLI module is the program `aloft` without its `main`.
//
// Invariants
// - Standard output carries only data; messages, progress and hints go to standard error.
// - A command ends with exactly one `CommandStatus`; every failure says what to do next where that is known.
// - The commands reach files, time, randomness and the terminal through `Surroundings` alone.
// - Every POST carries an idempotency key, and only a call that carries one (or reads) is ever sent twice.

/// The program, ready to be called with any arguments and any surroundings.
public enum CommandLineTool {
  /// Parses the arguments (without the program's name), runs the command and returns how it ended.
  public static func run(_ arguments: [String], in surroundings: Surroundings) async -> CommandStatus {
    do throws(CommandFailure) {
      try await perform(arguments, surroundings)
      return .success
    } catch {
      _ = try? await surroundings.errors.write(Array(error.rendered(style: surroundings.errorStyle).utf8))
      return error.status
    }
  }

  private static func perform(_ arguments: [String], _ surroundings: Surroundings) async throws(CommandFailure) {
    do {
      var command = try Aloft.parseAsRoot(arguments)
      switch command {
      case let command as any ServerCommand:
        let session = try await Session(command.common, surroundings)
        defer { session.api.client.close() }
        try await command.perform(session)
      case let command as any LocalCommand: try await command.perform(surroundings)
      default: try command.run()
      }
    } catch let failure as CommandFailure {
      throw Task.isCancelled && failure.status == .serverFault ? .interrupted : failure
    } catch {
      // Help and version requests travel as errors too.
      var text = Aloft.fullMessage(for: error, columns: 100)
      if !text.hasSuffix("\n") { text += "\n" }
      guard Aloft.exitCode(for: error) != .success else { return try await surroundings.output.write(Array(text.utf8)) }
      if text.hasPrefix("Error: ") { text = "aloft: " + text.dropFirst("Error: ".count) }
      _ = try? await surroundings.errors.write(Array(text.utf8))
      throw CommandFailure.alreadyTold(.usage)
    }
  }
}

/// A command that talks to the server.
protocol ServerCommand: ParsableCommand {
  var common: CommonOptions { get }
  func perform(_ session: Session) async throws(CommandFailure)
}

/// A command that needs no server.
protocol LocalCommand: ParsableCommand {
  func perform(_ surroundings: Surroundings) async throws(CommandFailure)
}
