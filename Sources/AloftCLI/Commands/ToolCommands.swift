import ArgumentParser

/// `aloft completion`
struct Completion: LocalCommand {
  /// The shells that there is a script for.
  enum Shell: String, CaseIterable, ExpressibleByArgument {
    case bash, zsh, fish

    var completion: CompletionShell {
      switch self {
      case .bash: .bash
      case .zsh: .zsh
      case .fish: .fish
      }
    }
  }

  static let configuration = CommandConfiguration(
    abstract: "Print a script that completes commands in a shell.",
    discussion: "bash: source <(aloft completion bash)\nfish: aloft completion fish | source")

  @Argument(help: "The shell.")
  var shell: Shell

  func perform(_ surroundings: Surroundings) async throws(CommandFailure) {
    try await surroundings.output.write(Array((Aloft.completionScript(for: shell.completion) + "\n").utf8))
  }
}

/// `aloft version`
struct Version: LocalCommand {
  static let configuration = CommandConfiguration(abstract: "Print the version of this program.")

  func perform(_ surroundings: Surroundings) async throws(CommandFailure) {
    try await surroundings.output.write(Array("\(AloftVersion.number)\n".utf8))
  }
}

/// `aloft exit-codes`, made for `aloft help exit-codes`
struct ExitCodes: LocalCommand {
  static let configuration = CommandConfiguration(
    abstract: "List the exit codes.", discussion: CommandStatus.explanation)

  func perform(_ surroundings: Surroundings) async throws(CommandFailure) {
    try await surroundings.output.write(Array((CommandStatus.explanation + "\n").utf8))
  }
}
