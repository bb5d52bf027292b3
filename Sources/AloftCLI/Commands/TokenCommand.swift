import AloftModel
import ArgumentParser
import JSON

/// `aloft token`
struct TokenCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "token", abstract: "API tokens, which calls are made with.",
    subcommands: [Create.self, List.self, Show.self, Delete.self])

  /// `aloft token create`
  struct Create: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make an API token.",
      discussion: "It allows no more than the one that makes it. Its secret is shown this once.")

    @Option(help: "What it is for.")
    var description: String?

    @Option(help: ArgumentHelp("For how long it is good: 30m, 24h, 90d. By default without end.", valueName: "time"))
    var ttl: TimeSpan?

    // Not ALOFT_PROJECT's: that says where commands act, and not what a token is for.
    @Option(help: "The one project that it is for, by id or name; with --role.")
    var project: String?

    @Option(help: "The most that it may in the project: viewer, member, admin.")
    var role: ProjectRole?

    @Option(help: "For whom it acts, by id or name; by default for you.")
    var user: String?

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var key: KeyOption
    @OptionGroup var common: CommonOptions

    func validate() throws {
      if (project == nil) != (role == nil) { throw ValidationError("--project and --role come together") }
    }

    func perform(_ session: Session) async throws(CommandFailure) {
      var body = JSONObject()
      body["description"] = description.map { .string($0) }
      body["ttl_seconds"] = ttl.map { .integer(Int64($0.seconds)) }
      body["project"] = project.map { .string($0) }
      body["role"] = role.map { .string($0.rawValue) }
      body["user"] = user.map { .string($0) }
      let call = APICall(
        .post, APIPath.path("tokens"), query: Session.query(dryRun), body: .object(body), key: session.key(key))
      // All of it, also as a table: the secret is the point.
      try await session.printer.details(try await session.api.send(call).json, as: .token)
    }
  }

  /// `aloft token list`
  struct List: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "List API tokens, without their secrets.")

    @Option(help: "Whose, by id or name; by default yours.")
    var user: String?

    @OptionGroup var list: ListOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let query = user.map { [("user", $0)] } ?? []
      let items = try await session.api.items(APIPath.path("tokens"), query: query, limit: list.limit)
      try await session.printer.list(items, as: .token)
    }
  }

  /// `aloft token show`
  struct Show: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Show an API token, without its secret.")

    @Argument(help: "The token's id.")
    var id: String

    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let answer = try await session.api.send(APICall(.get, APIPath.path("tokens", id)))
      try await session.printer.details(answer.json, as: .token)
    }
  }

  /// `aloft token delete`
  struct Delete: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Revoke API tokens.")

    @Argument(help: "The tokens' ids.")
    var ids: [String]

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      try await session.delete("token", ids, query: Session.query(dryRun), dryRun: dryRun.dryRun) {
        APIPath.path("tokens", $0)
      }
    }
  }
}
