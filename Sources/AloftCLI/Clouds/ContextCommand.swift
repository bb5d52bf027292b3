import ArgumentParser
import JSON

/// `aloft context`
struct ContextCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "context", abstract: "The clouds that you have logged in to.",
    subcommands: [List.self, Use.self, Remove.self])

  /// `aloft context list`
  struct List: LocalCommand {
    static let configuration = CommandConfiguration(abstract: "List the clouds that are remembered, without tokens.")

    @Option(name: .shortAndLong, help: ArgumentHelp("How to print the answer.", valueName: "format"))
    var output: OutputFormat = .table

    func perform(_ surroundings: Surroundings) async throws(CommandFailure) {
      let clouds = try await ConfigFile.require(surroundings.environment).read()
      let items = clouds.contexts.sorted { $0.key < $1.key }.map { name, context -> JSONValue in
        [
          "name": .string(name), "current": .bool(name == clouds.current), "url": .string(context.url),
          "user": context.user.map { .string($0) } ?? .null, "project": context.project.map { .string($0) } ?? .null,
          "logged_in": .bool(context.token != nil),
        ]
      }
      try await Printer(format: output, surroundings: surroundings).list(items, as: .context)
    }
  }

  /// `aloft context use`
  struct Use: LocalCommand {
    static let configuration = CommandConfiguration(abstract: "Mean this cloud when none is named.")

    @Argument(help: "The context.")
    var name: String

    func perform(_ surroundings: Surroundings) async throws(CommandFailure) {
      let file = try ConfigFile.require(surroundings.environment)
      try await file.update(surroundings) { clouds async throws(CommandFailure) in
        guard clouds.contexts[name] != nil else { throw clouds.absent(name) }
        clouds.current = name
      }
    }
  }

  /// `aloft context remove`
  struct Remove: LocalCommand {
    static let configuration = CommandConfiguration(
      abstract: "Forget clouds.", discussion: "Their tokens stay good; aloft logout revokes one.")

    @Argument(help: "The contexts.")
    var names: [String]

    func perform(_ surroundings: Surroundings) async throws(CommandFailure) {
      let file = try ConfigFile.require(surroundings.environment)
      try await file.update(surroundings) { clouds async throws(CommandFailure) in
        for name in names {
          guard clouds.contexts.removeValue(forKey: name) != nil else { throw clouds.absent(name) }
          if clouds.current == name { clouds.current = nil }
        }
      }
    }
  }
}

extension Presentation {
  static let context = Presentation(
    columns: [
      .member("NAME", "name"), .member("CURRENT", "current"), .member("URL", "url"), .member("USER", "user"),
      .member("PROJECT", "project"), .member("LOGGED-IN", "logged_in"),
    ], nameMember: "name")
}
