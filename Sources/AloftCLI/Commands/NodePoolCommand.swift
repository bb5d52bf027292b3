import ArgumentParser
import JSON

/// `aloft node-pool`
struct NodePoolCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "node-pool", abstract: "Nodes that share a policy.",
    subcommands: [List.self, Show.self, Set.self])

  /// `aloft node-pool list`
  struct List: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "List node pools.")

    @OptionGroup var list: ListOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let items = try await session.api.items(APIPath.path("node-pools"), limit: list.limit)
      try await session.printer.list(items, as: .nodePool)
    }
  }

  /// `aloft node-pool show`
  struct Show: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Show a node pool.")

    @Argument(help: "The node pool, by id or name.")
    var name: String

    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let answer = try await session.api.send(APICall(.get, APIPath.path("node-pools", name)))
      try await session.printer.details(answer.json, as: .nodePool)
    }
  }

  /// `aloft node-pool set`
  struct Set: ServerCommand {
    /// Where new machines go.
    enum Strategy: String, CaseIterable, ExpressibleByArgument { case spread, pack }

    static let configuration = CommandConfiguration(abstract: "Change the policy of a node pool.")

    @Argument(help: "The node pool, by id or name.")
    var name: String

    @Option(help: "Whether new machines go to the emptiest nodes or to as few as possible.")
    var strategy: Strategy?

    @Option(help: ArgumentHelp("Virtual CPUs for each CPU.", valueName: "ratio"))
    var cpuOvercommit: Double?

    @Option(help: ArgumentHelp("MiB promised for each MiB there is.", valueName: "ratio"))
    var memoryOvercommit: Double?

    @Option(help: ArgumentHelp("GiB promised for each GiB there is.", valueName: "ratio"))
    var diskOvercommit: Double?

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var common: CommonOptions

    func validate() throws {
      let ratios = [cpuOvercommit, memoryOvercommit, diskOvercommit].compactMap { $0 }
      if strategy == nil, ratios.isEmpty { throw ValidationError("say what to change, such as --strategy pack") }
      if !ratios.allSatisfy(\.isFinite) { throw ValidationError("a ratio is a number such as 1.5") }
    }

    func perform(_ session: Session) async throws(CommandFailure) {
      var body = JSONObject()
      body["strategy"] = strategy.map { .string($0.rawValue) }
      body["cpu_overcommit"] = cpuOvercommit.map { .number($0) }
      body["memory_overcommit"] = memoryOvercommit.map { .number($0) }
      body["disk_overcommit"] = diskOvercommit.map { .number($0) }
      let call = APICall(
        .patch, APIPath.path("node-pools", name), query: Session.query(dryRun), body: .object(body))
      try await session.printer.changed([try await session.api.send(call).json], as: .nodePool)
    }
  }
}
