import ArgumentParser
import JSON

/// `aloft project`
struct ProjectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "project", abstract: "Tenants.",
    subcommands: [List.self, Show.self, Create.self, Rename.self, Delete.self])

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

  /// `aloft project create`
  struct Create: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a project.", discussion: "It has no members yet; `aloft member set` adds them.")

    @Argument(help: "Its name.")
    var name: String

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var key: KeyOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let call = APICall(
        .post, APIPath.path("projects"), query: Session.query(dryRun), body: ["name": .string(name)],
        key: session.key(key))
      try await session.printer.changed([try await session.api.send(call).json], as: .project)
    }
  }

  /// `aloft project rename`
  struct Rename: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Give a project another name.")

    @Argument(help: "The project, by id or name.")
    var name: String

    @Argument(help: "Its new name.")
    var newName: String

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let call = APICall(
        .patch, APIPath.path("projects", name), query: Session.query(dryRun), body: ["name": .string(newName)])
      try await session.printer.changed([try await session.api.send(call).json], as: .project)
    }
  }

  /// `aloft project delete`
  struct Delete: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Delete projects that hold nothing.",
      discussion: "Their members, their webhooks, and the tokens that are for them alone, go with them.")

    @Argument(help: "The projects, by id or name.")
    var names: [String]

    @Flag(help: "Delete all that they hold first: virtual machines with their disks, and images.")
    var cascade = false

    @OptionGroup var wait: WaitOptions
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      if cascade {
        let query = Session.query(dryRun) + [("cascade", "true")]
        let changes = WaitedChanges(
          session: session, wait: wait, isDryRun: dryRun.dryRun, query: [], deletes: true, collection: "projects",
          word: "project", presentation: .project)
        return try await changes.run(names) { name in APICall(.delete, APIPath.path("projects", name), query: query) }
      }
      try await session.delete("project", names, query: Session.query(dryRun), dryRun: dryRun.dryRun) {
        APIPath.path("projects", $0)
      }
    }
  }
}
