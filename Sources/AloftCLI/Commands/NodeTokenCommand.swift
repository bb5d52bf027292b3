import ArgumentParser
import JSON

/// `aloft node-token`
struct NodeTokenCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "node-token", abstract: "Tokens with which nodes join.",
    subcommands: [Create.self, List.self, Show.self, Delete.self])

  /// `aloft node-token create`
  struct Create: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a join token.", discussion: "With it one node joins, once. Its secret is shown this once.")

    @Option(help: "What it is for.")
    var description: String?

    @Option(help: ArgumentHelp("For how long it is good: 30m, 24h, 7d.", valueName: "time"))
    var ttl: TimeSpan?

    @Option(help: "The pool that the node will be in.")
    var pool: String?

    @Option(name: .shortAndLong, help: ArgumentHelp("A label of the node. Can be repeated.", valueName: "key=value"))
    var label: [LabelPair] = []

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var key: KeyOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var body = JSONObject()
      body["description"] = description.map { .string($0) }
      body["ttl_seconds"] = ttl.map { .integer(Int64($0.seconds)) }
      body["pool"] = pool.map { .string($0) }
      if !label.isEmpty { body["labels"] = LabelPair.object(label) }
      let call = APICall(
        .post, APIPath.path("node-tokens"), query: Session.query(dryRun), body: .object(body), key: session.key(key))
      // All of it, also as a table: the secret is the point.
      try await session.printer.details(try await session.api.send(call).json, as: .nodeToken)
    }
  }

  /// `aloft node-token list`
  struct List: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "List join tokens.")

    @OptionGroup var list: ListOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let items = try await session.api.items(APIPath.path("node-tokens"), limit: list.limit)
      try await session.printer.list(items, as: .nodeToken)
    }
  }

  /// `aloft node-token show`
  struct Show: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Show a join token, without its secret.")

    @Argument(help: "The token's id.")
    var id: String

    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let answer = try await session.api.send(APICall(.get, APIPath.path("node-tokens", id)))
      try await session.printer.details(answer.json, as: .nodeToken)
    }
  }

  /// `aloft node-token delete`
  struct Delete: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Withdraw join tokens.")

    @Argument(help: "The tokens' ids.")
    var ids: [String]

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      try await session.delete("join token", ids, query: Session.query(dryRun), dryRun: dryRun.dryRun) {
        APIPath.path("node-tokens", $0)
      }
    }
  }
}
