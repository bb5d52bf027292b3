import ArgumentParser

/// `aloft project`
struct ProjectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "project", abstract: "Tenants.", subcommands: [List.self, Show.self])

  /// `aloft project list`
  struct List: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "List projects.")

    @OptionGroup var list: ListOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let items = try await session.api.items(APIPath.path("projects"), limit: list.limit)
      try await session.printer.list(items, as: .project)
    }
  }

  /// `aloft project show`
  struct Show: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Show a project.")

    @Argument(help: "The project, by id or name.")
    var name: String

    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let answer = try await session.api.send(APICall(.get, APIPath.path("projects", name)))
      try await session.printer.details(answer.json, as: .project)
    }
  }
}
