import ArgumentParser

// Settings of a program that runs for long: each can be given on the command line, in the environment and in a YAML file.
//
// Invariants
// - The command line wins over the environment, and that over the file.
// - The three names of a setting are one name, spelled in three ways; `--help` tells all of them.
// - What is wrong is told with the place where it was found. A key of the file that nobody knows is an error.

/// One setting and what it is called: `--memory-mib`, `ALOFT_AGENT_MEMORY_MIB` and, in the file, `memory-mib`.
public struct Setting: Sendable, Hashable {
  /// As on the command line, without the dashes in front.
  public let name: String
  /// The name in the environment.
  public let variable: String
  private let explanation: String

  /// - Parameters:
  ///   - prefix: what the program's environment variables begin with, such as `ALOFT_`.
  ///   - explanation: what it is and what holds when it is not given, for `--help`.
  public init(_ name: String, prefix: String, _ explanation: String) {
    self.name = name
    variable = prefix + name.uppercased().map { $0 == "-" ? "_" : String($0) }.joined()
    self.explanation = explanation
  }

  /// For `@Option(name:)`.
  public var flag: NameSpecification { .customLong(name) }

  /// For `@Option(help:)`.
  public var help: ArgumentHelp { ArgumentHelp(stringLiteral: "\(explanation) (\(variable); in the file: \(name))") }

  /// Whether `key` of a file means this setting: it may be written with underscores.
  func isMeant(by key: String) -> Bool { key == name || key == name.map { $0 == "-" ? "_" : String($0) }.joined() }
}
